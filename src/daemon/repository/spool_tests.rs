//! What waits in a spool reaches the storage, in the right order, or the writer hears of it.

use std::{collections::HashSet, os::unix::fs::MetadataExt as _};

use jiff::Timestamp;
use tempfile::TempDir;

use super::{
    super::{
        backend::Backend,
        cipher::hash,
        storage::{Folder, Listed, Storage},
    },
    *,
};
use crate::support::disk::Disk;

/// A storage in a folder that lets the spool's threads write only while it is open.
#[derive(Debug)]
struct Gated {
    folder: Folder,
    is_open: Mutex<bool>,
    opened: Condvar,
    written: Mutex<Vec<(FileType, Id)>>,
    fails: Mutex<bool>,
}

impl Storage for Gated {
    fn location(&self) -> String {
        self.folder.location()
    }
    fn make(&self) -> Result<()> {
        self.folder.make()
    }
    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        self.folder.list(kind)
    }
    fn list_written(&self, kind: FileType) -> Result<Vec<Listed>> {
        self.folder.list_written(kind)
    }
    fn now(&self) -> Result<Timestamp> {
        self.folder.now()
    }
    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        self.folder.read(kind, id)
    }
    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.folder.read_part(kind, id, offset, length)
    }
    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()> {
        if thread::current().name() == Some("spool") {
            let mut open = lock(&self.is_open);
            while !*open {
                open = self.opened.wait(open).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if *lock(&self.fails) {
            return Err(Error::new(ErrorKind::Io, "the bucket is gone"));
        }
        self.folder.write(kind, id, parts)?;
        lock(&self.written).push((kind, *id));
        Ok(())
    }
    fn remove(&self, kind: FileType, id: &Id) -> Result<()> {
        self.folder.remove(kind, id)
    }
    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        self.folder.size(kind, id)
    }
    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        self.folder.age(kind, id)
    }
    fn has_files(&self) -> Result<bool> {
        self.folder.has_files()
    }
    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        self.folder.keys()
    }
    fn remove_leftovers(&self, age: Duration) -> usize {
        self.folder.remove_leftovers(age)
    }
    fn locks(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        self.folder.locks()
    }
    fn read_lock(&self, id: &Id) -> Result<Option<Bytes>> {
        self.folder.read_lock(id)
    }
    fn write_lock(&self, id: &Id, content: Bytes) -> Result<()> {
        self.folder.write_lock(id, content)
    }
    fn remove_lock(&self, id: &Id) -> Result<()> {
        self.folder.remove_lock(id)
    }
    fn marked(&self, name: &str) -> Result<Option<Duration>> {
        self.folder.marked(name)
    }
    fn mark(&self, name: &str) -> Result<()> {
        self.folder.mark(name)
    }
}

struct Scene {
    _folder: TempDir,
    storage: Arc<Gated>,
    place: SpoolPlace,
    spool: Arc<Spool>,
}

const PACK: usize = 1 << 20;

impl Scene {
    /// A spool for so many packs.
    fn new(packs: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spools = folder.path().join("spool");
        Self::at(folder, SpoolPlace { folder: spools, most: packs * PACK as u64 })
    }

    fn at(folder: TempDir, place: SpoolPlace) -> Self {
        let repository = Folder::new(&folder.path().join("repository"), "host1");
        repository.make().unwrap();
        let storage = Arc::new(Gated {
            folder: repository,
            is_open: Mutex::new(false),
            opened: Condvar::new(),
            written: Mutex::default(),
            fails: Mutex::new(false),
        });
        let spool = Spool::new(Arc::clone(&storage) as Arc<dyn Storage>, &place).unwrap();
        Self { _folder: folder, storage, place, spool }
    }

    fn open(&self) {
        *lock(&self.storage.is_open) = true;
        self.storage.opened.notify_all();
    }

    fn write(&self, kind: FileType, content: u8) -> Result<Id> {
        let content = Bytes::from(vec![content; PACK]);
        let id = Id::new(hash(&content));
        self.spool.write(kind, &id, &content).map(|()| id)
    }

    fn written(&self) -> Vec<(FileType, Id)> {
        lock(&self.storage.written).clone()
    }

    fn spooled(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(&self.spool.folder).unwrap();
        files.map(|file| file.unwrap().path()).collect()
    }
}

#[test]
fn packs_wait_in_the_spool_and_an_index_file_waits_for_all_packs_before_it() {
    let scene = Scene::new(100);
    let packs: Vec<_> = (0..5).map(|n| scene.write(FileType::Pack, n).unwrap()).collect();
    let index = scene.write(FileType::Index, 100).unwrap();
    let later = scene.write(FileType::Pack, 6).unwrap();
    assert!(scene.written().is_empty());
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((scene.spooled().len(), mode(&scene.spool.folder)), (6, 0o700));
    assert!(scene.spooled().iter().all(|file| mode(file) == 0o600));
    scene.open();
    scene.spool.flush().unwrap();
    let written = scene.written();
    let at = |id: &Id| written.iter().position(|(_, there)| there == id).unwrap();
    assert!(packs.iter().all(|pack| at(pack) < at(&index)) && at(&later) < written.len());
    assert_eq!((written.len(), scene.spooled().len()), (7, 0));
    scene.spool.close();
    assert!(!scene.spool.folder.exists());
}

