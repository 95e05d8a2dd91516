//! Taking a snapshot: a volume's folder is read, checked against what was kept, and only then
//! visible.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Zoned;
use rustic_core::{BackupOptions, SnapshotGroupCriterion, repofile::SnapshotFile};

use super::LocalRepository;
use crate::{
    daemon::{
        repository::{Backend, OpenRepository, guarded, tags},
        state::SnapshotState,
        tree::read::{ReadFailures, VolumeSource},
    },
    error::Result,
    text::counted,
};

impl LocalRepository {
    /// Takes a snapshot of a volume's `folder`. Nothing of it is visible unless all of the folder
    /// was read and written.
    ///
    /// # Errors
    /// A file that can't be read (by name), a repository that can't be written.
    pub(in crate::daemon) fn take(
        &self,
        folder: &Path,
        volume: &str,
        snapshot: &str,
        parent: Option<&SnapshotState>,
        time: &Zoned,
    ) -> Result<SnapshotState> {
        let repository = self.open()?;
        let _writing = self.one_snapshot();
        let _reading = self.reading();
        let backend = repository.backend();
        let failures = Arc::new(ReadFailures::default());
        let source = VolumeSource::new(folder, volume, failures.clone(), backend.clone());
        let file = self.new_file(volume, snapshot, time);
        let archived = self.archive(&repository, &source, volume, parent, file);
        let checked = archived.and_then(|file| check(file, volume, &failures, backend));
        let published = checked.and_then(|bytes| Ok((bytes, backend.publish()?)));
        backend.discard();
        // The reason why a file could not be read is worth more than what came of it.
        let (bytes, id) = published.map_err(|error| {
            failures.stopped().or_else(|| failures.error(volume)).unwrap_or(error)
        })?;
        if failures.vanished() > 0 {
            log::info!(
                "snapshot {snapshot} of volume {volume}: {} before anything was read of it",
                counted(failures.vanished() as usize, "file vanished", "files vanished")
            );
        }
        Ok(SnapshotState { created: time.timestamp(), id: id.to_hex().as_str().to_owned(), bytes })
    }

    /// What the snapshot's file says before anything is read.
    fn new_file(&self, volume: &str, snapshot: &str, time: &Zoned) -> SnapshotFile {
        let mut file = SnapshotFile {
            time: time.clone(),
            hostname: self.access.host.clone(),
            ..SnapshotFile::default()
        };
        file.program_version = concat!("convoy-backups ", env!("CARGO_PKG_VERSION")).into();
        file.tags = tags(&[("volume", volume), ("snapshot", snapshot)]);
        file
    }

    /// Reads the folder and writes what is new of it. The snapshot's file is held back.
    fn archive(
        &self,
        repository: &OpenRepository,
        source: &VolumeSource,
        volume: &str,
        parent: Option<&SnapshotState>,
        file: SnapshotFile,
    ) -> Result<SnapshotFile> {
        let bytes = parent.map(|parent| parent.bytes);
        let piece = self.access.progress.begin(&format!("snapshot {volume}"), bytes);
        let indexed = repository.indexed_for(&piece)?;
        repository.backend().hold_snapshots();
        let archived = guarded("the snapshot", || {
            indexed
                .archive(&options(parent), source, file, &[PathBuf::from("/").join(volume)])
                .map_err(|error| repository.failure("cannot write the snapshot", &error))
        });
        repository.forget_index();
        archived
    }
}

/// Files that are unchanged since the `parent` are not read again.
fn options(parent: Option<&SnapshotState>) -> BackupOptions {
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
    options
}

/// The bytes in the files of a snapshot that was read and kept without a failure.
fn check(
    file: SnapshotFile,
    volume: &str,
    failures: &ReadFailures,
    backend: &Backend,
) -> Result<u64> {
    let failure =
        failures.stopped().or_else(|| failures.error(volume)).or_else(|| backend.take_failure());
    if let Some(error) = failure {
        return Err(error);
    }
    let summary = file.summary.unwrap_or_default();
    failures.check(summary.total_files_processed, summary.total_dirs_processed)?;
    Ok(summary.total_bytes_processed)
}
