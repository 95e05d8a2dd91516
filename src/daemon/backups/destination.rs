//! The repository of one destination, kept open, and the locks between backups and deletions.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use rustic_core::{TreeId, repofile::Chunker};

use super::{
    catalogue::Catalogue,
    damage::Damage,
    lock_file::{Use, lock_file},
    looks::Looks,
    object_locks::ObjectLocks,
    read_times::ReadTimes,
    slots::{Slot, Slots},
    written::WrittenHere,
};
use crate::{
    convoy::{Name, refusal::refused},
    daemon::{
        repository::{
            Access, Backend, Beside, Bucket, Cached, OpenRepository, ResticLock, SpoolPlace,
        },
        root::Root,
        save::Needs,
    },
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
    waiting,
};

/// Where a destination's repository is.
pub(super) enum Location {
    /// `<destination>/repository`
    Folder(PathBuf),
    /// `repository` below the destination's path in a bucket, which has no locks; and the folder for
    /// copies of its small files.
    Bucket(Bucket, PathBuf),
    /// The same as it was at a time, which is not copied.
    Past(Bucket),
}

/// The repository of one destination.
///
/// A thread that needs several of the locks takes them in the order of the fields: `deleting` or
/// `slots`, `open`, then the catalogue's. The lock files in the destination, against other processes,
/// are taken while `open` is not held.
///
/// Nothing else here keeps backups and deletions of one process apart: the lock file does, as between
/// hosts; without one, they get by with each other as those of several hosts do.
pub(in crate::daemon) struct DestinationRepository {
    pub(super) location: Location,
    /// This daemon's own root.
    root: Root,
    pub(super) access: Access,
    /// How long another's lock is waited for, unless the run says otherwise.
    lock_wait: Duration,
    /// Where packs wait for a slow destination.
    pub(super) spool: SpoolPlace,
    /// Held by a deletion, so that those of this process run one after the other.
    deleting: Mutex<()>,
    /// The backups that are made.
    slots: Slots,
    open: Mutex<Option<Arc<OpenRepository>>>,
    pub(super) catalogue: Catalogue,
    pub(super) damage: Damage,
    pub(super) looks: Looks,
    pub(super) read_times: ReadTimes,
    pub(super) written_here: WrittenHere,
    pub(super) object_locks: ObjectLocks,
    /// The backup that was made and proven last, until it is inspected.
    proven: Mutex<Vec<Proven>>,
}

/// A new backup that was proven whole.
struct Proven {
    backup: Name,
    tree: TreeId,
    needs: Needs,
    at: Instant,
}

/// So long does a proof count: the run that made a backup inspects it at once.
const PROOF_COUNTS: Duration = Duration::from_mins(5);

/// What is known of a destination's backups.
pub(super) struct Remembered {
    pub(super) catalogue: Catalogue,
    pub(super) damage: Damage,
    pub(super) looks: Looks,
    pub(super) read_times: ReadTimes,
    pub(super) written_here: WrittenHere,
    pub(super) object_locks: ObjectLocks,
}

/// So long does who only reads wait for a lock.
const READERS_WAIT: Duration = Duration::from_secs(5);

/// Unfinished files that are older than this were left by a process that has ended.
const LEFTOVER_AGE: Duration = Duration::from_hours(24);

/// A repository that a backup is being written to.
pub(super) struct Writing<'a> {
    /// Opened for this backup: what others do, and their failures, are nothing to it.
    pub(super) repository: Arc<OpenRepository>,
    _slot: Slot<'a>,
    _lock: Option<File>,
    _restic: ResticLock,
    _locking: Locking<'a>,
}

/// What is written and locked is remembered when this is dropped.
pub(super) struct Locking<'a>(pub(super) &'a DestinationRepository);

impl Drop for Locking<'_> {
    fn drop(&mut self) {
        self.0.note_locked();
    }
}

/// A deletion goes on, and nothing beside it, until this is dropped.
pub(super) struct Deleting<'a> {
    _one: MutexGuard<'a, ()>,
    lock: Option<File>,
}

impl Deleting<'_> {
    /// Whether no other process uses the destination meanwhile: where there are no locks, nothing tells.
    pub(super) fn is_alone(&self) -> bool {
        self.lock.is_some()
    }
}

