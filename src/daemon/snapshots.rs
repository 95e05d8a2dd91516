//! The root's own repository: snapshots of its volumes.
//!
//! It lies beside the volumes in plain, so its key is kept beside it too (`repository.key`,
//! readable by the owner only): opening it costs nothing. It is made with the repository password
//! of that day, which `restic` needs to read it; a password that changes later does not change it,
//! and does not matter here.
//!
//! What fails while a snapshot is taken is kept by the repository's backend ([`Backend::failure`]),
//! so only what holds `writing` uses that one; everything else has a backend of its own, and can
//! neither fail a snapshot nor hide why it failed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock, RwLockReadGuard, TryLockError, TryLockResult},
    time::Duration,
};

use jiff::Zoned;
use rustic_core::{
    BackupOptions, FileType, LimitOption, PruneOptions, SnapshotGroupCriterion, WriteBackend as _,
    repofile::{SnapshotFile, SnapshotId},
};

use super::{
    repository::{Access, Backend, OpenRepository, failure, guarded, tags},
    root::Root,
    state::SnapshotState,
    tree::read::{Findings, VolumeSource},
};
use crate::{
    error::{Error, Result},
    files::{age, write_error, write_whole},
    sync::{self, lock},
};

/// Up to so many packs (16 MiB each), unused space is given back at each delete; beyond, once a
/// day.
const PRUNED_AT_ONCE: usize = 256;
const DAY: Duration = Duration::from_hours(24);

/// The root's own repository; made when the first snapshot is.
pub(crate) struct LocalRepository {
    root: Root,
    access: Access,
    open: Mutex<Option<Arc<OpenRepository>>>,
    /// One snapshot at a time.
    writing: Mutex<()>,
    /// Reading what packs hold excludes pruning them.
    gate: RwLock<()>,
}

impl LocalRepository {
    pub(crate) fn new(root: Root, access: Access) -> Self {
        Self {
            root,
            access,
            open: Mutex::default(),
            writing: Mutex::default(),
            gate: RwLock::default(),
        }
    }

    fn backend(&self) -> Backend {
        Backend::in_folder(&self.root.repository(), &self.access.host)
    }

