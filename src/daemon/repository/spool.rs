//! A spool: packs wait on the volumes' disk until a slow storage has them, so that who writes them
//! does not wait.
//!
//! Packs are files in a folder of their own; threads write them to the storage, oldest first. An
//! index file waits for all packs before it, so what it names is there. What finds no room in the
//! spool goes straight to the storage. Nothing is ever read from here but to be written there, and
//! nothing is synced: what a crash leaves is removed, not used ([`remove_left`]).

use std::{
    collections::{BTreeSet, VecDeque},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use rustic_core::{FileType, Id};

use super::storage::Storage;
use crate::{
    blocking::{no_thread, panicked},
    error::{Error, ErrorKind, Result},
    files::{Room, remove_all, write_error},
    scope,
    sync::lock,
    text::counted,
    units::format_size,
};

/// So many threads write to the storage.
const THREADS: usize = 3;
/// So often who waits for the upload looks whether its run is to end.
const LOOK: Duration = Duration::from_millis(200);

/// Where packs may wait.
#[derive(Debug, Clone)]
pub(crate) struct SpoolPlace {
    /// Each spool makes a folder in it.
    pub(crate) folder: PathBuf,
    /// How many bytes may wait at most.
    pub(crate) most: u64,
}

impl SpoolPlace {
    /// How many bytes could wait here now.
    ///
    /// # Errors
    /// If that can't be seen.
    pub(crate) fn room(&self) -> io::Result<u64> {
        let existing = self.folder.ancestors().find(|folder| folder.exists());
        room(existing.unwrap_or(&self.folder)).map(|room| room.min(self.most))
    }
}

/// What the disk of a folder has free beyond the reserve, in bytes.
fn room(folder: &Path) -> io::Result<u64> {
    Ok(Room::in_folder(folder)?.bytes)
}

/// Removes what an earlier process left in the folder of spools. Returns a sentence if there was
/// anything.
pub(crate) fn remove_left(folder: &Path) -> Option<String> {
    let left = fs::read_dir(folder).ok()?.count();
    let shown = folder.display();
    let what = counted(left, "unfinished upload was", "unfinished uploads were");
    match remove_all(folder) {
        Ok(()) => (left > 0).then(|| format!("{what} removed from \"{shown}\"")),
        Err(error) => Some(format!("\"{shown}\" is of no use any more, and stays: {error}")),
    }
}

/// A spool in front of a storage.
#[derive(Debug)]
pub(super) struct Spool {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    most: u64,
    state: Mutex<State>,
    changed: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Item>,
    /// The numbers of what the storage does not have yet.
    unfinished: BTreeSet<u64>,
    next: u64,
    /// In bytes.
    used: u64,
    failure: Option<Error>,
    is_closed: bool,
    /// Whether it was told that there is no room.
    is_full: bool,
}

#[derive(Debug)]
struct Item {
    number: u64,
    kind: FileType,
    id: Id,
    size: u64,
    /// `None` for a pack, which is in a file.
    content: Option<Bytes>,
}

impl Spool {
    /// A spool in a new folder at `place`.
    ///
    /// # Errors
    /// If the folder can't be made, or no thread can be started.
    pub(super) fn new(storage: Arc<dyn Storage>, place: &SpoolPlace) -> Result<Arc<Self>> {
        let folder = place.folder.join(&Id::random().to_hex().as_str()[..16]);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| write_error(&folder, &error))?;
        let spool = Arc::new(Self {
            storage,
            folder,
            most: place.most,
            state: Mutex::default(),
            changed: Condvar::new(),
            threads: Mutex::default(),
        });
        for _ in 0..THREADS {
            let (shared, scope) = (Arc::clone(&spool), scope::current());
            let work = move || scope::within(scope, || shared.work());
            match thread::Builder::new().name("spool".into()).spawn(work) {
                Ok(thread) => lock(&spool.threads).push(thread),
                Err(error) => {
                    spool.close();
                    return Err(no_thread("cannot start a thread for the spool", &error));
                }
            }
        }
        Ok(spool)
    }

    /// Takes a pack or an index file. A pack that finds no room is written to the storage before
    /// this returns.
    ///
    /// # Errors
    /// If an earlier one could not be written to the storage, or this one.
    pub(super) fn write(&self, kind: FileType, id: &Id, content: &Bytes) -> Result<()> {
        if let Some(failure) = &lock(&self.state).failure {
            return Err(failure.clone());
        }
        let size = content.len() as u64;
        if kind != FileType::Pack {
            self.push(kind, id, 0, Some(content.clone()));
            return Ok(());
        }
        if self.takes_room(size) {
            match self.keep(id, content) {
                Ok(()) => {
                    self.push(kind, id, size, None);
                    return Ok(());
                }
                Err(error) => {
                    self.is_full(size, &format!("\"{}\": {error}", self.folder.display()))
                }
            }
        }
        self.storage.write(kind, id, std::slice::from_ref(content))
    }

    /// Waits until the storage has everything.
    ///
    /// # Errors
    /// If something could not be written, or the run is to end.
    pub(super) fn flush(&self) -> Result<()> {
        let mut state = lock(&self.state);
        if state.used > 0 {
            log::info!("all is read; {} wait to be uploaded", format_size(state.used));
        }
        while !state.unfinished.is_empty() && state.failure.is_none() {
            scope::goes_on("its backup was uploaded")?;
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.failure.clone().map_or(Ok(()), Err)
    }

    /// Ends the threads, and removes the folder with what still waits.
    pub(super) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.changed.notify_all();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            _ = thread.join();
        }
        if let Err(error) = remove_all(&self.folder) {
            log::warn!("\"{}\" stays until the next start: {error}", self.folder.display());
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn takes_room(&self, size: u64) -> bool {
        let mut state = lock(&self.state);
        let fits =
            state.used + size <= self.most && room(&self.folder).is_ok_and(|room| size <= room);
        if fits {
            state.used += size;
            return true;
        }
        drop(state);
        self.is_full(0, "its bound, or the disk's reserve, is reached");
        false
    }

    /// Gives room back that could not be used, and tells once why.
    fn is_full(&self, size: u64, why: &str) {
        let mut state = lock(&self.state);
        state.used -= size;
        if !std::mem::replace(&mut state.is_full, true) {
            drop(state);
            log::warn!("the spool takes no more for now, so reading waits for the upload: {why}");
        }
    }

    fn file(&self, id: &Id) -> PathBuf {
        self.folder.join(id.to_hex().as_str())
    }

    fn keep(&self, id: &Id, content: &[u8]) -> io::Result<()> {
        let path = self.file(id);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content).inspect_err(|_| _ = fs::remove_file(&path))
    }

    fn push(&self, kind: FileType, id: &Id, size: u64, content: Option<Bytes>) {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.unfinished.insert(number);
        state.waiting.push_back(Item { number, kind, id: *id, size, content });
        drop(state);
        self.changed.notify_all();
    }

    /// Writes to the storage until this is closed, or something fails.
    fn work(&self) {
        while let Some(item) = self.next() {
            let upload = std::panic::AssertUnwindSafe(|| self.upload(&item));
            let uploaded = std::panic::catch_unwind(upload).unwrap_or_else(|panic| {
                Err(panicked("the upload", ErrorKind::Internal, panic.as_ref()))
            });
            let mut state = lock(&self.state);
            match uploaded {
                Ok(()) => {
                    state.unfinished.remove(&item.number);
                    state.used -= item.size;
                }
                Err(error) => _ = state.failure.get_or_insert(error),
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Item> {
        let mut state = lock(&self.state);
        loop {
            if state.is_closed || state.failure.is_some() {
                return None;
            }
            let oldest = state.unfinished.first().copied();
            let is_ready = |item: &Item| item.kind == FileType::Pack || Some(item.number) == oldest;
            if state.waiting.front().is_some_and(is_ready) {
                return state.waiting.pop_front();
            }
            state = self.wait(state);
        }
    }

    fn upload(&self, item: &Item) -> Result<()> {
        if let Some(content) = &item.content {
            return self.storage.write(item.kind, &item.id, std::slice::from_ref(content));
        }
        let path = self.file(&item.id);
        self.storage.write_waiting(&item.id, &path)?;
        fs::remove_file(&path).map_err(|error| {
            Error::io(format!("cannot remove \"{}\" from the spool", path.display()), &error)
        })
    }
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
