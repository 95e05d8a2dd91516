//! A folder in restic's layout, as the repository library reads and writes it.
//!
//! Three things differ from the library's own local backend. Every file is written under a temporary name in the same
//! repository, synced, and renamed, so that a crash or a full disk never leaves half a file under a real name. Snapshot
//! files can be held back ([`FolderBackend::hold_snapshots`]): nothing is visible until what they name was checked. And the
//! first failure is kept in plain words ([`FolderBackend::take_failure`]), because the library wraps or swallows it.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rustic_core::{
    BytesList, ErrorKind as RusticKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend,
    repofile::SnapshotId,
};

use super::files::{rename_to_new, sync_folder};
use crate::error::{Error, ErrorKind};

/// Packs kept open for reading: a restore reads the same pack many times in a row.
const OPEN_PACKS: usize = 8;

/// Where files are while they are written.
const TEMPORARY: &str = "tmp";

/// A repository's folder.
#[derive(Debug)]
pub(crate) struct FolderBackend {
    path: PathBuf,
    /// Temporary files are called `<host>-<drawn>-<serial>`: in containers, process ids repeat.
    host: String,
    drawn: String,
    serial: AtomicU64,
    /// `Some` while snapshot files are held back.
    held: Mutex<Option<Vec<(Id, Bytes)>>>,
    failure: Mutex<Option<Error>>,
    /// Folders with renames that are not yet on disk.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    packs: Mutex<Vec<(Id, Arc<File>)>>,
    /// Keys written by this process.
    keys: Mutex<Vec<Id>>,
    /// Tests make the disk full after so many bytes.
    #[cfg(test)]
    pub(crate) room: Mutex<Option<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FolderBackend {
    /// The backend of the repository in `path`; `host` is in the names of temporary files.
    pub(crate) fn new(path: &Path, host: &str) -> Self {
        Self {
            path: path.to_owned(),
            host: host.replace('/', "_"),
            drawn: Id::random().to_hex().as_str()[..16].to_owned(),
            serial: AtomicU64::new(0),
            held: Mutex::default(),
            failure: Mutex::default(),
            unsynced: Mutex::default(),
            packs: Mutex::default(),
            keys: Mutex::default(),
            #[cfg(test)]
            room: Mutex::default(),
        }
    }

    /// The repository's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// From now on, snapshot files are kept in memory instead of written.
    pub(crate) fn hold_snapshots(&self) {
        *lock(&self.held) = Some(Vec::new());
        *lock(&self.failure) = None;
    }

    /// Writes the snapshot file that was held back: what it names becomes visible.
    pub(crate) fn publish(&self) -> Result<SnapshotId, Error> {
        let held = lock(&self.held).take().unwrap_or_default();
        let [(id, content)] = held.as_slice() else {
            return Err(Error::internal(format!("{} snapshot files were held back instead of one", held.len())));
        };
        self.write(FileType::Snapshot, id, std::slice::from_ref(content))?;
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

    /// The same, left where it is: there is no use in going on after it.
    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.failure).clone()
    }

