//! Volumes of Docker: they are found, backed up, restored as volumes of Docker, and removed.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::scene::{Scene, name, options};
use crate::{
    convoy::{CONTAINERS, Daemon as _, NewVolume, PROJECT},
    daemon::{BuiltinDaemon, BuiltinOptions, DockerOptions},
    engine::Selection,
    error::ErrorKind,
    support::engine::FakeEngine,
};

/// A scene with an engine that has the volume `shop_db` of the compose project `shop`, with a file.
fn with_engine() -> (Scene, FakeEngine, PathBuf) {
    let mut scene = Scene::new();
    fs::create_dir(scene.path("docker")).unwrap();
    let engine = FakeEngine::start(&scene.path("docker"));
    let files =
        engine.volume("shop_db", &json!({ "com.docker.compose.project": "shop" }), &json!(null));
    fs::write(files.join("file"), "precious").unwrap();
    open(&mut scene, &engine);
    (scene, engine, files)
}

/// Starts the daemon anew, with this engine.
fn open(scene: &mut Scene, engine: &FakeEngine) {
    scene.daemon = None;
    let selection = Selection { exclude: vec!["*_cache".into()], ..Selection::default() };
    let docker = DockerOptions {
        socket: Some(engine.socket.clone()),
        selection,
        own: vec![scene.path("root")],
    };
    let with_docker = BuiltinOptions { docker, ..options(&scene.path("root")) };
    let opened = loop {
        // It asks Docker, which takes a thread that may block.
        let options = with_docker.clone();
        match std::thread::spawn(move || BuiltinDaemon::open(options)).join().unwrap() {
            Err(error) if error.kind == ErrorKind::Busy => std::thread::yield_now(),
            opened => break opened,
        }
    };
    scene.daemon = Some(opened.unwrap());
}

async fn listed(scene: &Scene) -> Vec<String> {
    scene.daemon().volumes().await.unwrap().into_keys().collect()
}

#[tokio::test]
async fn volumes_of_docker_are_found_when_they_come_and_listed_with_what_uses_them() {
    let (mut scene, engine, files) = with_engine();
    engine.volume(&"0123456789abcdef".repeat(4), &json!(null), &json!(null));
    engine.volume("shop_cache", &json!(null), &json!(null));
    engine.container("shop-db-1", "running", &json!({}), &["shop_db"]);
    assert_eq!(listed(&scene).await, ["shop_db"]);
    let volume = scene.daemon().volume(&name("shop_db")).await.unwrap();
    assert_eq!((volume.driver.as_str(), volume.told("Path")), ("docker", files.to_str()));
    assert_eq!((volume.told(PROJECT), volume.told(CONTAINERS)), (Some("shop"), Some("shop-db-1")));
    engine.volume("new", &json!(null), &json!(null));
    assert_eq!(listed(&scene).await, ["new", "shop_db"]);
    engine.with(|contents| contents.volumes.remove("new"));
    assert_eq!(listed(&scene).await, ["shop_db"]);
    // An engine that does not answer says nothing of what came or went.
    fs::rename(&engine.socket, scene.path("docker/away")).unwrap();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    let id = volume.told("VolumeID").map(str::to_owned);
    open(&mut scene, &engine);
    let again = scene.daemon().volume(&name("shop_db")).await.unwrap();
    assert_eq!(again.told("VolumeID").map(str::to_owned), id);
    scene.back_up("shop_db", "snap1").await;
}

#[tokio::test]
async fn a_backup_of_a_volume_of_docker_is_restored_as_one_with_its_labels() {
    let (scene, engine, files) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let backup = scene.daemon().backup(&url).await.unwrap();
    assert_eq!((backup.field("DriverName"), backup.field("FileCount")), ("docker", "1"));
    let error = scene.restore("shop_db", &url).await.unwrap_err();
    assert!(error.message.contains("already exists"), "{error}");

    let restored = scene.restore("shop_old", &url).await.unwrap();
    assert_eq!(restored.driver, "docker");
    let folder = scene.path("docker/volumes/shop_old");
    assert_eq!(fs::read_to_string(folder.join("_data/file")).unwrap(), "precious");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing of ours stays");
    let labels = engine.with(|contents| contents.volumes["shop_old"]["Labels"].clone());
    assert_eq!(labels["com.docker.compose.project"], "shop");
    // The restored one is not taken for another at the next look.
    let id = restored.told("VolumeID").map(str::to_owned);
    let again = scene.daemon().volume(&name("shop_old")).await.unwrap();
    assert_eq!(again.told("VolumeID").map(str::to_owned), id);

    // The disaster: Docker's volume is removed, and comes back from the backup under its name.
    engine.with(|contents| contents.volumes.remove("shop_db"));
    fs::remove_dir_all(files.parent().unwrap()).unwrap();
    assert_eq!(listed(&scene).await, ["shop_old"]);
    scene.restore("shop_db", &url).await.unwrap();
    assert_eq!(fs::read_to_string(files.join("file")).unwrap(), "precious");
}

