//! Space comes back, and nothing that a snapshot needs is lost: wherever the work is broken off.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use jiff::SignedDuration;
use rustic_core::{
    CheckOptions, FileType, Id, WriteBackend as _,
    repofile::{Chunker, MasterKey, SnapshotFile, SnapshotId},
};
use tempfile::TempDir;

use super::{
    index_file::{IndexBlob, IndexFile, IndexPack},
    *,
};
use crate::{
    daemon::{
        moment::Files,
        repository::{Act, Backend, Folder, HexHash, Memory, guarded, hash},
        save::{Extras, Source, save},
    },
    progress::NoProgress,
};

const SHARED: Sharing = Sharing { is_shared: true, is_locked: false, ..Sharing::ALONE };
const OWN: Sharing = Sharing::ALONE;

/// A repository, and a volume whose snapshots are in it.
struct Scene {
    volume: TempDir,
    storage: Arc<Memory>,
    repository: OpenRepository,
}

fn opened(storage: &Arc<Memory>, key: &MasterKey) -> OpenRepository {
    OpenRepository::open_with_key(Backend::on(storage.clone()), key.clone()).unwrap()
}

/// Bytes that can't be compressed, different for each seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

impl Scene {
    fn new() -> Self {
        let storage = Arc::new(Memory::new(|_| Ok(())));
        let backend = Backend::on(storage.clone());
        let repository = OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
        Self { volume: tempfile::tempdir().unwrap(), storage, repository }
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.volume.path().join(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.volume.path().join(name)).unwrap();
    }

    fn snapshot(&self) -> SnapshotId {
        snapshot(&self.repository, &self.volume)
    }

    fn forget(&self, id: SnapshotId) {
        self.repository.backend().remove(FileType::Snapshot, &id, false).unwrap();
    }

    fn collect(&self) -> Collected {
        collect(&self.repository, SHARED).unwrap()
    }

    fn bytes(&self) -> u64 {
        let packs = self.repository.backend().files(FileType::Pack).unwrap();
        packs.into_iter().map(|(_, size)| u64::from(size)).sum()
    }

    fn check(&self) {
        check(&self.repository);
    }
}

fn snapshot(repository: &OpenRepository, volume: &TempDir) -> SnapshotId {
    let (files, extras) = (Files::live(volume.path()), Extras::default());
    let source = Source { files, volume: "vol1", parent: None, extras };
    let saved = save(repository, source, &NoProgress, &|| false).unwrap();
    let file = SnapshotFile { tree: saved.tree, ..SnapshotFile::default() };
    repository.save_snapshot(&file).unwrap()
}

/// Reads all of a repository.
fn check(repository: &OpenRepository) {
    let mut options = CheckOptions::default();
    options.read_data = true;
    // The library panics where one of its threads is slow.
    let check = || guarded("checking", || Ok(repository.plain()?.check(options).unwrap()));
    let mut found = (0..10).find_map(|_| check().ok()).unwrap();
    // A mark of a pack that went before it tells of nothing that is needed.
    found.0.retain(|(_, what)| !format!("{what:?}").contains("to_delete: true"));
    assert!(found.is_ok().is_ok(), "{found:?}");
}

#[test]
fn what_nothing_needs_goes_a_day_after_it_was_marked_and_that_a_day_after_it_was_written() {
    let scene = Scene::new();
    scene.write("stays", &noise(1, 300_000));
    let first = scene.snapshot();
    scene.write("goes", &noise(2, 2_000_000));
    let second = scene.snapshot();
    scene.remove("goes");
    scene.forget(second);
    let before = scene.bytes();
    scene.storage.pass(23);
    let young = scene.collect();
    assert_eq!((young.removed, young.marked), (0, 0));
    scene.storage.pass(2);
    let marked = scene.collect();
    assert_eq!(marked.removed, 0);
    assert!(marked.marked > 2_000_000, "{marked:?}");
    scene.storage.pass(22);
    let waits = scene.collect();
    assert_eq!((waits.removed, waits.marked), (0, marked.marked), "it is not marked anew");
    assert_eq!(waits.first_goes, marked.first_goes);
    scene.storage.pass(1);
    let gone = scene.collect();
    assert_eq!((gone.removed, gone.marked, gone.first_goes), (marked.marked, 0, None));
    assert_eq!(scene.bytes(), before - gone.removed);
    scene.check();
    let idle = scene.collect();
    assert_eq!((idle.removed, idle.marked), (0, 0));
    scene.forget(first);
}

