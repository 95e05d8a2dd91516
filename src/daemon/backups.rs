//! Backups: copies of snapshots in restic-format repositories at `vfs://` and `s3://` destinations.
//!
//! A backup is a restic snapshot whose tags carry what Convoy's API tells of it ([`Record`]); its
//! host is the host that made it, its one path is `/<volume>`, its time is when the volume was
//! snapshotted. Several hosts may share a destination. As with Convoy, what names a backup there is
//! the volume's name and the backup's, whichever host made it: a listing shows the backups of all
//! hosts, and two hosts with volumes of one name share one history of it. Hosts whose volumes of
//! one name are not the same volume need a destination each (`vfs:///backups/host1`).
//!
//! Backups of several hosts run side by side (a shared `flock` on
//! `repository/convoy-backups.lock`), a delete runs alone. Where there are no locks (on S3, and on
//! some file systems), two things still hold: nothing is removed before it was unused for 23 hours,
//! and each new backup is checked, and completed where needed, before it becomes visible.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use rustic_core::{
    FileType, Id, PruneOptions, ReadBackend as _, RusticError, RusticResult, TreeId,
    WriteBackend as _,
    repofile::{IndexFile, NodeType, SnapshotFile, SnapshotId},
};

use super::{
    repository::{Access, Backend, Bucket, OpenRepository, S3Options, guarded, tags},
    snapshots::LocalRepository,
    state::{SnapshotState, VolumeState, volume_id},
};
use crate::{
    convoy::{
        ApiTime, Backup, BackupUrl, Destination, Name, VOLUME_ID,
        refusal::{never_backed_up, no_backup, no_folder, refused},
        url::DestinationKind,
    },
    error::{Error, ErrorKind, Result},
    files::write_error,
    sync::{self, lock},
};

/// How long another process's lock on a destination is waited for.
const PATIENCE: Duration = Duration::from_mins(5);
const DAY: Duration = Duration::from_hours(24);

/// What a backup's tags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// `backup-` and 16 hex digits.
    pub(crate) backup: String,
    pub(crate) volume: String,
    pub(crate) volume_created: Timestamp,
    pub(crate) volume_size: u64,
    pub(crate) snapshot: String,
    pub(crate) snapshot_created: Timestamp,
    pub(crate) created: Timestamp,
    /// The bytes of the files in it. No tag: the repository counts them itself.
    pub(crate) bytes: Option<u64>,
}

impl Record {
    fn tags(&self) -> rustic_core::StringList {
        tags(&[
            ("backup", &self.backup),
            ("volume", &self.volume),
            ("volume-created", &self.volume_created.to_string()),
            ("volume-size", &self.volume_size.to_string()),
            ("snapshot", &self.snapshot),
            ("snapshot-created", &self.snapshot_created.to_string()),
            ("created", &self.created.to_string()),
        ])
    }

    /// The record of a backup; `None` for a snapshot that this program did not make.
    fn of(file: &SnapshotFile) -> Option<Self> {
        let tags: HashMap<_, _> = file.tags.iter().filter_map(|tag| tag.split_once('=')).collect();
        let text = |name: &str| tags.get(name).map(|value| (*value).to_owned());
        let time = |name: &str| tags.get(name).and_then(|value| value.parse().ok());
        Some(Self {
            backup: text("backup")?,
            volume: text("volume")?,
            volume_created: time("volume-created").unwrap_or_default(),
            volume_size: text("volume-size").and_then(|size| size.parse().ok()).unwrap_or_default(),
            snapshot: text("snapshot")?,
            snapshot_created: time("snapshot-created").unwrap_or_else(|| file.time.timestamp()),
            created: time("created").unwrap_or_else(|| file.time.timestamp()),
            bytes: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
        })
    }

