//! A repository's files, as rustic reads and writes them.
//!
//! One thing differs from rustic's own backends: the first failure is kept in plain words
//! ([`Backend::take_failure`]), because rustic wraps or swallows it. The [`Storage`] knows where the
//! files are.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::{
    BytesList, ErrorKind as RusticKind, FileType, Id, ReadBackend, RusticError, RusticResult,
    WriteBackend,
};

use super::{
    spool::{Spool, SpoolPlace},
    storage::{Folder, Listed, Storage},
};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// A younger key may belong to a host that is creating the repository right now.
const YOUNG_KEY: Duration = Duration::from_hours(1);

/// The files of one repository, for rustic.
#[derive(Debug)]
pub(crate) struct Backend {
    storage: Arc<dyn Storage>,
    /// Where packs wait while they are written to a slow storage.
    spool: Mutex<Option<Arc<Spool>>>,
    /// Whether [`Backend::flush`] leaves it to [`Backend::flush_gathered`] to wait.
    is_gathering: AtomicBool,
    failure: Mutex<Option<Error>>,
    /// Keys written by this process.
    keys: Mutex<Vec<Id>>,
    /// The config that this process wrote, or tried to write.
    config: Mutex<Option<Bytes>>,
    /// The config as it was listed: the library reads it next.
    listed_config: Mutex<Option<Bytes>>,
    /// The config of a repository that was found to be there: the library lists it next.
    seen_config: Mutex<Option<Bytes>>,
    /// In tests, the disk is full after this many bytes.
    #[cfg(test)]
    pub(crate) room: std::sync::Arc<Mutex<Option<u64>>>,
}

impl Backend {
    /// The backend of the repository in `storage`.
    pub(crate) fn new(storage: impl Storage + 'static) -> Self {
        Self::on(Arc::new(storage))
    }

