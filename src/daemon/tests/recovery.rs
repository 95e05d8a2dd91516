//! What a crash or a failure leaves is cleaned up and reported.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use rustix::fs::Mode;

use super::scene::{Scene, name, options, without_privileges};
use crate::{
    convoy::{Daemon as _, NewVolume},
    daemon::{BuiltinDaemon, state::VolumeState},
    files::FOLDER,
};

#[tokio::test]
async fn what_a_crash_leaves_is_cleaned_and_told() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.snapshot("vol1", "snap2").await;
    scene.restore("vol2", &url).await.unwrap();
    scene.restore("vol3", &url).await.unwrap();
    scene.restart(|root| {
        // One restore died before its folder was in place, another one right after.
        fs::create_dir(root.join("volumes/.staging/restore-vol9-00112233")).unwrap();
        let state = root.join("state/vol2.json");
        let inode = fs::metadata(root.join("volumes/vol2")).unwrap().ino();
        let text = fs::read_to_string(&state).unwrap().replacen(
            '{',
            &format!("{{\"restoring\": {inode},"),
            1,
        );
        fs::write(&state, text).unwrap();
        // A removal died after the folder was moved away.
        fs::rename(root.join("volumes/vol3"), root.join("volumes/.staging/deleted-vol3-00112233"))
            .unwrap();
        // A snapshot was written but not recorded, and a pack was written in part.
        let state = root.join("state/vol1.json");
        let mut known: serde_json::Value =
            serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        known["snapshots"].as_object_mut().unwrap().remove("snap2").unwrap();
        fs::write(&state, known.to_string()).unwrap();
        fs::write(root.join("repository/tmp/host1-1-1"), "x").unwrap();
    });
    let told = scene.daemon().recovered().join("\n");
    for part in [
        "making of volume \"vol9\"",
        "making of volume \"vol2\"",
        "removal of volume \"vol3\"",
        "1 unfinished snapshot was",
        "1 half",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(scene.daemon().volumes().await.unwrap().into_keys().collect::<Vec<_>>(), ["vol1"]);
    assert!(!scene.path("root/volumes/vol2").exists());
    scene.restart(|_| ());
    assert!(scene.daemon().recovered().is_empty());
    scene.daemon().snapshot(&name("snap1")).await.unwrap();
    scene.restore("vol2", &url).await.unwrap();
}

#[tokio::test]
async fn a_start_cleans_away_a_tree_of_any_depth() {
    let mut scene = Scene::new();
    // In memory, because disks take their time for so many folders.
    let disk = tempfile::tempdir_in("/dev/shm").unwrap();
    scene.restart(|root| {
        fs::remove_dir_all(root.join("volumes")).unwrap();
        std::os::unix::fs::symlink(disk.path(), root.join("volumes")).unwrap();
        let left = root.join("volumes/.staging/deleted-vol1-00112233");
        fs::create_dir_all(&left).unwrap();
        let mut here = rustix::fs::open(&left, FOLDER, Mode::empty()).unwrap();
        for _ in 0..15_000 {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, c"d", FOLDER, Mode::empty()).unwrap();
        }
    });
    let told = scene.daemon().recovered().join("\n");
    assert!(told.contains("it is now"), "{told}");
    assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);
}

#[test]
fn a_restore_that_cannot_be_undone_stops_no_start_and_is_no_volume() {
    without_privileges(async {
        let mut scene = Scene::new();
        scene.volume("vol1").await;
        scene.volume("vol2").await;
        let staging = scene.path("root/volumes/.staging");
        let writable =
            |mode| fs::set_permissions(&staging, fs::Permissions::from_mode(mode)).unwrap();
        scene.restart(|root| {
            let state = root.join("state/vol1.json");
            let inode = fs::metadata(root.join("volumes/vol1")).unwrap().ino();
            let text = fs::read_to_string(&state).unwrap();
            let text = text.replacen('{', &format!("{{\"restoring\": {inode},"), 1);
            fs::write(&state, text).unwrap();
            writable(0o500);
        });
        let told = scene.daemon().recovered().join("\n");
        assert!(told.contains("\"vol1\" was not finished and can't be undone"), "{told}");
        let listed: Vec<_> = scene.daemon().volumes().await.unwrap().into_keys().collect();
        assert_eq!(listed, ["vol2"]);
        let again = NewVolume::named(name("vol1"));
        let error = scene.daemon().create_volume(&again).await.unwrap_err();
        assert!(error.message.contains("the making of it was not finished"), "{error}");
        scene.restart(|_| writable(0o700));
        assert!(scene.daemon().recovered().join("\n").contains("it was undone"));
        scene.daemon().create_volume(&again).await.unwrap();
    });
}

