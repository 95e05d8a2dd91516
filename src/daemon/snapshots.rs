//! The root's own repository: the snapshots of its volumes.
//!
//! The volumes lie beside the repository unencrypted, so the repository's key is kept beside it too
//! (`repository.key`, readable by the owner only). Opening the repository with the key costs
//! nothing. The repository was created with the password of that day, which `restic` needs to read
//! it. Changing the password later does not change the repository, and does not matter here.
//!
//! The repository's backend keeps the first failure while a snapshot is taken
//! ([`Backend::failure`]), so only the holder of `writing` uses that backend. All other work has
//! its own backend. It can neither fail a snapshot nor hide why one failed.

mod prune;
mod take;
#[cfg(test)]
mod tests;

use std::{
    fs,
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard},
};

use rustic_core::{
    FileType, WriteBackend as _,
    repofile::{Chunker, SnapshotFile, SnapshotId},
};

pub(super) use self::take::{Preparation, Turn};
use super::{
    repository::{Access, Backend, OpenRepository, failure},
    root::Root,
    state::SnapshotState,
};
use crate::{
    error::{Error, Result},
    files::{write_error, write_whole},
    sync::{self, lock},
};

/// The root's own repository. It is created with the first snapshot.
///
/// A thread that needs several of these locks takes them in the order of the fields.
pub(super) struct LocalRepository {
    root: Root,
    access: Access,
    /// Held while a snapshot is taken, so that only one is taken at a time.
    writing: Mutex<()>,
    /// Shared by readers of packs. Pruning packs holds it alone.
    gate: RwLock<()>,
    open: Mutex<Option<Arc<OpenRepository>>>,
}

impl LocalRepository {
    pub(super) fn new(root: Root, access: Access) -> Self {
        Self {
            root,
            access,
            writing: Mutex::default(),
            gate: RwLock::default(),
            open: Mutex::default(),
        }
    }

    fn backend(&self) -> Backend {
        Backend::in_folder(&self.root.repository(), &self.access.host)
    }

    /// Holds off pruning while the guard lives.
    pub(super) fn reading(&self) -> RwLockReadGuard<'_, ()> {
        sync::read(&self.gate)
    }

    /// Holds off other snapshots while the guard lives.
    fn one_snapshot(&self) -> MutexGuard<'_, ()> {
        lock(&self.writing)
    }

    /// Opens the repository, and creates it first if there is none.
    ///
    /// # Errors
    /// If the repository can't be opened or created.
    pub(super) fn open(&self) -> Result<Arc<OpenRepository>> {
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
            // Copies of the snapshots of several hosts share what is the same in them.
            let chunker = Chunker::FixedSize;
            OpenRepository::create(self.backend(), self.access.password(), true, chunker)?
        };
        let key = serde_json::to_vec(repository.key())
            .map_err(|error| Error::internal(error.to_string()))?;
        write_whole(&key_file, &key).map_err(|error| write_error(&key_file, &error))?;
        Ok(repository)
    }

    /// A snapshot's file, and a second handle of the repository to read the snapshot's data.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(super) fn source(
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

    /// Removes snapshots, and frees the space that only they used unless a backup is being made.
    ///
    /// # Errors
    /// If a snapshot can't be removed. Failing to free space is only a warning.
    pub(super) fn delete(&self, ids: &[String]) -> Result<()> {
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
}