    /// The backup as the API tells of it.
    fn backup(&self, destination: &Destination, zone: &TimeZone) -> Backup {
        let time = |time: Timestamp| ApiTime::from_zoned(&time.to_zoned(zone.clone())).to_string();
        let fields = [
            ("BackupName", self.backup.clone()),
            ("BackupURL", BackupUrl::stored(destination, &self.backup, &self.volume).to_string()),
            ("CreatedTime", time(self.created)),
            ("DriverName", "vfs".to_owned()),
            ("SnapshotCreatedAt", time(self.snapshot_created)),
            ("SnapshotName", self.snapshot.clone()),
            ("VolumeCreatedAt", time(self.volume_created)),
            (VOLUME_ID, volume_id(self.volume_created)),
            ("VolumeName", self.volume.clone()),
            ("VolumeSize", self.volume_size.to_string()),
        ];
        let size = self.bytes.map(|bytes| ("BackupSize", bytes.to_string()));
        let fields = fields.into_iter().chain(size);
        Backup::new(
            fields.map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
        )
    }
}

/// The destinations that this process has used, each with its repository kept open.
pub(crate) struct Destinations {
    access: Access,
    /// This daemon's own folder.
    root: PathBuf,
    s3: S3Options,
    patience: Duration,
    known: Mutex<HashMap<String, Arc<Place>>>,
}

/// Where a destination's repository is.
enum Home {
    /// `<destination>/repository`
    Folder(PathBuf),
    /// The same in a bucket, where nobody can be locked out.
    Bucket(Bucket),
}

/// One destination.
pub(crate) struct Place {
    home: Home,
    root: PathBuf,
    access: Access,
    patience: Duration,
    open: Mutex<Option<Arc<OpenRepository>>>,
    /// Within this process, too, a delete runs alone; the backups run one after the other.
    gate: RwLock<()>,
    writing: Mutex<()>,
    /// Snapshot files already read, by id: they never change.
    files: Mutex<Vec<SnapshotFile>>,
}

impl Destinations {
    /// Those of the daemon in `root`, which is canonical.
    pub(crate) fn new(access: Access, root: PathBuf, s3: S3Options) -> Self {
        Self { access, root, s3, patience: PATIENCE, known: Mutex::default() }
    }

    /// Tests do not wait for locks.
    #[cfg(test)]
    pub(crate) fn impatient(access: Access) -> Self {
        Self {
            patience: Duration::ZERO,
            ..Self::new(access, PathBuf::from("/nowhere/at/all"), S3Options::default())
        }
    }

    /// The place of a destination.
    ///
    /// # Errors
    /// A scheme that this daemon does not have, or a folder that is not there, in Convoy's words.
    pub(crate) fn place(&self, destination: &Destination) -> Result<Arc<Place>> {
        // A wrong region must not stay in force.
        let key = destination.address();
        let known = lock(&self.known).get(&key).cloned();
        let home = match destination.kind() {
            DestinationKind::Vfs { path } if !path.is_dir() => {
                return Err(no_folder(&path.display().to_string()));
            }
            _ if let Some(known) = known => return Ok(known),
            DestinationKind::Vfs { path } => Home::Folder(path.join("repository")),
            DestinationKind::S3 { bucket, region, path } => {
                Home::Bucket(Bucket::new(&self.s3, bucket, region, path)?)
            }
            DestinationKind::Ebs { .. } => {
                return Err(refused("Driver ebs is not supported!").with_hint(
                    "the built-in daemon keeps backups in folders (vfs:///folder) and on S3 (s3://bucket@region/path)",
                ));
            }
        };
        let place = Place {
            home,
            root: self.root.clone(),
            access: self.access.clone(),
            patience: self.patience,
            open: Mutex::default(),
            gate: RwLock::default(),
            writing: Mutex::default(),
            files: Mutex::default(),
        };
        Ok(lock(&self.known).entry(key).or_insert_with(|| Arc::new(place)).clone())
    }
}

impl Place {
    fn backend(&self) -> Backend {
        match &self.home {
            Home::Folder(folder) => Backend::in_folder(folder, &self.access.host),
            Home::Bucket(bucket) => Backend::new(bucket.clone()),
        }
    }

    /// Refuses what would write into a daemon's own folder, this one's or another's: its next start
    /// would take the backups for what a crash left. They may be read, so that those which are
    /// there can be got out.
    fn refuse_roots(&self) -> Result<()> {
        let Home::Folder(folder) = &self.home else { return Ok(()) };
        let path = folder.parent().unwrap_or(folder);
        let path = path
            .canonicalize()
            .map_err(|error| Error::io(format!("cannot read \"{}\"", path.display()), &error))?;
        let is_root = |folder: &Path| {
            folder == self.root
                || folder.join("lock").is_file()
                    && ["state", "volumes"].iter().all(|name| folder.join(name).is_dir())
        };
        match path.ancestors().find(|folder| is_root(folder)) {
            Some(root) => Err(refused(format!(
                "VFS path {} can't hold backups: {} is a daemon's own folder",
                path.display(),
                root.display()
            ))
            .with_hint("choose a folder outside of it, best on another disk")),
            None => Ok(()),
        }
    }

