//! Copies of the small files of a repository that is far away: those of backups and of the index.
//!
//! Such a file never changes, and its name is its SHA-256. So a copy is checked by its name, and one
//! that was cut off or changed is read again. What is in it stays sealed. A list removes the copies
//! of files that are gone.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::{FileType, Id};

use super::{super::cipher::hash, Listed, Storage};
use crate::{error::Result, sync::lock};

/// The largest file that is copied, in bytes.
const LARGEST: u64 = 8 << 20;
/// How many bytes of copies there are at most, for each kind of file.
const MOST: u64 = 128 << 20;

/// A storage, and the folder with copies of some of its files.
#[derive(Debug)]
pub(crate) struct Cached<S> {
    storage: S,
    folder: PathBuf,
    /// The sizes of the copies of each kind, as far as they are known.
    used: Mutex<HashMap<&'static str, u64>>,
}

impl<S: Storage> Cached<S> {
    /// The storage, with copies in a folder, which is made if it is needed.
    pub(crate) fn new(storage: S, folder: PathBuf) -> Self {
        Self { storage, folder, used: Mutex::default() }
    }

    /// The folder for copies of this kind; `None` for files that are not copied.
    fn folder_of(&self, kind: FileType) -> Option<PathBuf> {
        matches!(kind, FileType::Snapshot | FileType::Index)
            .then(|| self.folder.join(kind.dirname()))
    }

    /// The copy of a file, if it is what its name says.
    fn copy(&self, kind: FileType, id: &Id) -> Option<Bytes> {
        let path = self.folder_of(kind)?.join(id.to_hex().as_str());
        let content = fs::read(&path).ok()?;
        if Id::new(hash(&content)) == *id {
            return Some(content.into());
        }
        _ = fs::remove_file(&path);
        None
    }

    /// Makes a copy. Without one, the file is read again next time.
    fn keep(&self, kind: FileType, id: &Id, content: &[u8]) {
        let Some(folder) = self.folder_of(kind) else { return };
        let length = content.len() as u64;
        let mut used = lock(&self.used);
        let used = used.entry(kind.dirname()).or_default();
        let fits = length <= LARGEST && *used + length <= MOST;
        if fits && Id::new(hash(content)) == *id {
            *used += length;
            if let Err(error) = write(&folder, id, content) {
                log::debug!("no copy is kept in \"{}\": {error}", folder.display());
            }
        }
    }

    /// Removes the copies of files that are not in a list, or have another size there.
    fn sweep(&self, kind: FileType, listed: &[(Id, u32)]) {
        let Some(copies) = self.folder_of(kind).and_then(|folder| fs::read_dir(folder).ok()) else {
            return;
        };
        let listed: HashMap<Id, u32> = listed.iter().copied().collect();
        let mut length = 0;
        for copy in copies.flatten() {
            let id = copy.file_name().to_str().and_then(|name| name.parse::<Id>().ok());
            let size = copy.metadata().map_or(0, |metadata| metadata.len());
            if id.and_then(|id| listed.get(&id)).is_some_and(|listed| u64::from(*listed) == size) {
                length += size;
            } else {
                _ = fs::remove_file(copy.path());
            }
        }
        lock(&self.used).insert(kind.dirname(), length);
    }
}

/// Not synced: a copy that a crash cut off is not what its name says.
fn write(folder: &Path, id: &Id, content: &[u8]) -> io::Result<()> {
    let path = folder.join(id.to_hex().as_str());
    let make = || File::options().write(true).create_new(true).mode(0o600).open(&path);
    let file = match make() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
            make()
        }
        made => made,
    };
    match file {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        file => file?.write_all(content),
    }
}

impl<S: Storage> Storage for Cached<S> {
    fn location(&self) -> String {
        self.storage.location()
    }

    fn make(&self) -> Result<()> {
        self.storage.make()
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        self.storage.list(kind).inspect(|listed| self.sweep(kind, listed))
    }

    fn list_written(&self, kind: FileType) -> Result<Vec<Listed>> {
        self.storage.list_written(kind)
    }