impl DestinationRepository {
    pub(super) fn new(
        location: Location,
        root: Root,
        access: Access,
        (lock_wait, spool): (Duration, SpoolPlace),
        remembered: Remembered,
    ) -> Self {
        let Remembered { catalogue, damage, looks, read_times, written_here, object_locks } =
            remembered;
        Self {
            location,
            root,
            damage,
            looks,
            read_times,
            access,
            lock_wait,
            spool,
            deleting: Mutex::default(),
            slots: Slots::default(),
            open: Mutex::default(),
            catalogue,
            written_here,
            object_locks,
            proven: Mutex::default(),
        }
    }

    fn backend(&self) -> Backend {
        match &self.location {
            Location::Folder(folder) => Backend::in_folder(folder, &self.access.host),
            Location::Bucket(bucket, copies) => {
                Backend::new(Cached::new(bucket.clone(), copies.clone()))
            }
            Location::Past(bucket) => Backend::new(bucket.clone()),
        }
    }

    /// Refuses to write into the root of any daemon, because its next start would take the backups
    /// for the remains of a crash, and into the past. Existing backups may be read, so that they can be
    /// recovered.
    pub(in crate::daemon) fn refuse_writing(&self) -> Result<()> {
        let folder = match &self.location {
            Location::Folder(folder) => folder,
            Location::Bucket(..) => return Ok(()),
            Location::Past(bucket) => return bucket.refuse_past(),
        };
        let path = folder.parent().unwrap_or(folder);
        let path = path
            .canonicalize()
            .map_err(|error| Error::io(format!("cannot read \"{}\"", path.display()), &error))?;
        let is_root = |folder: &&Path| *folder == self.root.path() || Root::is_one(folder);
        match path.ancestors().find(is_root) {
            Some(root) => Err(refused(format!(
                "VFS path {} can't hold backups: {} is a daemon's own folder",
                path.display(),
                root.display()
            ))
            .with_hint("choose a folder outside of it, best on another disk")),
            None => Ok(()),
        }
    }

    /// Whether the destination has a repository.
    ///
    /// # Errors
    /// If the destination can't be read, or if only a part of a repository is there.
    pub(in crate::daemon) fn is_used(&self) -> Result<bool> {
        self.backend().exists()
    }

    /// The repository; `None` if there is none yet.
    pub(super) fn existing(&self) -> Result<Option<Arc<OpenRepository>>> {
        let mut open = lock(&self.open);
        // The key fits the repository that was opened before. Another one may be there now, or none.
        if let Some(repository) = open.as_ref().filter(|repository| repository.plain().is_ok()) {
            return Ok(Some(repository.clone()));
        }
        let backend = self.backend();
        if !backend.exists()? {
            *open = None;
            return Ok(None);
        }
        if open.is_some() {
            self.catalogue.clear();
        }
        let fresh = OpenRepository::open(backend, self.access.password());
        let fresh = Arc::new(fresh.inspect_err(|_| *open = None)?);
        *open = Some(fresh.clone());
        Ok(Some(fresh))
    }

    /// The repository, created if there is none.
    fn existing_or_new(&self) -> Result<Arc<OpenRepository>> {
        if let Some(repository) = self.existing()? {
            return Ok(repository);
        }
        let alone = self.lock_file(Use::Alone)?;
        if let Some(repository) = self.existing()? {
            return Ok(repository);
        }
        let (password, alone) = (self.access.password(), alone.is_some());
        let made = match OpenRepository::create(self.backend(), password, alone, Chunker::Rabin) {
            Ok(made) => made,
            // Without locks, another host may have created the repository first.
            Err(error) => return self.existing()?.ok_or(error),
        };
        let made = Arc::new(made);
        *lock(&self.open) = Some(made.clone());
        Ok(made)
    }