    /// Whether there is a repository.
    ///
    /// # Errors
    /// Where it can't be read, or only a part of it is there.
    pub(crate) fn is_used(&self) -> Result<bool> {
        self.backend().exists()
    }

    /// The repository, `None` where there is none yet.
    fn existing(&self) -> Result<Option<Arc<OpenRepository>>> {
        let mut open = lock(&self.open);
        if !self.backend().exists()? {
            *open = None;
            return Ok(None);
        }
        if let Some(repository) = &*open {
            // The key fits the repository that was there before; another one may be there now.
            if repository.plain().is_ok() {
                return Ok(Some(repository.clone()));
            }
            lock(&self.files).clear();
        }
        let fresh = OpenRepository::open(self.backend(), self.access.password());
        let fresh = Arc::new(fresh.inspect_err(|_| *open = None)?);
        *open = Some(fresh.clone());
        Ok(Some(fresh))
    }

    fn existing_or_new(&self) -> Result<Arc<OpenRepository>> {
        if let Some(repository) = self.existing()? {
            return Ok(repository);
        }
        let alone = self.lock_file(true)?;
        if let Some(repository) = self.existing()? {
            return Ok(repository);
        }
        let made =
            match OpenRepository::create(self.backend(), self.access.password(), alone.is_some()) {
                Ok(made) => made,
                // Where there are no locks, another host may have been first.
                Err(error) => return self.existing()?.ok_or(error),
            };
        let made = Arc::new(made);
        *lock(&self.open) = Some(made.clone());
        Ok(made)
    }