#[test]
fn what_is_marked_and_needed_again_stays() {
    let scene = Scene::new();
    scene.write("a", &noise(1, 1_000_000));
    let first = scene.snapshot();
    let file = scene.repository.plain().unwrap().get_file::<SnapshotFile>(&first).unwrap();
    scene.forget(first);
    scene.storage.pass(25);
    assert!(scene.collect().marked > 1_000_000);
    // As a backup that was made meanwhile, and looked for marks before these were written.
    scene.repository.save_snapshot(&file).unwrap();
    scene.storage.pass(25);
    let kept = scene.collect();
    assert_eq!((kept.removed, kept.marked), (0, 0));
    scene.check();
    scene.storage.pass(25);
    assert_eq!(scene.collect().removed, 0);
    scene.check();
}

#[test]
fn what_an_interrupted_run_left_unnamed_goes() {
    let scene = Scene::new();
    scene.write("a", b"a");
    scene.snapshot();
    let pack = noise(9, 500_000);
    let id = Id::new(hash(&pack));
    scene.repository.backend().write_file(FileType::Pack, &id, pack.into()).unwrap();
    for marked in [0, 500_000] {
        assert_eq!(scene.collect().marked, marked);
        scene.storage.pass(25);
    }
    assert_eq!(scene.collect().removed, 500_000);
    scene.check();
}

#[test]
fn a_repository_of_one_process_is_collected_at_once() {
    let scene = Scene::new();
    scene.write("stays", &noise(1, 300_000));
    scene.snapshot();
    scene.write("goes", &noise(2, 2_000_000));
    scene.forget(scene.snapshot());
    let done = collect(&scene.repository, OWN).unwrap();
    assert!(done.removed > 2_000_000 && done.marked == 0, "{done:?}");
    scene.check();
}

#[test]
fn half_empty_packs_are_packed_anew() {
    let scene = Scene::new();
    for number in 0..10 {
        scene.write(&format!("f{number}"), &noise(number, 1_000_000));
    }
    let all = scene.snapshot();
    for number in 0..7 {
        scene.remove(&format!("f{number}"));
    }
    let few = scene.snapshot();
    scene.forget(all);
    scene.storage.pass(25);
    let marked = scene.collect();
    assert!(marked.marked > 10_000_000, "{marked:?}");
    scene.check();
    scene.storage.pass(25);
    let gone = scene.collect();
    assert_eq!(gone.removed, marked.marked);
    assert!(scene.bytes() < 3_200_000);
    scene.check();
    scene.storage.pass(25);
    assert_eq!(scene.collect().marked, 0, "it is over");
    scene.forget(few);
}

#[test]
fn dates_in_the_index_decide_nothing() {
    for date in ["1990-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
        let scene = Scene::new();
        scene.write("a", &noise(1, 1_000_000));
        scene.forget(scene.snapshot());
        date_all(&scene.repository, date);
        assert_eq!(scene.collect().marked, 0, "{date}: it was written just now");
        scene.storage.pass(25);
        assert!(scene.collect().marked > 1_000_000, "{date}: it is a day old");
        date_all(&scene.repository, date);
        assert_eq!(scene.collect().removed, 0, "{date}: it was marked just now");
        scene.storage.pass(25);
        assert!(scene.collect().removed > 1_000_000, "{date}: it was marked a day ago");
    }
}

/// Writes the index anew, in which all packs have this date.
fn date_all(repository: &OpenRepository, date: &str) {
    let mut coder = repository.coder().unwrap();
    for (old, _) in repository.backend().files(FileType::Index).unwrap() {
        let mut index = seen::index_file(repository, &coder, &old).unwrap().unwrap();
        for pack in index.packs.iter_mut().chain(&mut index.packs_to_delete) {
            pack.time = Some(date.to_owned());
        }
        let sealed = coder.seal_file(&index.text().unwrap()).unwrap();
        let id = Id::new(hash(&sealed));
        repository.backend().write_file(FileType::Index, &id, sealed.into()).unwrap();
        repository.backend().remove_file(FileType::Index, &old).unwrap();
    }
}

#[test]
fn a_snapshot_that_can_not_be_read_keeps_what_it_may_need_and_nothing_else() {
    let scene = Scene::new();
    scene.write("a", &noise(1, 1_000_000));
    let rotten = scene.snapshot();
    scene.storage.change(FileType::Snapshot, &rotten, b"rot");
    scene.storage.pass(25);
    scene.remove("a");
    scene.write("b", &noise(2, 3_000_000));
    scene.forget(scene.snapshot());
    scene.storage.pass(25);
    let marked = scene.collect();
    assert!((3_000_000..4_000_000).contains(&marked.marked), "{marked:?}");
    assert_eq!(marked.unread.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [*rotten]);
    scene.storage.pass(25);
    assert_eq!(scene.collect().removed, marked.marked);
    // It is removed by hand.
    scene.forget(rotten);
    assert!(scene.collect().marked > 1_000_000);
}