    /// Takes what a backup needs: the repository, made if there is none, and all its locks.
    ///
    /// # Errors
    /// If the destination is a daemon's own folder, can't be written, or is locked for too long, also by
    /// restic; or if the run is to end.
    pub(super) fn begin_backup(&self) -> Result<Writing<'_>> {
        self.refuse_writing()?;
        self.access.warn_of_plain_backups();
        let slot = self.slots.take()?;
        let repository = Arc::new(self.existing_or_new()?.again(self.backend()));
        let until = Instant::now() + self.lock_wait();
        let lock = self.lock_within(Use::Beside, self.lock_wait())?;
        let restic = self.restic_lock(&repository, Beside::Others, left(until))?;
        repository.backend().remove_leftovers(LEFTOVER_AGE);
        self.look_before(&repository);
        self.keep_locked(&repository)?;
        let locking = Locking(self);
        Ok(Writing { repository, _slot: slot, _lock: lock, _restic: restic, _locking: locking })
    }

    /// Takes what a deletion needs.
    ///
    /// # Errors
    /// As [`DestinationRepository::begin_backup`].
    pub(super) fn begin_deletion(&self, repository: &OpenRepository) -> Result<Deleting<'_>> {
        let until = Instant::now() + self.lock_wait();
        let what = format!("the destination \"{}\"", repository.backend().location());
        let one = waiting::lock(&self.deleting, &what, self.lock_wait())?;
        let lock = self.lock_within(Use::Alone, left(until))?;
        ResticLock::wait(repository, left(until))?;
        Ok(Deleting { _one: one, lock })
    }

    /// Keeps away what restic does against what is to be done here.
    ///
    /// # Errors
    /// As [`ResticLock::take`].
    pub(super) fn restic_lock(
        &self,
        repository: &Arc<OpenRepository>,
        beside: Beside,
        wait: Duration,
    ) -> Result<ResticLock> {
        ResticLock::take(repository, &self.access.host, beside, wait)
    }

    /// How long another's lock is waited for.
    pub(super) fn lock_wait(&self) -> Duration {
        scope::lock_wait().unwrap_or(self.lock_wait)
    }

    /// Remembers that a new backup was proven whole.
    pub(super) fn proven(&self, backup: Name, tree: TreeId, needs: Needs) {
        let mut all = lock(&self.proven);
        all.retain(|proven| proven.at.elapsed() < PROOF_COUNTS);
        all.push(Proven { backup, tree, needs, at: Instant::now() });
    }

    /// Whether the backup with this tree is the new one, and all that it was proven by is still there.
    /// Every proof counts once, and for a few minutes.
    pub(super) fn is_new_and_whole(
        &self,
        repository: &OpenRepository,
        backup: &Name,
        tree: TreeId,
    ) -> bool {
        let mut all = lock(&self.proven);
        let of_it = all.extract_if(.., |proven| proven.backup == *backup).last();
        drop(all);
        let Some(proven) = of_it else { return false };
        proven.tree == tree
            && proven.at.elapsed() < PROOF_COUNTS
            && self.has_all(repository, &proven.needs)
    }

    /// Whether all that a tree relies on is there, and none of it is known to be damaged. If not, or
    /// if that can't be read, a proof tells why.
    pub(super) fn has_all(&self, repository: &OpenRepository, needs: &Needs) -> bool {
        self.damage.is_empty() && needs.are_met(repository).unwrap_or_default()
    }

    /// Takes a lock that other processes and hosts respect. `None` if the file system has no locks, or
    /// if the destination is a bucket.
    ///
    /// # Errors
    /// As [`lock_file`].
    pub(super) fn lock_file(&self, use_for: Use) -> Result<Option<File>> {
        self.lock_within(use_for, self.lock_wait())
    }

    fn lock_within(&self, use_for: Use, wait: Duration) -> Result<Option<File>> {
        match &self.location {
            Location::Folder(folder) => lock_file(folder, use_for, wait),
            Location::Bucket(..) | Location::Past(..) => Ok(None),
        }
    }

    /// Holds off others that give back room, if possible. Nobody who reads is refused: what a backup
    /// needs stays, and what a deleted one needs stays for a day.
    ///
    /// # Errors
    /// If the run is to end.
    pub(super) fn reading_lock(&self) -> Result<Option<File>> {
        let Location::Folder(folder) = &self.location else { return Ok(None) };
        match lock_file(folder, Use::Beside, self.lock_wait().min(READERS_WAIT)) {
            Err(error) if error.kind != ErrorKind::Cancelled => {
                log::debug!("reading without a lock: {error}");
                Ok(None)
            }
            taken => taken,
        }
    }
}

/// How long there is until then.
fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