    /// [`Backend::new`], with a storage that others may have as well.
    pub(crate) fn on(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            spool: Mutex::default(),
            is_gathering: AtomicBool::new(false),
            failure: Mutex::default(),
            keys: Mutex::default(),
            config: Mutex::default(),
            listed_config: Mutex::default(),
            seen_config: Mutex::default(),
            #[cfg(test)]
            room: std::sync::Arc::default(),
        }
    }

    /// The backend of the repository in a folder. The names of temporary files contain `host`.
    pub(crate) fn in_folder(path: &Path, host: &str) -> Self {
        Self::at(Folder::new(path, host))
    }

    /// As [`Backend::in_folder`], on the disk that volumes share: a reserve of it stays free.
    pub(crate) fn beside_volumes(path: &Path, host: &str) -> Self {
        Self::at(Folder::new(path, host).with_reserve())
    }

    fn at(folder: Folder) -> Self {
        #[cfg(test)]
        return Self { room: folder.room(), ..Self::new(folder) };
        #[cfg(not(test))]
        Self::new(folder)
    }

    /// Where the repository is, for people.
    pub(crate) fn location(&self) -> String {
        self.storage.location()
    }

    /// Whether there is a repository.
    ///
    /// # Errors
    /// If that can't be read: a failure does not prove that there is no repository.
    /// [`ErrorKind::Repository`] if only the `config` is missing, because a new one would make
    /// everything in the repository unreadable.
    pub(crate) fn exists(&self) -> Result<bool> {
        let there = || {
            if !self.is_far() {
                return Ok(self.storage.size(FileType::Config, &Id::default())?.is_some());
            }
            // Read at once: who opens the repository next needs it.
            let config = self.read_config()?;
            lock(&self.seen_config).clone_from(&config);
            Ok(config.is_some())
        };
        // Another host may create the repository between the two checks.
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

    /// The config; `None` if it is missing.
    fn read_config(&self) -> Result<Option<Bytes>> {
        match self.storage.read(FileType::Config, &Id::default()) {
            Ok(config) => Ok(Some(config)),
            Err(error) if error.kind == ErrorKind::Repository => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the first failure since the last call, in the system's words.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    /// All files of a kind, with their sizes in bytes.
    pub(crate) fn files(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        self.kept(self.storage.list(kind))
    }

    /// All files of a kind, with the times at which they were written by the storage's clock.
    pub(crate) fn files_with_times(&self, kind: FileType) -> Result<Vec<Listed>> {
        self.kept(self.storage.list_written(kind))
    }

    /// The time by the storage's clock.
    ///
    /// # Errors
    /// If the storage can't be written.
    pub(crate) fn now(&self) -> Result<Timestamp> {
        self.kept(self.storage.now())
    }

    /// Removes a file. A missing file is not an error.
    ///
    /// # Errors
    /// If it can't be removed.
    pub(crate) fn remove_file(&self, kind: FileType, id: &Id) -> Result<()> {
        self.kept(self.storage.remove(kind, id))
    }

    /// Whether files may be removed at all.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if not; another kind if the storage can't tell.
    pub(crate) fn may_remove(&self) -> Result<()> {
        self.storage.may_remove()
    }

    /// A whole file.
    pub(crate) fn read_file(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        self.kept(self.storage.read(kind, id))
    }

    /// As [`Backend::read_file`]. A failure is not kept for the library.
    pub(crate) fn read_whole(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        self.storage.read(kind, id)
    }

    /// `length` bytes of a pack, from `offset` on.
    pub(crate) fn read_pack(&self, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.kept(self.storage.read_part(FileType::Pack, id, offset, length))
    }

    /// `length` bytes of a pack of trees, from `offset` on. Unlike [`Backend::read_pack`], a
    /// failure is not kept for the library.
    pub(crate) fn read_tree(&self, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.storage.read_part(FileType::Pack, id, offset, length)
    }

    /// A large part of a pack that is read once. Less may come if the pack is too short.
    pub(crate) fn read_stretch(&self, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.storage.read_stretch(id, offset, length)
    }

    /// A file's size in bytes at the storage now; `None` if the file is missing.
    ///
    /// # Errors
    /// If the storage can't tell.
    pub(crate) fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        self.storage.size(kind, id)
    }

    /// How long ago a file was written, by the storage's clock. `None` if the file is missing, or if
    /// that time is still to come.
    ///
    /// # Errors
    /// If the storage can't tell.
    pub(crate) fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        self.storage.age(kind, id)
    }

    /// Whether writing takes longer than to a disk of this machine, as to a share or a bucket.
    pub(crate) fn is_slow(&self) -> bool {
        self.storage.is_slow()
    }

    /// Whether each read waits for an answer over the network.
    pub(crate) fn is_far(&self) -> bool {
        self.storage.is_far()
    }

    /// Writes a pack or an index file durably. Packs that were written before an index file are on
    /// disk before it.
    pub(crate) fn write_file(&self, kind: FileType, id: &Id, content: Bytes) -> Result<()> {
        let spool = lock(&self.spool).clone();
        self.kept(match spool {
            Some(spool) => spool.write(kind, id, &content),
            None => self.storage.write(kind, id, &[content]),
        })
    }

    /// Waits until what was written is where it belongs, unless it is gathered ([`Backend::gather`]).
    ///
    /// # Errors
    /// If it could not be written there.
    pub(crate) fn flush(&self) -> Result<()> {
        if self.is_gathering.load(Ordering::Acquire) { Ok(()) } else { self.flush_gathered() }
    }

    /// Waits until what was written, and gathered, is where it belongs.
    ///
    /// # Errors
    /// If it could not be written there.
    pub(crate) fn flush_gathered(&self) -> Result<()> {
        let spool = lock(&self.spool).clone();
        spool.map_or(Ok(()), |spool| self.kept(spool.flush()))
    }

    /// Lets packs and index files wait at this place until a slow storage has them, from now until
    /// the guard is dropped. `None` if that is no use, or not possible. Where writers are held meanwhile,
    /// every storage is slow: a disk that is busy, or none of the best, takes its time to sync.
    pub(crate) fn spool(&self, place: &SpoolPlace, is_held: bool) -> Option<Spooling<'_>> {
        let is_of_use = is_held || self.storage.is_slow();
        if place.most == 0 || !is_of_use || self.is_gathering.load(Ordering::Acquire) {
            return None;
        }
        let spool = Spool::new(Arc::clone(&self.storage), place).inspect_err(|error| {
            log::warn!("there is no spool, so reading waits for the upload: {error}");
        });
        *lock(&self.spool) = Some(spool.ok()?);
        Some(Spooling(self))
    }

    /// As [`Backend::spool`], for what is written by several runs while writers are held: none of them
    /// waits until it is where it belongs.
    pub(crate) fn gather(&self, place: &SpoolPlace) -> Option<Spooling<'_>> {
        let spooling = self.spool(place, true)?;
        self.is_gathering.store(true, Ordering::Release);
        Some(spooling)
    }

    /// The sizes of these packs in bytes. Missing packs are left out.
    pub(crate) fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        self.storage.pack_sizes(packs)
    }

    /// Removes keys if there is no repository yet. Creating one was interrupted, and a key without
    /// its repository would keep every host out later. If other hosts can't be locked out (not
    /// `alone`), a young key may belong to a host that is creating the repository now.
    ///
    /// Returns whether keys stay, because they may not be removed.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for a young key, if not `alone`.
    pub(crate) fn remove_stray_keys(&self, alone: bool) -> Result<bool> {
        let mut some_stay = false;
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
            match self.storage.remove(FileType::Key, &key) {
                Err(error) if error.kind == ErrorKind::Denied => some_stay = true,
                removed => removed?,
            }
        }
        Ok(some_stay)
    }

    /// Removes the keys that this backend wrote, if another process created the repository. The
    /// keys stay if it is unknown whether this backend's config was written: without them, nothing
    /// could open the repository.
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

    /// Removes unfinished files that a process of this host left more than `age` ago, and returns
    /// how many there were.
    pub(crate) fn remove_leftovers(&self, age: Duration) -> usize {
        self.storage.remove_leftovers(age)
    }

    /// The age of the mark with this name; `None` if there is no such mark.
    ///
    /// # Errors
    /// If the mark can't be read.
    pub(crate) fn marked(&self, name: &str) -> Result<Option<Duration>> {
        self.storage.marked(name)
    }

    /// Sets the mark with this name.
    ///
    /// # Errors
    /// If the mark can't be written.
    pub(crate) fn mark(&self, name: &str) -> Result<()> {
        self.storage.mark(name)
    }

    /// The storage of the files, for what is no file of the library's.
    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Keeps the failure if it is the first.
    fn kept<T>(&self, done: Result<T>) -> Result<T> {
        done.inspect_err(|error| {
            lock(&self.failure).get_or_insert_with(|| error.clone());
        })
    }

    /// As [`Backend::kept`], with the failure as an error of rustic.
    fn told<T>(&self, what: &str, done: Result<T>) -> RusticResult<T> {
        self.kept(done)
            .map_err(|error| RusticError::with_source(RusticKind::Backend, what.to_owned(), error))
    }
}

