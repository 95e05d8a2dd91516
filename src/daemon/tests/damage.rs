//! Damage is noticed, and does not affect anything else.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::scene::{Scene, name, noise};
use crate::{
    convoy::{BackupUrl, Daemon as _},
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
    scene.daemon().backup(&url).await.expect("content is not read by an inspection");
    let error = scene.restore("vol2", &url).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Repository, "{error}");
    assert!(error.message.contains("\"a\""), "{error}");
    assert!(!scene.path("root/volumes/vol2").exists());
    assert_eq!(scene.daemon().volumes().await.unwrap().len(), 1);
    assert_eq!(fs::read_dir(scene.path("root/volumes/.staging")).unwrap().count(), 0);

    file.set_len(1_000_000).unwrap();
    let error = scene.daemon().backup(&url).await.unwrap_err();
    assert!(error.message.contains("bytes instead of"), "{error}");
    fs::remove_file(largest).unwrap();
    let error = scene.daemon().backup(&url).await.unwrap_err();
    assert!(error.message.contains("is missing"), "{error}");
}

#[tokio::test]
async fn a_damaged_index_fails_inspection_and_restore_and_a_backup_mends_it() {
    let (scene, url) = Scene::with_backup().await;
    for index in fs::read_dir(scene.path("backups/repository/index")).unwrap() {
        fs::write(index.unwrap().path(), "rubbish").unwrap();
    }
    assert_eq!(scene.daemon().backup(&url).await.unwrap_err().kind, ErrorKind::Repository);
    assert_eq!(scene.restore("vol2", &url).await.unwrap_err().kind, ErrorKind::Repository);
    assert!(!scene.path("root/volumes/vol2").exists());
    scene.backup("snap1").await;
    scene.daemon().backup(&url).await.unwrap();
    scene.restore("vol2", &url).await.unwrap();
    scene.check("backups/repository");
}

#[tokio::test]
async fn a_lost_config_of_a_destination_changes_nothing_until_it_is_put_back() {
    let (mut scene, url) = Scene::with_backup().await;
    let config = scene.path("backups/repository/config");
    fs::rename(&config, scene.path("config")).unwrap();
    scene.restart(|_| ());
    let keys =
        || fs::read_dir(config.with_file_name("keys")).unwrap().map(|key| key.unwrap().file_name());
    let before: Vec<_> = keys().collect();
    let told = [
        scene.daemon().create_backup(&name("snap1"), &scene.destination).await.unwrap_err(),
        scene.daemon().backups(&scene.destination, None).await.unwrap_err(),
    ];
    for error in told {
        assert!(
            error.kind == ErrorKind::Repository && error.message.contains("config\" is missing"),
            "{error}"
        );
    }
    assert_eq!(keys().collect::<Vec<_>>(), before);
    fs::rename(scene.path("config"), config).unwrap();
    scene.restore("vol2", &url).await.unwrap();
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
        let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert!(listed[0].url().unwrap().same_backup(&url));
        // It may be needed in place of the one that can't be read.
        let strict = scene.daemon().delete_backup(&url, &[]).await.unwrap_err();
        assert_eq!(strict.kind, ErrorKind::Repository, "{strict}");
        scene.daemon().backup(&url).await.unwrap();
        scene.restore("vol2", &url).await.unwrap();
        scene.daemon().delete_volume(&name("vol2"), None, false).await.unwrap();
        let error = scene.restore("vol2", &lost).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Repository, "it may be in the damaged file: {error}");
        let listed = scene.daemon().backups(&scene.destination, None).await.unwrap();
        assert_eq!(listed.len(), 1, "also after it was looked at");
    }
    assert!(intact.exists());
}

#[test]
fn a_panic_of_the_library_is_an_error() {
    let error = guarded("the test", || -> Result<()> { panic!("went away") }).unwrap_err();
    assert!(error.kind == ErrorKind::Repository && error.message.contains("went away"), "{error}");
}

/// Overwrites some bytes in the middle of a file, and returns those that were there.
fn flip(file: &Path) -> Vec<u8> {
    let whole = fs::read(file).unwrap();
    let damaged = File::options().write(true).open(file).unwrap();
    damaged.write_all_at(b"damage", whole.len() as u64 / 2).unwrap();
    whole
}

fn largest(packs: &[PathBuf]) -> &PathBuf {
    packs.iter().max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap()
}

#[tokio::test]
async fn a_piece_that_a_restore_could_not_read_breaks_each_backup_that_needs_it_until_it_is_whole()
{
    let (mut scene, first) = Scene::with_backup().await;
    let packs = scene.packs("backups/repository");
    let damaged = largest(&packs);
    let files = scene.volume("vol2").await;
    fs::write(files.join("other"), "other").unwrap();
    scene.snapshot("vol2", "snap2").await;
    let other = scene.backup("snap2").await;
    fs::write(scene.path("root/volumes/vol1/new"), "new").unwrap();
    scene.snapshot("vol1", "snap3").await;
    let second = scene.backup("snap3").await;

    let whole = flip(damaged);
    scene.daemon().backup(&second).await.expect("nobody has read it yet");
    scene.restore("vol3", &first).await.unwrap_err();
    for _ in 0..2 {
        for url in [&first, &second] {
            let error = scene.daemon().backup(url).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Repository, "{error}");
            assert!(
                error.message.contains("a piece of \"vol1/a\" is damaged in the pack"),
                "{error}"
            );
        }
        scene.daemon().backup(&other).await.expect("it does not need the piece");
        scene.restart(|_| ());
    }
    fs::write(damaged, whole).unwrap();
    for url in [&first, &second] {
        scene.daemon().backup(url).await.unwrap();
    }
    assert_eq!(fs::read_dir(scene.path("root/damaged")).unwrap().count(), 0);

    flip(damaged);
    scene.restore("vol3", &first).await.unwrap_err();
    scene.backup("snap3").await;
    for url in [&first, &second] {
        scene.daemon().backup(url).await.expect("the new backup has stored the piece again");
    }
    scene.restore("vol3", &first).await.unwrap();
    assert_eq!(fs::read_dir(scene.path("root/damaged")).unwrap().count(), 0);
    scene.check("backups/repository");
}

