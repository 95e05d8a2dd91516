//! Damage is noticed, and does not affect anything else.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
};

use super::scene::{Scene, name};
use crate::{
    convoy::Daemon as _,
    daemon::repository::guarded,
    error::{ErrorKind, Result},
};

#[tokio::test]
async fn a_damaged_pack_fails_the_restore_and_leaves_no_volume() {
    let (scene, url) = Scene::with_backup().await;
    let packs = scene.packs("backups/repository");
    let largest = packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    let file = File::options().write(true).open(largest).unwrap();
    file.write_all_at(b"damage", 1_000_000).unwrap();
    let error = scene.restore("vol2", &url).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Repository, "{error}");
    assert!(error.message.contains("\"a\""), "{error}");
    assert!(!scene.path("root/volumes/vol2").exists());
    assert_eq!(scene.daemon().volumes().await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);

    scene.daemon().backup(&url).await.expect("content is not read by an inspection");
    file.set_len(1_000_000).unwrap();
    let error = scene.daemon().backup(&url).await.unwrap_err();
    assert!(error.message.contains("bytes instead of"), "{error}");
    fs::remove_file(largest).unwrap();
    let error = scene.daemon().backup(&url).await.unwrap_err();
    assert!(error.message.contains("is missing"), "{error}");
}

#[tokio::test]
async fn a_damaged_index_fails_inspection_and_restore() {
    let (scene, url) = Scene::with_backup().await;
    for index in fs::read_dir(scene.path("backups/repository/index")).unwrap() {
        fs::write(index.unwrap().path(), "rubbish").unwrap();
    }
    assert_eq!(scene.daemon().backup(&url).await.unwrap_err().kind, ErrorKind::Repository);
    assert_eq!(scene.restore("vol2", &url).await.unwrap_err().kind, ErrorKind::Repository);
    assert!(!scene.path("root/volumes/vol2").exists());
}

#[tokio::test]
async fn a_lost_config_changes_nothing_until_it_is_put_back() {
    let (mut scene, url) = Scene::with_backup().await;
    for repository in ["backups/repository", "root/repository"] {
        let config = scene.path(repository).join("config");
        fs::rename(&config, scene.path("config")).unwrap();
        scene.restart(|_| ());
        let keys = || {
            fs::read_dir(config.with_file_name("keys")).unwrap().map(|key| key.unwrap().file_name())
        };
        let before: Vec<_> = keys().collect();
        let told = [
            scene.daemon().create_backup(&name("snap1"), &scene.destination).await.unwrap_err(),
            if repository.starts_with("root") {
                scene.daemon().create_snapshot(&name("vol1"), &name("snap2")).await.unwrap_err()
            } else {
                scene.daemon().backups(&scene.destination, None).await.unwrap_err()
            },
        ];
        for error in told {
            assert!(
                error.kind == ErrorKind::Repository
                    && error.message.contains("config\" is missing"),
                "{error}"
            );
        }
        assert_eq!(keys().collect::<Vec<_>>(), before);
        fs::rename(scene.path("config"), config).unwrap();
    }
    scene.restore("vol2", &url).await.unwrap();
    scene.snapshot("vol1", "snap2").await;
}

#[tokio::test]
async fn one_damaged_file_does_not_stand_in_the_way_of_intact_backups() {
    let (mut scene, url) = Scene::with_backup().await;
    let snapshots = scene.path("backups/repository/snapshots");
    let intact = fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    let lost = scene.backup("snap1").await;
    let damaged = fs::read_dir(&snapshots)
        .unwrap()
        .map(|it| it.unwrap().path())
        .find(|path| *path != intact)
        .unwrap();
    let content = fs::read(&damaged).unwrap();
    for rubbish in [&b""[..], &content[..content.len() - 1]] {
        fs::write(&damaged, rubbish).unwrap();
        scene.restart(|_| ());
        let strict = scene.daemon().backups(&scene.destination, None).await.unwrap_err();
        assert_eq!(strict.kind, ErrorKind::Repository, "{strict}");
        scene.daemon().delete_backup(&url).await.unwrap_err();
        scene.daemon().backup(&url).await.unwrap();
        scene.restore("vol2", &url).await.unwrap();
        scene.daemon().delete_volume(&name("vol2"), false).await.unwrap();
        let error = scene.restore("vol2", &lost).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Repository, "it may be in the damaged file: {error}");
        scene
            .daemon()
            .backups(&scene.destination, None)
            .await
            .expect_err("a look at a backup makes no listing whole");
    }
    assert!(intact.exists());
}

#[test]
fn a_panic_of_the_library_is_an_error() {
    let error = guarded("the test", || -> Result<()> { panic!("went away") }).unwrap_err();
    assert!(error.kind == ErrorKind::Repository && error.message.contains("went away"), "{error}");
}
