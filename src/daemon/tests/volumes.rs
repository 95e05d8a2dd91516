//! Creating, mounting, forgetting and deleting volumes.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use super::scene::{Scene, name, refusal, without_privileges};
use crate::convoy::{Daemon as _, NewVolume};

#[tokio::test]
async fn a_mounted_volume_is_not_deleted_even_after_a_restart() {
    let mut scene = Scene::new();
    let files = scene.volume("vol1").await;
    let mount = scene.daemon().mount_volume(&name("vol1"), None).await.unwrap();
    assert_eq!(Path::new(&mount.mount_point), files.canonicalize().unwrap());
    scene.restart(|_| ());
    assert!(scene.daemon().recovered().is_empty());
    let error = scene.daemon().delete_volume(&name("vol1"), None, false).await.unwrap_err();
    assert_eq!(refusal(&error), (Some(400), "Cannot delete volume vol1. It is still mounted"));
    scene.daemon().unmount_volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), None, false).await.unwrap();
    assert!(!files.exists());
}

#[tokio::test]
async fn a_restore_gives_the_folder_of_a_forgotten_volume_another_name_and_touches_nothing_in_it() {
    let (scene, url) = Scene::with_backup().await;
    let files = scene.path("root/volumes/vol1");
    fs::write(files.join("new"), "precious").unwrap();
    scene.daemon().delete_volume(&name("vol1"), None, true).await.unwrap();
    scene.restore("vol1", &url).await.unwrap();
    assert!(!files.join("new").exists() && files.join("dir/b").exists());
    let kept = scene.path("root/volumes/vol1.removed-1");
    assert_eq!(fs::read_to_string(kept.join("new")).unwrap(), "precious");
    scene.volume("vol1.removed-1").await;
    assert_eq!(fs::read_to_string(kept.join("new")).unwrap(), "precious");

    // A restore that fails gives it its name back, and a folder of nobody is in the way as ever.
    scene.daemon().delete_volume(&name("vol1.removed-1"), None, true).await.unwrap();
    let gone = url.to_string().replace("backup=backup-", "backup=backup-0");
    let gone = crate::convoy::BackupUrl::parse(&gone).unwrap();
    scene.restore("vol1.removed-1", &gone).await.unwrap_err();
    assert_eq!(fs::read_to_string(kept.join("new")).unwrap(), "precious");
    fs::create_dir(scene.path("root/volumes/odd")).unwrap();
    let error = scene.restore("odd", &url).await.unwrap_err();
    assert!(error.status == Some(400) && error.message.contains("exists already"), "{error}");
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
            scene.daemon().delete_volume(&name(volume), None, false).await.unwrap();
        }
        assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);
        scene.restart(|_| ());
        assert!(scene.daemon().recovered().is_empty());
    });
}

#[tokio::test]
async fn snapshots_of_a_forgotten_volume_come_back_with_it() {
    let (mut scene, _) = Scene::with_backup().await;
    let before = scene.daemon().volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), None, true).await.unwrap();
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
async fn volumes_may_be_on_a_disk_of_their_own() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.daemon().delete_volume(&name("vol1"), None, false).await.unwrap();
    // The memory file system is another disk on every Linux.
    let disk = tempfile::tempdir_in("/dev/shm").unwrap();
    scene.restart(|root| {
        fs::remove_dir_all(root.join("volumes")).unwrap();
        symlink(disk.path(), root.join("volumes")).unwrap();
    });
    scene.restore("vol2", &url).await.unwrap();
    assert_eq!(fs::read_to_string(disk.path().join("vol2/dir/b")).unwrap(), "b");
    assert_eq!(scene.daemon().volumes().await.unwrap().len(), 1);
    scene.daemon().delete_volume(&name("vol2"), None, false).await.unwrap();
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

#[tokio::test]
async fn a_volume_that_was_made_anew_since_it_was_looked_at_is_not_deleted() {
    let scene = Scene::new();
    scene.volume("vol1").await;
    let seen = scene.daemon().volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), seen.id(), false).await.unwrap();
    scene.volume("vol1").await;
    let error = scene.daemon().delete_volume(&name("vol1"), seen.id(), false).await.unwrap_err();
    assert!(error.message.contains("was made anew since it was looked at"), "{error}");
    assert!(scene.path("root/volumes/vol1").exists());
    let seen = scene.daemon().volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), seen.id(), false).await.unwrap();
}