#[test]
fn what_finds_no_room_goes_straight_to_the_storage() {
    let scene = Scene::new(2);
    let packs: Vec<_> = (0..4).map(|n| scene.write(FileType::Pack, n).unwrap()).collect();
    let straight: HashSet<_> = scene.written().into_iter().map(|(_, id)| id).collect();
    assert_eq!(straight, packs[2..].iter().copied().collect());
    scene.open();
    scene.spool.flush().unwrap();
    assert_eq!(scene.written().len(), 4);
    // There is room again.
    *lock(&scene.storage.is_open) = false;
    scene.write(FileType::Pack, 9).unwrap();
    assert_eq!((scene.written().len(), scene.spooled().len()), (4, 1));
    scene.open();
    scene.spool.close();
}

#[test]
fn a_disk_that_fails_or_has_no_room_but_its_reserve_is_no_reason_to_fail() {
    let scene = Scene::new(100);
    fs::remove_dir(&scene.spool.folder).unwrap();
    scene.write(FileType::Pack, 1).unwrap();
    assert_eq!(scene.written().len(), 1);
    // There is room, and the file can't be made.
    fs::create_dir(&scene.spool.folder).unwrap();
    let id = Id::new(hash(&[2; PACK]));
    fs::create_dir(scene.spool.file(&id)).unwrap();
    scene.write(FileType::Pack, 2).unwrap();
    assert_eq!((scene.written().len(), lock(&scene.spool.state).used), (2, 0));
    scene.open();
    scene.spool.flush().unwrap();
    scene.spool.close();

    let Some(disk) = Disk::new("ext4", &[]) else { return };
    let place = SpoolPlace { folder: disk.path().join("spool"), most: u64::MAX };
    let scene = Scene::at(tempfile::tempdir().unwrap(), place);
    let room = scene.place.room().unwrap();
    assert!(room > 100 << 20, "{room}");
    fs::write(disk.path().join("large"), vec![1; usize::try_from(room).unwrap() - PACK]).unwrap();
    for content in 0..4 {
        scene.write(FileType::Pack, content).unwrap();
    }
    assert!(scene.spooled().len() <= 1 && scene.written().len() >= 3);
    scene.open();
    scene.spool.flush().unwrap();
    assert_eq!(scene.written().len(), 4);
    scene.spool.close();
}

#[test]
fn a_storage_that_fails_fails_who_writes_next_and_who_waits() {
    let scene = Scene::new(100);
    scene.write(FileType::Pack, 1).unwrap();
    *lock(&scene.storage.fails) = true;
    scene.open();
    let error = scene.spool.flush().unwrap_err();
    assert_eq!(error.message, "the bucket is gone");
    assert_eq!(scene.write(FileType::Pack, 2).unwrap_err().message, "the bucket is gone");
    scene.spool.close();
    assert!(!scene.spool.folder.exists());
}

#[test]
fn what_a_bad_disk_changed_in_the_spool_is_not_uploaded() {
    let scene = Scene::new(100);
    let id = Id::new(hash(b"content"));
    fs::write(scene.spool.file(&id), "other").unwrap();
    scene.spool.push(FileType::Pack, &id, 0, None);
    scene.open();
    let error = scene.spool.flush().unwrap_err();
    assert!(error.message.contains("in the spool is not what was written"), "{error}");
    assert!(scene.written().is_empty());
    scene.spool.close();
}

#[test]
fn what_a_crash_left_is_removed_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let spools = folder.path().join("spool");
    assert_eq!(remove_left(&spools), None);
    fs::create_dir_all(spools.join("0123")).unwrap();
    fs::write(spools.join("0123/pack"), "content").unwrap();
    assert!(remove_left(&spools).unwrap().starts_with("1 unfinished upload was removed from"));
    assert!(!spools.exists());
    fs::create_dir(&spools).unwrap();
    assert_eq!(remove_left(&spools), None);
}

#[test]
fn what_several_runs_write_while_writers_are_held_waits_for_one_upload_after_them() {
    let scene = Scene::new(0);
    let storage: Arc<dyn Storage> = Arc::clone(&scene.storage) as _;
    let backend = Backend::on(storage);
    let place = SpoolPlace { most: 10 * PACK as u64, ..scene.place.clone() };
    let gathering = backend.gather(&place).unwrap();
    let mut written = Vec::new();
    for run in 1..=2 {
        assert!(backend.spool(&place, true).is_none(), "a run has no spool of its own");
        let content = Bytes::from(vec![run; PACK]);
        let id = Id::new(hash(&content));
        backend.write_file(FileType::Pack, &id, content).unwrap();
        backend.flush().unwrap();
        written.push(id);
    }
    assert!(scene.written().is_empty());
    scene.open();
    backend.flush_gathered().unwrap();
    assert_eq!(scene.written().len(), written.len());
    drop(gathering);
    assert!(backend.spool(&place, true).is_some());
}
