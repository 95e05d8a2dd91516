//! Backups at destinations, with and without other hosts.

use std::{fs, os::unix::fs::symlink};

use super::scene::{Scene, name, noise, options};
use crate::{
    convoy::{BackupUrl, Daemon as _, Destination, NewVolume},
    daemon::{BuiltinDaemon, BuiltinOptions},
    error::ErrorKind,
};

#[tokio::test]
async fn hosts_share_a_destination_and_see_each_others_backups() {
    let (scene, first) = Scene::with_backup().await;
    let other = BuiltinOptions { host: "host2".into(), ..options(&scene.path("root2")) };
    let other = BuiltinDaemon::open(other).unwrap();
    other.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
    fs::write(scene.path("root2/volumes/vol1/a"), noise(3_000_000)).unwrap();
    other.create_snapshot(&name("vol1"), &name("snap1")).await.unwrap();
    let before = scene.bytes("backups/repository");
    let second = other.create_backup(&name("snap1"), &scene.destination).await.unwrap();
    assert!(
        scene.bytes("backups/repository") - before < 10_000,
        "hosts deduplicate against each other"
    );
    for daemon in [scene.daemon(), &other] {
        let listed = daemon.backups(&scene.destination, Some(&name("vol1"))).await.unwrap();
        assert_eq!(listed.len(), 2);
        daemon.backup(&first).await.unwrap();
        daemon.backup(&second).await.unwrap();
    }
    scene.daemon().delete_backup(&second, &[]).await.unwrap();
    scene.check("backups/repository");
    scene.restore("vol2", &first).await.unwrap();
    assert!(other.backup(&second).await.is_err());
}

#[tokio::test]
async fn a_destination_that_cannot_be_written_is_named() {
    let (scene, _) = Scene::with_backup().await;
    // No one, not even root, can write to a file in place of the repository's folder.
    fs::create_dir(scene.path("other")).unwrap();
    fs::write(scene.path("other/repository"), "").unwrap();
    let other = Destination::parse(&format!("vfs://{}", scene.path("other").display())).unwrap();
    let error = scene.daemon().create_backup(&name("snap1"), &other).await.unwrap_err();
    assert!(error.kind == ErrorKind::Io && error.message.contains("/other/repository"), "{error}");
    let file =
        Destination::parse(&format!("vfs://{}", scene.path("other/repository").display())).unwrap();
    let error = scene.daemon().create_backup(&name("snap1"), &file).await.unwrap_err();
    assert!(error.message.ends_with("doesn't exist or is not a directory"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_called_that() {
    let (scene, url) = Scene::with_backup().await;
    let other = BuiltinOptions { password: Some("wrong".into()), ..options(&scene.path("root2")) };
    let other = BuiltinDaemon::open(other).unwrap();
    let error = other.backups(&scene.destination, None).await.unwrap_err();
    assert!(error.message.contains("the password does not open the repository at"), "{error}");
    assert!(error.hint.unwrap().contains("BKUP_REPOSITORY_PASSWORD"));
    assert!(other.create_volume(&NewVolume::from_backup(name("vol2"), url)).await.is_err());
    assert!(other.volumes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_backup_is_found_by_its_own_volume_only() {
    let (scene, url) = Scene::with_backup().await;
    let of_another = BackupUrl::stored(&scene.destination, &name(url.backup()), &name("vol9"));
    assert!(scene.daemon().backup(&of_another).await.is_err());
    assert!(scene.restore("vol2", &of_another).await.is_err());
    assert!(scene.daemon().delete_backup(&of_another, &[]).await.is_err());
    scene.daemon().delete_backup(&url, &[]).await.unwrap();
    let error = scene.restore("vol2", &url).await.unwrap_err();
    assert!(error.message.starts_with("cannot find convoy-objectstore/"), "{error}");
    assert!(!scene.path("root/volumes/vol2").exists());
}

#[tokio::test]
async fn a_destination_whose_first_use_was_interrupted_is_made_anew() {
    let scene = Scene::new();
    fs::write(scene.volume("vol1").await.join("f"), "f").unwrap();
    scene.snapshot("vol1", "snap1").await;
    // The key of another repository with the same password. If it stayed, it would be tried and
    // would not fit.
    let keys = scene.path("backups/repository/keys");
    fs::create_dir_all(&keys).unwrap();
    for key in fs::read_dir(scene.path("root/repository/keys")).unwrap() {
        let key = key.unwrap();
        fs::copy(key.path(), keys.join(key.file_name())).unwrap();
    }
    let url = scene.backup("snap1").await;
    assert_eq!(fs::read_dir(&keys).unwrap().count(), 1);
    scene.check("backups/repository");
    scene.restore("vol2", &url).await.unwrap();
}

#[tokio::test]
async fn a_daemons_own_folder_is_no_destination() {
    let scene = Scene::new();
    fs::write(scene.volume("vol1").await.join("a"), "precious").unwrap();
    scene.snapshot("vol1", "snap1").await;
    drop(BuiltinDaemon::open(options(&scene.path("root2"))).unwrap());
    symlink(scene.path("root"), scene.path("link")).unwrap();
    for below in ["root", "root/volumes/vol1", "link", "root2", "root2/repository"] {
        let destination =
            Destination::parse(&format!("vfs://{}", scene.path(below).display())).unwrap();
        let refused = scene.daemon().create_backup(&name("snap1"), &destination).await.unwrap_err();
        assert!(
            refused.status == Some(400) && refused.message.contains("is a daemon's own folder"),
            "{refused}"
        );
        // Backups that an earlier version put there can be listed, but not deleted.
        scene.daemon().backups(&destination, None).await.unwrap();
        let url = BackupUrl::stored(&destination, &name("backup-0000000000000000"), &name("vol1"));
        let refused = scene.daemon().delete_backup(&url, &[]).await.unwrap_err();
        assert!(refused.message.contains("is a daemon's own folder"), "{refused}");
    }
    scene.backup("snap1").await;
}

#[tokio::test]
async fn nothing_is_deleted_without_a_required_backup_that_another_host_has_deleted() {
    let (scene, oldest) = Scene::with_backup().await;
    let required = scene.backup("snap1").await;
    let newest = scene.backup("snap1").await;
    scene.daemon().backups(&scene.destination, None).await.unwrap();
    let other = BuiltinOptions { host: "host2".into(), ..options(&scene.path("root2")) };
    let other = BuiltinDaemon::open(other).unwrap();
    other.delete_backup(&required, &[]).await.unwrap();
    let both = [newest.clone(), required.clone()];
    let refused = scene.daemon().delete_backup(&oldest, &both).await.unwrap_err();
    assert!(refused.kind == ErrorKind::Guard && refused.message.contains(required.backup()));
    scene.daemon().backup(&oldest).await.unwrap();
    scene.daemon().delete_backup(&oldest, &[newest]).await.unwrap();
    assert_eq!(scene.daemon().backups(&scene.destination, None).await.unwrap().len(), 1);
}
