//! Which backups a repository has.

use std::sync::Mutex;

use rustic_core::{
    FileType, ReadBackend as _, RusticError, TreeId,
    repofile::{SnapshotFile, SnapshotId},
};

use super::record::{Record, StoredUrl};
use crate::{
    convoy::refusal::no_backup,
    daemon::repository::{OpenRepository, guarded},
    error::Result,
    sync::lock,
};

/// A backup in a repository.
pub(super) struct StoredBackup {
    pub(super) record: Record,
    pub(super) id: SnapshotId,
    pub(super) tree: TreeId,
}

impl StoredBackup {
    /// `None` for a snapshot that this program did not make.
    fn of(file: &SnapshotFile) -> Option<Self> {
        Some(Self { record: Record::of(file)?, id: file.id, tree: file.tree })
    }
}

/// The backups of one repository.
#[derive(Default)]
pub(super) struct Catalogue {
    /// The snapshot files read so far: a file never changes.
    files: Mutex<Vec<SnapshotFile>>,
}

impl Catalogue {
    /// Forgets what was read: another repository may be there now.
    pub(super) fn clear(&self) {
        lock(&self.files).clear();
    }

    /// Every backup that is there.
    ///
    /// # Errors
    /// Where one of them can't be read.
    pub(super) fn all(&self, repository: &OpenRepository) -> Result<Vec<StoredBackup>> {
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
        Ok(files.iter().filter_map(StoredBackup::of).collect())
    }

    /// One backup, for a delete: what is deleted depends on what else is there, so every backup
    /// must be readable.
    ///
    /// # Errors
    /// Where there is no such backup, or one can't be read.
    pub(super) fn find(
        &self,
        repository: &OpenRepository,
        url: &StoredUrl<'_>,
    ) -> Result<StoredBackup> {
        find(self.all(repository)?, url)
    }

    /// One backup, to inspect or restore: others that can't be read do not stand in its way.
    ///
    /// # Errors
    /// Where there is no such backup, or no file of one can be read.
    pub(super) fn find_readable(
        &self,
        repository: &OpenRepository,
        url: &StoredUrl<'_>,
    ) -> Result<StoredBackup> {
        match self.all(repository) {
            Ok(backups) => find(backups, url),
            Err(error) => find(self.readable(repository)?, url).map_err(|_| error),
        }
    }

    /// The backups whose files can be read, with a warning of each that can't.
    fn readable(&self, repository: &OpenRepository) -> Result<Vec<StoredBackup>> {
        let backend = repository.backend();
        let unlisted = |error: &RusticError| repository.failure("cannot list the backups", error);
        let ids = backend.list(FileType::Snapshot).map_err(|error| unlisted(&error))?;
        let plain = repository.plain()?;
        let mut readable = Vec::new();
        for id in ids {
            let path = format!("{}/snapshots/{}", backend.location(), id.to_hex().as_str());
            let id = SnapshotId::from(id);
            let read = guarded("reading a backup's file", || {
                plain
                    .get_file::<SnapshotFile>(&id)
                    .map_err(|error| repository.failure("cannot read the backup's file", &error))
            });
            match read {
                Ok(file) => readable.push(SnapshotFile { id, ..file }),
                Err(error) => log::warn!("\"{path}\" is damaged, other backups are not: {error}"),
            }
        }
        let backups = readable.iter().filter_map(StoredBackup::of).collect();
        *lock(&self.files) = readable;
        Ok(backups)
    }

    /// The bytes in the files of the backup with this tree, where they were counted.
    pub(super) fn bytes(&self, tree: TreeId) -> Option<u64> {
        let files = lock(&self.files);
        let file = files.iter().find(|file| file.tree == tree)?;
        file.summary.as_ref().map(|summary| summary.total_bytes_processed)
    }
}

fn find(backups: Vec<StoredBackup>, url: &StoredUrl<'_>) -> Result<StoredBackup> {
    let is_it = |found: &StoredBackup| {
        found.record.backup == url.backup && found.record.volume == url.volume
    };
    backups.into_iter().find(is_it).ok_or_else(|| no_backup(url.volume, url.backup))
}
