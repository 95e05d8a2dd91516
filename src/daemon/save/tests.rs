//! Tests of whole runs: what was saved is read back, by rustic and by restic.

mod bounds;
mod excluded;
mod restored;

use std::{
    ffi::{CStr, OsStr},
    fs::{self, File},
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::FileExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rustic_core::{
    CheckOptions, FileType, TreeId,
    repofile::{Chunker, Node, SnapshotFile},
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use tempfile::TempDir;

use super::{Changed, Extras, Parent, Saved, Source, run::LISTED, save, save_watched};
use crate::{
    clock::{Clock, SystemClock},
    daemon::{
        moment::{Files, Moments, Place, TICK},
        repository::{Backend, OpenRepository},
        root::Root,
        threads::tests::with_threads,
        tree::read::Lacking,
    },
    error::{ErrorKind, Result},
    files::remove_all,
    progress::{NoProgress, Piece},
    support::disk::{Disk, run},
};

/// A volume and an empty repository.
struct Scene {
    folder: TempDir,
    repository: OpenRepository,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("volume")).unwrap();
        fs::create_dir(folder.path().join("repository")).unwrap();
        let backend = Backend::in_folder(&folder.path().join("repository"), "host1");
        let repository = OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
        Self { folder, repository }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join("volume").join(below)
    }

    fn write(&self, below: &str, content: &[u8]) {
        fs::create_dir_all(self.path(below).parent().unwrap()).unwrap();
        fs::write(self.path(below), content).unwrap();
    }

    fn source<'a>(&self, volume: &'a Path, parent: Option<Parent>) -> Source<'a> {
        Source { files: Files::live(volume), volume: "vol1", parent, extras: Extras::default() }
    }

    fn save(&self, parent: Option<Parent>) -> Saved {
        let volume = self.path("");
        save(&self.repository, self.source(&volume, parent), &NoProgress, &|| false).unwrap()
    }

    fn watched(&self, after_reading: &(dyn Fn(&CStr) + Sync)) -> Saved {
        let volume = self.path("");
        let (source, control) = (self.source(&volume, None), &|| false);
        let after_reading = |name: &CStr| {
            if name != LISTED {
                after_reading(name);
            }
            Ok(())
        };
        save_watched(&self.repository, source, (&NoProgress, control), &after_reading).unwrap()
    }

    /// The entry with this path in the volume.
    fn node(&self, tree: TreeId, below: &str) -> Node {
        let indexed = self.repository.indexed().unwrap();
        let path = Path::new("vol1").join(below);
        let mut found = Node { subtree: Some(tree), ..Node::default() };
        for name in &path {
            let tree = indexed.get_tree(&found.subtree.unwrap()).unwrap();
            found = tree.nodes.into_iter().find(|node| node.name() == name).unwrap();
        }
        found
    }

    fn content(&self, tree: TreeId, below: &str) -> Vec<u8> {
        let indexed = self.repository.indexed().unwrap();
        let chunks = self.node(tree, below).content.unwrap();
        let read = |chunk| self.repository.piece(&indexed, chunk, "cannot read").unwrap();
        chunks.iter().flat_map(read).collect()
    }

    fn files(&self, kind: FileType) -> usize {
        self.repository.backend().files(kind).unwrap().len()
    }
}

