//! Backups of several volumes at one moment.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::scene::{Scene, name, options};
use crate::{
    convoy::{AsItIs, BackupUrl, Daemon as _, Destination},
    daemon::{BuiltinDaemon, BuiltinOptions, ContainerHolds, DockerOptions, HoldOptions},
    engine::HoldPolicy,
    error::Result,
    support::engine::FakeEngine,
};

/// A scene with an engine that has these volumes, each with a container of its name and these labels.
fn with_volumes(
    volumes: &[(&str, Value)],
    (limit, reads_unheld): (Duration, bool),
) -> (Scene, FakeEngine) {
    let mut scene = Scene::new();
    let engine = FakeEngine::start(&scene.path("docker"));
    for (volume, labels) in volumes {
        let files = engine.volume(volume, &json!(null), &json!(null));
        fs::write(files.join("file"), *volume).unwrap();
        engine.container(&format!("c-{volume}"), "running", labels, &[volume]);
    }
    scene.daemon = None;
    let socket = engine.socket.clone();
    let docker = DockerOptions { socket: Some(socket.clone()), ..DockerOptions::default() };
    let policy = HoldPolicy::Pause;
    let at = ContainerHolds::at(&socket);
    let containers = Some(ContainerHolds { policy, limit, reads_unheld, ..at });
    let hold = HoldOptions { commands: None, containers, limit };
    let options = BuiltinOptions { docker, hold, ..options(&scene.path("root")) };
    // It asks Docker, which takes a thread that may block.
    let opened = std::thread::spawn(move || BuiltinDaemon::open(options)).join().unwrap();
    scene.daemon = Some(opened.unwrap());
    (scene, engine)
}

const HOUR: Duration = Duration::from_hours(1);

/// Backs up these volumes together.
async fn backed_up(scene: &Scene, volumes: &[&str]) -> Vec<Result<BackupUrl>> {
    let as_it_is = |volume: &&str| AsItIs {
        volume: name(volume),
        snapshot: crate::convoy::Name::snapshot(&format!("snap-{volume}")).unwrap(),
    };
    let volumes: Vec<_> = volumes.iter().map(as_it_is).collect();
    let at = Destination::parse(&format!("vfs://{}", scene.path("backups").display())).unwrap();
    scene.daemon().back_up(&volumes, &at).await.unwrap()
}

/// The container was started with `--rm`.
fn goes_with_its_end(engine: &FakeEngine, name: &str) {
    engine.with(|contents| {
        let named = |it: &&mut Value| it["Names"][0] == format!("/{name}");
        contents.containers.iter_mut().find(named).unwrap()["AutoRemove"] = json!(true);
    });
}

async fn was_held(scene: &Scene, url: &BackupUrl) -> bool {
    scene.daemon().backup(url).await.unwrap().moment().stood.is_some()
}

#[tokio::test]
async fn volumes_are_read_again_after_the_last_of_them_and_held_once() {
    let (scene, engine) =
        with_volumes(&[("va", json!({})), ("vb", json!({})), ("vc", json!({}))], (HOUR, false));
    let made = backed_up(&scene, &["va", "vb", "vc"]).await;
    for (url, volume) in made.iter().zip(["va", "vb", "vc"]) {
        let url = url.as_ref().unwrap();
        assert_eq!(url.volume(), Some(volume));
        assert!(was_held(&scene, url).await);
    }
    let done = "pause c-va, pause c-vb, pause c-vc, unpause c-vc, unpause c-vb, unpause c-va";
    assert_eq!(engine.acts(), done);
}

#[tokio::test]
async fn a_container_that_can_not_be_held_keeps_no_other_volume_from_it() {
    let odd = json!({ "convoy-backups.hold": "stop" });
    let (scene, engine) = with_volumes(&[("va", json!({})), ("vb", odd.clone())], (HOUR, false));
    goes_with_its_end(&engine, "c-vb");
    let made = backed_up(&scene, &["va", "vb"]).await;
    assert!(was_held(&scene, made[0].as_ref().unwrap()).await);
    assert!(made[1].as_ref().unwrap_err().message.contains("--rm"));
    assert_eq!(engine.acts(), "pause c-va, unpause c-va");
    // Where it is to be read all the same, the others are held, and it is not.
    let (scene, engine) = with_volumes(&[("va", json!({})), ("vb", odd)], (HOUR, true));
    goes_with_its_end(&engine, "c-vb");
    let made = backed_up(&scene, &["va", "vb"]).await;
    assert!(was_held(&scene, made[0].as_ref().unwrap()).await);
    assert!(!was_held(&scene, made[1].as_ref().unwrap()).await);
    assert_eq!(engine.acts(), "pause c-va, unpause c-va");
}

#[tokio::test]
async fn a_hold_that_fails_is_not_tried_for_each_volume() {
    let (scene, engine) = with_volumes(&[("va", json!({})), ("vb", json!({}))], (HOUR, false));
    engine.with(|contents| {
        contents.faults.refused = Some(("pause", "403 Forbidden", "not allowed"));
    });
    assert!(backed_up(&scene, &["va", "vb"]).await.iter().all(Result::is_err));
    assert_eq!(engine.acts().matches("pause c-va").count(), 0, "{}", engine.acts());
}
