//! The backups in a repository.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use rustic_core::{
    FileType, Id, ReadBackend as _, TreeId,
    repofile::{SnapshotFile, SnapshotId},
};

use super::record::{Record, StoredUrl};
use crate::{
    convoy::{Name, Origin},
    daemon::identity::Identity,
    daemon::repository::{OpenRepository, SnapshotFiles, guarded},
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// A backup in a repository.
#[derive(Clone)]
pub(super) struct StoredBackup {
    pub(super) record: Record,
    pub(super) origin: Option<Origin>,
    pub(super) id: SnapshotId,
    pub(super) tree: TreeId,
}

impl StoredBackup {
    fn key(&self) -> BackupKey {
        (self.record.backup.clone(), self.record.volume.clone())
    }

    fn is(&self, url: &StoredUrl<'_>) -> bool {
        self.record.backup == *url.backup && self.record.volume == *url.volume
    }
}

/// The backups of one repository.
pub(super) struct Catalogue {
    /// Who this daemon's root is.
    identity: Arc<Identity>,
    known: Mutex<Known>,
    /// The files that are no backups and were warned of, so that each is warned of once.
    warned_of: Mutex<HashSet<SnapshotId>>,
    /// The files of each backup that several files say to be, where nothing tells which one is.
    unclear: Mutex<HashMap<BackupKey, Vec<SnapshotId>>>,
}

/// What was read of a repository. A snapshot file never changes, so it is read once.
#[derive(Default)]
struct Known {
    files: Vec<SnapshotFile>,
    /// Files that never were of this repository.
    foreign: HashSet<Id>,
    /// The backups in `files`.
    backups: Arc<Vec<StoredBackup>>,
    /// Whether there was a list.
    is_listed: bool,
    /// The files in the last list that could not be read, and why.
    unread: Vec<(Id, Error)>,
    /// Whether a backup was deleted since, which may change what is said of the others' origins.
    is_behind: bool,
}

impl Known {
    /// Whether these are the files in a list.
    fn are_of(&self, ids: &[Id]) -> bool {
        let listed: HashSet<&Id> = ids.iter().collect();
        self.is_whole()
            && !self.is_behind
            && listed.len() == self.files.len() + self.foreign.len()
            && self.files.iter().all(|file| listed.contains(&*file.id))
            && self.foreign.iter().all(|id| listed.contains(id))
    }

    /// Whether every file in the last list could be read.
    fn is_whole(&self) -> bool {
        self.is_listed && self.unread.is_empty()
    }
}

/// The names of a backup and its volume.
type BackupKey = (Name, Name);

impl Catalogue {
    /// The backups as the root with this identity sees them.
    pub(super) fn new(identity: Arc<Identity>) -> Self {
        Self {
            identity,
            known: Mutex::default(),
            warned_of: Mutex::default(),
            unclear: Mutex::default(),
        }
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Forgets the files that were read, because the destination may hold another repository now.
    pub(super) fn clear(&self) {
        *lock(&self.known) = Known::default();
    }

    /// Forgets a backup that was deleted.
    pub(super) fn forget(&self, id: SnapshotId) {
        let mut known = lock(&self.known);
        known.files.retain(|file| file.id != id);
        Arc::make_mut(&mut known.backups).retain(|backup| backup.id != id);
        known.is_behind = true;
    }

    /// All backups in the repository.
    ///
    /// # Errors
    /// If one of the backups can't be read.
    pub(super) fn all(&self, repository: &OpenRepository) -> Result<Arc<Vec<StoredBackup>>> {
        let known = self.listed(repository)?;
        match known.unread.first() {
            Some((_, error)) => Err(error.clone()),
            None => Ok(known.backups.clone()),
        }
    }

    /// The backups that can be read. Each file that can't be is warned of once.
    ///
    /// # Errors
    /// If the storage fails.
    pub(super) fn readable(&self, repository: &OpenRepository) -> Result<Arc<Vec<StoredBackup>>> {
        let known = self.listed(repository)?;
        for (id, error) in &known.unread {
            self.warn_of(repository, SnapshotId::from(*id), || {
                format!("is damaged, other backups are not: {error}")
            });
        }
        Ok(known.backups.clone())
    }

    /// The backups that were there when they were listed last; none, if they never were.
    pub(super) fn listed_last(&self) -> Arc<Vec<StoredBackup>> {
        lock(&self.known).backups.clone()
    }

    /// What is there now. What was read before is not read again.
    fn listed(&self, repository: &OpenRepository) -> Result<MutexGuard<'_, Known>> {
        let mut known = lock(&self.known);
        let backend = repository.backend();
        backend.take_failure();
        let list = || {
            let ids = backend.list(FileType::Snapshot);
            ids.map_err(|error| repository.failure("cannot list the backups", &error))
        };
        let ids = list()?;
        if known.are_of(&ids) {
            return Ok(known);
        }
        let Known { files, foreign, .. } = std::mem::take(&mut *known);
        let mut now = files_of(repository, &ids, (files, foreign))?;
        if !now.unread.is_empty() {
            // Another host may delete a backup after it was listed and before it is read.
            backend.take_failure();
            let still: HashSet<Id> = list()?.into_iter().collect();
            now.unread.retain(|(id, _)| still.contains(id));
        }
        for id in &now.foreign {
            self.warn_of(repository, SnapshotId::from(*id), || {
                "was not written with the key of this repository, and is ignored".to_owned()
            });
        }
        now.backups = Arc::new(self.backups_in(repository, &now.files));
        *known = now;
        Ok(known)
    }

    /// The backups among these files. A file whose tags can't be this program's is no backup: the
    /// other members of a repository can write what they like.
    fn backups_in(&self, repository: &OpenRepository, files: &[SnapshotFile]) -> Vec<StoredBackup> {
        let mut backups = Vec::new();
        for file in files {
            match Record::of(file) {
                Ok(Some(record)) => {
                    backups.push(StoredBackup {
                        record,
                        origin: None,
                        id: file.id,
                        tree: file.tree,
                    });
                }
                Ok(None) => {}
                Err(error) => self.warn_of(repository, file.id, || {
                    format!("is no backup of this program, and is ignored: {error}")
                }),
            }
        }
        self.tell_origins(&mut backups);
        self.without_twins(repository, backups)
    }

    /// The backups without those of which another file has the name: the other members of a
    /// repository can write that, too. The one that names this root counts. If several or none do,
    /// none counts: a deletion or a restore might take the wrong one.
    fn without_twins(
        &self,
        repository: &OpenRepository,
        backups: Vec<StoredBackup>,
    ) -> Vec<StoredBackup> {
        let mut files: HashMap<BackupKey, Vec<usize>> = HashMap::new();
        for (index, backup) in backups.iter().enumerate() {
            files.entry(backup.key()).or_default().push(index);
        }
        files.retain(|_, files| files.len() > 1);
        let mut ignored = HashSet::new();
        let mut unclear: HashMap<BackupKey, Vec<SnapshotId>> = HashMap::new();
        for (key, twins) in files {
            let is_here = |index: &&usize| backups[**index].origin == Some(Origin::Here);
            let here: Vec<usize> = twins.iter().filter(is_here).copied().collect();
            let what = format!("backup \"{}\" of volume \"{}\"", key.0, key.1);
            let sure = if let [sure] = here[..] { Some(sure) } else { None };
            for index in twins.iter().filter(|index| Some(**index) != sure) {
                let id = backups[*index].id;
                self.warn_of(repository, id, || match sure {
                    Some(_) => format!("has the name of {what}, which is another file, and is ignored"),
                    None => format!("is one of {} files that say to be {what}: none counts, until the others are removed", twins.len()),
                });
                ignored.insert(*index);
                if sure.is_none() {
                    unclear.entry(key.clone()).or_default().push(id);
                }
            }
        }
        *lock(&self.unclear) = unclear;
        let mut index = 0..;
        let is_sure = |_: &StoredBackup| index.next().is_some_and(|it| !ignored.contains(&it));
        backups.into_iter().filter(is_sure).collect()
    }

    /// Warns of a file in the repository, once.
    fn warn_of(&self, repository: &OpenRepository, id: SnapshotId, what: impl FnOnce() -> String) {
        if lock(&self.warned_of).insert(id) {
            log::warn!("\"{}\" {}", file_of(repository, id), what());
        }
    }

    fn tell_origins(&self, backups: &mut [StoredBackup]) {
        let identity = &*self.identity;
        // Another root has a volume with this id, and is no copy of this root: this root is a copy
        // of it, or both are copies, made before version 0.1.0 named roots.
        let shared: HashSet<String> = backups
            .iter()
            .map(|backup| &backup.record)
            .filter(|record| record.root.is_some())
            .filter(|record| {
                identity.origin(record.root.as_deref(), false) == Some(Origin::Elsewhere)
            })
            .filter(|record| record.copy_of.as_deref() != Some(identity.id()))
            .map(|record| record.volume_id.clone())
            .collect();
        for StoredBackup { record, origin, .. } in backups {
            *origin = identity.origin(record.root.as_deref(), shared.contains(&record.volume_id));
        }
    }

    /// One backup, for a deletion. What is deleted depends on the other backups, so all of them
    /// must have been readable when they were listed last. It may be gone since then.
    ///
    /// # Errors
    /// If there is no such backup, or if any backup can't be read.
    pub(super) fn find(
        &self,
        repository: &OpenRepository,
        url: &StoredUrl<'_>,
    ) -> Result<StoredBackup> {
        let known = {
            let known = lock(&self.known);
            let is_it = |found: &&StoredBackup| found.is(url);
            known.is_whole().then(|| known.backups.iter().find(is_it).cloned()).flatten()
        };
        known.map_or_else(|| self.find_in(repository, &self.all(repository)?, url), Ok)
    }

    /// Whether a backup is in the repository now. The storage itself is asked: neither the list in
    /// memory nor a copy on this host tells what another host has deleted.
    ///
    /// # Errors
    /// If that can't be read.
    pub(super) fn is_there(
        &self,
        repository: &OpenRepository,
        url: &StoredUrl<'_>,
    ) -> Result<bool> {
        let backup = match self.find(repository, url) {
            Ok(backup) => backup,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        let size = repository.backend().size(FileType::Snapshot, &backup.id)?;
        Ok(size.is_some_and(|size| size > 0))
    }

    fn find_in(
        &self,
        repository: &OpenRepository,
        backups: &[StoredBackup],
        url: &StoredUrl<'_>,
    ) -> Result<StoredBackup> {
        if let Some(found) = backups.iter().find(|found| found.is(url)) {
            return Ok(found.clone());
        }
        let key = (url.backup.clone(), url.volume.clone());
        let unclear = lock(&self.unclear);
        let Some(files) = unclear.get(&key) else { return Err(url.missing()) };
        let files: Vec<_> =
            files.iter().map(|id| format!("\"{}\"", file_of(repository, *id))).collect();
        let message = format!(
            "{} files say to be backup \"{}\" of volume \"{}\": {}",
            files.len(),
            key.0,
            key.1,
            files.join(", ")
        );
        Err(Error::new(ErrorKind::Repository, message).with_hint(
            "only one can be: look at them (restic snapshots, restic diff), and remove the others (restic forget)",
        ))
    }

    /// One backup, for an inspection or a restore. Other backups that can't be read do not matter.
    ///
    /// # Errors
    /// If there is no such backup, or if no backup at all can be read.
    pub(super) fn find_readable(
        &self,
        repository: &OpenRepository,
        url: &StoredUrl<'_>,
    ) -> Result<StoredBackup> {
        let found = self.find_all_readable(repository, std::slice::from_ref(url))?.pop();
        found.unwrap_or_else(|| Err(url.missing()))
    }

    /// As [`Catalogue::find_readable`], for many backups.
    ///
    /// # Errors
    /// If no backup at all can be read.
    pub(super) fn find_all_readable(
        &self,
        repository: &OpenRepository,
        urls: &[StoredUrl<'_>],
    ) -> Result<Vec<Result<StoredBackup>>> {
        let (backups, unlisted) = match self.all(repository) {
            Ok(backups) => (backups, None),
            Err(error) => (self.readable(repository)?, Some(error)),
        };
        // The file of a backup that is not found may be the one that can't be read.
        let find = |url| {
            let found = self.find_in(repository, &backups, url);
            found.map_err(|absent| unlisted.clone().unwrap_or(absent))
        };
        Ok(urls.iter().map(find).collect())
    }

    /// The bytes in the files of the backup with this tree, if they were counted.
    pub(super) fn bytes(&self, tree: TreeId) -> Option<u64> {
        let known = lock(&self.known);
        let file = known.files.iter().find(|file| file.tree == tree)?;
        file.summary.as_ref().map(|summary| summary.total_bytes_processed)
    }
}

/// The files of snapshots, in the order of these ids. Those that are known, as files or as foreign, are
/// not read again.
fn files_of(
    repository: &OpenRepository,
    ids: &[Id],
    (files, foreign): (Vec<SnapshotFile>, HashSet<Id>),
) -> Result<Known> {
    let mut files: HashMap<Id, SnapshotFile> =
        files.into_iter().map(|file| (*file.id, file)).collect();
    let is_new = |id: &&Id| !files.contains_key(*id) && !foreign.contains(*id);
    let new: Vec<Id> = ids.iter().filter(is_new).copied().collect();
    let SnapshotFiles { read, unread, foreign: also_foreign } =
        guarded("listing backups", || repository.snapshot_files(&new))?;
    files.extend(read.into_iter().map(|file| (*file.id, file)));
    let foreign = ids.iter().filter(|id| foreign.contains(*id)).copied();
    Ok(Known {
        foreign: foreign.chain(also_foreign).collect(),
        files: ids.iter().filter_map(|id| files.remove(id)).collect(),
        unread,
        is_listed: true,
        ..Known::default()
    })
}

/// The file of a backup, as people find it.
fn file_of(repository: &OpenRepository, id: SnapshotId) -> String {
    format!("{}/snapshots/{}", repository.backend().location(), id.to_hex().as_str())
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
