//! Backups of several volumes at one moment.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::scene::{Scene, name, options};
use crate::{
    convoy::{AsItIs, BackupUrl, Daemon as _, Destination},
    daemon::{BuiltinDaemon, BuiltinOptions, ContainerHolds, DockerOptions, HoldOptions},
    engine::HoldPolicy,
    error::Result,
    scope::{self, Scope},
    support::engine::{Contents, FakeEngine},
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

/// What is done inside of the hold of this id.
fn inside<F: Future>(hold: &str, act: F) -> impl Future<Output = F::Output> {
    scope::carried_for(Some(Scope { hold: Some(hold.into()), ..Scope::of("run-1") }), act)
}

#[tokio::test]
async fn what_is_backed_up_inside_of_a_clients_hold_waits_for_no_other_run_and_none_borrows_it() {
    let volumes = [("va", json!({})), ("vb", json!({})), ("vc", json!({}))];
    let (scene, engine) = with_volumes(&volumes, (Duration::from_secs(20), false));
    let daemon = scene.daemon();
    let held = daemon.quiesce(&[name("va")]).await.unwrap();
    // They want the same volume, and all places at the destination.
    let others = [("va", "one"), ("vb", "two"), ("vc", "three")];
    let others = others.map(|(volume, snapshot)| scene.try_back_up(volume, snapshot));
    let others = futures_util::future::join_all(others);
    let within = async {
        while daemon.operations().gate().waiting() < 3 {
            tokio::task::yield_now().await;
        }
        let url = inside(&held.id, scene.try_back_up("va", "within")).await.unwrap();
        assert_eq!(engine.acts(), "pause c-va", "none of the others goes on");
        daemon.let_go_on(&held.id).await.unwrap();
        url
    };
    let (others, url) = tokio::join!(others, within);
    assert!(was_held(&scene, &url).await);
    for other in others {
        assert!(was_held(&scene, &other.unwrap()).await);
    }
    let acts = engine.acts();
    for act in ["unpause c-va, ", "pause c-vb", "unpause c-vb", "pause c-vc", "unpause c-vc"] {
        assert!(acts.contains(act), "{acts}");
    }
}

#[tokio::test]
async fn a_clients_hold_waits_for_the_backups_that_go_on() {
    let (scene, engine) = with_volumes(&[("va", json!({})), ("vb", json!({}))], (HOUR, false));
    let daemon = scene.daemon();
    let (asked, is_asked) = std::sync::mpsc::channel();
    let (goes_on, let_go) = std::sync::mpsc::channel::<()>();
    engine.with(|contents| {
        let wait = move |_: &mut Contents| {
            asked.send(()).unwrap();
            let_go.recv().unwrap();
        };
        contents.before.push(("GET /containers/".into(), Box::new(wait)));
    });
    let backup = scene.try_back_up("vb", "snap1");
    let hold = async {
        while is_asked.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        let volumes = [name("va")];
        let quiesce = daemon.quiesce(&volumes);
        tokio::pin!(quiesce);
        tokio::select! {
            _ = &mut quiesce => panic!("it did not wait"),
            () = async {
                while daemon.operations().gate().waiting() < 1 {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        goes_on.send(()).unwrap();
        quiesce.await.unwrap()
    };
    let (backup, held) = tokio::join!(backup, hold);
    backup.unwrap();
    daemon.let_go_on(&held.id).await.unwrap();
    assert!(engine.acts().ends_with("pause c-va, unpause c-va"));
}

#[tokio::test]
async fn a_listing_asks_docker_once() {
    let (scene, engine) = with_volumes(&[("va", json!({})), ("vb", json!({}))], (HOUR, false));
    let asked = || engine.with(|contents| std::mem::take(&mut contents.requests));
    let once = ["GET /v1.41/volumes", "GET /v1.41/containers/json?all=1"];
    asked();
    let listed = scene.daemon().volumes().await.unwrap();
    assert_eq!(listed["va"].told(crate::convoy::HOLD), Some("pause c-va"));
    assert_eq!(asked(), once);
    scene.daemon().driver_volumes().await.unwrap();
    assert_eq!(asked(), once);
    scene.daemon().volume(&name("vb")).await.unwrap();
    assert_eq!(asked(), once);
}