#[test]
fn a_file_that_never_was_a_snapshot_of_this_repository_is_nothing() {
    let scene = Scene::new();
    let foreign = b"no snapshot";
    let id = Id::new(hash(foreign));
    scene.repository.backend().write_file(FileType::Snapshot, &id, foreign[..].into()).unwrap();
    scene.write("a", &noise(1, 1_000_000));
    scene.forget(scene.snapshot());
    scene.storage.pass(25);
    let done = scene.collect();
    assert!(done.marked > 1_000_000 && done.unread.is_empty(), "{done:?}");
}

#[test]
fn what_may_be_below_a_folder_that_can_not_be_read_stays_until_its_snapshot_goes() {
    let scene = Scene::new();
    for (folder, seed) in [("lost", 1), ("there", 2)] {
        std::fs::create_dir(scene.volume.path().join(folder)).unwrap();
        scene.write(&format!("{folder}/f"), &noise(seed, 1_000_000));
    }
    let snapshot = scene.snapshot();
    scene.write("there/g", &noise(3, 2_000_000));
    scene.forget(scene.snapshot());
    lose_tree(&scene.repository, "lost");
    let before = scene.bytes();
    for _ in 0..3 {
        scene.storage.pass(25);
        let done = scene.collect();
        assert_eq!(done.broken, [*snapshot]);
        assert_eq!((done.marked, done.removed, scene.bytes()), (0, 0, before), "{done:?}");
    }
    scene.forget(snapshot);
    for _ in 0..3 {
        scene.storage.pass(25);
        scene.collect();
    }
    assert!(scene.bytes() < 1000, "{}", scene.bytes());
}

#[test]
fn packs_of_an_index_that_is_lost_are_neither_marked_nor_removed() {
    let scene = Scene::new();
    scene.write("f", &noise(1, 1_000_000));
    scene.snapshot();
    let backend = scene.repository.backend();
    for (id, _) in backend.files(FileType::Index).unwrap() {
        backend.remove_file(FileType::Index, &id).unwrap();
    }
    let before = scene.bytes();
    for _ in 0..3 {
        scene.storage.pass(25);
        let done = scene.collect();
        assert_eq!((done.marked, done.removed, scene.bytes()), (0, 0, before), "{done:?}");
    }
}

/// Writes an index file that says that these blobs are in this pack.
fn claim(repository: &OpenRepository, pack: Id, size: usize, blobs: Vec<IndexBlob>) {
    let id = HexHash(HexHash::of(&pack));
    let packs = vec![IndexPack { id, blobs, time: None, size: size.try_into().ok() }];
    let text = IndexFile { packs, ..IndexFile::default() }.text().unwrap();
    let sealed = repository.coder().unwrap().seal_file(&text).unwrap();
    let id = Id::new(hash(&sealed));
    repository.backend().write_file(FileType::Index, &id, sealed.into()).unwrap();
}

/// All that the snapshots need, one blob after the other as in one pack.
fn needed(repository: &OpenRepository) -> (usize, Vec<IndexBlob>) {
    let snapshots = Snapshots::read(repository).unwrap();
    let seen = Seen::of(repository).unwrap();
    let reached = Reached::by(&snapshots, &seen, repository).unwrap();
    let mut offset = 0;
    let needed = (0..seen.entries.len()).filter(|entry| reached.has(*entry));
    let blobs = needed.map(|entry| {
        let of = &seen.entries[entry];
        offset += of.length;
        IndexBlob {
            id: HexHash(of.id),
            kind: if of.is_tree() { BlobType::Tree } else { BlobType::Data },
            offset: offset - of.length,
            length: of.length,
            uncompressed_length: of.raw_length,
        }
    });
    let blobs = blobs.collect();
    (offset as usize, blobs)
}

/// The packs that have something that the snapshots need.
fn needed_packs(repository: &OpenRepository) -> Vec<Id> {
    let snapshots = Snapshots::read(repository).unwrap();
    let seen = Seen::of(repository).unwrap();
    let reached = Reached::by(&snapshots, &seen, repository).unwrap();
    let needed = (0..seen.entries.len()).filter(|entry| reached.has(*entry));
    needed.map(|entry| seen.packs[seen.entries[entry].pack()].id).collect()
}

