//! A repository in a folder, local or on a network share.
//!
//! Every file is written under a temporary name in the same repository, synced and renamed. So a
//! crash or a full disk never leaves an incomplete file under its real name. rustic's own local
//! backend writes in place.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::{FileType, Id};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW};

use super::{
    super::limits::largest_file, LARGEST_LOCK, LOCKS, Listed, Storage, file_name, lock_name,
};
use crate::{
    error::{Error, ErrorKind, Result},
    files::{Beneath, Room, age, is_lost, real_path, write_error},
    mount_table::{MountPoint, holding, mounts},
    sync::lock,
};

/// How many packs are kept open for reading. A restore reads the same pack many times in a row.
const OPEN_PACKS: usize = 8;
/// The folder for files that are being written.
const TEMPORARY: &str = "tmp";

/// The present, by the clock of the file system.
const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

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
    /// Whether packs leave a reserve of the disk free.
    has_reserve: bool,
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
            has_reserve: false,
            #[cfg(test)]
            room: Arc::default(),
        }
    }

    /// The same, and packs leave a reserve of the disk free. What is small may take it: an index file that names
    /// what is there makes that of use.
    pub(crate) fn with_reserve(self) -> Self {
        Self { has_reserve: true, ..self }
    }

    /// How many more bytes can be written in a test; `None` for no limit.
    #[cfg(test)]
    pub(crate) fn room(&self) -> Arc<Mutex<Option<u64>>> {
        self.room.clone()
    }

    fn file(&self, kind: FileType, id: &Id) -> PathBuf {
        self.path.join(file_name(kind, id))
    }

    /// A folder of the repository, by its path in it. Somebody trusted named the folder that the repository
    /// is in, and nobody whom everything below it belongs to.
    fn folder(&self, below: &Path) -> io::Result<Beneath> {
        let above = match self.path.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        let name = self.path.file_name().unwrap_or(OsStr::new("."));
        let repository = Beneath::of(above)?.folder(name)?;
        below.components().try_fold(repository, |folder, name| folder.folder(name))
    }

    /// The folder of a file, and its name there.
    fn place(&self, path: &Path) -> io::Result<(Beneath, OsString)> {
        let below = path.strip_prefix(&self.path).unwrap_or(path);
        let name = below.file_name().unwrap_or_default().to_owned();
        Ok((self.folder(below.parent().unwrap_or(Path::new("")))?, name))
    }

    /// What is known of a file; `None` if it is missing.
    fn metadata(&self, path: &Path) -> io::Result<Option<fs::Metadata>> {
        match self.place(path).and_then(|(folder, name)| folder.metadata(name)) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_write(&self, kind: FileType, target: &Path, parts: &[Bytes]) -> io::Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = OsString::from(format!("{}-{}-{serial}", self.host, self.drawn));
        let length = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        #[cfg(test)]
        self.spend(length)?;
        if self.has_reserve && kind == FileType::Pack && Room::in_folder(&self.path)?.bytes < length
        {
            let why = "what is left of the disk is kept free for the volumes on it";
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        let unfinished = self.folder(Path::new(TEMPORARY)).or_else(|error| {
            // A repository that another program made may have no such folder.
            let repository = self.folder(Path::new(""))?;
            if error.kind() != io::ErrorKind::NotFound || repository.metadata("config").is_err() {
                return Err(error);
            }
            repository.make_folder(TEMPORARY)?;
            repository.folder(TEMPORARY)
        })?;
        // If a file already has this name, another process made it, and it must not be removed.
        let file = unfinished.create(&temporary)?;
        let written = self.write_and_rename(kind, file, (&unfinished, &temporary), target, parts);
        if written.is_err() {
            _ = unfinished.remove(&temporary);
        }
        written
    }

    fn write_and_rename(
        &self,
        kind: FileType,
        mut file: File,
        (unfinished, temporary): (&Beneath, &OsStr),
        target: &Path,
        parts: &[Bytes],
    ) -> io::Result<()> {
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        let path = target.parent().unwrap_or(&self.path).to_owned();
        let name = target.file_name().unwrap_or_default();
        if kind == FileType::Config {
            // Two hosts may create the repository at the same moment. The second must not replace
            // the config that the first one's keys belong to.
            let (folder, _) = self.place(target)?;
            unfinished.rename_to_new(temporary, &folder, name)?;
            return folder.sync();
        }
        // An index or a snapshot must not be visible before its packs are on disk, including their
        // names; nor an index that lacks what only a removed snapshot needed, while a power cut could
        // bring that back.
        if kind != FileType::Pack {
            self.sync_folders()?;
        }
        let folder = match self.place(target) {
            Ok((folder, _)) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let below = path.strip_prefix(&self.path).unwrap_or(&path);
                let mut folder = self.folder(Path::new(""))?;
                for part in below.components() {
                    folder.make_folder(part)?;
                    folder = folder.folder(part)?;
                }
                lock(&self.unsynced).extend(path.parent().map(Path::to_owned));
                folder
            }
            Err(error) => return Err(error),
        };
        unfinished.rename(temporary, &folder, name)?;
        lock(&self.unsynced).insert(path);
        if kind == FileType::Pack { Ok(()) } else { self.sync_folders() }
    }

    /// Syncs the folders of all renames and removals so far. If that fails, the next call tries again.
    fn sync_folders(&self) -> io::Result<()> {
        // Who finds nothing to sync must wait for whoever is syncing it.
        let _syncing = lock(&self.syncing);
        let unsynced = std::mem::take(&mut *lock(&self.unsynced));
        let sync = |path: &PathBuf| {
            let below = path.strip_prefix(&self.path).unwrap_or(Path::new(""));
            self.folder(below)?.sync()
        };
        let synced = unsynced.iter().try_for_each(sync);
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
        let file = Arc::new(self.open(&self.file(FileType::Pack, id))?);
        if packs.len() == OPEN_PACKS {
            packs.remove(0);
        }
        packs.push((*id, file.clone()));
        Ok(file)
    }

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<File> {
        let (folder, name) = self.place(path)?;
        folder.open(name)
    }

    /// The folder of the repository with this path in it, and the files that are there. What has another
    /// name, or is no file, does not belong to it. restic ignores another name, too. `None` if there is no
    /// such folder.
    fn entries(&self, below: &Path) -> io::Result<Option<(Beneath, Vec<Id>)>> {
        let folder = match self.folder(below) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            folder => folder?,
        };
        let named = |(name, kind): (OsString, rustix::fs::FileType)| {
            let id = name.to_str().filter(|name| name.len() == 64)?.parse().ok()?;
            let may_be_file =
                matches!(kind, rustix::fs::FileType::RegularFile | rustix::fs::FileType::Unknown);
            may_be_file.then_some(id)
        };
        let ids = folder.entries()?.into_iter().filter_map(named).collect();
        Ok(Some((folder, ids)))
    }

    /// Passes each file of a folder to `each`, with what is known of it.
    fn look(&self, below: &Path, mut each: impl FnMut(Id, fs::Metadata)) -> io::Result<()> {
        let Some((folder, ids)) = self.entries(below)? else { return Ok(()) };
        for id in ids {
            match folder.metadata(id.to_hex().as_str()) {
                Ok(metadata) if metadata.is_file() => each(id, metadata),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The files of a folder, with their ages if these are known.
    fn aged(&self, folder: &str) -> io::Result<Vec<(Id, Option<Duration>)>> {
        let mut found = Vec::new();
        self.look(Path::new(folder), |id, metadata| {
            found.push((id, metadata.modified().ok().map(age)));
        })?;
        Ok(found)
    }

    fn try_list(&self, kind: FileType) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        let mut add = |id, metadata: fs::Metadata| found.push(listed(id, &metadata));
        match kind {
            FileType::Config => {
                let config = self.metadata(&self.path.join("config"))?;
                config.into_iter().for_each(|config| add(Id::default(), config));
            }
            FileType::Pack => {
                for byte in 0..=u8::MAX {
                    self.look(&Path::new("data").join(format!("{byte:02x}")), &mut add)?;
                }
            }
            _ => self.look(Path::new(kind.dirname()), &mut add)?,
        }
        Ok(found)
    }
}

fn listed(id: Id, metadata: &fs::Metadata) -> Listed {
    let written = metadata.modified().ok().and_then(|time| time.try_into().ok());
    Listed { id, size: metadata.len(), written }
}

fn not_looked_at(path: &Path, error: &io::Error) -> Error {
    Error::io(format!("cannot read \"{}\"", path.display()), error)
}

/// The error for a file that can't be read. A missing file is a fault of the repository and not of
/// the disk, because another host may have removed the file. What a disk can't read is lost, and what is
/// cut off; and what is out of all proportion is none of the repository's.
fn read_error(path: &Path, error: &io::Error) -> Error {
    use io::ErrorKind::{FileTooLarge, NotFound, UnexpectedEof};
    let is_damage = matches!(error.kind(), NotFound | UnexpectedEof | FileTooLarge);
    let is_damage = is_damage || is_lost(error, path);
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
        let make = || {
            fs::DirBuilder::new().mode(0o700).recursive(true).create(&self.path)?;
            let repository = self.folder(Path::new(""))?;
            let folders = [TEMPORARY, "data", "index", "keys", LOCKS, "snapshots"];
            folders.iter().try_for_each(|folder| repository.make_folder(folder))
        };
        make().map_err(|error| write_error(&self.path, &error))
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        let short = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        Ok(self.list_written(kind)?.into_iter().map(|it| (it.id, short(it.size))).collect())
    }

    fn list_written(&self, kind: FileType) -> Result<Vec<Listed>> {
        self.try_list(kind).map_err(|error| read_error(&self.path.join(kind.dirname()), &error))
    }

    fn now(&self) -> Result<Timestamp> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = OsString::from(format!("{}-{}-{serial}", self.host, self.drawn));
        let touched = |file: io::Result<File>| -> io::Result<_> {
            let file = file?;
            rustix::fs::futimens(&file, &NOW)?;
            file.metadata()?.modified()
        };
        let written = self.folder(Path::new(TEMPORARY)).and_then(|folder| {
            let time = touched(folder.create(&name));
            _ = folder.remove(&name);
            time
        });
        // A disk that is full has no room for a new file; touching one needs none.
        let config = self.path.join("config");
        let time = written.or_else(|_| touched(self.open(&config)));
        let time = time.map_err(|error| write_error(&config, &error))?;
        Timestamp::try_from(time).map_err(|error| Error::internal(error.to_string()))
    }

    fn names(&self, kind: FileType) -> Result<Vec<Id>> {
        if matches!(kind, FileType::Config | FileType::Pack) {
            return Ok(self.list(kind)?.into_iter().map(|(id, _)| id).collect());
        }
        let entries = self.entries(Path::new(kind.dirname()));
        let entries =
            entries.map_err(|error| read_error(&self.path.join(kind.dirname()), &error))?;
        Ok(entries.map(|(_, ids)| ids).unwrap_or_default())
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        let path = self.file(kind, id);
        let read =
            self.place(&path).and_then(|(folder, name)| folder.read(name, largest_file(kind)));
        read.map(Bytes::from).map_err(|error| read_error(&path, &error))
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        let path = || self.file(kind, id);
        let read = || {
            let file = match kind {
                FileType::Pack => self.pack(id)?,
                _ => Arc::new(self.open(&path())?),
            };
            // Not by the index's word alone: that would take memory first.
            if u64::from(offset) + u64::from(length) > file.metadata()?.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
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
        match self.place(&path).and_then(|(folder, name)| folder.remove(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            // No one relies on it that a pack without an index stays away.
            _ if kind == FileType::Pack => {}
            _ => lock(&self.unsynced).extend(path.parent().map(Path::to_owned)),
        }
        Ok(())
    }

    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        let path = self.file(kind, id);
        let found = self.metadata(&path).map_err(|error| not_looked_at(&path, &error))?;
        Ok(found.filter(fs::Metadata::is_file).map(|metadata| metadata.len()))
    }

    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        let path = self.file(kind, id);
        let found = self.metadata(&path).map_err(|error| not_looked_at(&path, &error))?;
        let written = found.map(|metadata| metadata.modified()).transpose();
        let written = written.map_err(|error| not_looked_at(&path, &error))?;
        Ok(written.and_then(|written| written.elapsed().ok()))
    }

    fn has_files(&self) -> Result<bool> {
        let mut folders = ["snapshots", "index", "data"].map(PathBuf::from).to_vec();
        while let Some(below) = folders.pop() {
            let unreadable = |error: io::Error| not_looked_at(&self.path.join(&below), &error);
            let entries = match self.folder(&below).and_then(|folder| folder.entries()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(unreadable)?,
            };
            for (name, kind) in entries {
                let path = self.path.join(&below).join(&name);
                let is_folder = match kind {
                    rustix::fs::FileType::Unknown => {
                        let found = self.metadata(&path).map_err(unreadable)?;
                        found.is_some_and(|found| found.is_dir())
                    }
                    kind => kind == rustix::fs::FileType::Directory,
                };
                if is_folder {
                    folders.push(below.join(&name));
                } else if name.len() == 64 {
                    // A file with another name does not belong to the repository.
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        Ok(self.aged("keys").unwrap_or_default())
    }

    fn remove_leftovers(&self, age: Duration) -> usize {
        let Ok(folder) = self.folder(Path::new(TEMPORARY)) else { return 0 };
        let old = |name: &OsString| {
            // The names of hosts may have hyphens.
            let host = name.to_str().and_then(|name| name.rsplitn(3, '-').nth(2));
            let modified = folder.metadata(name).and_then(|metadata| metadata.modified());
            host == Some(&self.host) && modified.is_ok_and(|time| crate::files::age(time) >= age)
        };
        let entries = folder.entries().unwrap_or_default().into_iter();
        entries.filter(|(name, _)| old(name) && folder.remove(name).is_ok()).count()
    }

    fn locks(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        self.aged(LOCKS).map_err(|error| read_error(&self.path.join(LOCKS), &error))
    }

    fn read_lock(&self, id: &Id) -> Result<Option<Bytes>> {
        let path = self.path.join(lock_name(id));
        match self.place(&path).and_then(|(folder, name)| folder.read(name, LARGEST_LOCK)) {
            Ok(content) => Ok(Some(content.into())),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::FileTooLarge
                        | io::ErrorKind::InvalidData
                ) =>
            {
                Ok(None)
            }
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
        match self.place(&path).and_then(|(folder, name)| folder.remove(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("cannot remove \"{}\"", path.display()), &error))
            }
            _ => Ok(()),
        }
    }

    fn marked(&self, name: &str) -> Result<Option<Duration>> {
        let path = self.path.join(name);
        let found = self.metadata(&path).map_err(|error| read_error(&path, &error))?;
        let modified = found.map(|metadata| metadata.modified()).transpose();
        Ok(modified.map_err(|error| read_error(&path, &error))?.map(age))
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
