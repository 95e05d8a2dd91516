//! A repository's files, as the repository library reads and writes them.
//!
//! Two things differ from the library's own backends. Snapshot files can be held back
//! ([`Backend::hold_snapshots`]): nothing is visible until what they name was checked. And the
//! first failure is kept in plain words ([`Backend::take_failure`]), because the library wraps or
//! swallows it. Where the files are is the [`Storage`]'s matter.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use rustic_core::{
    BytesList, ErrorKind as RusticKind, FileType, Id, ReadBackend, RusticError, RusticResult,
    WriteBackend, repofile::SnapshotId,
};

use super::storage::{Folder, Storage};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// A key that is younger may be of a host that is making the repository now.
const YOUNG_KEY: Duration = Duration::from_hours(1);

/// The files of one repository, for the library.
#[derive(Debug)]
pub(crate) struct Backend {
    storage: Box<dyn Storage>,
    /// `Some` while snapshot files are held back.
    held: Mutex<Option<Vec<(Id, Bytes)>>>,
    failure: Mutex<Option<Error>>,
    /// Keys written by this process.
    keys: Mutex<Vec<Id>>,
    /// The config that this process wrote, or tried to write.
    config: Mutex<Option<Bytes>>,
    /// Tests make the disk full after so many bytes.
    #[cfg(test)]
    pub(crate) room: std::sync::Arc<Mutex<Option<u64>>>,
}

impl Backend {
    /// The backend of the repository whose files are in `storage`.
    pub(crate) fn new(storage: impl Storage + 'static) -> Self {
        Self {
            storage: Box::new(storage),
            held: Mutex::default(),
            failure: Mutex::default(),
            keys: Mutex::default(),
            config: Mutex::default(),
            #[cfg(test)]
            room: std::sync::Arc::default(),
        }
    }

    /// The backend of the repository in a folder; `host` is in the names of temporary files.
    pub(crate) fn in_folder(path: &Path, host: &str) -> Self {
        let folder = Folder::new(path, host);
        #[cfg(test)]
        return Self { room: folder.room(), ..Self::new(folder) };
        #[cfg(not(test))]
        Self::new(folder)
    }

    /// Where the repository is, in people's words.
    pub(crate) fn location(&self) -> String {
        self.storage.location()
    }

    /// Whether there is a repository.
    ///
    /// # Errors
    /// Where that can't be read: a failure is no proof that there is none. [`ErrorKind::Repository`]
    /// where only the `config` is missing: a new one would make all that is there unreadable.
    pub(crate) fn exists(&self) -> Result<bool> {
        let there = || Ok(self.storage.size(FileType::Config, &Id::default())?.is_some());
        // Another host may make it between the two looks.
        if there()? || self.storage.has_files()? && there()? {
            return Ok(true);
        }
        if !self.storage.has_files()? {
            return Ok(false);
        }
        let message =
            format!("\"{}/config\" is missing in a repository that has backups", self.location());
        Err(Error::new(ErrorKind::Repository, message)
            .with_hint("put it back from a copy; nothing was changed"))
    }

    /// From now on, snapshot files are kept in memory instead of written.
    pub(crate) fn hold_snapshots(&self) {
        *lock(&self.held) = Some(Vec::new());
        *lock(&self.failure) = None;
    }

    /// Writes the snapshot file that was held back: what it names becomes visible.
    pub(crate) fn publish(&self) -> Result<SnapshotId> {
        let held = lock(&self.held).take().unwrap_or_default();
        let [(id, content)] = held.as_slice() else {
            return Err(Error::internal(format!(
                "{} snapshot files were held back instead of one",
                held.len()
            )));
        };
        self.kept(self.storage.write(FileType::Snapshot, id, std::slice::from_ref(content)))?;
        Ok(SnapshotId::from(*id))
    }

    /// Forgets the snapshot files that were held back.
    pub(crate) fn discard(&self) {
        *lock(&self.held) = None;
    }