/// A repository with a snapshot, and packs that are half needed, half not.
fn half_needed() -> Scene {
    let scene = Scene::new();
    scene.write("stays", &noise(1, 600_000));
    scene.write("goes", &noise(2, 600_000));
    let first = scene.snapshot();
    scene.remove("goes");
    scene.snapshot();
    scene.forget(first);
    scene
}

#[test]
fn a_pack_of_which_an_index_file_lies_takes_the_place_of_no_other() {
    let scene = half_needed();
    let real = needed_packs(&scene.repository);
    let (size, blobs) = needed(&scene.repository);
    let garbage = noise(3, size + 1000);
    let evil = Id::new(hash(&garbage));
    let (size, backend) = (garbage.len(), scene.repository.backend());
    backend.write_file(FileType::Pack, &evil, garbage.into()).unwrap();
    claim(&scene.repository, evil, size, blobs);
    for _ in 0..4 {
        scene.storage.pass(25);
        scene.collect();
        let there = scene.repository.backend().files(FileType::Pack).unwrap();
        let is_there = |pack: &Id| there.iter().any(|(there, _)| there == pack);
        assert!(real.iter().all(is_there), "what is needed was removed");
    }
    // Without the lie all is as it was.
    let backend = scene.repository.backend();
    backend.remove_file(FileType::Pack, &evil).unwrap();
    scene.storage.pass(25);
    assert!(scene.collect().marked > 600_000);
    scene.storage.pass(25);
    assert!(scene.collect().removed > 600_000);
    nothing_is_lost(&scene.repository);
}

#[test]
fn a_pack_of_which_index_files_disagree_stays_with_all_that_any_of_them_says() {
    let scene = half_needed();
    let (_, blobs) = needed(&scene.repository);
    for (number, (pack, size)) in
        scene.repository.backend().files(FileType::Pack).unwrap().into_iter().enumerate()
    {
        // One of them is read before the honest one.
        for lie in 0..8 {
            let id = HexHash(hash(&[lie, u8::try_from(number).unwrap()]));
            claim(
                &scene.repository,
                pack,
                size as usize,
                vec![IndexBlob { id, ..blobs[0].clone() }],
            );
        }
    }
    let before = scene.bytes();
    for _ in 0..4 {
        scene.storage.pass(25);
        let done = scene.collect();
        assert_eq!((done.marked, done.removed, scene.bytes()), (0, 0, before), "{done:?}");
        nothing_is_lost(&scene.repository);
    }
}

#[test]
fn a_disputed_pack_keeps_all_its_lists_where_index_files_are_put_together() {
    let scene = half_needed();
    let (_, blobs) = needed(&scene.repository);
    let (pack, size) = scene.repository.backend().files(FileType::Pack).unwrap()[0];
    for lie in 0..40 {
        let id = HexHash(hash(&[lie]));
        claim(&scene.repository, pack, size as usize, vec![IndexBlob { id, ..blobs[0].clone() }]);
    }
    scene.storage.pass(25);
    scene.collect();
    let files = scene.repository.backend().files(FileType::Index).unwrap();
    assert!(files.len() < 10, "they were put together: {}", files.len());
    nothing_is_lost(&scene.repository);
}

#[test]
fn what_two_hosts_have_stored_goes_once_as_soon_as_it_was_read_in_the_other_pack() {
    let scene = Scene::new();
    scene.write("both", &noise(1, 1_000_000));
    scene.snapshot();
    // The other one does not see what the first one has written.
    let backend = scene.repository.backend();
    let mut hidden = Vec::new();
    for (id, _) in backend.files(FileType::Index).unwrap() {
        hidden.push((id, backend.read_file(FileType::Index, &id).unwrap()));
        backend.remove_file(FileType::Index, &id).unwrap();
    }
    let other = opened(&scene.storage, scene.repository.key());
    snapshot(&other, &scene.volume);
    for (id, content) in hidden {
        backend.write_file(FileType::Index, &id, content).unwrap();
    }
    scene.storage.pass(25);
    let (snapshots, seen) =
        (Snapshots::read(&other).unwrap(), Seen::of(&scene.repository).unwrap());
    let reached = Reached::by(&snapshots, &seen, &other).unwrap();
    let facts = Facts {
        now: other.backend().now().unwrap(),
        sharing: SHARED,
        piece_pack: 1,
        tree_pack: 1,
        unread: None,
        is_lacking: false,
    };
    for (most, goes) in [(500_000, 0), (2_000_000, 1)] {
        let mut plan = Plan::of(&seen, &reached, &facts).unwrap();
        double::keep_unproven(&other, (&seen, &reached), &mut plan, most).unwrap();
        let large = |place: &usize| seen.packs[*place].bytes() > 500_000;
        assert_eq!(plan.with(Fate::Marked).filter(large).count(), goes, "{most}");
    }
    assert!(scene.collect().marked > 1_000_000);
    scene.storage.pass(25);
    assert!(scene.collect().removed > 1_000_000);
    scene.check();
}