    /// Takes the lock that other processes and hosts respect; `None` where the file system has no
    /// locks, or there is none.
    fn lock_file(&self, alone: bool) -> Result<Option<File>> {
        let Home::Folder(folder) = &self.home else { return Ok(None) };
        let path = folder.join("convoy-backups.lock");
        let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(folder);
        let opened = made.and_then(|()| {
            File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
        });
        let file = opened.map_err(|error| write_error(&path, &error))?;
        let end = Instant::now() + self.patience;
        loop {
            match if alone { file.try_lock() } else { file.try_lock_shared() } {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(200))
                }
                Err(TryLockError::WouldBlock) => {
                    let message = format!(
                        "another process holds the destination's lock \"{}\"",
                        path.display()
                    );
                    return Err(Error::new(ErrorKind::Busy, message)
                        .with_hint("try again when its backup or delete is over"));
                }
                Err(TryLockError::Error(error)) => {
                    log::warn!(
                        "\"{}\" can't be locked ({error}); going on without",
                        path.display()
                    );
                    return Ok(None);
                }
            }
        }
    }

    /// As [`Place::lock_file`], for those who only read: they keep deletes of other hosts away, if
    /// they can.
    fn reading_lock(&self) -> Result<Option<File>> {
        match self.lock_file(false) {
            // Whoever may only read the destination can't lock it either.
            Err(error) if error.kind != ErrorKind::Busy => Ok(None),
            other => other,
        }
    }

    /// Every backup that is there, with its id and its tree.
    fn records(&self, repository: &OpenRepository) -> Result<Vec<(Record, SnapshotId, TreeId)>> {
        let mut files = lock(&self.files);
        repository.backend().take_failure();
        let known = std::mem::take(&mut *files);
        let list = |known| {
            guarded("listing backups", || {
                let plain = repository.plain()?;
                plain
                    .update_all_snapshots(known)
                    .map_err(|error| repository.failure("cannot list the backups", &error))
            })
        };
        // Another host may delete a backup between its listing and its reading.
        *files = list(known).or_else(|_| list(Vec::new()))?;
        Ok(files.iter().filter_map(|file| Some((Record::of(file)?, file.id, file.tree))).collect())
    }

    /// A backup to look at or restore: others that can't be read do not stand in its way. Listing
    /// and deleting are stricter, because what is deleted depends on what else is there.
    fn found(
        &self,
        backup: &str,
        volume: &str,
    ) -> Result<(Arc<OpenRepository>, Record, SnapshotId, TreeId)> {
        let repository = self.existing()?.ok_or_else(|| no_backup(volume, backup))?;
        let (record, id, tree) = match self.records(&repository) {
            Ok(records) => find(records, backup, volume)?,
            Err(error) => {
                find(self.readable_records(&repository)?, backup, volume).map_err(|_| error)?
            }
        };
        Ok((repository, record, id, tree))
    }

    /// The backups whose files can be read, where [`Place::records`] fails; each of the others is
    /// warned of.
    fn readable_records(
        &self,
        repository: &OpenRepository,
    ) -> Result<Vec<(Record, SnapshotId, TreeId)>> {
        let backend = repository.backend();
        let unlisted = |error: &RusticError| repository.failure("cannot list the backups", error);
        let ids = backend.list(FileType::Snapshot).map_err(|error| unlisted(&error))?;
        let plain = repository.plain()?;
        let mut readable = Vec::new();
        for id in ids {
            let path = format!("{}/snapshots/{}", backend.location(), id.to_hex().as_str());
            let read = guarded("reading a backup's file", || {
                plain
                    .get_file::<SnapshotFile>(&SnapshotId::from(id))
                    .map_err(|error| repository.failure("cannot read the backup's file", &error))
            });
            match read {
                Ok(file) => readable.push(SnapshotFile { id: SnapshotId::from(id), ..file }),
                Err(error) => log::warn!("\"{path}\" is damaged, other backups are not: {error}"),
            }
        }
        let records = readable
            .iter()
            .filter_map(|file| Some((Record::of(file)?, file.id, file.tree)))
            .collect();
        *lock(&self.files) = readable;
        Ok(records)
    }

    /// The backups here, of one volume or of all.
    ///
    /// # Errors
    /// As Convoy does, for a volume that has none; and whenever one of the files can't be read.
    pub(crate) fn list(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
        zone: &TimeZone,
    ) -> Result<Vec<Backup>> {
        let records = match self.existing()? {
            Some(repository) => self.records(&repository)?,
            None => Vec::new(),
        };
        let of_it = |record: &Record| volume.is_none_or(|volume| record.volume == volume.as_str());
        let found: Vec<_> = records
            .iter()
            .filter(|(record, ..)| of_it(record))
            .map(|(r, ..)| r.backup(destination, zone))
            .collect();
        match volume {
            Some(volume) if found.is_empty() => Err(never_backed_up(volume.as_str())),
            _ => Ok(found),
        }
    }

    /// One backup, after a look at everything it needs: its folders are read, all pieces are in the
    /// index, and the packs that hold them are there, with the right sizes. What is in the packs is
    /// not read.
    ///
    /// # Errors
    /// Where there is no such backup, or something that it needs is missing.
    pub(crate) fn inspect(&self, url: &StoredUrl<'_>, zone: &TimeZone) -> Result<Backup> {
        let (repository, record, _, tree) = self.found(url.backup, url.volume)?;
        let _gate = sync::read(&self.gate);
        let _lock = self.reading_lock()?;
        repository.forget_index();
        guarded("checking the backup", || prove(&repository, tree)).map_err(|error| match error
            .kind
        {
            ErrorKind::Repository => error.context(format!(
                "backup \"{}\" of volume \"{}\" is not good",
                url.backup, url.volume
            )),
            _ => error.context(format!(
                "backup \"{}\" of volume \"{}\" can't be looked at",
                url.backup, url.volume
            )),
        })?;
        Ok(record.backup(url.destination, zone))
    }

    /// Copies a snapshot here; the backup's name.
    ///
    /// # Errors
    /// Where anything can't be read or written; then there is no backup.
    pub(crate) fn create(
        &self,
        local: &LocalRepository,
        volume: &VolumeState,
        (snapshot, state): (&str, &SnapshotState),
        now: Timestamp,
    ) -> Result<String> {
        self.refuse_roots()?;
        self.access.warn_of_plain_backups();
        let _gate = sync::read(&self.gate);
        let _writing = lock(&self.writing);
        let repository = self.existing_or_new()?;
        let _lock = self.lock_file(false)?;
        let _reading = local.reading();
        let (source, mut file) = local.source(state)?;
        let backend = repository.backend();
        backend.remove_leftovers(DAY);
        let record = Record {
            backup: format!("backup-{}", &Id::random().to_hex().as_str()[..16]),
            volume: volume.name.clone(),
            volume_created: volume.created,
            volume_size: volume.size,
            snapshot: snapshot.to_owned(),
            snapshot_created: state.created,
            created: now,
            bytes: None,
        };
        (file.parent, file.parents, file.tags) = (None, Vec::new(), record.tags());
        let tree = file.tree;

        let copy = || {
            let piece = self.access.progress.begin(&format!("backup {}", volume.name), None);
            repository.forget_index();
            backend.hold_snapshots();
            guarded("the backup", || {
                // What other hosts wrote since is not copied again.
                let into = repository.indexed_for(&piece)?;
                let copied: RusticResult<()> = source.indexed()?.copy(&into, [&file]);
                copied.map_err(|error| {
                    source
                        .backend()
                        .failure()
                        .unwrap_or_else(|| repository.failure("cannot copy the snapshot", &error))
                })
            })?;
            repository.forget_index();
            guarded("checking the backup", || prove(&repository, tree))
        };
        // What was missing then was marked as unused, or removed, by another host in the meantime:
        // the second copy writes it anew.
        let copied = copy().or_else(|error| match error.kind {
            ErrorKind::Repository if source.backend().failure().is_none() => copy(),
            _ => Err(error),
        });
        let published = copied.and_then(|()| backend.publish());
        backend.discard();
        published?;
        Ok(record.backup)
    }

    /// Restores a backup to an empty folder; what the backup's tags say.
    ///
    /// # Errors
    /// Where there is no such backup, or anything of it can't be read or written.
    pub(crate) fn restore(&self, url: &StoredUrl<'_>, target: &Path, into: &str) -> Result<Record> {
        let (repository, record, _, tree) = self.found(url.backup, url.volume)?;
        let _gate = sync::read(&self.gate);
        let _lock = self.reading_lock()?;
        repository.forget_index();
        repository.backend().take_failure();
        let total = lock(&self.files)
            .iter()
            .find(|file| file.tree == tree)
            .and_then(|f| f.summary.as_ref())
            .map(|s| s.total_bytes_processed);
        let notes = super::tree::write::Notes::default();
        let piece = self.access.progress.begin(&format!("restore {into}"), total);
        let restored = guarded("the restore", || {
            super::tree::write::restore(&repository, tree, target, &*piece, &notes)
        });
        drop(piece);
        repository.forget_index();
        for note in notes.take() {
            log::warn!("restore of volume {into}: {note}");
        }
        restored.map(|()| record)
    }

    /// Removes a backup. Space comes back a day later: until then another host's backup may rely on
    /// it.
    ///
    /// # Errors
    /// Where there is no such backup, or it can't be removed.
    pub(crate) fn delete(&self, url: &StoredUrl<'_>) -> Result<()> {
        self.refuse_roots()?;
        let _gate = sync::write(&self.gate);
        let repository = self.existing()?.ok_or_else(|| no_backup(url.volume, url.backup))?;
        let (_, id, _) = find(self.records(&repository)?, url.backup, url.volume)?;
        let _lock = self.lock_file(true)?;
        repository
            .backend()
            .remove(FileType::Snapshot, &id, false)
            .map_err(|error| repository.failure("cannot remove the backup", &error))?;
        if let Err(error) = guarded("giving back space", || self.prune(&repository)) {
            log::warn!("space of deleted backups was not given back: {error}");
        }
        Ok(())
    }

    /// Marks what is unused, and removes what was marked a day ago; at most once a day.
    fn prune(&self, repository: &OpenRepository) -> Result<()> {
        const MARK: &str = "convoy-backups.pruned";
        if repository.backend().marked(MARK)?.is_some_and(|age| age < DAY) {
            return Ok(());
        }
        repository.forget_index();
        let options = PruneOptions::default();
        let plain = repository.plain()?;
        plain
            .prune_plan(&options)
            .and_then(|plan| plain.prune(&options, plan))
            .map_err(|error| repository.failure("cannot give back space", &error))?;
        repository.backend().mark(MARK)
    }
}

