//! What happens to volumes and their snapshots when something is in the way.

use super::{super::state::VolumeState, *};

#[tokio::test]
async fn a_start_never_removes_backups_from_the_roots_own_repository() {
    let mut scene = Scene::new();
    fs::write(scene.volume("vol1").await.join("a"), "precious").unwrap();
    scene.snapshot("vol1", "snap1").await;
    let url = scene.backup("snap1").await;
    // As if the root's own repository had been the destination, with the same key.
    let local = scene.daemon().local().open().unwrap();
    let state: VolumeState =
        serde_json::from_slice(&fs::read(scene.path("root/state/vol1.json")).unwrap()).unwrap();
    let file = rustic_core::repofile::SnapshotFile {
        tags: ["backup=backup-0123456789abcdef", "volume=vol1", "snapshot=snap1"]
            .join(",")
            .parse()
            .unwrap(),
        ..scene.daemon().local().source(&state.snapshots["snap1"]).unwrap().1
    };
    local.plain().unwrap().save_snapshots(vec![file]).unwrap();
    let unreadable = scene.path("root/repository/snapshots").join("ab".repeat(32));
    fs::write(&unreadable, "x").unwrap();
    drop(local);
    scene.restart(|_| ());
    let told = scene.daemon().recovered().join("\n");
    assert!(
        told.contains("has 1 snapshot of no volume") && told.contains("can't be read"),
        "{told}"
    );
    assert_eq!(fs::read_dir(scene.path("root/repository/snapshots")).unwrap().count(), 3);
    assert!(unreadable.exists());
    scene.daemon().backup(&url).await.unwrap();
}

/// Runs a test as a user who may do no more than any other, root or not: all that it starts is
/// bound by that.
fn without_privileges(test: impl Future<Output = ()> + Send) {
    let run = || {
        let mut capabilities = rustix::thread::capabilities(None).unwrap();
        capabilities.effective = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, capabilities).unwrap();
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(test);
    };
    std::thread::scope(|scope| scope.spawn(run).join()).unwrap();
}

#[test]
fn folders_that_nobody_may_write_are_removed_all_the_same() {
    without_privileges(async {
        let mut scene = Scene::new();
        let files = scene.volume("vol1").await;
        fs::create_dir_all(files.join("a/b")).unwrap();
        fs::write(files.join("a/b/f"), "f").unwrap();
        for (folder, mode) in [("a/b", 0o555), ("a", 0o555), ("", 0o555)] {
            fs::set_permissions(files.join(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
        scene.snapshot("vol1", "snap1").await;
        let url = scene.backup("snap1").await;
        scene.restore("vol2", &url).await.unwrap();
        assert_eq!(fs::metadata(scene.path("root/volumes/vol2")).unwrap().mode() & 0o777, 0o555);
        for volume in ["vol1", "vol2"] {
            scene.daemon().delete_volume(&name(volume), false).await.unwrap();
        }
        assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);
        scene.restart(|_| ());
        assert!(scene.daemon().recovered().is_empty());
    });
}

#[test]
fn a_start_gets_by_with_what_it_cannot_remove() {
    let mut scene = Scene::new();
    let left = scene.path("root/volumes/.staging/deleted-vol1-00112233");
    fs::create_dir_all(left.join("a")).unwrap();
    scene.daemon = None;
    // Another user's folder can't be emptied; who is not root can't make one, and sees it removed.
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::lchown(&left, Some(12345), None).unwrap();
    }
    without_privileges(async {
        let daemon = BuiltinDaemon::open(options(&scene.path("root"))).unwrap();
        let told = daemon.recovered().join("\n");
        assert!(
            told.contains("removal of volume \"vol1\"")
                && told.contains("deleted-vol1-00112233") == root,
            "{told}"
        );
    });
    assert_eq!(left.exists(), root);
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
            // Only a process with CAP_SYS_ADMIN can set one, which the tests may not have.
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
async fn a_volume_whose_state_cannot_be_removed_keeps_its_files() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), "precious").unwrap();
    // A folder where the state file should be can't be removed as a file.
    let state = scene.path("root/state/vol1.json");
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    let error = scene.daemon().delete_volume(&name("vol1"), false).await.unwrap_err();
    assert!(error.message.contains("vol1.json"), "{error}");
    assert_eq!(fs::read_to_string(files.join("a")).unwrap(), "precious");
    scene.daemon().volume(&name("vol1")).await.unwrap();
    fs::remove_dir(&state).unwrap();
    scene
        .daemon()
        .mount_volume(&name("vol1"), None)
        .await
        .expect("it is not being deleted any more");
}