#[test]
fn a_volume_that_is_not_made_to_its_end_leaves_no_folder_in_the_way_of_its_name() {
    without_privileges(async {
        let (mut scene, url) = Scene::with_backup().await;
        let set = |mode| {
            let state = fs::Permissions::from_mode(mode);
            fs::set_permissions(scene.path("root/state"), state).unwrap();
        };
        set(0o500);
        let new = NewVolume::named(name("vol2"));
        scene.daemon().create_volume(&new).await.unwrap_err();
        set(0o700);
        assert!(!scene.path("root/volumes/vol2").exists(), "a folder of no volume");
        scene.restart(|root| {
            // Another one died before its folder was in place.
            fs::create_dir(root.join("volumes/.staging/restore-vol2-00112233")).unwrap();
        });
        scene.restore("vol2", &url).await.unwrap();
        let new = NewVolume::named(name("vol3"));
        scene.daemon().create_volume(&new).await.unwrap();
        let mode = fs::metadata(scene.path("root/volumes/vol3")).unwrap().mode();
        assert_eq!(mode & 0o700, 0o700);
    });
}

#[tokio::test]
async fn a_folder_that_is_not_the_restored_one_survives_the_cleaning() {
    let mut scene = Scene::new();
    scene.volume("vol1").await;
    scene.restart(|root| {
        fs::write(root.join("volumes/vol1/precious"), "x").unwrap();
        let state = root.join("state/vol1.json");
        let text = fs::read_to_string(&state).unwrap().replacen('{', "{\"restoring\": 1,", 1);
        fs::write(&state, text).unwrap();
    });
    assert!(scene.path("root/volumes/vol1/precious").exists());
}

#[tokio::test]
async fn a_start_never_removes_backups_from_the_roots_own_repository() {
    let mut scene = Scene::new();
    fs::write(scene.volume("vol1").await.join("a"), "precious").unwrap();
    scene.snapshot("vol1", "snap1").await;
    let url = scene.backup("snap1").await;
    // The root's own repository looks as if it had been the destination, with the same key.
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

#[test]
fn a_start_gets_by_with_what_it_cannot_remove() {
    let mut scene = Scene::new();
    let left = scene.path("root/volumes/.staging/deleted-vol1-00112233");
    fs::create_dir_all(left.join("a")).unwrap();
    scene.daemon = None;
    // Another user's folder can't be emptied. Only root can create one here, so other users see it
    // removed.
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

#[tokio::test]
async fn a_volume_whose_state_cannot_be_removed_keeps_its_files() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), "precious").unwrap();
    // A folder in place of the state file can't be removed like a file.
    let state = scene.path("root/state/vol1.json");
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    let error = scene.daemon().delete_volume(&name("vol1"), None, false).await.unwrap_err();
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
async fn a_failed_restore_onto_a_forgotten_name_leaves_its_snapshots() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.daemon().delete_volume(&name("vol1"), None, true).await.unwrap();
    fs::remove_dir_all(scene.path("root/volumes/vol1")).unwrap();
    for pack in scene.packs("backups/repository") {
        fs::write(pack, "rubbish").unwrap();
    }
    scene.restore("vol1", &url).await.unwrap_err();
    // A restore that a crash interrupted after its folder was in place leaves the snapshots too.
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
    scene.daemon().delete_volume(&name("vol1"), None, true).await.unwrap();
    scene.restart(|_| fs::remove_dir(files).unwrap());
    assert!(!scene.path("root/state/vol1.json").exists());
}
