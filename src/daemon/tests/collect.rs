//! Giving back space at a destination that several hosts write to, and on the disk of the volumes.

use std::{fs, path::PathBuf};

use jiff::SignedDuration;
use rustic_core::Id;

use super::scene::{Scene, name, noise, set_times};
use crate::{
    clock::{Clock as _, SystemClock},
    convoy::{BackupUrl, Daemon as _, GivenBack},
    daemon::repository::hash,
};

const DAY: SignedDuration = SignedDuration::from_hours(25);

/// Lets a day pass: all files at the destination are older.
fn pass(scene: &Scene) {
    let mut folders = vec![scene.path("backups/repository")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let written = entry.metadata().unwrap().modified().unwrap();
            let before = jiff::Timestamp::try_from(written).unwrap() - DAY;
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => set_times(&entry.path(), before.as_second(), 0),
            }
        }
    }
}

async fn give_back(scene: &Scene) -> GivenBack {
    scene.daemon().give_back(&scene.destination).await.unwrap().unwrap()
}

/// A scene with a backup, and without another one that had 3 MB more.
async fn with_a_deleted_backup() -> (Scene, BackupUrl) {
    let (scene, first) = Scene::with_backup().await;
    let more = scene.path("root/volumes/vol1/more");
    fs::write(&more, noise(3_500_000)).unwrap();
    let second = scene.back_up("vol1", "snap2").await;
    fs::remove_file(more).unwrap();
    scene.daemon().delete_backup(&second, &[]).await.unwrap();
    (scene, first)
}

#[tokio::test]
async fn what_was_marked_a_day_ago_is_given_back_though_nothing_is_deleted() {
    let (scene, first) = with_a_deleted_backup().await;
    let young = give_back(&scene).await;
    assert_eq!((young.given_back, young.waiting), (0, 0), "another host may have written it");
    pass(&scene);
    let marked = give_back(&scene).await;
    assert!(marked.given_back == 0 && marked.waiting > 3_500_000, "{marked:?}");
    assert!(marked.waits_until.unwrap() > SystemClock.now());
    let before = scene.bytes("backups/repository");
    pass(&scene);
    let gone = give_back(&scene).await;
    assert_eq!((gone.given_back, gone.waiting), (marked.waiting, 0));
    assert_eq!(scene.bytes("backups/repository"), before - gone.given_back);
    scene.check("backups/repository");
    scene.restore("vol2", &first).await.unwrap();
}

#[tokio::test]
async fn a_destination_without_a_repository_has_nothing_to_give_back() {
    let scene = Scene::new();
    assert_eq!(give_back(&scene).await, GivenBack::default());
    assert_eq!(fs::read_dir(scene.path("backups")).unwrap().count(), 0);
}

/// The file of the only backup.
fn snapshot_file(scene: &Scene) -> PathBuf {
    let mut files = fs::read_dir(scene.path("backups/repository/snapshots")).unwrap();
    files.next().unwrap().unwrap().path()
}

#[tokio::test]
async fn one_damaged_backup_stops_no_giving_back() {
    let (scene, _) = Scene::with_backup().await;
    let damaged = snapshot_file(&scene);
    fs::write(&damaged, "rot").unwrap();
    let may_be_needed = scene.bytes("backups/repository");
    pass(&scene);
    pass(&scene);
    let more = scene.path("root/volumes/vol1/more");
    fs::write(&more, noise(3_500_000)).unwrap();
    let url = scene.back_up("vol1", "snap2").await;
    scene.daemon().delete_backup(&url, &[]).await.unwrap_err();
    let newer = fs::read_dir(damaged.parent().unwrap()).unwrap().map(|file| file.unwrap().path());
    newer.filter(|file| *file != damaged).for_each(|file| fs::remove_file(file).unwrap());
    pass(&scene);
    let marked = give_back(&scene).await;
    assert!(marked.waiting > 3_500_000, "{marked:?}");
    assert_eq!(scene.bytes("backups/repository") - marked.waiting, may_be_needed);
    let name = damaged.file_name().unwrap().to_str().unwrap();
    assert!(matches!(&marked.notes[..], [note] if note.contains(name)), "{marked:?}");
    pass(&scene);
    assert_eq!(give_back(&scene).await.given_back, marked.waiting);
}

#[tokio::test]
async fn what_never_was_of_the_repository_keeps_nothing() {
    let (scene, _) = with_a_deleted_backup().await;
    for folder in ["snapshots", "index"] {
        let name = Id::new(hash(b"foreign")).to_hex();
        fs::write(scene.path("backups/repository").join(folder).join(name.as_str()), "foreign")
            .unwrap();
    }
    pass(&scene);
    let marked = give_back(&scene).await;
    assert!(marked.waiting > 3_500_000 && marked.notes.is_empty(), "{marked:?}");
}

#[tokio::test]
async fn a_snapshot_that_fails_leaves_the_disk_as_free_as_before() {
    let (scene, _) = Scene::with_backup().await;
    let before = scene.bytes("root/repository");
    fs::write(scene.path("root/volumes/vol1/large"), noise(40_000_000)).unwrap();
    let room = scene.daemon().local().open().unwrap().backend().room.clone();
    *room.lock().unwrap() = Some(30_000_000);
    let error = scene.daemon().create_snapshot(&name("vol1"), &name("snap2")).await.unwrap_err();
    assert!(error.message.contains("No space left"), "{error}");
    assert_eq!(scene.bytes("root/repository"), before);
    *room.lock().unwrap() = None;
    scene.snapshot("vol1", "snap3").await;
}

#[tokio::test]
async fn a_deletion_gives_back_what_nothing_else_has_for_days() {
    let (scene, _) = with_a_deleted_backup().await;
    let more = scene.path("root/volumes/vol1/other");
    fs::write(&more, noise(10_000)).unwrap();
    let third = scene.back_up("vol1", "snap3").await;
    for _ in 0..2 {
        pass(&scene);
    }
    let done = scene.path("backups/repository/convoy-backups.pruned");
    let age = || fs::metadata(&done).unwrap().modified().unwrap().elapsed().unwrap();
    assert!(age() > DAY.unsigned_abs());
    scene.daemon().delete_backup(&third, &[]).await.unwrap();
    assert!(age() < DAY.unsigned_abs());
}