    /// The size of a pack in bytes, `None` where it is missing.
    pub(crate) fn pack_size(&self, id: &Id) -> Result<Option<u64>, Error> {
        let path = self.file(FileType::Pack, id);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read \"{}\"", path.display()), &error)),
        }
    }

    /// Removes the keys in a folder that has no repository yet: making one was interrupted, and a key that does not fit would keep
    /// everybody out later. Where others can't be locked out (not `alone`), young keys may be another host's, just at work.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] for such young keys.
    pub(crate) fn remove_stray_keys(&self, alone: bool) -> Result<(), Error> {
        let Ok(keys) = fs::read_dir(self.path.join("keys")) else { return Ok(()) };
        for key in keys.flatten() {
            let age =
                key.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed().unwrap_or_default());
            if !alone && age.is_ok_and(|age| age < Duration::from_hours(1)) {
                let message = format!("another host seems to be making the repository at \"{}\"", self.path.display());
                return Err(Error::new(ErrorKind::Busy, message).with_hint(
                    "try again; if it stays so, remove this folder, which has no \"config\" and so no backups",
                ));
            }
            fs::remove_file(key.path()).map_err(|error| write_error(&key.path(), &error))?;
        }
        Ok(())
    }

    /// Removes the keys that this backend wrote: it was not the one that made the repository.
    pub(crate) fn remove_own_keys(&self) {
        for key in std::mem::take(&mut *lock(&self.keys)) {
            _ = fs::remove_file(self.file(FileType::Key, &key));
        }
    }

    /// Removes what a process of this host left half written more than `age` ago; how many files there were.
    pub(crate) fn remove_leftovers(&self, age: Duration) -> usize {
        let Ok(entries) = fs::read_dir(self.path.join(TEMPORARY)) else { return 0 };
        let mine = format!("{}-", self.host);
        let old = |entry: &fs::DirEntry| {
            let age_of = entry.metadata().and_then(|m| m.modified()).map(|time| time.elapsed().unwrap_or_default());
            entry.file_name().to_string_lossy().starts_with(&mine) && age_of.is_ok_and(|it| it >= age)
        };
        entries.flatten().filter(|entry| old(entry) && fs::remove_file(entry.path()).is_ok()).count()
    }

    fn file(&self, kind: FileType, id: &Id) -> PathBuf {
        let name = id.to_hex();
        match kind {
            FileType::Config => self.path.join("config"),
            FileType::Pack => self.path.join("data").join(&name.as_str()[..2]).join(name.as_str()),
            _ => self.path.join(kind.dirname()).join(name.as_str()),
        }
    }

    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<(), Error> {
        let target = self.file(kind, id);
        let result = self.try_write(kind, &target, parts);
        result.map_err(|error| {
            let error = write_error(&target, &error);
            lock(&self.failure).get_or_insert_with(|| error.clone());
            error
        })
    }

    fn try_write(&self, kind: FileType, target: &Path, parts: &[Bytes]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = self.path.join(TEMPORARY).join(format!("{}-{}-{serial}", self.host, self.drawn));
        #[cfg(test)]
        self.spend(parts.iter().map(|part| part.len() as u64).sum())?;
        // What has this name already is not ours to remove.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = self.write_and_rename(kind, file, &temporary, target, parts);
        if written.is_err() {
            _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write_and_rename(
        &self,
        kind: FileType,
        mut file: File,
        temporary: &Path,
        target: &Path,
        parts: &[Bytes],
    ) -> io::Result<()> {
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        let folder = target.parent().unwrap_or(&self.path).to_owned();
        if kind == FileType::Config {
            // Two hosts may make the repository at the same moment: the second one must not replace the first one's keys.
            rename_to_new(temporary, target)?;
            return sync_folder(&folder);
        }
        // An index or a snapshot must not be seen before the packs it names are on disk, names included.
        if kind != FileType::Pack {
            self.sync_folders()?;
        }
        match fs::rename(temporary, target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::DirBuilder::new().mode(0o700).recursive(true).create(&folder)?;
                lock(&self.unsynced).extend(folder.parent().map(Path::to_owned));
                fs::rename(temporary, target)?;
            }
            other => other?,
        }
        lock(&self.unsynced).insert(folder);
        if kind == FileType::Pack { Ok(()) } else { self.sync_folders() }
    }

    /// Puts the renames so far on disk; where that fails, the next one tries again.
    fn sync_folders(&self) -> io::Result<()> {
        let unsynced = std::mem::take(&mut *lock(&self.unsynced));
        let synced = unsynced.iter().try_for_each(|folder| sync_folder(folder));
        if synced.is_err() {
            lock(&self.unsynced).extend(unsynced);
        }
        synced
    }

    #[cfg(test)]
    fn spend(&self, bytes: u64) -> io::Result<()> {
        match &mut *lock(&self.room) {
            Some(room) if *room < bytes => Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())),
            Some(room) => {
                *room -= bytes;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn pack(&self, id: &Id) -> io::Result<Arc<File>> {
        let mut packs = lock(&self.packs);
        if let Some(at) = packs.iter().position(|(open, _)| open == id) {
            return Ok(packs[at].1.clone());
        }
        let file = Arc::new(File::open(self.file(FileType::Pack, id))?);
        if packs.len() == OPEN_PACKS {
            packs.remove(0);
        }
        packs.push((*id, file.clone()));
        Ok(file)
    }

    fn list_folder(&self, folder: &Path, found: &mut Vec<(Id, u32)>) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            // What has another name is not of the repository: restic, too, leaves such files alone.
            let Some(id) = entry.file_name().to_str().filter(|name| name.len() == 64).and_then(|n| n.parse().ok())
            else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) => found.push((id, u32::try_from(metadata.len()).unwrap_or(u32::MAX))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn try_list(&self, kind: FileType) -> io::Result<Vec<(Id, u32)>> {
        let mut found = Vec::new();
        match kind {
            FileType::Config => match fs::metadata(self.path.join("config")) {
                Ok(metadata) => found.push((Id::default(), u32::try_from(metadata.len()).unwrap_or(u32::MAX))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            FileType::Pack => {
                for byte in 0..=u8::MAX {
                    self.list_folder(&self.path.join("data").join(format!("{byte:02x}")), &mut found)?;
                }
            }
            _ => self.list_folder(&self.path.join(kind.dirname()), &mut found)?,
        }
        Ok(found)
    }

    /// The library's error for a read that failed; it is kept, too.
    fn read_failure(&self, path: &Path, error: &io::Error) -> Box<RusticError> {
        // A file that is gone is the repository's matter, not the disk's: another host may have removed it.
        let kind = if error.kind() == io::ErrorKind::NotFound { ErrorKind::Repository } else { ErrorKind::Io };
        let error = Error::new(kind, format!("cannot read \"{}\": {error}", path.display()))
            .with_hint("the repository is damaged or not reachable; \"restic check\" tells how far");
        lock(&self.failure).get_or_insert_with(|| error.clone());
        RusticError::with_source(RusticKind::Backend, "the repository's folder can't be read", error)
    }
}

/// What failed to be written, with what to do about it.
pub(crate) fn write_error(path: &Path, error: &io::Error) -> Error {
    let what = Error::io(format!("cannot write \"{}\"", path.display()), error);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            what.with_hint("make room there and try again; nothing half written counts")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            what.with_hint("let the user that this program runs as write there")
        }
        _ => what,
    }
}

impl ReadBackend for FolderBackend {
    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.try_list(kind).map_err(|error| self.read_failure(&self.path.join(kind.dirname()), &error))
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let path = self.file(kind, id);
        fs::read(&path).map(Bytes::from).map_err(|error| self.read_failure(&path, &error))
    }

    fn read_partial(&self, kind: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        let path = || self.file(kind, id);
        let read = || {
            let file = if kind == FileType::Pack { self.pack(id)? } else { Arc::new(File::open(path())?) };
            let mut content = vec![0; length as usize];
            file.read_exact_at(&mut content, u64::from(offset))?;
            Ok(Bytes::from(content))
        };
        read().map_err(|error| self.read_failure(&path(), &error))
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.file(kind, id).display().to_string()
    }
}

