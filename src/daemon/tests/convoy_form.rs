//! The daemon's answers have Convoy's words and fields.

use std::path::Path;

use super::scene::{Scene, name, refusal};
use crate::convoy::{BackupUrl, Daemon as _, Destination, NewVolume};

#[tokio::test]
async fn refusals_are_in_convoys_words() {
    let scene = Scene::new();
    let daemon = scene.daemon();
    scene.volume("vol1").await;
    let new = |text: &str| NewVolume::named(name(text));
    let nowhere = Destination::parse("vfs:///nowhere/at/all").unwrap();
    let lost =
        BackupUrl::stored(&scene.destination, &name("backup-0000000000000000"), &name("vol1"));
    scene.snapshot("vol1", "snap1").await;

    let told = [
        (daemon.create_volume(&new("vol1")).await.unwrap_err(), 400, "Volume vol1 already exists "),
        (
            daemon
                .create_volume(&NewVolume { driver: Some("nosuch".into()), ..new("vol3") })
                .await
                .unwrap_err(),
            400,
            "Cannot find driver nosuch",
        ),
        (daemon.volume(&name("nope")).await.unwrap_err(), 404, "Volume not found."),
        (
            daemon.delete_volume(&name("nope"), None, false).await.unwrap_err(),
            404,
            "Volume not found.",
        ),
        (
            daemon.mount_volume(&name("nope"), None).await.unwrap_err(),
            400,
            "volume nope doesn't exist",
        ),
        (daemon.unmount_volume(&name("nope")).await.unwrap_err(), 400, "volume nope doesn't exist"),
        (
            daemon.create_snapshot(&name("nope"), &name("snapx")).await.unwrap_err(),
            400,
            "volume nope doesn't exist",
        ),
        (
            daemon.create_snapshot(&name("vol1"), &name("snap1")).await.unwrap_err(),
            400,
            "Snapshot name snap1 already exists",
        ),
        (
            daemon.create_snapshot(&name("vol1"), &name("vol1")).await.unwrap_err(),
            400,
            "Snapshot name vol1 already exists",
        ),
        (
            daemon.snapshot(&name("nope")).await.unwrap_err(),
            400,
            "cannot find volume for snapshot nope",
        ),
        (
            daemon.delete_snapshot(&name("nope")).await.unwrap_err(),
            400,
            "cannot find volume for snapshot nope",
        ),
        (
            daemon.create_backup(&name("nope"), &scene.destination).await.unwrap_err(),
            400,
            "Cannot find volume of snapshot nope",
        ),
        (
            daemon.create_backup(&name("snap1"), &nowhere).await.unwrap_err(),
            400,
            "VFS path /nowhere/at/all doesn't exist or is not a directory",
        ),
        (
            daemon.backups(&scene.destination, Some(&name("vol2"))).await.unwrap_err(),
            400,
            "cannot find convoy-objectstore/volumes/vo/l2/vol2/volume.cfg in objectstore",
        ),
        (
            daemon.backup(&lost).await.unwrap_err(),
            400,
            "cannot find convoy-objectstore/volumes/vo/l1/vol1/backups/backup_backup-0000000000000000.cfg in objectstore",
        ),
        (
            daemon.backups(&Destination::parse("ebs://r/").unwrap(), None).await.unwrap_err(),
            400,
            "Driver ebs is not supported!",
        ),
    ];
    for (error, status, words) in &told {
        assert_eq!(refusal(error), (Some(*status), *words));
    }
    assert!(
        daemon.backups(&scene.destination, None).await.unwrap().is_empty(),
        "never used lists as empty"
    );
}

#[tokio::test]
async fn answers_have_the_recorded_fields() {
    let (scene, url) = Scene::with_backup().await;
    let keys = |value: &serde_json::Value| {
        value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
    };
    let volume = serde_json::to_value(scene.daemon().volume(&name("vol1")).await.unwrap()).unwrap();
    assert_eq!(keys(&volume), "Name Driver MountPoint CreatedTime DriverInfo Snapshots");
    assert_eq!(
        keys(&volume["DriverInfo"]),
        "Driver Moment MountPoint Path PrepareForVM Size VolumeCreatedAt VolumeID VolumeName"
    );
    assert_eq!(
        (volume["DriverInfo"]["Size"].as_str(), volume["Driver"].as_str()),
        (Some("3000001"), Some("vfs"))
    );
    let snapshot =
        serde_json::to_value(scene.daemon().snapshot(&name("snap1")).await.unwrap()).unwrap();
    assert_eq!(keys(&snapshot), "Name VolumeName VolumeCreatedAt CreatedTime DriverInfo");
    assert_eq!(
        keys(&snapshot["DriverInfo"]),
        "Driver FileCount FilePath Moment SnapshotCreatedAt SnapshotName SnapshotSize SourceMounts VolumeUUID"
    );
    assert!(Path::new(snapshot["DriverInfo"]["FilePath"].as_str().unwrap()).is_file());
    let backup = scene.daemon().backup(&url).await.unwrap();
    assert_eq!(
        backup.fields().keys().cloned().collect::<Vec<_>>().join(" "),
        "AddedSize BackupName BackupSize BackupURL CreatedTime DriverName FileCount Host Moment Origin RootID SnapshotCreatedAt SnapshotName SourceMounts VolumeCreatedAt VolumeID VolumeName VolumeSize"
    );
    assert_eq!(backup.url().unwrap(), url);
    assert_eq!(
        scene.daemon().backups(&scene.destination, Some(&name("vol1"))).await.unwrap(),
        [backup]
    );
    let info = scene.daemon().info().await.unwrap();
    assert_eq!(info.default_driver(), Some("vfs"));
    assert!(info.vfs_path().is_some_and(|path| path.ends_with("/root/volumes")));
}