    fn now(&self) -> Result<Timestamp> {
        self.storage.now()
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        if let Some(copy) = self.copy(kind, id) {
            return Ok(copy);
        }
        self.storage.read(kind, id).inspect(|content| self.keep(kind, id, content))
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.storage.read_part(kind, id, offset, length)
    }

    fn read_stretch(&self, pack: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.storage.read_stretch(pack, offset, length)
    }

    fn is_far(&self) -> bool {
        self.storage.is_far()
    }

    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()> {
        self.storage.write(kind, id, parts).inspect(|()| {
            if let [content] = parts {
                self.keep(kind, id, content);
            }
        })
    }

    fn write_waiting(&self, pack: &Id, file: &Path) -> Result<()> {
        self.storage.write_waiting(pack, file)
    }

    fn remove(&self, kind: FileType, id: &Id) -> Result<()> {
        self.storage.remove(kind, id)
    }

    fn may_remove(&self) -> Result<()> {
        self.storage.may_remove()
    }

    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        self.storage.size(kind, id)
    }

    fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        self.storage.pack_sizes(packs)
    }

    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        self.storage.age(kind, id)
    }

    fn has_files(&self) -> Result<bool> {
        self.storage.has_files()
    }

    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        self.storage.keys()
    }

    fn remove_leftovers(&self, age: Duration) -> usize {
        self.storage.remove_leftovers(age)
    }

    fn locks(&self) -> Result<Vec<Listed>> {
        self.storage.locks()
    }

    fn read_lock(&self, id: &Id) -> Result<Option<Bytes>> {
        self.storage.read_lock(id)
    }

    fn write_lock(&self, id: &Id, content: Bytes) -> Result<()> {
        self.storage.write_lock(id, content)
    }

    fn remove_lock(&self, id: &Id) -> Result<()> {
        self.storage.remove_lock(id)
    }

    fn marked(&self, name: &str) -> Result<Option<Duration>> {
        self.storage.marked(name)
    }

    fn mark(&self, name: &str) -> Result<()> {
        self.storage.mark(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Folder, *};

    /// A repository's folder and the copies of its files, with one file of a backup that was read.
    fn read_once() -> (tempfile::TempDir, Cached<Folder>, Id, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let far = Folder::new(&scratch.path().join("far"), "host1");
        let cached = Cached::new(far, scratch.path().join("copies"));
        cached.make().unwrap();
        let id = Id::new(hash(b"sealed"));
        cached.storage.write(FileType::Snapshot, &id, &[Bytes::from_static(b"sealed")]).unwrap();
        cached.read(FileType::Snapshot, &id).unwrap();
        let copy = scratch.path().join("copies/snapshots").join(id.to_hex().as_str());
        (scratch, cached, id, copy)
    }

    #[test]
    fn a_file_is_read_from_far_away_once() {
        let (_scratch, cached, id, _) = read_once();
        cached.storage.remove(FileType::Snapshot, &id).unwrap();
        assert_eq!(cached.read(FileType::Snapshot, &id).unwrap(), "sealed");
        // A pack is not copied.
        cached.read(FileType::Pack, &id).unwrap_err();
    }

    #[test]
    fn a_copy_that_was_cut_off_is_made_again() {
        let (_scratch, cached, id, copy) = read_once();
        fs::write(&copy, "sea").unwrap();
        assert_eq!(cached.read(FileType::Snapshot, &id).unwrap(), "sealed");
        assert_eq!(fs::read(copy).unwrap(), b"sealed");
    }

    #[test]
    fn a_list_removes_the_copies_of_what_is_gone() {
        let (_scratch, cached, id, copy) = read_once();
        assert_eq!(cached.list(FileType::Snapshot).unwrap().len(), 1);
        assert!(copy.exists());
        cached.remove(FileType::Snapshot, &id).unwrap();
        assert!(cached.list(FileType::Snapshot).unwrap().is_empty() && !copy.exists());
    }
}
