//! Snapshots are whole or missing, and space is freed.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::Arc,
};

use rustic_core::{FileType as RepositoryFile, Id};

use super::scene::{Scene, name, noise, options, set_times, without_privileges};
use crate::{
    convoy::{Changes, Daemon as _, Destination, NewVolume},
    daemon::{BuiltinDaemon, BuiltinOptions, MomentCommands},
    exclude::{Excludes, Marker, Patterns},
};

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_wait_for_their_turn_hold_no_moment() {
    let folder = tempfile::tempdir().unwrap();
    let held = folder.path().join("held").display().to_string();
    // Two moments at once would fail: the folder is there already.
    let take = format!("mkdir {held} && cp -a $FOLDER {held}/copy && echo {held}/copy");
    let moment = Some(MomentCommands::new(take, format!("rm -r {held}")));
    let options = BuiltinOptions { moment, ..options(&folder.path().join("root")) };
    let daemon = Arc::new(BuiltinDaemon::open(options).unwrap());
    let mut taking = Vec::new();
    for number in 0..8 {
        let volume = name(&format!("vol{number}"));
        daemon.create_volume(&NewVolume::named(volume.clone())).await.unwrap();
        let daemon = daemon.clone();
        taking.push(tokio::spawn(async move {
            daemon.create_snapshot(&volume, &name(&format!("snap{number}"))).await
        }));
    }
    for taken in taking {
        taken.await.unwrap().unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_read_fails_the_snapshot_by_name() {
    without_privileges(async {
        let scene = Scene::new();
        let files = scene.volume("vol1").await;
        fs::create_dir(files.join("dir")).unwrap();
        fs::write(files.join("dir/bad"), "x").unwrap();
        fs::set_permissions(files.join("dir/bad"), fs::Permissions::from_mode(0o0)).unwrap();
        let error =
            scene.daemon().create_snapshot(&name("vol1"), &name("snap1")).await.unwrap_err();
        assert!(error.message.contains("\"dir/bad\": "), "{error}");
        assert!(scene.daemon().snapshot(&name("snap1")).await.is_err());
        assert_eq!(fs::read_dir(scene.path("root/repository/snapshots")).unwrap().count(), 0);
        fs::remove_file(files.join("dir/bad")).unwrap();
        scene.snapshot("vol1", "snap1").await;
    });
}

#[tokio::test]
async fn the_second_backup_of_unchanged_data_adds_little() {
    let (scene, _) = Scene::with_backup().await;
    let (local, remote) = (scene.bytes("root/repository"), scene.bytes("backups/repository"));
    assert!(local > 3_000_000 && remote > 3_000_000);
    fs::write(scene.path("root/volumes/vol1/small"), "new").unwrap();
    scene.snapshot("vol1", "snap2").await;
    scene.backup("snap2").await;
    assert!(scene.bytes("root/repository") - local < 10_000);
    assert!(scene.bytes("backups/repository") - remote < 10_000);
}

#[tokio::test]
async fn a_full_disk_during_a_snapshot_leaves_nothing_and_says_so() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    fs::write(files.join("a"), noise(40_000_000)).unwrap();
    let repository = scene.daemon().local().open().unwrap();
    *repository.backend().room.lock().unwrap() = Some(20_000_000);
    let error = scene.daemon().create_snapshot(&name("vol1"), &name("snap1")).await.unwrap_err();
    assert!(error.message.contains("No space left on device") && error.hint.is_some(), "{error}");
    assert!(scene.daemon().volume(&name("vol1")).await.unwrap().snapshots.unwrap().is_empty());
    *repository.backend().room.lock().unwrap() = None;
    scene.snapshot("vol1", "snap1").await;
    scene.check("root/repository");
}

#[tokio::test]
async fn space_of_deleted_snapshots_comes_back() {
    let (scene, url) = Scene::with_backup().await;
    let before = scene.bytes("root/repository");
    fs::write(scene.path("root/volumes/vol1/more"), noise(5_000_000)).unwrap();
    scene.snapshot("vol1", "snap2").await;
    assert!(scene.bytes("root/repository") > before + 5_000_000);
    scene.daemon().delete_snapshot(&name("snap2")).await.unwrap();
    assert!(scene.bytes("root/repository") < before + 10_000);
    scene.check("root/repository");
    scene.snapshot("vol1", "snap3").await;
    scene.daemon().delete_volume(&name("vol1"), None, false).await.unwrap();
    assert!(scene.bytes("root/repository") < 10_000);
    scene.restore("vol1", &url).await.unwrap();
}

#[tokio::test]
async fn snapshots_of_several_volumes_at_the_same_time_are_all_good() {
    let scene = Scene::new();
    for number in 0..4 {
        let files = scene.volume(&format!("vol{number}")).await;
        fs::write(files.join("f"), noise(1_000_000 + number)).unwrap();
    }
    let daemon = scene.daemon();
    let names: Vec<_> = (0..4)
        .map(|number| (name(&format!("vol{number}")), name(&format!("snap{number}"))))
        .collect();
    let (a, b, c, d) = tokio::join!(
        daemon.create_snapshot(&names[0].0, &names[0].1),
        daemon.create_snapshot(&names[1].0, &names[1].1),
        daemon.create_snapshot(&names[2].0, &names[2].1),
        daemon.create_snapshot(&names[3].0, &names[3].1),
    );
    for snapshot in [a, b, c, d] {
        let url = scene.backup(&snapshot.unwrap().name).await;
        daemon.backup(&url).await.unwrap();
    }
    assert_eq!(daemon.backups(&scene.destination, None).await.unwrap().len(), 4);
    scene.check("root/repository");
    let files = rustic_core::ReadBackend::list(
        &**daemon.local().open().unwrap().backend(),
        RepositoryFile::Snapshot,
    );
    assert_eq!(files.unwrap().len(), 4);
}

#[tokio::test]
async fn a_failing_backup_leaves_the_failure_of_a_snapshot_alone() {
    let (scene, _) = Scene::with_backup().await;
    for pack in scene.packs("root/repository") {
        fs::remove_file(pack).unwrap();
    }
    // Another volume's snapshot has just failed, and has not seen its failure yet.
    let local = scene.daemon().local().open().unwrap();
    assert!(
        rustic_core::ReadBackend::read_full(
            &**local.backend(),
            RepositoryFile::Index,
            &Id::default()
        )
        .is_err()
    );
    fs::create_dir(scene.path("other")).unwrap();
    let other = Destination::parse(&format!("vfs://{}", scene.path("other").display())).unwrap();
    let error = scene.daemon().create_backup(&name("snap1"), &other).await.unwrap_err();
    assert!(error.message.contains("/root/repository/data/"), "{error}");
    assert!(local.backend().take_failure().unwrap().message.contains("/root/repository/index/"));

    // The opposite case: the backup's failure must not fail the snapshot.
    assert!(scene.daemon().create_backup(&name("snap1"), &other).await.is_err());
    assert!(local.backend().take_failure().is_none());
}

#[tokio::test]
async fn a_volume_is_compared_with_its_backup_file_by_file() {
    let (scene, url) = Scene::with_backup().await;
    let files = scene.path("root/volumes/vol1");
    let changes = async || scene.daemon().changes_since(&name("vol1"), &url).await.unwrap();
    let changed = |path: &str| Changes::Changed { path: path.into() };
    assert_eq!(changes().await, Changes::Unchanged);
    fs::read(files.join("a")).unwrap();
    assert_eq!(changes().await, Changes::Unchanged, "reading changes nothing");

    // Of the same size and with the old times, as far as a program can set them.
    let before = fs::metadata(files.join("dir/b")).unwrap();
    fs::write(files.join("dir/b"), "c").unwrap();
    set_times(&files.join("dir/b"), before.mtime(), before.mtime_nsec());
    assert_eq!(changes().await, changed("dir/b"));
    let newer = scene.back_up("vol1", "snap2").await;
    let changes = async || scene.daemon().changes_since(&name("vol1"), &newer).await.unwrap();
    assert_eq!(changes().await, Changes::Unchanged);
    fs::remove_file(files.join("dir/b")).unwrap();
    assert_eq!(changes().await, changed("dir"));

    // The backup of another volume tells nothing.
    scene.volume("vol2").await;
    let unknown = scene.daemon().changes_since(&name("vol2"), &newer).await.unwrap();
    assert_eq!(unknown, Changes::Unknown);
    scene.daemon().changes_since(&name("vol9"), &newer).await.unwrap_err();
    scene.daemon().delete_backup(&newer, &[]).await.unwrap();
    scene.daemon().changes_since(&name("vol1"), &newer).await.unwrap_err();
}

#[tokio::test]
async fn what_is_left_out_is_not_compared() {
    let mut scene = Scene::new();
    let files = scene.volume("vol1").await;
    for folder in ["cache", "dir", "marked/inside"] {
        fs::create_dir_all(files.join(folder)).unwrap();
    }
    for file in ["cache/a", "dir/b", "marked/c", "marked/.nobackup", "marked/inside/d", "z"] {
        fs::write(files.join(file), file).unwrap();
    }
    // With all.
    let url = scene.back_up("vol1", "snap0").await;
    scene.daemon = None;
    let excludes = Excludes {
        patterns: Patterns::parse("*.tmp,[vol1],/cache").unwrap(),
        markers: vec![Marker::parse(".nobackup").unwrap()],
        one_file_system: true,
    };
    let options = BuiltinOptions { excludes, ..options(&scene.path("root")) };
    scene.daemon = Some(BuiltinDaemon::open(options).unwrap());
    let whole = scene.daemon().changes_since(&name("vol1"), &url).await.unwrap();
    assert_eq!(whole, Changes::Unchanged);
    let url = scene.back_up("vol1", "snap1").await;
    let backup = scene.daemon().backup(&url).await.unwrap();
    assert_eq!((backup.field("ExcludedFiles"), backup.field("FileCount")), ("3", "3"));
    let changes = async || scene.daemon().changes_since(&name("vol1"), &url).await.unwrap();
    let changed = |path: &str| Changes::Changed { path: path.into() };
    assert_eq!(changes().await, Changes::Unchanged);
    for file in ["cache/a", "marked/c", "marked/inside/e"] {
        fs::write(files.join(file), "changed").unwrap();
    }
    assert_eq!(changes().await, Changes::Unchanged);

    // A folder that is marked since is compared without what the backup has of it.
    let before = fs::metadata(files.join("dir")).unwrap();
    fs::write(files.join("dir/.nobackup"), "").unwrap();
    set_times(&files.join("dir"), before.mtime(), before.mtime_nsec());
    assert_ne!(changes().await, Changes::Unchanged);
    let marked = scene.back_up("vol1", "snap2").await;
    let changes = async || scene.daemon().changes_since(&name("vol1"), &marked).await.unwrap();
    fs::write(files.join("dir/b"), "changed").unwrap();
    assert_eq!(changes().await, Changes::Unchanged);
    fs::write(files.join("z"), "changed").unwrap();
    assert_eq!(changes().await, changed("z"));
}
