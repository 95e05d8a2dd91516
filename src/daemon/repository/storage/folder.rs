//! A repository in a folder, local or on a network share.
//!
//! Every file is written under a temporary name in the same repository, synced and renamed. So a
//! crash or a full disk never leaves an incomplete file under its real name. rustic's own local
//! backend writes in place.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use rustic_core::{FileType, Id};
use rustix::fs::OFlags;

use super::{LARGEST_LOCK, LOCKS, Storage, file_name, lock_name};
use crate::{
    error::{Error, ErrorKind, Result},
    files::{age, is_lost, real_path, rename_to_new, sync_folder, write_error},
    mount_table::{MountPoint, holding, mounts},
    sync::lock,
};

/// How many packs are kept open for reading. A restore reads the same pack many times in a row.
const OPEN_PACKS: usize = 8;
/// The folder for files that are being written.
const TEMPORARY: &str = "tmp";

/// A repository's folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Temporary files are named `<host>-<drawn>-<serial>`. A process id is not enough, because ids
    /// repeat in containers.
    host: String,
    drawn: String,
    serial: AtomicU64,
    /// Folders with renames, or with removals that others rely on, that are not synced yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    /// Held while folders are synced.
    syncing: Mutex<()>,
    packs: Mutex<Vec<(Id, Arc<File>)>>,
    /// In tests, the disk is full after this many bytes.
    #[cfg(test)]
    room: Arc<Mutex<Option<u64>>>,
}

impl Folder {
    /// The repository in `path`. The names of temporary files contain `host`.
    pub(crate) fn new(path: &Path, host: &str) -> Self {
        Self {
            path: path.to_owned(),
            host: host.replace('/', "_"),
            drawn: Id::random().to_hex().as_str()[..16].to_owned(),
            serial: AtomicU64::new(0),
            unsynced: Mutex::default(),
            syncing: Mutex::default(),
            packs: Mutex::default(),
            #[cfg(test)]
            room: Arc::default(),
        }
    }

    /// How many more bytes can be written in a test; `None` for no limit.
    #[cfg(test)]
    pub(crate) fn room(&self) -> Arc<Mutex<Option<u64>>> {
        self.room.clone()
    }

    fn file(&self, kind: FileType, id: &Id) -> PathBuf {
        self.path.join(file_name(kind, id))
    }

    fn try_write(&self, kind: FileType, target: &Path, parts: &[Bytes]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary =
            self.path.join(TEMPORARY).join(format!("{}-{}-{serial}", self.host, self.drawn));
        #[cfg(test)]
        self.spend(parts.iter().map(|part| part.len() as u64).sum())?;
        // If a file already has this name, another process made it, and it must not be removed.
        let new = || File::options().write(true).create_new(true).mode(0o600).open(&temporary);
        let file = new().or_else(|error| {
            // A repository that another program made may have no such folder.
            if error.kind() != io::ErrorKind::NotFound || !self.path.join("config").exists() {
                return Err(error);
            }
            fs::DirBuilder::new()
                .mode(0o700)
                .create(self.path.join(TEMPORARY))
                .or_else(is_there)?;
            new()
        })?;
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
            // Two hosts may create the repository at the same moment. The second must not replace
            // the config that the first one's keys belong to.
            rename_to_new(temporary, target)?;
            return sync_folder(&folder);
        }
        // An index or a snapshot must not be visible before its packs are on disk, including their
        // names; nor an index that lacks what only a removed snapshot needed, while a power cut could
        // bring that back.
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

    /// Syncs the folders of all renames and removals so far. If that fails, the next call tries again.
    fn sync_folders(&self) -> io::Result<()> {
        // Who finds nothing to sync must wait for whoever is syncing it.
        let _syncing = lock(&self.syncing);
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
            Some(room) if *room < bytes => {
                Err(io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error()))
            }
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