#[test]
fn what_another_host_has_been_writing_for_days_stays() {
    let scene = Scene::new();
    scene.write("f", &noise(1, 1_000_000));
    let unfinished = scene.snapshot();
    scene.forget(unfinished);
    scene.storage.pass(50);
    let writes_since = SignedDuration::from_hours(60);
    let done = collect(&scene.repository, Sharing { writes_since, ..SHARED }).unwrap();
    assert_eq!((done.marked, done.removed), (0, 0), "{done:?}");
    assert!(scene.collect().marked > 1_000_000);
}

/// Takes the tree of the folder with this name in the newest snapshot out of the index.
fn lose_tree(repository: &OpenRepository, name: &str) {
    let indexed = repository.indexed().unwrap();
    let snapshots = indexed.get_all_snapshots().unwrap();
    let top = indexed.get_tree(&snapshots[0].tree).unwrap();
    let volume = indexed.get_tree(&top.nodes[0].subtree.unwrap()).unwrap();
    let folder = volume.nodes.iter().find(|node| node.name == name).unwrap();
    let tree = folder.subtree.unwrap().to_hex().as_str().to_owned();
    let mut coder = repository.coder().unwrap();
    for (old, _) in repository.backend().files(FileType::Index).unwrap() {
        let mut index = seen::index_file(repository, &coder, &old).unwrap().unwrap();
        for pack in &mut index.packs {
            pack.blobs.retain(|blob| blob.id.to_string() != tree);
        }
        let sealed = coder.seal_file(&index.text().unwrap()).unwrap();
        let id = Id::new(hash(&sealed));
        repository.backend().write_file(FileType::Index, &id, sealed.into()).unwrap();
        repository.backend().remove_file(FileType::Index, &old).unwrap();
    }
    repository.forget_index();
}

/// A repository with something to mark, to pack anew, to remove, and to leave; and, if there is a snapshot
/// that needs what is marked, to name again.
fn with_everything(needs_what_is_marked: bool) -> Scene {
    let scene = Scene::new();
    for number in 0..4 {
        scene.write(&format!("f{number}"), &noise(number, 600_000));
    }
    let half = scene.snapshot();
    scene.write("g", &noise(10, 700_000));
    let again = scene.snapshot();
    let again_file = scene.repository.plain().unwrap().get_file::<SnapshotFile>(&again).unwrap();
    scene.forget(again);
    scene.remove("g");
    scene.write("h", &noise(11, 800_000));
    scene.forget(scene.snapshot());
    scene.remove("h");
    scene.storage.pass(25);
    scene.collect();
    scene.storage.pass(25);
    if needs_what_is_marked {
        scene.repository.save_snapshot(&again_file).unwrap();
    }
    for number in 1..4 {
        scene.remove(&format!("f{number}"));
    }
    scene.write("i", &noise(12, 900_000));
    scene.forget(scene.snapshot());
    scene.remove("i");
    scene.snapshot();
    scene.forget(half);
    scene.write("f1", &noise(1, 600_000));
    scene.storage.pass(25);
    scene.snapshot();
    scene
}

/// Everything that snapshots need is there, though it may be marked.
fn nothing_is_lost(repository: &OpenRepository) {
    let snapshots = Snapshots::read(repository).unwrap();
    let seen = Seen::of(repository).unwrap();
    let reached = Reached::by(&snapshots, &seen, repository).unwrap();
    assert_eq!((reached.broken.len(), snapshots.unread.len()), (0, 0));
    let now = repository.backend().now().unwrap();
    let facts = Facts {
        now,
        sharing: SHARED,
        piece_pack: 1,
        tree_pack: 1,
        unread: None,
        is_lacking: false,
    };
    assert_eq!(Plan::of(&seen, &reached, &facts).unwrap().missing, 0);
}