    /// Keeps pruning away for as long as the guard lives.
    pub(crate) fn reading(&self) -> RwLockReadGuard<'_, ()> {
        sync::read(&self.gate)
    }

    /// The repository, opened; made first where there is none.
    ///
    /// # Errors
    /// Where it can't be opened or made.
    pub(crate) fn open(&self) -> Result<Arc<OpenRepository>> {
        let mut open = lock(&self.open);
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let repository = Arc::new(self.open_or_make()?);
        *open = Some(repository.clone());
        Ok(repository)
    }

    fn open_or_make(&self) -> Result<OpenRepository> {
        let key_file = self.root.repository_key();
        let repository = if self.backend().exists()? {
            let kept =
                fs::read(&key_file).ok().and_then(|content| serde_json::from_slice(&content).ok());
            if let Some(key) = kept {
                match OpenRepository::open_with_key(self.backend(), key) {
                    Ok(repository) => return Ok(repository),
                    Err(error) => {
                        log::warn!("the key in \"{}\" is of no use: {error}", key_file.display())
                    }
                }
            }
            OpenRepository::open(self.backend(), self.access.password())?
        } else {
            OpenRepository::create(self.backend(), self.access.password(), true)?
        };
        let key = serde_json::to_vec(repository.key())
            .map_err(|error| Error::internal(error.to_string()))?;
        write_whole(&key_file, &key).map_err(|error| write_error(&key_file, &error))?;
        Ok(repository)
    }

    /// Takes a snapshot of a volume's folder. Nothing of it is visible unless all of the folder was
    /// read and written.
    ///
    /// # Errors
    /// A file that can't be read (by name), a repository that can't be written.
    pub(crate) fn take(
        &self,
        folder: &Path,
        volume: &str,
        snapshot: &str,
        parent: Option<&SnapshotState>,
        time: &Zoned,
    ) -> Result<SnapshotState> {
        let repository = self.open()?;
        let _writing = lock(&self.writing);
        let _reading = self.reading();
        let backend = repository.backend().clone();
        let findings = Arc::new(Findings::default());
        let source = VolumeSource::new(folder, volume, findings.clone(), backend.clone());

        let mut options = BackupOptions::default();
        options.parent_opts.group_by =
            Some(SnapshotGroupCriterion::new().hostname(false).label(false).paths(false));
        // The library's "ignore" is the wrong way round: only with it are inodes compared.
        options.parent_opts.ignore_inode = true;
        match parent {
            Some(parent) => options.parent_opts.parents = vec![parent.id.clone()],
            None => options.parent_opts.force = true,
        }
        options.no_scan = parent.is_some();
        let piece = self
            .access
            .progress
            .begin(&format!("snapshot {volume}"), parent.map(|parent| parent.bytes));

        let mut file = SnapshotFile {
            time: time.clone(),
            hostname: self.access.host.clone(),
            ..SnapshotFile::default()
        };
        file.program_version = concat!("convoy-backups ", env!("CARGO_PKG_VERSION")).into();
        file.tags = tags(&[("volume", volume), ("snapshot", snapshot)]);
        let indexed = repository.indexed_for(&piece)?;
        backend.hold_snapshots();
        let archived = guarded("the snapshot", || {
            indexed
                .archive(&options, &source, file, &[PathBuf::from("/").join(volume)])
                .map_err(|error| repository.failure("cannot write the snapshot", &error))
        });
        drop((piece, indexed));
        repository.forget_index();
        let checked = archived.and_then(|file| {
            if let Some(error) = findings.stopped() {
                return Err(error);
            }
            if let Some(error) = findings.error(volume) {
                return Err(error);
            }
            if let Some(error) = backend.take_failure() {
                return Err(error);
            }
            let summary = file.summary.unwrap_or_default();
            findings.check(summary.total_files_processed, summary.total_dirs_processed)?;
            Ok(summary.total_bytes_processed)
        });
        let published = checked.and_then(|bytes| Ok((bytes, backend.publish()?)));
        backend.discard();
        // The reason why a file could not be read is worth more than what came of it.
        let (bytes, id) = published.map_err(|error| {
            findings.stopped().or_else(|| findings.error(volume)).unwrap_or(error)
        })?;
        if findings.vanished() > 0 {
            log::info!(
                "snapshot {snapshot} of volume {volume}: {} before anything was read of it",
                crate::text::counted(
                    findings.vanished() as usize,
                    "file vanished",
                    "files vanished"
                )
            );
        }
        Ok(SnapshotState { created: time.timestamp(), id: id.to_hex().as_str().to_owned(), bytes })
    }

    /// A snapshot's file, and the repository opened once more to read what it names.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(crate) fn source(
        &self,
        snapshot: &SnapshotState,
    ) -> Result<(OpenRepository, SnapshotFile)> {
        let key = self.open()?.key().clone();
        let source = OpenRepository::open_with_key(self.backend(), key)?;
        let id = snapshot
            .id
            .parse::<SnapshotId>()
            .map_err(|_| Error::internal("a snapshot's id is no id"))?;
        let file = source
            .plain()?
            .get_file(&id)
            .map_err(|error| source.failure("cannot read the snapshot", &error))?;
        Ok((source, file))
    }

    /// Removes snapshots, and gives back the space that only they used, unless a backup is being
    /// made just now.
    ///
    /// # Errors
    /// Where a snapshot can't be removed. Space that can't be given back is only a warning.
    pub(crate) fn delete(&self, ids: &[String]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let repository = self.open()?;
        let backend = self.backend();
        for id in ids {
            if let Ok(id) = id.parse::<SnapshotId>() {
                backend
                    .remove(FileType::Snapshot, &id, false)
                    .map_err(|error| failure(&backend, "cannot remove the snapshot", &error))?;
            }
        }
        if let Err(error) = self.prune(&repository) {
            log::warn!("space of deleted snapshots was not given back: {error}");
        }
        Ok(())
    }

    fn prune(&self, repository: &OpenRepository) -> Result<()> {
        let Some(_writing) = free(self.writing.try_lock()) else { return Ok(()) };
        let Some(_gate) = free(self.gate.try_write()) else { return Ok(()) };
        let marker = self.root.pruned();
        let recently =
            || fs::metadata(&marker).and_then(|m| m.modified()).is_ok_and(|time| age(time) < DAY);
        if count_packs(&self.root.repository()) > PRUNED_AT_ONCE && recently() {
            return Ok(());
        }
        repository.backend().take_failure();
        repository.forget_index();
        let mut options = PruneOptions::default();
        // Nobody else uses this repository, so nothing needs to be kept for a day as at a shared
        // destination.
        options.instant_delete = true;
        options.max_unused = LimitOption::Percentage(5);
        guarded("giving back space", || {
            let library = repository.plain()?;
            library
                .prune_plan(&options)
                .and_then(|plan| library.prune(&options, plan))
                .map_err(|error| repository.failure("cannot give back space", &error))
        })?;
        write_whole(&marker, b"").map_err(|error| write_error(&marker, &error))
    }
}