/// The snapshot as a parent; everything in the volume was changed long before it.
fn settled(saved: &Saved) -> Option<Parent> {
    let begun = Timestamp::now() + SignedDuration::from_secs(10);
    Some(Parent { tree: saved.tree, begun })
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed << 20;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn a_large_file_beside_many_small_ones_comes_back_with_its_chunks_in_order() {
    let scene = Scene::new();
    let large = noise(30_000_000, 1);
    scene.write("dir/large", &large);
    for number in 0..500 {
        scene.write(&format!("dir/{}/small{number}", number % 7), format!("{number}").as_bytes());
    }
    scene.write("empty", b"");
    fs::create_dir(scene.path("nothing")).unwrap();
    let saved = scene.save(None);
    assert_eq!((saved.files, saved.folders), (502, 10));
    assert_eq!((saved.bytes, saved.bytes_read), (30_001_390, 30_001_390));
    assert_eq!(saved.changed, Changed::default());
    assert!(saved.bytes_added > 30_000_000 && saved.bytes_added < 31_000_000);
    assert!(scene.content(saved.tree, "dir/large") == large);
    for number in [0, 7, 499] {
        let below = format!("dir/{}/small{number}", number % 7);
        assert_eq!(scene.content(saved.tree, &below), format!("{number}").as_bytes());
    }
    assert_eq!(scene.content(saved.tree, "empty"), b"");

    let again = scene.save(settled(&saved));
    assert_eq!((again.tree, again.bytes_read, again.bytes_added), (saved.tree, 0, 0));
    assert_eq!(again.summary.files_unmodified, 502);
    assert_eq!(again.summary.dirs_unmodified, 10);
    let read = scene.save(None);
    assert_eq!((read.tree, read.bytes_read, read.bytes_added), (saved.tree, 30_001_390, 0));
}

#[test]
fn the_same_content_in_a_hundred_files_is_stored_once() {
    let scene = Scene::new();
    for number in 0..100 {
        scene.write(&format!("dir{}/{number}", number % 10), &noise(300_000, 1));
    }
    assert_eq!(scene.save(None).summary.data_blobs, 1);
}

#[test]
fn a_file_that_changes_once_while_it_is_read_is_read_again() {
    let scene = Scene::new();
    scene.write("f", b"before");
    scene.write("other", b"other");
    let (calls, path) = (AtomicUsize::new(0), scene.path("f"));
    let saved = scene.watched(&|name| {
        if name == c"f" && calls.fetch_add(1, Ordering::Relaxed) == 0 {
            fs::write(&path, "after, and longer").unwrap();
        }
    });
    assert_eq!(calls.into_inner(), 2);
    assert_eq!(scene.content(saved.tree, "f"), b"after, and longer");
    assert_eq!(scene.node(saved.tree, "f").meta.size, 17);
    assert_eq!(saved.changed, Changed::default());
}

#[test]
fn a_file_that_always_changes_is_told_and_has_an_end() {
    let scene = Scene::new();
    scene.write("dir/log", b"0");
    scene.write("still", b"still");
    let (calls, path) = (AtomicUsize::new(0), scene.path("dir/log"));
    let saved = scene.watched(&|name| {
        if name == c"log" {
            calls.fetch_add(1, Ordering::Relaxed);
            File::options().append(true).open(&path).unwrap().write_all(b"1").unwrap();
        }
    });
    assert_eq!(calls.into_inner(), 3);
    let changed = Changed { count: 1, paths: vec!["dir/log".into()], ..Changed::default() };
    assert_eq!(saved.changed, changed);
    assert_eq!(scene.content(saved.tree, "dir/log"), b"011");
    // What is remembered is the moment before the last reading, so it is read again.
    let again = scene.save(settled(&saved));
    assert_eq!(again.bytes_read, 4);
}

/// Moments of the folder `volume` on a disk, as a daemon with a root beside it takes them.
fn moments_on(disk: &Disk, clock: Arc<dyn Clock>) -> (Moments, Place) {
    let root = Root::make(&disk.path().join("root")).unwrap();
    let moments = Moments::new(&root, None, clock);
    let folder = disk.path().join("volume");
    (
        moments,
        Place {
            volume: "vol1".into(),
            folder,
            beside: None,
            is_of_the_host: false,
            is_of_the_engine: false,
            is_for_containers_only: false,
        },
    )
}

#[test]
fn what_a_moment_keeps_is_saved_whatever_becomes_of_the_files() {
    let Some(disk) = Disk::new("xfs", &[]) else { return };
    let scene = Scene::new();
    let volume = disk.path().join("volume");
    fs::create_dir_all(volume.join("dir")).unwrap();
    let large = noise(5_000_000, 1);
    let old = [("large", &large[..]), ("dir/small", b"before"), ("dir/gone", b"still there")];
    for (name, content) in old {
        fs::write(volume.join(name), content).unwrap();
    }
    let gone = File::open(volume.join("dir/gone")).unwrap();
    rustix::fs::fsetxattr(&gone, "user.kept", b"yes", rustix::fs::XattrFlags::empty()).unwrap();
    xattr::set(volume.join("dir"), "user.kept", b"yes").unwrap();
    let (moments, place) = moments_on(&disk, Arc::new(SystemClock));
    let moment = moments.begin(&place).take(None).unwrap();
    fs::write(volume.join("large"), "short now").unwrap();
    fs::write(volume.join("dir/small"), "after").unwrap();
    fs::remove_file(volume.join("dir/gone")).unwrap();
    fs::write(volume.join("dir/new"), "new").unwrap();
    xattr::set(volume.join("dir"), "user.kept", b"no").unwrap();

    let source = |parent| Source {
        files: moment.files(),
        volume: "vol1",
        parent,
        extras: Extras::default(),
    };
    let saved = save(&scene.repository, source(None), &NoProgress, &|| false).unwrap();
    for (name, content) in old {
        assert!(scene.content(saved.tree, name) == content, "{name}");
    }
    assert_eq!((saved.files, saved.folders), (3, 2));
    assert_eq!(saved.changed, Changed::default());
    for kept in ["dir/gone", "dir"] {
        let attributes = scene.node(saved.tree, kept).meta.extended_attributes;
        let attributes = serde_json::to_value(attributes).unwrap();
        assert_eq!(attributes, serde_json::json!([{ "name": "user.kept", "value": "eWVz" }]));
    }
    // The next run goes by the files' own times and numbers.
    let (parent, volume) = (settled(&saved), Files::live(&volume));
    let live = Source { files: volume, volume: "vol1", parent, extras: Extras::default() };
    let next = save(&scene.repository, live, &NoProgress, &|| false).unwrap();
    assert_eq!(scene.content(next.tree, "dir/small"), b"after");
    assert_eq!((next.files, next.bytes_read), (3, 17));
}

/// A clock by which a moment finds nothing hot: it is begun tomorrow, and taken now.
#[derive(Debug, Default)]
struct BegunTomorrow(AtomicUsize);

impl Clock for BegunTomorrow {
    fn now(&self) -> Timestamp {
        let is_begun = self.0.fetch_add(1, Ordering::Relaxed) >= 2;
        Timestamp::now() + SignedDuration::from_hours(if is_begun { 0 } else { 24 })
    }

    fn time_zone(&self) -> TimeZone {
        TimeZone::UTC
    }
}

#[test]
fn what_the_moment_had_and_is_gone_or_another_is_told() {
    let Some(disk) = Disk::new("xfs", &[]) else { return };
    let scene = Scene::new();
    let volume = disk.path().join("volume");
    for folder in ["gone", "switched", "other", "still"] {
        fs::create_dir_all(volume.join(folder)).unwrap();
        fs::write(volume.join(folder).join("f"), folder).unwrap();
    }
    for link in ["link", "switched_link"] {
        std::os::unix::fs::symlink("before", volume.join(link)).unwrap();
    }
    let (moments, place) = moments_on(&disk, Arc::new(SystemClock));
    let moment = moments.begin(&place).take(None).unwrap();
    fs::remove_dir_all(volume.join("gone")).unwrap();
    fs::rename(volume.join("switched"), volume.join("away")).unwrap();
    fs::rename(volume.join("other"), volume.join("switched")).unwrap();
    fs::remove_file(volume.join("link")).unwrap();
    std::os::unix::fs::symlink("after", volume.join("new_link")).unwrap();
    fs::rename(volume.join("new_link"), volume.join("switched_link")).unwrap();
    let source =
        Source { files: moment.files(), volume: "vol1", parent: None, extras: Extras::default() };
    let saved = save(&scene.repository, source, &NoProgress, &|| false).unwrap();
    let mut told = saved.changed.paths;
    told.dedup();
    let paths = ["gone", "link", "other", "switched", "switched_link"];
    assert_eq!(told, paths.map(PathBuf::from));
    assert_eq!(saved.vanished, 0);
    assert_eq!(scene.content(saved.tree, "still/f"), b"still");
    assert_eq!(scene.content(saved.tree, "switched/f"), b"switched");
}

#[test]
fn what_comes_and_goes_after_the_moment_in_a_folder_that_was_quiet_is_told() {
    let Some(disk) = Disk::new("xfs", &[]) else { return };
    let scene = Scene::new();
    let volume = disk.path().join("volume");
    for folder in ["from", "to", "still"] {
        fs::create_dir_all(volume.join(folder)).unwrap();
        fs::write(volume.join(folder).join("f"), folder).unwrap();
    }
    let (moments, place) = moments_on(&disk, Arc::new(BegunTomorrow::default()));
    let moment = moments.begin(&place).take(None).unwrap();
    assert!(moment.files().copies.unwrap().folder(Path::new("from")).is_none());
    fs::rename(volume.join("from/f"), volume.join("to/moved")).unwrap();
    let source =
        Source { files: moment.files(), volume: "vol1", parent: None, extras: Extras::default() };
    let saved = save(&scene.repository, source, &NoProgress, &|| false).unwrap();
    let told = |path: &str| saved.changed.paths.contains(&PathBuf::from(path));
    assert!(["from", "to", "to/moved"].into_iter().all(told), "{:?}", saved.changed);
}

/// What is told of a volume in which this happens after the file "1" was saved, and before "3" is read.
fn told_after(happens: &(dyn Fn(&Scene) + Sync)) -> Vec<PathBuf> {
    let scene = Scene::new();
    for name in ["from/moved", "from/folder/f", "3", "2", "1"] {
        scene.write(name, b"before");
    }
    // What is settled was there before the run.
    scene.save(None);
    let saved = scene.watched(&|name| {
        if name == c"2" {
            happens(&scene);
        }
    });
    saved.changed.paths
}

#[test]
fn files_that_are_of_different_moments_are_told() {
    let told = told_after(&|scene| {
        scene.write("1", b"after");
        scene.write("3", b"after");
    });
    assert_eq!(told, [PathBuf::from("1")]);
}

#[test]
fn a_file_that_changes_alone_after_it_was_read_is_of_the_moment_of_all() {
    assert_eq!(told_after(&|scene| scene.write("1", b"after")), [] as [PathBuf; 0]);
    assert_eq!(told_after(&|scene| scene.write("3", b"after")), [] as [PathBuf; 0]);
    assert_eq!(told_after(&|scene| scene.write("new", b"new")), [] as [PathBuf; 0]);
}

#[test]
fn a_file_that_changes_after_all_that_was_saved_is_of_the_moment_of_all() {
    let scene = Scene::new();
    for name in ["1", "2", "3"] {
        scene.write(name, b"before");
    }
    scene.save(None);
    let saved = scene.watched(&|name| match name.to_bytes() {
        b"1" => {
            scene.write("2", b"new, so that there is a second look");
            // What is read later than a tick after that is known to be.
            let read = Timestamp::now() + 4 * TICK;
            while Timestamp::now() < read {}
        }
        b"3" => scene.write("2", b"newer than all that was saved"),
        _ => {}
    });
    assert_eq!(saved.changed, Changed::default());
}

#[test]
fn a_file_that_moves_into_a_folder_that_was_read_already_is_told() {
    let told = told_after(&|scene| fs::rename(scene.path("from/moved"), scene.path("0")).unwrap());
    assert_eq!(told, [PathBuf::from("0")]);
}

#[test]
fn a_folder_whose_names_are_older_than_what_is_in_it_is_told() {
    let told = told_after(&|scene| {
        scene.write("3-journal", b"undo");
        scene.write("3", b"after");
    });
    assert_eq!(told, [PathBuf::from(".")]);
}

#[test]
fn a_file_that_another_replaces_after_it_was_read_is_told() {
    let told = told_after(&|scene| {
        scene.write("from/new", b"after");
        fs::rename(scene.path("from/new"), scene.path("1")).unwrap();
        scene.write("from/moved", b"after");
    });
    assert_eq!(told, [PathBuf::from("1")]);
}

#[test]
fn a_file_that_is_made_and_saved_and_changes_again_is_told() {
    let scene = Scene::new();
    for name in ["1", "dir/1", "dir/2", "dir/3"] {
        scene.write(name, b"before");
    }
    scene.save(None);
    let saved = scene.watched(&|name| match name.to_bytes() {
        b"1" if !scene.path("dir/0").exists() => scene.write("dir/0", b"made"),
        b"2" => {
            scene.write("dir/0", b"changed");
            scene.write("dir/3", b"changed");
        }
        _ => {}
    });
    assert_eq!(saved.changed.paths, [PathBuf::from("dir/0")]);
}

#[test]
fn a_folder_that_moves_into_one_that_was_read_already_is_told() {
    let told = told_after(&|scene| fs::rename(scene.path("from/folder"), scene.path("f")).unwrap());
    assert_eq!(told, [PathBuf::from("f")]);
}

#[test]
fn what_can_not_be_looked_at_again_is_told() {
    let told = told_after(&|scene| {
        scene.write("3", b"after");
        fs::rename(scene.path(""), scene.folder.path().join("away")).unwrap();
    });
    assert_eq!(told, [PathBuf::from(".")]);
}

#[test]
fn a_run_that_is_cancelled_while_it_looks_again_fails() {
    let scene = Scene::new();
    scene.write("1", b"before");
    scene.write("2", b"before");
    let (volume, is_read) = (scene.path(""), AtomicUsize::new(0));
    let source = scene.source(&volume, None);
    let cancelled = || is_read.load(Ordering::Relaxed) > 0;
    let read = |name: &CStr| {
        if name == c"1" {
            scene.write("2", b"new, so that there is a second look");
        } else {
            is_read.store(1, Ordering::Relaxed);
        }
        Ok(())
    };
    let saved = save_watched(&scene.repository, source, (&NoProgress, &cancelled), &read);
    assert_eq!(saved.unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn without_enough_threads_a_run_ends_with_an_error() {
    let scene = Scene::new();
    scene.write("f", b"f");
    let volume = scene.path("");
    let save = || save(&scene.repository, scene.source(&volume, None), &NoProgress, &|| false);
    for most in 0..4 {
        let error = with_threads(most, save).unwrap_err();
        assert!(error.message.contains("cannot start a thread"), "{error}");
        assert!(error.hint.unwrap().contains("ulimit -u"));
    }
    assert_eq!(save().unwrap().files, 1);
}

#[test]
fn what_is_something_else_by_now_is_read_as_that() {
    let scene = Scene::new();
    for name in ["folder", "link", "pipe"] {
        scene.write(name, b"a file");
    }
    scene.write("becomes_a_file/f", b"f");
    let volume = scene.path("");
    // A file becomes something else after it was opened: it has changed, and is opened again. The
    // folder was listed as one, before all files.
    let saved = scene.watched(&|name| {
        let path = volume.join(OsStr::from_bytes(name.to_bytes()));
        match name.to_bytes() {
            b"folder" => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::write(path.join("f"), "f").unwrap();
                remove_all(&volume.join("becomes_a_file")).unwrap();
                fs::write(volume.join("becomes_a_file"), "now a file").unwrap();
            }
            b"link" => {
                fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink("folder", &path).unwrap();
            }
            b"pipe" => {
                fs::remove_file(&path).unwrap();
                run(Command::new("mkfifo").arg(&path)).unwrap();
            }
            _ => {}
        }
    });
    assert_eq!(scene.content(saved.tree, "becomes_a_file"), b"now a file");
    assert_eq!(scene.content(saved.tree, "folder/f"), b"f");
    assert!(scene.node(saved.tree, "link").is_symlink());
}

#[test]
fn a_file_that_was_replaced_or_vanishes_while_it_is_read_is_whole() {
    let scene = Scene::new();
    scene.write("a", b"first");
    scene.write("b", b"first");
    let (a, b, new) = (scene.path("a"), scene.path("b"), scene.path("z"));
    let calls = AtomicUsize::new(0);
    let saved = scene.watched(&|name| {
        if name == c"a" && calls.fetch_add(1, Ordering::Relaxed) == 0 {
            fs::write(&new, "another file, whole").unwrap();
            fs::rename(&new, &a).unwrap();
        } else if name == c"b" {
            // Its number of links has changed, so it is opened again, and is not there any more.
            _ = fs::remove_file(&b);
        }
    });
    assert_eq!(scene.content(saved.tree, "a"), b"another file, whole");
    assert_eq!((saved.vanished, saved.files), (1, 1));
}

/// What was saved of a volume in which this happens each time that its folder was listed.
fn saved_after_lists(happens: &(dyn Fn(&Scene, usize) + Sync)) -> (Scene, Saved) {
    let scene = Scene::new();
    scene.write("a", b"there all the time");
    // What is settled was there before the run.
    scene.save(None);
    let (volume, lists) = (scene.path(""), AtomicUsize::new(0));
    let listed = |name: &CStr| {
        if name == LISTED {
            happens(&scene, lists.fetch_add(1, Ordering::Relaxed));
        }
        Ok(())
    };
    let source = scene.source(&volume, None);
    let saved = save_watched(&scene.repository, source, (&NoProgress, &|| false), &listed);
    let saved = saved.unwrap();
    (scene, saved)
}

#[test]
fn a_folder_in_which_a_file_is_renamed_while_it_is_listed_is_listed_again() {
    let (scene, saved) = saved_after_lists(&|scene, list| {
        if list == 0 {
            fs::rename(scene.path("a"), scene.path("b")).unwrap();
        }
    });
    assert_eq!((saved.files, saved.vanished, saved.changed), (1, 0, Changed::default()));
    assert_eq!(scene.content(saved.tree, "b"), b"there all the time");
}

#[test]
fn a_file_that_a_list_hides_each_time_is_told() {
    let (_scene, saved) = saved_after_lists(&|scene, list| {
        let name =
            |number| scene.path(&if number == 0 { "a".into() } else { format!("z{number}") });
        fs::rename(name(list), name(list + 1)).unwrap();
    });
    assert_eq!((saved.files, saved.vanished), (0, 1));
    assert_eq!(saved.changed.paths, [PathBuf::from("z3")]);
}

#[test]
fn a_file_that_goes_away_for_good_after_it_was_listed_is_no_torn_one() {
    let (_scene, saved) = saved_after_lists(&|scene, list| {
        scene.write(&format!("new{list}"), b"came later");
        _ = fs::remove_file(scene.path("a"));
        _ = fs::remove_file(scene.path("new1"));
    });
    assert_eq!((saved.files, saved.changed), (1, Changed::default()));
}

#[test]
fn a_file_that_stays_stale_or_invalid_fails_the_run_and_one_that_was_replaced_each_time_is_told() {
    let scene = Scene::new();
    scene.write("f", b"f");
    scene.write("still", b"still");
    let (volume, path, new) = (scene.path(""), scene.path("f"), scene.path("new"));
    let save = |after_reading: &(dyn Fn(&CStr) -> Result<(), Errno> + Sync)| {
        let source = scene.source(&volume, None);
        save_watched(&scene.repository, source, (&NoProgress, &|| false), after_reading)
    };
    let stale = |name: &CStr| if name == c"f" { Err(Errno::STALE) } else { Ok(()) };
    let error = save(&stale).unwrap_err();
    assert!(error.message.contains("\"f\": Stale file handle"), "{error}");

    let replaced = |name: &CStr| {
        if name == c"f" {
            fs::write(&new, "another").unwrap();
            fs::rename(&new, &path).unwrap();
        }
        stale(name)
    };
    let saved = save(&replaced).unwrap();
    assert_eq!((saved.files, saved.changed.paths), (1, vec![PathBuf::from("f")]));

    let removed = |name: &CStr| {
        if name == c"f" {
            _ = fs::remove_file(&path);
        }
        stale(name)
    };
    let saved = save(&removed).unwrap();
    assert_eq!((saved.files, saved.vanished, saved.changed.count), (1, 1, 0));
}

#[test]
fn what_was_changed_just_before_the_parent_was_begun_is_read_again() {
    let scene = Scene::new();
    scene.write("f", b"some content");
    let saved = scene.save(None);
    let unsettled = Parent { tree: saved.tree, begun: Timestamp::now() };
    assert_eq!(scene.save(Some(unsettled)).bytes_read, 12);
    assert_eq!(scene.save(settled(&saved)).bytes_read, 0);
}

#[test]
fn holes_are_not_read_and_come_back() {
    let scene = Scene::new();
    let file = File::create(scene.path("sparse")).unwrap();
    file.set_len(100 << 30).unwrap();
    file.write_all_at(b"island", (50 << 30) + 5).unwrap();
    let saved = scene.save(None);
    assert_eq!(saved.bytes, 100 << 30);
    assert!(saved.summary.data_blobs <= 4, "{:?}", saved.summary);
    let node = scene.node(saved.tree, "sparse");
    assert_eq!(node.meta.size, 100 << 30);
    let indexed = scene.repository.indexed().unwrap();
    let (mut at, mut island) = (0, None);
    for chunk in node.content.unwrap() {
        let length = u64::from(indexed.get_index_entry(&chunk).unwrap().data_length());
        if (at..at + length).contains(&(50 << 30)) {
            let content = scene.repository.piece(&indexed, &chunk, "cannot read").unwrap();
            let start = ((50 << 30) - at) as usize + 5;
            island = Some(content[start..start + 6].to_vec());
        }
        at += length;
    }
    assert_eq!((at, island.as_deref()), (100 << 30, Some(&b"island"[..])));

    // A hole at the end of data, that is no multiple of a chunk.
    scene.write("odd", &noise(3_000_000, 2));
    File::options().write(true).open(scene.path("odd")).unwrap().set_len(12_345_678).unwrap();
    let saved = scene.save(settled(&saved));
    assert!(scene.content(saved.tree, "odd") == fs::read(scene.path("odd")).unwrap());
}

#[test]
fn a_file_of_many_terabytes_of_holes_takes_little_memory_or_is_refused() {
    let scene = Scene::new();
    // Where files may be as long as that.
    let Ok(volume) = tempfile::tempdir_in("/dev/shm") else { return };
    let file = File::create(volume.path().join("sparse")).unwrap();
    let size = |length: u64| file.set_len(length).is_ok();
    let save =
        || save(&scene.repository, scene.source(volume.path(), None), &NoProgress, &|| false);
    if !size(1 << 40) {
        eprintln!("this file system can't have such files");
        return;
    }
    file.write_all_at(b"island", 1 << 39).unwrap();
    let saved = save().unwrap();
    let node = scene.node(saved.tree, "sparse");
    assert!((saved.bytes, node.meta.size) == (1 << 40, 1 << 40));
    let chunks = node.content.unwrap();
    assert!(chunks.len() < 100_000, "{}", chunks.len());
    let indexed = scene.repository.indexed().unwrap();
    let length = |chunk| u64::from(indexed.get_index_entry(chunk).unwrap().data_length());
    assert_eq!(chunks.iter().map(length).sum::<u64>(), 1 << 40);
    if size(1 << 60) {
        let error = save().unwrap_err();
        assert!(error.message.contains("\"sparse\": it has 1048576 TiB"), "{error}");
    }
}

#[test]
fn an_attribute_whose_name_is_no_text_is_left_out_and_the_rest_is_kept() {
    let scene = Scene::new();
    scene.write("dir/f", b"f");
    for below in ["", "dir", "dir/f"] {
        let path = scene.path(below);
        let set = |name: &[u8]| xattr::set(&path, OsStr::from_bytes(name), b"value");
        if set(b"user.\xff").is_err() {
            eprintln!("this file system has no such attributes");
            return;
        }
        set(b"user.plain").unwrap();
    }
    let saved = scene.save(None);
    for below in ["", "dir", "dir/f"] {
        let kept = scene.node(saved.tree, below).meta.extended_attributes;
        let kept = serde_json::to_value(kept).unwrap();
        assert_eq!(kept, serde_json::json!([{ "name": "user.plain", "value": "dmFsdWU=" }]));
    }
}

/// Counts bytes.
#[derive(Debug, Default)]
struct Passed(AtomicU64);

impl Piece for Passed {
    fn set_total(&self, _: u64) {}

    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_run_ends_soon_after_it_was_cancelled_and_the_next_one_uses_what_it_wrote() {
    let scene = Scene::new();
    for number in 0..60 {
        scene.write(&format!("{number:02}"), &noise(1_000_000, number));
    }
    let (passed, volume) = (Passed::default(), scene.path(""));
    let cancelled = || passed.0.load(Ordering::Relaxed) > 40_000_000;
    let source = scene.source(&volume, None);
    let error = save(&scene.repository, source, &passed, &cancelled).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert_eq!(scene.files(FileType::Index), 1);
    let read = passed.0.load(Ordering::Relaxed);
    assert!(read < 50_000_000, "{read}");
    let saved = scene.save(None);
    assert_eq!(scene.files(FileType::Index), 2);
    assert!(saved.bytes_added < 61_000_000 - 40_000_000, "{}", saved.bytes_added);
    assert!(scene.content(saved.tree, "59") == noise(1_000_000, 59));
}

#[test]
fn a_disk_that_is_full_ends_the_run_and_the_next_one_is_whole() {
    let scene = Scene::new();
    for number in 0..60 {
        scene.write(&format!("{number:02}"), &noise(1_000_000, number));
    }
    let (volume, room) = (scene.path(""), &scene.repository.backend().room);
    *room.lock().unwrap() = Some(20_000_000);
    let save = || save(&scene.repository, scene.source(&volume, None), &NoProgress, &|| false);
    let error = save().unwrap_err();
    assert!(error.message.contains("No space left"), "{error}");
    assert_eq!(scene.files(FileType::Index), 1, "the packs that are there are in the index");
    *room.lock().unwrap() = None;
    let saved = save().unwrap();
    assert!(saved.bytes_added < 50_000_000, "{}", saved.bytes_added);
    assert!(scene.content(saved.tree, "00") == noise(1_000_000, 0));
}

#[test]
fn what_the_index_has_lost_is_stored_again_although_the_parent_knows_it() {
    let scene = Scene::new();
    scene.write("dir/f", &noise(100_000, 1));
    let saved = scene.save(None);
    let index = scene.folder.path().join("repository/index");
    remove_all(&index).unwrap();
    fs::create_dir(&index).unwrap();
    let again = scene.save(settled(&saved));
    assert_eq!((again.tree, again.bytes_read), (saved.tree, 100_000));
    assert!(scene.content(again.tree, "dir/f") == noise(100_000, 1));
}

#[test]
fn more_levels_than_a_process_can_have_open_are_saved() {
    let scene = Scene::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut deepest = rustix::fs::open(scene.path(""), flags, Mode::empty()).unwrap();
    for level in 0..3_000 {
        rustix::fs::mkdirat(&deepest, "d", Mode::RWXU).unwrap();
        // Beside some of them one that comes after it, when the handle is long gone.
        if level % 150 == 0 {
            rustix::fs::mkdirat(&deepest, "e", Mode::RWXU).unwrap();
        }
        deepest = rustix::fs::openat(&deepest, "d", flags, Mode::empty()).unwrap();
    }
    let saved = scene.save(None);
    assert_eq!((saved.folders, saved.vanished), (3_021, 0));
    assert_eq!(scene.save(settled(&saved)).tree, saved.tree);
    remove_all(&scene.path("")).unwrap();
}

#[test]
fn what_can_not_be_read_is_told_and_nothing_is_saved() {
    let scene = Scene::new();
    scene.write("f", b"f");
    let volume = scene.path("nowhere");
    let save = |volume: &Path| {
        save(&scene.repository, scene.source(volume, None), &NoProgress, &|| false).unwrap_err()
    };
    assert!(save(&volume).message.contains("\".\": No such file"));
    assert!(save(&scene.path("f")).message.contains("\".\": Not a directory"));
    std::os::unix::fs::symlink("volume", scene.folder.path().join("link")).unwrap();
    assert!(save(&scene.folder.path().join("link")).message.contains("\".\": "));
}

#[test]
fn a_file_or_folder_that_can_not_be_read_is_left_out_and_named() {
    let scene = Scene::new();
    scene.write("dir/f", b"f");
    scene.write("dir/g", b"g");
    scene.write("other/h", b"h");
    let volume = scene.path("");
    let save = |after_reading: &(dyn Fn(&CStr) -> Result<(), Errno> + Sync)| {
        let source = scene.source(&volume, None);
        save_watched(&scene.repository, source, (&NoProgress, &|| false), after_reading)
    };
    let broken = |name: &CStr| if name == c"f" { Err(Errno::IO) } else { Ok(()) };
    let saved = save(&broken).unwrap();
    assert_eq!((saved.files, saved.changed.count), (2, 0));
    let Lacking { count, first } = &saved.changed.lacking;
    assert_eq!((*count, first[0].path.as_str()), (1, "dir/f"));
    assert!(first[0].why.contains("Input/output error"), "{first:?}");
    assert_eq!(scene.content(saved.tree, "dir/g"), b"g");
    // The next one has it.
    assert_eq!(scene.save(settled(&saved)).changed, Changed::default());

    // The volume's own folder, then the two in it, in any order.
    let lists = AtomicUsize::new(0);
    let second_folder = |name: &CStr| match name == LISTED {
        true if lists.fetch_add(1, Ordering::Relaxed) > 0 => Err(Errno::ACCESS),
        _ => Ok(()),
    };
    let error = save(&second_folder).unwrap_err();
    assert!(error.message.contains("\"dir\": Permission denied"), "nothing is left: {error}");
    scene.write("top", b"top");
    lists.store(0, Ordering::Relaxed);
    let saved = save(&second_folder).unwrap();
    let first = &saved.changed.lacking.first;
    let paths: Vec<_> = first.iter().map(|lacking| lacking.path.as_str()).collect();
    assert_eq!((saved.files, paths), (1, vec!["dir", "other"]));
}

#[test]
fn a_volume_whose_own_folder_is_gone_or_can_not_be_listed_in_the_end_fails() {
    let scene = Scene::new();
    scene.write("f", b"f");
    scene.write("g", b"g");
    let volume = scene.path("");
    let save = |after_reading: &(dyn Fn(&CStr) -> Result<(), Errno> + Sync)| {
        let source = scene.source(&volume, None);
        save_watched(&scene.repository, source, (&NoProgress, &|| false), after_reading)
    };
    let root = |name: &CStr| if name == LISTED { Err(Errno::IO) } else { Ok(()) };
    assert!(save(&root).unwrap_err().message.contains("\".\": Input/output error"));
    let gone = |name: &CStr| {
        if name != c"f" {
            return Ok(());
        }
        fs::rename(&volume, scene.folder.path().join("moved")).unwrap();
        Err(Errno::IO)
    };
    let error = save(&gone).unwrap_err();
    assert!(error.message.contains("\".\": No such file"), "{error}");
}

#[test]
fn a_panic_of_a_worker_ends_the_run() {
    let scene = Scene::new();
    scene.write("f", b"f");
    let (volume, panics) =
        (scene.path(""), |_: &CStr| -> Result<(), Errno> { panic!("on purpose") });
    let source = scene.source(&volume, None);
    let saved = save_watched(&scene.repository, source, (&NoProgress, &|| false), &panics);
    let error = saved.unwrap_err();
    assert!(error.message.contains("on purpose"), "{error}");
}

#[test]
fn times_beyond_what_restic_reads_are_capped() {
    let scene = Scene::new();
    scene.write("f", b"f");
    let far = rustix::fs::Timespec { tv_sec: -70_000_000_000, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: far, last_modification: far };
    let file = File::open(scene.path("f")).unwrap();
    rustix::fs::futimens(&file, &times).unwrap();
    if rustix::fs::fstat(&file).unwrap().st_mtime != far.tv_sec {
        eprintln!("this file system can't have such times");
        return;
    }
    let saved = scene.save(None);
    let kept = scene.node(saved.tree, "f").meta.mtime.unwrap();
    assert_eq!(kept.to_string(), "0000-01-02T00:00:00Z");
    assert_eq!(scene.save(settled(&saved)).bytes_read, 0);
}

/// Makes the tree a snapshot.
fn publish(scene: &Scene, saved: &Saved) -> Result<()> {
    let mut file = SnapshotFile::default();
    (file.tree, file.summary) = (saved.tree, Some((*saved.summary).clone()));
    file.paths.add("/vol1".to_owned());
    scene.repository.plain()?.save_snapshots(vec![file]).unwrap();
    Ok(())
}

#[test]
fn restic_and_rustic_read_it_and_restic_writes_beside_it() {
    let scene = Scene::new();
    let large = noise(9_000_000, 3);
    scene.write("dir/large", &large);
    scene.write("dir/text", &b"the same line\n".repeat(100_000));
    scene.write("empty", b"");
    scene.write("with \" and \\", b"odd");
    publish(&scene, &scene.save(None)).unwrap();
    let mut options = CheckOptions::default();
    options.read_data = true;
    let found = scene.repository.plain().unwrap().check(options).unwrap();
    assert!(found.is_ok().is_ok(), "{found:?}");

    let restic = |arguments: &[&str]| {
        let mut command = Command::new("restic");
        command.args(["--no-cache", "--quiet", "--repo"]).args(arguments);
        command.env("RESTIC_PASSWORD", "secret").current_dir(scene.folder.path());
        command.output()
    };
    if restic(&["repository", "snapshots"]).is_err() {
        eprintln!("restic is not installed");
        return;
    }
    let restic = |arguments: &[&str]| {
        let told = restic(arguments).unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    };
    let repository = "repository";
    restic(&[repository, "check", "--read-data"]);
    restic(&[repository, "restore", "latest", "--target", "restored"]);
    for below in ["dir/large", "dir/text", "empty", "with \" and \\"] {
        let restored = scene.folder.path().join("restored/vol1").join(below);
        assert!(fs::read(restored).unwrap() == fs::read(scene.path(below)).unwrap(), "{below}");
    }
    restic(&[repository, "backup", "volume"]);
    scene.write("dir/later", b"later");
    publish(&scene, &scene.save(None)).unwrap();
    restic(&[repository, "check", "--read-data"]);
}

#[test]
fn a_tree_is_whole_until_something_that_it_relies_on_is_gone() {
    let scene = Scene::new();
    scene.write("dir/file", &noise(100_000, 1));
    let first = scene.save(None);
    assert!(first.needs.are_met(&scene.repository).unwrap(), "what was written is needed");
    // Nothing is written, and the folder's tree is found without being read.
    let again = scene.save(None);
    let unchanged = scene.save(settled(&first));
    assert_eq!((again.bytes_added, unchanged.bytes_added, again.tree), (0, 0, first.tree));
    for saved in [&first, &again, &unchanged] {
        assert!(saved.needs.are_written(&scene.repository).unwrap());
    }
    let are_met = |wanted: [bool; 3]| {
        let met = [&first, &again, &unchanged].map(|it| it.needs.are_met(&scene.repository));
        assert_eq!(met.map(Result::unwrap), wanted);
    };
    are_met([true; 3]);
    for kind in [FileType::Index, FileType::Pack] {
        for (id, size) in scene.repository.backend().files(kind).unwrap() {
            let name = id.to_hex();
            let folder = match kind {
                FileType::Pack => format!("data/{}", &name.as_str()[..2]),
                _ => "index".to_owned(),
            };
            let path = scene.folder.path().join("repository").join(folder).join(name.as_str());
            let content = fs::read(&path).unwrap();
            // The repository keeps packs open, so the file stays the same one.
            let aside = scene.folder.path().join("aside");
            fs::rename(&path, &aside).unwrap();
            are_met([false; 3]);
            fs::rename(&aside, &path).unwrap();
            fs::write(&path, &content[1..]).unwrap();
            are_met([false; 3]);
            fs::write(&path, vec![0; size as usize]).unwrap();
            let is_written = first.needs.are_written(&scene.repository);
            let is_data = kind == FileType::Pack && size > 50_000;
            assert_eq!(is_written.unwrap_or_default(), is_data, "what was written is read");
            if kind == FileType::Pack {
                // The size is right, and a tree is damaged.
                are_met([true, is_data, true]);
            }
            fs::write(&path, &content).unwrap();
            are_met([true; 3]);
        }
    }
}

#[test]
fn an_attribute_that_came_or_went_since_the_parent_is_noticed() {
    let scene = Scene::new();
    scene.write("dir/file", b"content");
    let attributes = |saved: &Saved| {
        let attributes = scene.node(saved.tree, "dir/file").meta.extended_attributes;
        serde_json::to_value(attributes).unwrap()
    };
    let first = scene.save(None);
    assert_eq!(attributes(&first), serde_json::json!([]));
    xattr::set(scene.path("dir/file"), "user.note", b"yes").unwrap();
    let second = scene.save(settled(&first));
    let noted = serde_json::json!([{ "name": "user.note", "value": "eWVz" }]);
    assert_eq!(attributes(&second), noted);
    assert_eq!(attributes(&scene.save(settled(&second))), noted, "it is as it was");
    xattr::remove(scene.path("dir/file"), "user.note").unwrap();
    assert_eq!(attributes(&scene.save(settled(&second))), serde_json::json!([]));
}