/// While this lives, what is written waits in a spool. What still waits when it is dropped is lost.
pub(crate) struct Spooling<'a>(&'a Backend);

impl Drop for Spooling<'_> {
    fn drop(&mut self) {
        let spool = lock(&self.0.spool).take();
        self.0.is_gathering.store(false, Ordering::Release);
        if let Some(spool) = spool {
            spool.close();
        }
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.storage.location()
    }

    fn list(&self, kind: FileType) -> RusticResult<Vec<Id>> {
        if kind == FileType::Config {
            // One request instead of two, each time that the library opens the repository.
            let seen = lock(&self.seen_config).take();
            let config = if seen.is_some() { Ok(seen) } else { self.read_config() };
            let config = self.told("the repository can't be listed", config)?;
            lock(&self.listed_config).clone_from(&config);
            return Ok(config.map(|_| Id::default()).into_iter().collect());
        }
        self.told("the repository can't be listed", self.storage.names(kind))
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.told("the repository can't be listed", self.storage.list(kind))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let listed = lock(&self.listed_config).take_if(|_| kind == FileType::Config);
        if let Some(config) = listed {
            return Ok(config);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_was_listed_is_not_read_again_once() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::in_folder(folder.path(), "host");
        assert!(backend.list(FileType::Config).unwrap().is_empty());
        let config = folder.path().join("config");
        std::fs::write(&config, "sealed").unwrap();
        assert_eq!(backend.list(FileType::Config).unwrap(), [Id::default()]);
        std::fs::remove_file(&config).unwrap();
        let read = || backend.read_full(FileType::Config, &Id::default());
        assert_eq!(read().unwrap(), "sealed");
        assert!(read().is_err());
    }
}