/// The guard of a lock that nobody holds; a panic while it was held does not count.
fn free<T>(tried: TryLockResult<T>) -> Option<T> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

fn count_packs(repository: &Path) -> usize {
    let folders = fs::read_dir(repository.join("data")).into_iter().flatten().flatten();
    folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use rustic_core::{Id, ReadBackend as _};
    use tempfile::TempDir;

    use super::*;
    use crate::progress::{Piece, Progress};

    fn repository(files: usize, progress: Arc<dyn Progress>) -> (TempDir, LocalRepository) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("volumes/vol1")).unwrap();
        fs::create_dir(folder.path().join("repository")).unwrap();
        for number in 0..files {
            fs::write(folder.path().join(format!("volumes/vol1/{number}")), "f").unwrap();
        }
        let access = Access { password: None, host: "host1".into(), progress };
        let local = LocalRepository::new(Root::at(folder.path()), access);
        (folder, local)
    }

    fn vol1(folder: &TempDir) -> PathBuf {
        folder.path().join("volumes/vol1")
    }

    /// Makes the repository fail at the first byte that is read, and hides that it did before
    /// anybody looks.
    #[derive(Debug, Default)]
    struct Thief(OnceLock<Arc<OpenRepository>>);

    impl Progress for Thief {
        fn begin(&self, _: &str, _: Option<u64>) -> Arc<dyn Piece> {
            Arc::new(Theft(self.0.get().unwrap().clone()))
        }
    }

    #[derive(Debug)]
    struct Theft(Arc<OpenRepository>);

    impl Piece for Theft {
        fn set_total(&self, _: u64) {}

        fn advance(&self, _: u64) {
            self.0.backend().read_full(FileType::Index, &Id::default()).unwrap_err();
        }
    }

    impl Drop for Theft {
        fn drop(&mut self) {
            self.0.backend().take_failure().unwrap();
        }
    }

    #[test]
    fn a_snapshot_that_was_not_read_to_the_end_is_none_even_if_the_reason_was_taken_away() {
        let thief = Arc::new(Thief::default());
        let (folder, local) = repository(2_000, thief.clone());
        thief.0.set(local.open().unwrap()).unwrap();
        let error = local.take(&vol1(&folder), "vol1", "snap1", None, &Zoned::now()).unwrap_err();
        assert!(error.message.contains("/index/"), "{error}");
        assert_eq!(fs::read_dir(local.root.snapshots()).unwrap().count(), 0);
    }

    #[test]
    fn space_comes_back_even_after_a_panic() {
        let (folder, local) = repository(1, crate::progress::none());
        let taken = local.take(&vol1(&folder), "vol1", "snap1", None, &Zoned::now()).unwrap();
        assert_ne!(count_packs(&local.root.repository()), 0);
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _writing = local.writing.lock();
                let _gate = local.gate.write();
                panic!("while both are held");
            });
            panicking.join().unwrap_err();
        });
        local.delete(&[taken.id]).unwrap();
        assert_eq!(count_packs(&local.root.repository()), 0);
    }
}