#[tokio::test]
async fn a_restore_that_fails_leaves_no_volume_of_docker() {
    let (scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    let packs = scene.path("backups/repository/data");
    fs::remove_dir_all(&packs).unwrap();
    scene.restore("shop_old", &url).await.unwrap_err();
    assert!(!engine.with(|contents| contents.volumes.contains_key("shop_old")));
    assert_eq!(listed(&scene).await, ["shop_db"]);
}

#[tokio::test]
async fn what_a_crash_left_of_a_restore_is_ended_by_the_next_start() {
    let (mut scene, engine, _) = with_engine();
    let url = scene.back_up("shop_db", "snap1").await;
    for name in ["whole", "half"] {
        scene.restore(name, &url).await.unwrap();
    }
    scene.daemon = None;
    // As if the process had been killed before it noted that the files are in place, and before they were.
    for (name, is_whole) in [("whole", true), ("half", false)] {
        let folder = scene.path("docker/volumes").join(name);
        fs::create_dir(folder.join(".convoy-backups-restore")).unwrap();
        let inode =
            |path: PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
        let filled = if is_whole { "_data" } else { ".convoy-backups-restore" };
        let state = scene.path("root/state").join(format!("{name}.json"));
        let mut known: serde_json::Value =
            serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        known["restoring"] = json!(inode(folder.join(filled)));
        fs::write(&state, known.to_string()).unwrap();
    }
    open(&mut scene, &engine);
    assert_eq!(listed(&scene).await, ["shop_db", "whole"]);
    assert!(!scene.path("docker/volumes/whole/.convoy-backups-restore").exists());
    assert!(!engine.with(|contents| contents.volumes.contains_key("half")));
    let told = scene.daemon().recovered().join("\n");
    assert!(told.contains("it is complete") && told.contains("restore it again"), "{told}");
}

#[tokio::test]
async fn a_volume_of_docker_is_removed_by_docker_and_never_while_a_container_has_it() {
    let (scene, engine, _) = with_engine();
    scene.snapshot("shop_db", "snap1").await;
    engine.container("shop-db-1", "exited", &json!({}), &["shop_db"]);
    let error = scene.daemon().delete_volume(&name("shop_db"), false).await.unwrap_err();
    assert!(error.message.contains("volume is in use"), "{error}");
    let error = scene.daemon().delete_volume(&name("shop_db"), true).await.unwrap_err();
    assert!(error.message.contains("one of Docker's"), "{error}");
    engine.with(|contents| contents.containers.clear());
    scene.daemon().delete_volume(&name("shop_db"), false).await.unwrap();
    assert!(listed(&scene).await.is_empty());
    let made = NewVolume { driver: Some("docker".into()), ..NewVolume::named(name("shop_db")) };
    scene.daemon().create_volume(&made).await.unwrap();
    assert_eq!(listed(&scene).await, ["shop_db"]);
    assert!(scene.daemon().snapshot(&name("snap1")).await.is_err(), "it went with its volume");
}

#[tokio::test]
async fn a_volume_of_docker_that_can_not_be_read_here_fails_alone_and_says_what_to_do() {
    let (scene, engine, files) = with_engine();
    engine.volume(
        "share",
        &json!(null),
        &json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": ":/data" }),
    );
    engine.with(|contents| {
        let volume = contents.volumes.get_mut("shop_db").unwrap();
        volume["Mountpoint"] = json!("/elsewhere/_data");
    });
    for (volume, words) in [("share", "is not mounted now"), ("shop_db", "can't be seen here")] {
        let listed = scene.daemon().volume(&name(volume)).await.unwrap();
        assert!(
            listed.told("Problem").is_some_and(|problem| problem.contains(words)),
            "{listed:?}"
        );
        let (volume, snapshot) = (name(volume), name("snap1"));
        let backup = scene.daemon().back_up(&volume, &snapshot, &scene.destination);
        let error = backup.await.unwrap_err();
        assert!(error.message.contains(words) && error.hint.is_some(), "{error}");
    }
    assert!(files.join("file").exists());
}