    /// The files of the repository in one of its folders. What has another name, or is no file, does not
    /// belong to it. restic ignores another name, too.
    fn entries(folder: &Path) -> io::Result<Vec<(Id, fs::DirEntry)>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let named = |entry: fs::DirEntry| {
            let id = entry.file_name().to_str().filter(|name| name.len() == 64)?.parse().ok()?;
            // Who opens a pipe waits for another to do so.
            let is_file = |kind: fs::FileType| kind.is_file() || kind.is_symlink();
            entry.file_type().map_or(true, is_file).then_some((id, entry))
        };
        entries.filter_map(|entry| entry.map(named).transpose()).collect()
    }

    fn list_folder(folder: &Path, found: &mut Vec<(Id, u32)>) -> io::Result<()> {
        for (id, entry) in Self::entries(folder)? {
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
                Ok(metadata) => {
                    found.push((Id::default(), u32::try_from(metadata.len()).unwrap_or(u32::MAX)))
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            FileType::Pack => {
                for byte in 0..=u8::MAX {
                    let folder = self.path.join("data").join(format!("{byte:02x}"));
                    Self::list_folder(&folder, &mut found)?;
                }
            }
            _ => Self::list_folder(&self.path.join(kind.dirname()), &mut found)?,
        }
        Ok(found)
    }
}

