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

mod anew;
mod prune;
mod take;
#[cfg(test)]
mod tests;

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, atomic::AtomicU64},
};

use rustic_core::{
    FileType, WriteBackend as _,
    repofile::{Chunker, SnapshotFile, SnapshotId},
};

pub(super) use self::{
    anew::gone,
    take::{Preparation, Turn},
};
use super::{
    repository::{Access, Backend, OpenRepository, failure},
    root::Root,
    state::SnapshotState,
};
use crate::{
    error::{Error, ErrorKind, Result},
    files::{write_error, write_whole},
    progress,
    sync::{self, lock},
    text::counted,
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
    /// How often it was made anew.
    made_anew: AtomicU64,
}

impl LocalRepository {
    pub(super) fn new(root: Root, access: Access) -> Self {
        Self {
            root,
            access,
            writing: Mutex::default(),
            gate: RwLock::default(),
            open: Mutex::default(),
            made_anew: AtomicU64::new(0),
        }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    fn backend(&self) -> Backend {
        Backend::beside_volumes(&self.root.repository(), &self.access.host)
    }

    /// Holds off pruning while the guard lives.
    pub(super) fn reading(&self) -> RwLockReadGuard<'_, ()> {
        sync::read(&self.gate)
    }

    /// Holds off other snapshots while the guard lives.
    fn one_snapshot(&self) -> MutexGuard<'_, ()> {
        lock(&self.writing)
    }

    /// Opens the repository, and creates it first if there is none, or if it is damaged.
    ///
    /// # Errors
    /// If the repository's disk can't be read or written.
    pub(super) fn open(&self) -> Result<Arc<OpenRepository>> {
        let mut open = lock(&self.open);
        // What it was opened from may be gone.
        if let Some(open) = open.as_ref().filter(|_| self.backend().exists().unwrap_or_default()) {
            return Ok(open.clone());
        }
        let repository = Arc::new(self.open_or_make()?);
        *open = Some(repository.clone());
        Ok(repository)
    }

    fn open_or_make(&self) -> Result<OpenRepository> {
        match self.open_existing() {
            Ok(Some(repository)) => {
                self.keep_key(&repository)?;
                return Ok(repository);
            }
            Ok(None) => {}
            Err(error) if error.kind == ErrorKind::Repository => self.set_aside(&error)?,
            Err(error) => return Err(error),
        }
        // Copies of the snapshots of several hosts share what is the same in them.
        let (password, chunker) = (self.access.password(), Chunker::FixedSize);
        let repository = OpenRepository::create(self.backend(), password, true, chunker)?;
        self.keep_key(&repository)?;
        Ok(repository)
    }

    /// The repository, if there is one.
    fn open_existing(&self) -> Result<Option<OpenRepository>> {
        if !self.backend().exists()? {
            return Ok(None);
        }
        let key_file = self.root.repository_key();
        let kept =
            fs::read(&key_file).ok().and_then(|content| serde_json::from_slice(&content).ok());
        if let Some(key) = kept {
            match OpenRepository::open_with_key(self.backend(), key) {
                Ok(repository) => return Ok(Some(repository)),
                Err(error) => {
                    log::warn!("the key in \"{}\" is of no use: {error}", key_file.display())
                }
            }
        }
        OpenRepository::open(self.backend(), self.access.password()).map(Some)
    }

    /// Whether something of the repository is damaged or missing: an error can have other reasons.
    pub(super) fn is_damaged(&self) -> bool {
        self.damage().is_ok_and(|damage| damage.is_some())
    }

    /// What is wrong with the repository, which is only looked at.
    ///
    /// # Errors
    /// If its disk can't be read.
    pub(super) fn damage(&self) -> Result<Option<String>> {
        let opened = match self.open_existing() {
            Err(error) if error.kind == ErrorKind::Repository => return Ok(Some(error.message)),
            opened => opened?,
        };
        let Some(repository) = opened else { return Ok(None) };
        let seen = repository.look_at_all()?;
        let lost = seen.missing.len() + seen.cut.len();
        let packs = counted(lost, "pack is missing or cut", "packs are missing or cut");
        let index = repository.has_damaged_index().then(|| "an index file is damaged".to_owned());
        Ok(index.or_else(|| (lost > 0).then_some(packs)))
    }

    fn keep_key(&self, repository: &OpenRepository) -> Result<()> {
        let key_file = self.root.repository_key();
        let key = serde_json::to_vec(repository.key())
            .map_err(|error| Error::internal(error.to_string()))?;
        write_whole(&key_file, &key).map_err(|error| write_error(&key_file, &error))
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

/// What is wrong with the local snapshots in the root at this path; `None` if nothing is, or that can't be
/// seen. It changes nothing.
pub(crate) fn damage_of_snapshots(root: &Path, password: Option<String>) -> Option<String> {
    let access = Access { password, host: String::new(), progress: progress::none() };
    let local = LocalRepository::new(Root::looked_at(root), access);
    local.damage().ok().flatten()
}
