//! Backing up a volume straight to a destination.

use std::fs;

use tokio_util::sync::CancellationToken;

use super::scene::{Scene, name, noise};
use crate::{
    convoy::Daemon as _,
    error::ErrorKind,
    scope::{self, Scope},
};

#[tokio::test]
async fn a_volume_is_backed_up_as_it_is_and_nothing_stays_beside_it() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), noise(3_000_000)).unwrap();
    fs::create_dir(files.join("dir")).unwrap();
    fs::write(files.join("dir/b"), "b").unwrap();
    let first = scene.back_up("vol1", "snap1").await;
    fs::write(files.join("dir/b"), "another b").unwrap();
    let second = scene.back_up("vol1", "snap2").await;
    assert!(!scene.path("root/repository/config").exists(), "no local copy was made");
    let volume = scene.daemon().volume(&name("vol1")).await.unwrap();
    assert_eq!(volume.size(), Some(3_000_009), "that of the last backup");
    assert!(volume.snapshots.unwrap().is_empty());
    for (url, restored, content) in [(first, "vol2", "b"), (second, "vol3", "another b")] {
        let listed = scene.daemon().backup(&url).await.unwrap();
        assert_eq!((listed.field("FileCount"), listed.volume()), ("2", "vol1"));
        scene.restore(restored, &url).await.unwrap();
        let restored = scene.path("root/volumes").join(restored);
        assert_eq!(fs::read_to_string(restored.join("dir/b")).unwrap(), content);
        assert_eq!(fs::read(restored.join("a")).unwrap(), noise(3_000_000));
    }
    scene.check("backups/repository");
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_its_backup_soon_and_leaves_none() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), noise(3_000_000)).unwrap();
    let destination = scene.destination.clone();
    let backing_up =
        scope::within(cancelled_run(), || scope::carried(scene.try_back_up("vol1", "snap1")));
    let error = backing_up.await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert!(scene.daemon().backups(&destination, None).await.unwrap().is_empty());
    scene.back_up("vol1", "snap1").await;
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_its_restore_soon_and_leaves_no_volume() {
    let (scene, url) = Scene::with_backup().await;
    let restoring = scope::within(cancelled_run(), || scope::carried(scene.restore("vol2", &url)));
    let error = restoring.await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    scene.daemon().volume(&name("vol2")).await.unwrap_err();
    assert!(!scene.path("root/volumes/vol2").exists());
    assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);
    scene.restore("vol2", &url).await.unwrap();
}

#[tokio::test]
async fn a_run_that_is_cancelled_ends_the_copy_of_a_snapshot_soon_and_leaves_no_backup() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), noise(3_000_000)).unwrap();
    scene.snapshot("vol1", "snap1").await;
    let snapshot = name("snap1");
    let copying = scope::within(cancelled_run(), || {
        scope::carried(scene.daemon().create_backup(&snapshot, &scene.destination))
    });
    let error = copying.await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert!(scene.daemon().backups(&scene.destination, None).await.unwrap().is_empty());
    let url = scene.backup("snap1").await;
    scene.restore("vol2", &url).await.unwrap();
    let restored = fs::read(scene.path("root/volumes/vol2/a")).unwrap();
    assert_eq!(restored, noise(3_000_000));
    scene.check("backups/repository");
}

fn cancelled_run() -> Option<Scope> {
    let ended = CancellationToken::new();
    ended.cancel();
    Some(Scope { ended, ..Scope::of("run-1") })
}

#[tokio::test]
async fn a_damaged_file_of_a_backup_stops_no_other_backup() {
    let (scene, url) = Scene::with_backup().await;
    let snapshots = scene.path("backups/repository/snapshots");
    // What was another backup's once, and what another program put there.
    for name in ["0", "f"] {
        fs::write(snapshots.join(name.repeat(64)), "rotten").unwrap();
    }
    let second = scene.back_up("vol1", "snap2").await;
    for url in [&url, &second] {
        scene.daemon().backup(url).await.unwrap();
    }
    // The guards ask for it before each backup.
    let listed = scene.daemon().backups(&url.destination(), None).await.unwrap();
    assert_eq!(listed.len(), 2);
    scene.restore("vol2", &second).await.unwrap();
}