#[tokio::test]
async fn snapshots_of_a_forgotten_volume_come_back_with_it() {
    let (mut scene, _) = Scene::with_backup().await;
    let before = scene.daemon().volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), true).await.unwrap();
    scene.restart(|_| ());
    assert!(scene.daemon().recovered().is_empty());
    assert!(scene.daemon().volumes().await.unwrap().is_empty());
    assert!(scene.daemon().driver_volumes().await.unwrap().is_empty());
    assert_eq!(scene.daemon().volume(&name("vol1")).await.unwrap_err().status, Some(404));
    assert!(scene.daemon().snapshot(&name("snap1")).await.is_err());
    scene.volume("vol2").await;
    let error = scene.daemon().create_snapshot(&name("vol2"), &name("snap1")).await.unwrap_err();
    assert_eq!(error.message, "Snapshot name snap1 already exists");
    scene.volume("vol1").await;
    assert_eq!(scene.daemon().volume(&name("vol1")).await.unwrap(), before);
    scene.backup("snap1").await;
}

#[tokio::test]
async fn a_failed_restore_onto_a_forgotten_name_leaves_its_snapshots() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.daemon().delete_volume(&name("vol1"), true).await.unwrap();
    fs::remove_dir_all(scene.path("root/volumes/vol1")).unwrap();
    for pack in scene.packs("backups/repository") {
        fs::write(pack, "rubbish").unwrap();
    }
    scene.restore("vol1", &url).await.unwrap_err();
    // Nor does one that a crash cut off when its folder was in place.
    scene.restart(|root| {
        fs::create_dir(root.join("volumes/vol1")).unwrap();
        let inode = fs::metadata(root.join("volumes/vol1")).unwrap().ino();
        let state = root.join("state/vol1.json");
        let text = fs::read_to_string(&state).unwrap().replacen(
            '{',
            &format!("{{\"restoring\": {inode},"),
            1,
        );
        fs::write(&state, text).unwrap();
    });
    assert!(!scene.path("root/volumes/vol1").exists());
    assert!(scene.daemon().volumes().await.unwrap().is_empty());
    scene.volume("vol1").await;
    scene.daemon().snapshot(&name("snap1")).await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_a_forgotten_volume_is_forgotten_too() {
    let mut scene = Scene::new();
    let files = scene.volume("vol1").await;
    scene.daemon().delete_volume(&name("vol1"), true).await.unwrap();
    scene.restart(|_| fs::remove_dir(files).unwrap());
    assert_eq!(fs::read_dir(scene.path("root/state")).unwrap().count(), 0);
}

#[tokio::test]
async fn volumes_may_be_on_a_disk_of_their_own() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.daemon().delete_volume(&name("vol1"), false).await.unwrap();
    // Memory is such a disk on every Linux.
    let disk = tempfile::tempdir_in("/dev/shm").unwrap();
    scene.restart(|root| {
        fs::remove_dir_all(root.join("volumes")).unwrap();
        symlink(disk.path(), root.join("volumes")).unwrap();
    });
    scene.restore("vol2", &url).await.unwrap();
    assert_eq!(fs::read_to_string(disk.path().join("vol2/dir/b")).unwrap(), "b");
    assert_eq!(scene.daemon().volumes().await.unwrap().len(), 1);
    scene.daemon().delete_volume(&name("vol2"), false).await.unwrap();
    assert!(!disk.path().join("vol2").exists());
}

#[tokio::test]
async fn a_volume_does_not_take_a_snapshots_name() {
    let (scene, url) = Scene::with_backup().await;
    let error = scene.daemon().create_volume(&NewVolume::named(name("snap1"))).await.unwrap_err();
    assert_eq!(refusal(&error), (Some(400), "snap1 is the name of a snapshot"));
    assert!(scene.restore("snap1", &url).await.is_err());
    assert!(!scene.path("root/volumes/snap1").exists());
    scene.daemon().delete_snapshot(&name("snap1")).await.unwrap();
    scene.volume("snap1").await;
}