fn find(
    records: Vec<(Record, SnapshotId, TreeId)>,
    backup: &str,
    volume: &str,
) -> Result<(Record, SnapshotId, TreeId)> {
    let of_it = |(record, ..): &(Record, _, _)| record.backup == backup && record.volume == volume;
    records.into_iter().find(of_it).ok_or_else(|| no_backup(volume, backup))
}

/// The parts of a stored backup's URL.
pub(crate) struct StoredUrl<'a> {
    pub(crate) destination: &'a Destination,
    pub(crate) backup: &'a str,
    pub(crate) volume: &'a str,
}

/// Proves that everything under a tree is there, without reading the files' content.
fn prove(repository: &OpenRepository, tree: TreeId) -> Result<()> {
    let broken = |what: String| {
        Error::new(ErrorKind::Repository, what)
            .with_hint(
                "\"restic check\" tells how far the damage goes; \"restic rebuild-index\" (from 0.17 on: \"repair index\") forgets what is lost, and the next backup writes it anew",
            )
    };
    let indexed = repository.indexed()?;
    let (mut seen, mut packs) = (HashSet::new(), HashSet::new());
    let mut waiting = vec![(tree, PathBuf::new())];
    while let Some((tree, path)) = waiting.pop() {
        if !seen.insert(tree) {
            continue;
        }
        let missing =
            |_| broken(format!("the folder \"{}\" is missing in the index", path.display()));
        packs.insert(indexed.get_index_entry(&tree).map_err(missing)?.pack);
        let folder = indexed.get_tree(&tree).map_err(|error| {
            repository.failure(&format!("cannot read the folder \"{}\"", path.display()), &error)
        })?;
        for node in folder.nodes {
            let path = path.join(node.name());
            for piece in node.content.iter().flatten() {
                let missing = |_| {
                    broken(format!("a piece of \"{}\" is missing in the index", path.display()))
                };
                packs.insert(indexed.get_index_entry(piece).map_err(missing)?.pack);
            }
            match (node.node_type, node.subtree) {
                (NodeType::Dir, Some(subtree)) => waiting.push((subtree, path)),
                (NodeType::Dir, None) => {
                    return Err(broken(format!(
                        "the folder \"{}\" has no content",
                        path.display()
                    )));
                }
                _ => {}
            }
        }
    }
    let unreadable = |error: &RusticError| repository.failure("cannot read the index", error);
    let sizes = repository.backend().pack_sizes(&packs.iter().map(|pack| **pack).collect())?;
    let plain = repository.plain()?;
    for index in plain.stream_files::<IndexFile>().map_err(|error| unreadable(&error))? {
        let (_, index) = index.map_err(|error| unreadable(&error))?;
        for pack in index.packs.iter().filter(|pack| packs.remove(&pack.id)) {
            let wanted = u64::from(pack.pack_size());
            let name = pack.id.to_hex();
            match sizes.get(&*pack.id) {
                Some(size) if *size == wanted => {}
                Some(size) => {
                    return Err(broken(format!(
                        "the pack {} has {size} bytes instead of {wanted}",
                        name.as_str()
                    )));
                }
                None => return Err(broken(format!("the pack {} is missing", name.as_str()))),
            }
        }
    }
    match packs.iter().next() {
        Some(pack) => Err(broken(format!("the pack {} is in no index", pack.to_hex().as_str()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_another_process_has_locked_is_busy() {
        let folder = tempfile::tempdir().unwrap();
        let access =
            Access { password: None, host: "host1".into(), progress: crate::progress::none() };
        let destination =
            Destination::parse(&format!("vfs://{}", folder.path().display())).unwrap();
        let place = Destinations::impatient(access).place(&destination).unwrap();
        let other = place.lock_file(false).unwrap().unwrap();
        assert!(place.lock_file(false).is_ok(), "backups run side by side");
        let error = place.lock_file(true).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy, "{error}");
        drop(other);
        assert!(place.lock_file(true).is_ok());
    }
}