impl WriteBackend for FolderBackend {
    fn create(&self) -> RusticResult<()> {
        for folder in [TEMPORARY, "data", "index", "keys", "locks", "snapshots"] {
            let path = self.path.join(folder);
            if let Err(error) = fs::DirBuilder::new().mode(0o700).recursive(true).create(&path) {
                let error = write_error(&path, &error);
                lock(&self.failure).get_or_insert_with(|| error.clone());
                return Err(RusticError::with_source(RusticKind::Backend, "the repository can't be made", error));
            }
        }
        Ok(())
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _: bool, content: BytesList) -> RusticResult<()> {
        if kind == FileType::Snapshot
            && let Some(held) = &mut *lock(&self.held)
        {
            held.push((*id, content.into_vec().concat().into()));
            return Ok(());
        }
        if kind == FileType::Key {
            lock(&self.keys).push(*id);
        }
        self.write(kind, id, content.slice()).map_err(|error| {
            RusticError::with_source(RusticKind::Backend, "the repository's folder can't be written", error)
        })
    }

    fn remove(&self, kind: FileType, id: &Id, _: bool) -> RusticResult<()> {
        lock(&self.packs).retain(|(open, _)| open != id);
        let path = self.file(kind, id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let error = Error::new(ErrorKind::Io, format!("cannot remove \"{}\": {error}", path.display()));
                lock(&self.failure).get_or_insert_with(|| error.clone());
                Err(RusticError::with_source(RusticKind::Backend, "a file of the repository can't be removed", error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(folder: &Path) -> FolderBackend {
        let backend = FolderBackend::new(folder, "host1");
        backend.create().unwrap();
        backend
    }

    #[test]
    fn an_index_is_not_seen_before_its_packs_are_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path());
        let pack_folder = folder.path().join("data/ab");
        lock(&backend.unsynced).insert(pack_folder.clone());
        let (id, content) = (Id::random(), [Bytes::from_static(b"index")]);
        // The folder is not there, so it can't be put on disk.
        backend.write(FileType::Index, &id, &content).unwrap_err();
        assert!(!backend.file(FileType::Index, &id).exists());
        backend.write(FileType::Index, &id, &content).expect_err("what failed once is tried again");
        fs::create_dir(pack_folder).unwrap();
        backend.write(FileType::Index, &id, &content).unwrap();
        assert!(backend.file(FileType::Index, &id).exists() && lock(&backend.unsynced).is_empty());
        assert_eq!(fs::read_dir(folder.path().join(TEMPORARY)).unwrap().count(), 0);
    }

    #[test]
    fn what_another_process_has_half_written_is_neither_in_the_way_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (backend, other) = (backend(folder.path()), FolderBackend::new(folder.path(), "host1"));
        let mine = |serial: u64| folder.path().join(TEMPORARY).join(format!("host1-{}-{serial}", backend.drawn));
        let of_process = format!("host1-{}-0", std::process::id());
        fs::write(folder.path().join(TEMPORARY).join(of_process), "").unwrap();
        fs::write(mine(0), "of another, by a miracle").unwrap();
        other.write(FileType::Index, &Id::random(), &[]).unwrap();
        backend.write(FileType::Index, &Id::random(), &[]).unwrap_err();
        assert!(mine(0).exists());
        assert_eq!(backend.remove_leftovers(Duration::ZERO), 2, "both are of this host");
        backend.write(FileType::Index, &Id::random(), &[]).unwrap();
    }

    #[test]
    fn a_file_that_is_gone_is_a_matter_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let backend = backend(folder.path());
        backend.read_partial(FileType::Pack, &Id::random(), false, 0, 1).unwrap_err();
        assert_eq!(backend.take_failure().unwrap().kind, ErrorKind::Repository);
        // A folder where a file should be can't be read, and no second try helps.
        let id = Id::random();
        fs::create_dir(backend.file(FileType::Index, &id)).unwrap();
        backend.read_full(FileType::Index, &id).unwrap_err();
        assert_eq!(backend.take_failure().unwrap().kind, ErrorKind::Io);
    }
}
