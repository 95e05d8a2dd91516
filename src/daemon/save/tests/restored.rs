//! What was saved is restored: by the writer of [`crate::daemon::tree`], from what this room wrote.

use std::{
    ffi::CStr,
    fs::{self, File},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use rustic_core::{Id, TreeId};
use rustix::fs::{Mode, OFlags};
use tokio_util::sync::CancellationToken;

use super::{Scene, noise, settled};
use crate::{
    daemon::tree::write::{self, RestoreWarnings},
    error::{ErrorKind, Result},
    files::remove_all,
    progress::{NoProgress, Piece},
    scope::{self, Scope},
};

impl Scene {
    fn restore(&self, tree: TreeId) -> Result<PathBuf> {
        let to = self.folder.path().join(Id::random().to_hex().as_str());
        fs::create_dir(&to).unwrap();
        write::restore(
            &self.repository,
            (tree, None),
            &to,
            &NoProgress,
            &RestoreWarnings::default(),
        )?;
        Ok(to)
    }
}

#[test]
fn many_files_of_each_size_come_back_whole() {
    let scene = Scene::new();
    for number in 0..700 {
        scene.write(&format!("{}/{number}", number % 7), &noise(number as usize * 20, number));
        scene.write(&format!("empty/{number}"), b"");
    }
    for copy in ["one", "two", "3/three"] {
        scene.write(copy, &noise(9_000_000, 1));
    }
    let first = scene.save(None);
    for number in (0..700).step_by(5) {
        scene.write(&format!("{}/{number}", number % 7), &noise(30_000, 7 * number));
    }
    // Most of it lies in the packs of the first, some in those of the second.
    let second = scene.save(settled(&first));
    let restored = scene.restore(second.tree).unwrap();
    for number in 0..700 {
        let below = format!("{}/{number}", number % 7);
        assert!(fs::read(restored.join(&below)).unwrap() == fs::read(scene.path(&below)).unwrap());
        assert_eq!(fs::metadata(restored.join(format!("empty/{number}"))).unwrap().len(), 0);
    }
    for copy in ["one", "two", "3/three"] {
        assert!(fs::read(restored.join(copy)).unwrap() == noise(9_000_000, 1), "{copy}");
        let times = |path: PathBuf| fs::metadata(path).map(|it| (it.mtime(), it.mtime_nsec()));
        assert_eq!(times(restored.join(copy)).unwrap(), times(scene.path(copy)).unwrap());
    }
}

#[test]
fn a_large_hole_comes_back_as_one() {
    let scene = Scene::new();
    let file = File::create(scene.path("sparse")).unwrap();
    file.set_len(20 << 30).unwrap();
    file.write_all_at(b"island", (10 << 30) + 5).unwrap();
    let restored = scene.restore(scene.save(None).tree).unwrap().join("sparse");
    let found = fs::metadata(&restored).unwrap();
    assert_eq!(found.len(), 20 << 30);
    assert!(found.blocks() < 64, "{}", found.blocks());
    let mut island = [0; 8];
    File::open(restored).unwrap().read_exact_at(&mut island, (10 << 30) + 4).unwrap();
    assert_eq!(&island, b"\0island\0");
}

#[test]
fn names_of_one_inode_that_had_other_content_by_then_are_files_of_their_own() {
    let scene = Scene::new();
    scene.write("a", b"as it was");
    for name in ["b", "z", "zz"] {
        fs::hard_link(scene.path("a"), scene.path(name)).unwrap();
    }
    scene.write("m", b"in the middle");
    let z = scene.path("z");
    // As if the number was used again: the same inode is another file from "m" on.
    let saved = scene.watched(&|name: &CStr| {
        if name == c"m" {
            fs::write(&z, "as it is now, longer").unwrap();
        }
    });
    let restored = scene.restore(saved.tree).unwrap();
    let read = |name: &str| fs::read_to_string(restored.join(name)).unwrap();
    let inode = |name: &str| fs::metadata(restored.join(name)).unwrap().ino();
    assert_eq!((read("a"), read("z")), ("as it was".into(), "as it is now, longer".into()));
    assert_eq!((inode("a"), inode("z")), (inode("b"), inode("zz")));
}

#[test]
fn more_levels_than_a_process_can_have_open_come_back() {
    const LEVELS: u64 = 3_000;
    let scene = Scene::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut deepest = rustix::fs::open(scene.path(""), flags, Mode::empty()).unwrap();
    for level in 0..LEVELS {
        rustix::fs::mkdirat(&deepest, "d", Mode::RWXU).unwrap();
        if level % 150 == 0 {
            // It comes after "d", when the handle of the folder is long gone.
            let made = OFlags::WRONLY | OFlags::CREATE;
            let file = rustix::fs::openat(&deepest, "e", made, Mode::RUSR | Mode::WUSR).unwrap();
            rustix::io::write(&file, b"e").unwrap();
        }
        deepest = rustix::fs::openat(&deepest, "d", flags, Mode::empty()).unwrap();
    }
    let saved = scene.save(None);
    let restored = scene.restore(saved.tree).unwrap();
    remove_all(&scene.path("")).unwrap();
    fs::rename(&restored, scene.path("")).unwrap();
    let again = scene.save(None);
    assert_eq!((again.folders, again.files), (LEVELS + 1, LEVELS / 150));
    assert_eq!(
        (again.folders, again.files, again.bytes),
        (saved.folders, saved.files, saved.bytes)
    );
    remove_all(&scene.path("")).unwrap();
}

#[test]
fn the_first_thing_that_can_not_be_written_ends_a_restore() {
    let scene = Scene::new();
    for number in 0..300 {
        scene.write(&format!("{number:03}"), &noise(100_000, number));
    }
    let saved = scene.save(None);
    let to = scene.folder.path().join("in-the-way");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("017"), "was there").unwrap();
    let warnings = RestoreWarnings::default();
    let error = write::restore(&scene.repository, (saved.tree, None), &to, &NoProgress, &warnings);
    let error = error.unwrap_err();
    assert!(error.message.contains("\"017\": File exists"), "{error}");
    assert_eq!(fs::read(to.join("017")).unwrap(), b"was there");
}

/// Cancels the run at the first byte that is restored, and counts the bytes.
#[derive(Debug)]
struct CancelsAtOnce(CancellationToken, AtomicU64);

impl Piece for CancelsAtOnce {
    fn set_total(&self, _: u64) {}

    fn advance(&self, bytes: u64) {
        self.0.cancel();
        self.1.fetch_add(bytes, Ordering::Relaxed);
    }
}

#[test]
fn a_restore_ends_soon_after_its_run_was_cancelled() {
    let scene = Scene::new();
    scene.write("large", &noise(100_000_000, 1));
    let saved = scene.save(None);
    let to = scene.folder.path().join("restored");
    fs::create_dir(&to).unwrap();
    let ended = CancellationToken::new();
    let passed = CancelsAtOnce(ended.clone(), AtomicU64::new(0));
    let restored = scope::within(Some(Scope { ended, ..Scope::of("run-1") }), || {
        let warnings = RestoreWarnings::default();
        write::restore(&scene.repository, (saved.tree, None), &to, &passed, &warnings)
    });
    let error = restored.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    let bytes = passed.1.into_inner();
    assert!(bytes < 50_000_000, "{bytes}");
}