    /// The first failure since snapshots were held back, in the system's words.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    /// The first failure, without taking it: after it there is no use in going on.
    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.failure).clone()
    }

    /// The sizes of these packs in bytes; those that are missing are left out.
    pub(crate) fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        self.storage.pack_sizes(packs)
    }

    /// Removes the keys where there is no repository yet: making one was interrupted, and a key
    /// that does not fit would keep every host out later. Where others can't be locked out (not
    /// `alone`), a young key may be of another host that is making the repository now.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for a young key, where not `alone`.
    pub(crate) fn remove_stray_keys(&self, alone: bool) -> Result<()> {
        for (key, age) in self.storage.keys()? {
            if !alone && age.is_none_or(|age| age < YOUNG_KEY) {
                let message = format!(
                    "another host seems to be making the repository at \"{}\"",
                    self.location()
                );
                return Err(Error::new(ErrorKind::Busy, message).with_hint(
                    "try again; if it stays so, remove what is there: it has no \"config\" and so no backups",
                ));
            }
            self.storage.remove(FileType::Key, &key)?;
        }
        Ok(())
    }

    /// Removes the keys that this backend wrote, where another process made the repository. Where
    /// that is in doubt, because the fate of this backend's config is unknown, the keys stay:
    /// without them nothing would open the repository.
    pub(crate) fn remove_own_keys(&self) {
        let is_anothers = match self.storage.read(FileType::Config, &Id::default()) {
            Ok(config) => lock(&self.config).as_ref() != Some(&config),
            Err(error) => error.kind == ErrorKind::Repository,
        };
        if !is_anothers {
            return;
        }
        for key in std::mem::take(&mut *lock(&self.keys)) {
            _ = self.storage.remove(FileType::Key, &key);
        }
    }

    /// Removes the files that a process of this host left half written more than `age` ago; how
    /// many there were.
    pub(crate) fn remove_leftovers(&self, age: Duration) -> usize {
        self.storage.remove_leftovers(age)
    }

    /// How long ago a mark of this name was made; `None` where there is none.
    ///
    /// # Errors
    /// Where the mark can't be read.
    pub(crate) fn marked(&self, name: &str) -> Result<Option<Duration>> {
        self.storage.marked(name)
    }

    /// Makes a mark of this name.
    ///
    /// # Errors
    /// Where the mark can't be written.
    pub(crate) fn mark(&self, name: &str) -> Result<()> {
        self.storage.mark(name)
    }

    /// Keeps the failure, where it is the first.
    fn kept<T>(&self, done: Result<T>) -> Result<T> {
        done.inspect_err(|error| {
            lock(&self.failure).get_or_insert_with(|| error.clone());
        })
    }

    /// [`Backend::kept`], with the failure as the library's error.
    fn told<T>(&self, what: &str, done: Result<T>) -> RusticResult<T> {
        self.kept(done)
            .map_err(|error| RusticError::with_source(RusticKind::Backend, what.to_owned(), error))
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.storage.location()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.told("the repository can't be listed", self.storage.list(kind))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.told("the repository can't be read", self.storage.read(kind, id))
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.told("the repository can't be read", self.storage.read_part(kind, id, offset, length))
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        format!("{}/{}/{}", self.location(), kind.dirname(), id.to_hex().as_str())
    }
}

impl WriteBackend for Backend {
    fn create(&self) -> RusticResult<()> {
        self.told("the repository can't be made", self.storage.make())
    }

    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        _: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        if kind == FileType::Snapshot
            && let Some(held) = &mut *lock(&self.held)
        {
            held.push((*id, content.into_vec().concat().into()));
            return Ok(());
        }
        match kind {
            FileType::Key => lock(&self.keys).push(*id),
            FileType::Config => *lock(&self.config) = Some(content.slice().concat().into()),
            _ => {}
        }
        self.told("the repository can't be written", self.storage.write(kind, id, content.slice()))
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        self.told("a file of the repository can't be removed", self.storage.remove(kind, id))
    }
}
