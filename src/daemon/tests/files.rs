//! A restore brings back everything about files.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::Path,
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};

use super::scene::{CAPABILITY, Scene, describe, name, noise, set_times, without_privileges};
use crate::{
    convoy::{
        Changes, Daemon as _,
        inside::{Form, ReadFile},
    },
    error::ErrorKind,
    scope::{self, Scope},
};

#[tokio::test]
async fn everything_about_files_comes_back() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    let file = |below: &str| files.join(below);
    fs::write(file("plain"), "text").unwrap();
    fs::write(file("empty"), "").unwrap();
    fs::write(file("large"), noise(12_345_678)).unwrap();
    fs::write(file("with \\ and \" and \n"), "odd").unwrap();
    fs::write(files.join(OsStr::from_bytes(b"latin1-\xe9\xff")), "not UTF-8").unwrap();
    fs::create_dir_all(file("dir/deep/deeper")).unwrap();
    fs::write(file("dir/deep/deeper/f"), "f").unwrap();
    fs::hard_link(file("plain"), file("dir/zz-linked")).unwrap();
    symlink("/etc/passwd", file("link")).unwrap();
    symlink(OsStr::from_bytes(b"nowhere-\xe9"), file("dir/dangling")).unwrap();
    for (path, kind) in [("fifo", FileType::Fifo), ("socket", FileType::Socket)] {
        rustix::fs::mknodat(CWD, file(path), kind, Mode::from_raw_mode(0o640), 0).unwrap();
    }
    rustix::fs::setxattr(file("plain"), "user.note", b"\0\x01\xff", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(file("dir"), "user.empty", b"", XattrFlags::empty()).unwrap();
    let sparse = File::create(file("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"island", (32 << 20) + 5).unwrap();
    fs::set_permissions(file("empty"), fs::Permissions::from_mode(0o4751)).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(file("plain"), Some(12345), Some(54321)).unwrap();
        std::os::unix::fs::lchown(file("link"), Some(7), Some(8)).unwrap();
        rustix::fs::mknodat(
            CWD,
            file("null"),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            0x103,
        )
        .unwrap();
        rustix::fs::setxattr(
            file("large"),
            "security.capability",
            &CAPABILITY,
            XattrFlags::empty(),
        )
        .unwrap();
        std::os::unix::fs::lchown(file("dir"), Some(99), Some(98)).unwrap();
    }
    fs::set_permissions(file("dir"), fs::Permissions::from_mode(0o1577)).unwrap();
    fs::set_permissions(&files, fs::Permissions::from_mode(0o2750)).unwrap();
    for (path, second) in [
        ("plain", 1),
        ("link", -5),
        ("fifo", 1_000_000_000),
        ("dir/deep", 86_400),
        ("dir", 9),
        ("", 5),
    ] {
        set_times(&file(path), second, 123_456_789);
    }

    scene.snapshot("vol1", "snap1").await;
    let url = scene.backup("snap1").await;
    let changes = scene.daemon().changes_since(&name("vol1"), &url).await.unwrap();
    assert_eq!(changes, Changes::Unchanged);
    scene.restore("vol2", &url).await.unwrap();
    let restored = scene.path("root/volumes/vol2");
    let (before, after) = (describe(&files), describe(&restored));
    assert_eq!(before, after);
    assert!(fs::metadata(restored.join("sparse")).unwrap().blocks() < 64, "the holes are dug");
    assert_eq!(fs::symlink_metadata(restored.join("fifo")).unwrap().atime_nsec(), 123_456_789);
    scene.check("root/repository");
    scene.check("backups/repository");
}

/// Opens the folder 30 names of 200 bytes below this one, and creates it if `make`. The path is
/// longer than the 4096 bytes that the system accepts.
fn far_below(top: &Path, make: bool) -> rustix::fd::OwnedFd {
    let name = "n".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let mut folder = rustix::fs::open(top, flags, Mode::empty()).unwrap();
    for _ in 0..30 {
        if make {
            rustix::fs::mkdirat(&folder, &name, Mode::RWXU).unwrap();
        }
        folder = rustix::fs::openat(&folder, &name, flags, Mode::empty()).unwrap();
    }
    folder
}

#[tokio::test]
async fn folders_and_hard_links_far_below_come_back_whatever_their_paths_length() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    let deep = far_below(&files, true);
    let made =
        rustix::fs::openat(&deep, "a", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR | Mode::WUSR)
            .unwrap();
    rustix::io::write(&made, b"content").unwrap();
    // The deep name comes first, and the other names are linked to it.
    rustix::fs::linkat(&deep, "a", &deep, "b", AtFlags::empty()).unwrap();
    rustix::fs::linkat(&deep, "a", CWD, files.join("zz"), AtFlags::empty()).unwrap();
    rustix::fs::fchmod(&deep, Mode::from_raw_mode(0o751)).unwrap();
    let time = Timespec { tv_sec: 7, tv_nsec: 8 };
    rustix::fs::futimens(&deep, &Timestamps { last_access: time, last_modification: time })
        .unwrap();

    scene.snapshot("vol1", "snap1").await;
    let url = scene.backup("snap1").await;
    scene.restore("vol2", &url).await.unwrap();
    let restored = scene.path("root/volumes/vol2");
    let deep = far_below(&restored, false);
    let folder = rustix::fs::fstat(&deep).unwrap();
    assert_eq!((folder.st_mode & 0o7777, folder.st_mtime, folder.st_mtime_nsec), (0o751, 7, 8));
    let inode = |name: &str| rustix::fs::statat(&deep, name, AtFlags::empty()).unwrap().st_ino;
    let top = fs::metadata(restored.join("zz")).unwrap();
    assert_eq!((inode("a"), inode("b"), top.nlink()), (top.ino(), top.ino(), 3));
    assert_eq!(fs::read_to_string(restored.join("zz")).unwrap(), "content");
    scene.daemon().delete_volume(&name("vol2"), None, false).await.unwrap();
    assert!(!restored.exists());
}