/// Somebody else may have made a folder at the same time.
fn is_there(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

/// The error for a file that can't be read. A missing file is a fault of the repository and not of
/// the disk, because another host may have removed the file. What a disk can't read is lost, and what is
/// cut off.
fn read_error(path: &Path, error: &io::Error) -> Error {
    let is_too_short = error.kind() == io::ErrorKind::UnexpectedEof;
    let is_missing = error.kind() == io::ErrorKind::NotFound;
    let is_damage = is_missing || is_too_short || is_lost(error, path);
    let kind = if is_damage { ErrorKind::Repository } else { ErrorKind::Io };
    Error::new(kind, format!("cannot read \"{}\": {error}", path.display()))
        .with_hint("look whether the disk or share is well; if something is lost, back up again, which stores what the volumes still have")
}

impl Storage for Folder {
    fn is_slow(&self) -> bool {
        let mounts = mounts().unwrap_or_default();
        holding(&mounts, &real_path(&self.path)).is_some_and(MountPoint::is_remote)
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn make(&self) -> Result<()> {
        for folder in [TEMPORARY, "data", "index", "keys", LOCKS, "snapshots"] {
            let path = self.path.join(folder);
            let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(&path);
            made.map_err(|error| write_error(&path, &error))?;
        }
        Ok(())
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        self.try_list(kind).map_err(|error| read_error(&self.path.join(kind.dirname()), &error))
    }

    fn names(&self, kind: FileType) -> Result<Vec<Id>> {
        if matches!(kind, FileType::Config | FileType::Pack) {
            return Ok(self.list(kind)?.into_iter().map(|(id, _)| id).collect());
        }
        let folder = self.path.join(kind.dirname());
        let entries = Self::entries(&folder).map_err(|error| read_error(&folder, &error))?;
        Ok(entries.into_iter().map(|(id, _)| id).collect())
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        let path = self.file(kind, id);
        fs::read(&path).map(Bytes::from).map_err(|error| read_error(&path, &error))
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        let path = || self.file(kind, id);
        let read = || {
            let file =
                if kind == FileType::Pack { self.pack(id)? } else { Arc::new(File::open(path())?) };
            let mut content = vec![0; length as usize];
            file.read_exact_at(&mut content, u64::from(offset))?;
            Ok(Bytes::from(content))
        };
        read().map_err(|error| read_error(&path(), &error))
    }

    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()> {
        let target = self.file(kind, id);
        self.try_write(kind, &target, parts).map_err(|error| write_error(&target, &error))
    }

    fn remove(&self, kind: FileType, id: &Id) -> Result<()> {
        lock(&self.packs).retain(|(open, _)| open != id);
        let path = self.file(kind, id);
        let failed =
            |error: &io::Error| Error::io(format!("cannot remove \"{}\"", path.display()), error);
        if kind == FileType::Pack {
            // The index files that named it must not come back.
            self.sync_folders().map_err(|error| failed(&error))?;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            // No one relies on it that a pack without an index stays away.
            _ if kind == FileType::Pack => {}
            _ => lock(&self.unsynced).extend(path.parent().map(Path::to_owned)),
        }
        Ok(())
    }

    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        let path = self.file(kind, id);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read \"{}\"", path.display()), &error)),
        }
    }

    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        let path = self.file(kind, id);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(written) => Ok(written.elapsed().ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read \"{}\"", path.display()), &error)),
        }
    }

    fn has_files(&self) -> Result<bool> {
        let mut folders = ["snapshots", "index", "data"].map(|name| self.path.join(name)).to_vec();
        while let Some(folder) = folders.pop() {
            let unreadable = |error: io::Error| {
                Error::io(format!("cannot read \"{}\"", folder.display()), &error)
            };
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(unreadable)?,
            };
            for entry in entries {
                let entry = entry.map_err(unreadable)?;
                if entry.file_type().map_err(unreadable)?.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name().len() == 64 {
                    // A file with another name does not belong to the repository.
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        let Ok(keys) = fs::read_dir(self.path.join("keys")) else { return Ok(Vec::new()) };
        let aged = |key: fs::DirEntry| {
            let id = key.file_name().to_str()?.parse().ok()?;
            let modified = key.metadata().and_then(|metadata| metadata.modified()).ok();
            Some((id, modified.map(age)))
        };
        Ok(keys.flatten().filter_map(aged).collect())
    }

    fn remove_leftovers(&self, age: Duration) -> usize {
        let Ok(entries) = fs::read_dir(self.path.join(TEMPORARY)) else { return 0 };
        let old = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            // The names of hosts may have hyphens.
            let name = entry.file_name();
            let host = name.to_str().and_then(|name| name.rsplitn(3, '-').nth(2));
            host == Some(&self.host) && modified.is_ok_and(|time| crate::files::age(time) >= age)
        };
        entries
            .flatten()
            .filter(|entry| old(entry) && fs::remove_file(entry.path()).is_ok())
            .count()
    }

    fn locks(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        let folder = self.path.join(LOCKS);
        let entries = Self::entries(&folder).map_err(|error| read_error(&folder, &error))?;
        let aged = |(id, entry): (Id, fs::DirEntry)| {
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
            (id, modified.map(age))
        };
        Ok(entries.into_iter().map(aged).collect())
    }

    fn read_lock(&self, id: &Id) -> Result<Option<Bytes>> {
        let path = self.path.join(lock_name(id));
        // Who opens a pipe waits for another to do so, and a link may lead anywhere.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let mut content = Vec::new();
        let read = File::options().read(true).custom_flags(flags).open(&path);
        let read = read.and_then(|file| file.take(LARGEST_LOCK + 1).read_to_end(&mut content));
        match read {
            Ok(length) => Ok((length as u64 <= LARGEST_LOCK).then(|| content.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(read_error(&path, &error)),
        }
    }

    fn write_lock(&self, id: &Id, content: Bytes) -> Result<()> {
        let path = self.path.join(lock_name(id));
        // As a pack, on which nothing depends.
        self.try_write(FileType::Pack, &path, &[content])
            .map_err(|error| write_error(&path, &error))
    }

    fn remove_lock(&self, id: &Id) -> Result<()> {
        let path = self.path.join(lock_name(id));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove \"{}\"", path.display()), &error))
            }
            _ => Ok(()),
        }
    }

    fn marked(&self, name: &str) -> Result<Option<Duration>> {
        let path = self.path.join(name);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(time) => Ok(Some(age(time))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(read_error(&path, &error)),
        }
    }

    fn mark(&self, name: &str) -> Result<()> {
        // Under a temporary name that no other mark and no other host has.
        let path = self.path.join(name);
        self.try_write(FileType::Snapshot, &path, &[]).map_err(|error| write_error(&path, &error))
    }
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
