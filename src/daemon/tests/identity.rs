//! Roots that were copied or moved, and roots of version 0.1.0.

use std::{fs, path::Path, sync::Arc};

use super::scene::{Scene, name, options};
use crate::{
    clock::SystemClock,
    convoy::{
        BackupUrl, Daemon as _, Destination, Name,
        guards::{Even, Guards},
    },
    daemon::{BuiltinDaemon, settle_moved},
};

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn guards(daemon: BuiltinDaemon) -> Guards {
    Guards::new(Arc::new(daemon), None, Arc::new(SystemClock))
}

/// How many backups of `vol1` a pruning may delete from, by volume, and how many it leaves alone.
async fn counts(guards: &Guards, at: &Destination) -> (Vec<usize>, usize) {
    let found = guards.prunable(at, &name("vol1"), false).await.unwrap();
    let volumes = found.volumes.iter().map(Vec::len).collect();
    (volumes, found.left.iter().map(|left| left.backups.len()).sum())
}

async fn back_up(guards: &Guards, at: &Destination) -> BackupUrl {
    let snapshot = guards.create_snapshot(&name("vol1")).await.unwrap();
    guards.create_backup(&Name::snapshot(&snapshot.name).unwrap(), at).await.unwrap()
}

#[tokio::test]
async fn a_copied_root_leaves_the_backups_of_its_original_alone() {
    let (mut scene, first) = Scene::with_backup().await;
    copy(&scene.path("root"), &scene.path("copy"));
    let original = guards(scene.daemon.take().unwrap());
    let copied = BuiltinDaemon::open(options(&scene.path("copy"))).unwrap();
    let told = copied.recovered().join("\n");
    assert!(told.contains("was copied or moved") && told.contains("daemon moved"), "{told}");
    let copied = guards(copied);
    let at = &scene.destination;
    assert_eq!(counts(&copied, at).await, (vec![], 1));
    let newest = back_up(&original, at).await;
    back_up(&copied, at).await;
    back_up(&copied, at).await;
    assert_eq!(counts(&copied, at).await, (vec![2], 2));
    assert_eq!(counts(&original, at).await, (vec![2], 2));
    for url in [&first, &newest] {
        let error = copied.delete_backup(url, Even::default()).await.unwrap_err();
        assert!(error.message.contains("may be another host's"), "{error}");
    }
    original.delete_backup(&first, Even::default()).await.unwrap();
    let volume = copied.volume(&name("vol1")).await.unwrap();
    assert_eq!(copied.own_backups(at, &volume).await.unwrap().len(), 2);
    // What is left alone can be restored all the same.
    copied.backup(&newest).await.unwrap();
}

#[tokio::test]
async fn a_root_that_was_moved_has_its_backups_again_once_that_is_settled() {
    let (mut scene, url) = Scene::with_backup().await;
    scene.daemon = None;
    copy(&scene.path("root"), &scene.path("moved"));
    fs::remove_dir_all(scene.path("root")).unwrap();
    let moved = scene.path("moved");
    let daemon = BuiltinDaemon::open(options(&moved)).unwrap();
    assert!(settle_moved(&moved).is_err(), "a process owns it");
    let volume = daemon.volume(&name("vol1")).await.unwrap();
    let own = guards(daemon).own_backups(&scene.destination, &volume).await.unwrap();
    assert!(own.is_empty());

    assert!(settle_moved(&moved).unwrap());
    assert!(!settle_moved(&moved).unwrap());
    let daemon = BuiltinDaemon::open(options(&moved)).unwrap();
    assert!(daemon.recovered().is_empty(), "{:?}", daemon.recovered());
    let own = guards(daemon).own_backups(&scene.destination, &volume).await.unwrap();
    assert!(own.len() == 1 && own[0].url().unwrap().same_backup(&url));
}

/// Makes the state of a root, and the tags of its backups, those of version 0.1.0.
fn make_old(scene: &Scene) {
    fs::remove_file(scene.path("root/identity.json")).unwrap();
    let path = scene.path("root/state/vol1.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state.as_object_mut().unwrap().remove("id").unwrap();
    fs::write(&path, state.to_string()).unwrap();
    let files = scene.path("backups/repository/snapshots");
    let old: Vec<_> = fs::read_dir(&files).unwrap().map(|file| file.unwrap().path()).collect();
    let created = state["created"].as_str().unwrap();
    scene.forge(&[
        "backup=backup-0123456789abcdef",
        "volume=vol1",
        &format!("volume-created={created}"),
        "snapshot=snap1",
    ]);
    old.iter().for_each(|file| fs::remove_file(file).unwrap());
}

#[tokio::test]
async fn the_backups_that_0_1_0_made_of_a_volume_stay_its_own() {
    let (mut scene, _) = Scene::with_backup().await;
    scene.daemon = None;
    make_old(&scene);
    scene.restart(|_| ());
    assert!(scene.daemon().recovered().is_empty(), "{:?}", scene.daemon().recovered());
    let guards = guards(scene.daemon.take().unwrap());
    back_up(&guards, &scene.destination).await;
    assert_eq!(counts(&guards, &scene.destination).await, (vec![2], 0));
    let volume = guards.volume(&name("vol1")).await.unwrap();
    assert_eq!(guards.own_backups(&scene.destination, &volume).await.unwrap().len(), 2);
}

#[tokio::test]
async fn copies_that_were_made_under_0_1_0_leave_the_backups_of_that_time_alone_once_both_are_seen()
{
    let (mut scene, _) = Scene::with_backup().await;
    scene.daemon = None;
    make_old(&scene);
    copy(&scene.path("root"), &scene.path("copy"));
    scene.restart(|_| ());
    let original = guards(scene.daemon.take().unwrap());
    let copied = guards(BuiltinDaemon::open(options(&scene.path("copy"))).unwrap());
    back_up(&copied, &scene.destination).await;
    back_up(&original, &scene.destination).await;
    for guards in [&original, &copied] {
        assert_eq!(counts(guards, &scene.destination).await, (vec![1], 2));
    }
}

#[tokio::test]
async fn a_volume_that_gets_a_removed_volumes_name_is_another_one_of_the_same_root() {
    let (mut scene, url) = Scene::with_backup().await;
    let before = scene.daemon().volume(&name("vol1")).await.unwrap();
    scene.daemon().delete_volume(&name("vol1"), None, false).await.unwrap();
    scene.volume("vol1").await;
    let again = scene.daemon().volume(&name("vol1")).await.unwrap();
    assert_ne!(before.id(), again.id());
    let guards = guards(scene.daemon.take().unwrap());
    assert!(guards.own_backups(&scene.destination, &again).await.unwrap().is_empty());
    // This host may prune them all the same, by themselves.
    back_up(&guards, &scene.destination).await;
    assert_eq!(counts(&guards, &scene.destination).await, (vec![1, 1], 0));
    let error = guards.delete_backup(&url, Even::default()).await.unwrap_err();
    assert!(error.message.contains("newest good backup"), "{error}");
}