#[tokio::test]
async fn a_file_changed_behind_the_back_of_its_times_is_read_again() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), "one").unwrap();
    set_times(&files.join("a"), 1_000, 0);
    scene.snapshot("vol1", "snap1").await;
    fs::write(files.join("other"), "two").unwrap();
    set_times(&files.join("other"), 1_000, 0);
    fs::rename(files.join("other"), files.join("a")).unwrap();
    scene.snapshot("vol1", "snap2").await;
    let url = scene.backup("snap2").await;
    scene.restore("vol2", &url).await.unwrap();
    assert_eq!(fs::read_to_string(scene.path("root/volumes/vol2/a")).unwrap(), "two");
}

#[test]
fn what_only_a_privileged_process_can_restore_is_left_out() {
    let scene = Scene::new();
    let root = rustix::process::geteuid().is_root();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (files, url) = runtime.block_on(async {
        let files = scene.volume("vol1").await;
        fs::write(files.join("a"), "a").unwrap();
        if root {
            rustix::fs::setxattr(
                files.join("a"),
                "security.capability",
                &CAPABILITY,
                XattrFlags::empty(),
            )
            .unwrap();
            // Only a process with CAP_SYS_ADMIN can set this attribute. The tests may not have that
            // capability.
            _ = rustix::fs::setxattr(files.join("a"), "trusted.note", b"x", XattrFlags::empty());
            fs::write(files.join("b"), "b").unwrap();
            std::os::unix::fs::lchown(files.join("b"), Some(12345), Some(54321)).unwrap();
            rustix::fs::mknodat(
                CWD,
                files.join("null"),
                FileType::CharacterDevice,
                Mode::RUSR,
                0x103,
            )
            .unwrap();
            fs::hard_link(files.join("null"), files.join("null2")).unwrap();
        }
        fs::set_permissions(files.join("a"), fs::Permissions::from_mode(0o4755)).unwrap();
        if root {
            fs::set_permissions(files.join("b"), fs::Permissions::from_mode(0o6755)).unwrap();
        }
        scene.snapshot("vol1", "snap1").await;
        (files, scene.backup("snap1").await)
    });
    without_privileges(async {
        scene.restore("vol2", &url).await.unwrap();
    });
    let restored = scene.path("root/volumes/vol2");
    assert_eq!(fs::read_to_string(restored.join("a")).unwrap(), "a");
    assert_eq!(fs::metadata(restored.join("a")).unwrap().mode() & 0o7777, 0o4755);
    if root {
        assert!(
            files.join("null2").exists()
                && !restored.join("null").exists()
                && !restored.join("null2").exists()
        );
        let other = fs::metadata(restored.join("b")).unwrap();
        assert_eq!((other.uid(), other.mode() & 0o7777), (0, 0o755), "it would run as root");
    }
}

#[tokio::test]
async fn a_backup_that_lists_a_name_twice_is_restored() {
    let (scene, url) = Scene::with_backup().await;
    // As version 0.1.0 kept a folder of XFS that was changed while it was listed.
    let twice = scene.forge_entries(&url, |nodes| {
        *nodes = nodes.iter().flat_map(|node| [node.clone(), node.clone()]).collect();
    });
    scene.restore("vol2", &twice).await.unwrap();
    let files = |volume: &str| describe(&scene.path("root/volumes").join(volume));
    assert_eq!(files("vol2"), files("vol1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_is_told_too_that_not_all_of_a_file_came() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("large"), noise(12_345_678)).unwrap();
    let url = scene.back_up("vol1", "s1").await.to_string();
    let run = Scope::of("run-1");
    let (path, form) = ("large".to_owned(), Form::default());
    let what = ReadFile { url, path, form, offset: 0, length: None };
    let read = scope::carried_for(Some(run.clone()), scene.daemon().content(&what));
    let mut content = read.await.unwrap().unwrap();
    // There is no room for an error when the work ends.
    while content.pieces.len() < content.pieces.max_capacity() {
        tokio::task::yield_now().await;
    }
    run.ended.cancel();
    assert!(run.work.wait(std::time::Duration::from_mins(1)));
    let mut last = None;
    while let Some(piece) = content.pieces.recv().await {
        last = Some(piece);
    }
    assert_eq!(last.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
}