#[test]
fn wherever_it_is_broken_off_nothing_is_lost_and_the_next_time_is_as_good() {
    for needs_what_is_marked in [false, true] {
        let scene = with_everything(needs_what_is_marked);
        for sharing in [SHARED, OWN, Sharing { is_locked: true, ..SHARED }] {
            // A power cut, and a disk that is full.
            for kind in [ErrorKind::Internal, ErrorKind::Io] {
                // Without room, packs go before the index that names or marks them.
                let is_clean = !needs_what_is_marked && kind == ErrorKind::Internal;
                let look = if is_clean { check } else { nothing_is_lost };
                let tried =
                    (0..).find(|after| is_whole_after(&scene, sharing, (*after, kind), look));
                assert!(tried.is_some_and(|tried| tried > 0), "{tried:?}");
            }
        }
    }
}

/// Breaks the work off after so many changes: from then on all of them fail, but removals do not where
/// only room is missing. Returns whether that was after the end.
fn is_whole_after(
    scene: &Scene,
    sharing: Sharing,
    (after, kind): (usize, ErrorKind),
    look: fn(&OpenRepository),
) -> bool {
    let key = scene.repository.key();
    let (done, failed) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&failed);
    let storage = Arc::new(scene.storage.copy(move |act| {
        let is_hit = matches!(act, Act::Write(_)) || kind == ErrorKind::Internal;
        let changes = act.changes_something();
        if changes && done.fetch_add(1, Ordering::SeqCst) >= after && is_hit {
            counted.fetch_add(1, Ordering::SeqCst);
            return Err(Error::new(kind, "it is broken off"));
        }
        Ok(())
    }));
    _ = collect(&opened(&storage, key), sharing);
    let storage = Arc::new(storage.copy(|_| Ok(())));
    let repository = opened(&storage, key);
    look(&repository);
    for _ in 0..4 {
        storage.pass(25);
        collect(&repository, sharing).unwrap();
        check(&repository);
    }
    assert_eq!(collect(&repository, sharing).unwrap().marked, 0, "all came back");
    failed.load(Ordering::SeqCst) == 0
}

#[test]
fn a_full_disk_gets_room_back_without_room() {
    let scene = Scene::new();
    scene.write("stays", &noise(1, 300_000));
    scene.snapshot();
    scene.write("goes", &noise(2, 2_000_000));
    scene.forget(scene.snapshot());
    scene.storage.pass(25);
    let key = scene.repository.key();
    // A write needs room, which a removal of a pack makes.
    let full = || {
        let room = AtomicUsize::new(0);
        Arc::new(scene.storage.copy(move |act| match act {
            Act::Write(_) if room.load(Ordering::SeqCst) == 0 => {
                Err(Error::new(ErrorKind::Io, "no space left on device"))
            }
            Act::Remove(FileType::Pack) => {
                room.store(1, Ordering::SeqCst);
                Ok(())
            }
            _ => Ok(()),
        }))
    };
    for sharing in [OWN, Sharing { is_locked: true, ..SHARED }] {
        let repository = opened(&full(), key);
        assert!(collect(&repository, sharing).unwrap().removed > 2_000_000);
        check(&repository);
    }
    // Others may rely on it, and can't be locked out.
    let error = collect(&opened(&full(), key), SHARED).unwrap_err();
    assert!(error.message.contains("no space left"), "{error}");
    scene.check();
    // But for what was marked a day ago.
    scene.collect();
    scene.storage.pass(25);
    assert!(collect(&opened(&full(), key), SHARED).unwrap().removed > 2_000_000);
}

#[test]
fn restic_finds_nothing_to_complain_of() {
    if std::process::Command::new("restic").arg("version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let storage = with_everything(false);
    // The same repository in a folder.
    let copied = Folder::new(folder.path(), "host1");
    storage.storage.copy_to(&copied);
    let key = storage.repository.key().clone();
    let backend = Backend::in_folder(folder.path(), "host1");
    let repository = OpenRepository::open_with_key(backend, key).unwrap();
    let restic = |words: &[&str]| {
        let mut restic = std::process::Command::new("restic");
        restic.env("RESTIC_PASSWORD", "secret").arg("--no-cache").arg("-r").arg(folder.path());
        let done = restic.args(words).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(done.status.success(), "{words:?}: {said}");
        said
    };
    for _ in 0..2 {
        collect(&repository, OWN).unwrap();
        restic(&["check", "--read-data"]);
    }
    restic(&["prune"]);
    collect(&repository, SHARED).unwrap();
    restic(&["check", "--read-data"]);
}