#[tokio::test]
async fn each_of_many_damaged_pieces_is_remembered_and_forgotten_once_it_is_whole() {
    let scene = Scene::new();
    let files = scene.volume("vol1").await;
    let file = |number: u64| files.join(format!("{number:03}"));
    for number in 0..400 {
        fs::write(file(number), noise_of(number, 2_000)).unwrap();
    }
    scene.snapshot("vol1", "all").await;
    let all = scene.backup("all").await;
    let packs = scene.packs("backups/repository");
    let damaged = largest(&packs);
    // Each of the others needs one piece only.
    let mut urls = vec![all.clone()];
    for part in 0..8 {
        for entry in fs::read_dir(&files).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        fs::write(file(part), noise_of(part, 2_000)).unwrap();
        scene.snapshot("vol1", &format!("part{part}")).await;
        urls.push(scene.backup(&format!("part{part}")).await);
    }
    let whole = fs::read(damaged).unwrap();
    fs::write(damaged, vec![0; whole.len()]).unwrap();
    let error = scene.restore("vol2", &all).await.unwrap_err();
    let pack = damaged.file_name().unwrap().to_str().unwrap();
    assert!(error.message.contains(&format!("it is damaged in the pack {pack}")), "{error}");
    assert!(error.hint.is_some() && !error.message.contains("rustic"), "{error}");
    for url in &urls {
        let error = scene.daemon().backup(url).await.unwrap_err();
        assert!(error.message.contains("is damaged in the pack"), "{error}");
    }
    fs::write(damaged, whole).unwrap();
    for url in &urls {
        scene.daemon().backup(url).await.unwrap();
    }
    assert_eq!(fs::read_dir(scene.path("root/damaged")).unwrap().count(), 0);
}

fn noise_of(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = noise(length);
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

#[tokio::test]
async fn what_is_wrong_with_one_of_many_backups_is_said_of_each_that_needs_it_and_of_no_other() {
    let scene = Scene::new();
    let (mut urls, mut packs) = (Vec::new(), Vec::new());
    for (volume, seed) in [("vol1", 1_000_001), ("vol2", 1_000_002), ("vol3", 1_000_003)] {
        let files = scene.volume(volume).await;
        fs::create_dir(files.join("dir")).unwrap();
        fs::write(files.join("dir/a"), noise(seed)).unwrap();
        let mut before = Vec::new();
        if scene.path("backups/repository").exists() {
            before = scene.packs("backups/repository");
        }
        let before = before.into_iter().collect::<BTreeSet<_>>();
        for backup in 0..2 {
            fs::write(files.join("b"), format!("{volume} {backup}")).unwrap();
            let snapshot = format!("{volume}-{backup}");
            scene.snapshot(volume, &snapshot).await;
            urls.push(scene.backup(&snapshot).await);
            if backup == 0 {
                let made = scene.packs("backups/repository");
                packs.push(
                    made.into_iter().filter(|pack| !before.contains(pack)).collect::<Vec<_>>(),
                );
            }
        }
    }
    let verdicts = async || -> Vec<Option<String>> {
        let inspected = scene.daemon().inspect_backups(&urls).await.unwrap();
        inspected.into_iter().map(|it| it.err().map(|error| error.message)).collect()
    };
    assert_eq!(verdicts().await, [const { None }; 6]);
    // What proved them when they were made counts once.
    for url in &urls {
        scene.daemon().backup(url).await.unwrap();
    }

    // The content of one volume, and the folders of another.
    fs::remove_file(largest(&packs[1])).unwrap();
    let trees = packs[2].iter().min_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
    fs::write(trees, noise(fs::metadata(trees).unwrap().len() as usize)).unwrap();
    let told = verdicts().await;
    assert!(told[0].is_none() && told[1].is_none(), "{told:?}");
    for url in [2, 3] {
        assert!(told[url].as_ref().unwrap().contains("is missing"), "{told:?}");
    }
    for url in [4, 5] {
        assert!(told[url].is_some(), "{told:?}");
    }
    for (url, told) in urls.iter().zip(told) {
        let alone = scene.daemon().backup(url).await.err().map(|error| error.message);
        assert_eq!(alone, told, "alone as among others");
    }
    let absent = BackupUrl::parse(&urls[0].to_string().replace("backup-", "backup-0")).unwrap();
    let inspected = scene.daemon().inspect_backups(&[absent, urls[0].clone()]).await.unwrap();
    assert_eq!(inspected[0].as_ref().unwrap_err().kind, ErrorKind::NotFound);
    assert!(inspected[1].is_ok());
}
