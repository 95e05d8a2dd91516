//! Commands in containers, around the hold of what writes to a volume.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    engine::HoldPolicy,
    error::{Error, ErrorKind},
    support::engine::FakeEngine,
};

/// An engine with the volume `db`, which containers have.
struct Scene {
    folder: TempDir,
    engine: FakeEngine,
    place: Place,
    moments: Moments,
}

impl Scene {
    fn new(containers: &[(&str, &str, Value)]) -> Self {
        Self::with(HoldPolicy::Pause, containers)
    }

    fn with(policy: HoldPolicy, containers: &[(&str, &str, Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine = FakeEngine::start(&folder.path().join("docker"));
        let files = engine.volume("db", &json!(null), &json!(null));
        for (name, state, labels) in containers {
            engine.container(name, state, labels, &["db"]);
        }
        let place = Place {
            volume: "db".into(),
            folder: files,
            beside: None,
            is_of_the_host: true,
            is_of_the_engine: true,
            is_for_containers_only: true,
        };
        let moments = moments(&folder, &engine, policy);
        Self { folder, engine, place, moments }
    }

    fn fails(&self) -> Error {
        self.moments.still([&self.place]).hold().unwrap_err()
    }
}

/// A new start of the program.
fn moments(folder: &TempDir, engine: &FakeEngine, policy: HoldPolicy) -> Moments {
    let root = Root::make(&folder.path().join("root")).unwrap();
    root.make_folders().unwrap();
    let limit = Duration::from_hours(1);
    let at = ContainerHolds::at(&engine.socket);
    let containers = Some(ContainerHolds { policy, limit, ..at });
    let options = HoldOptions { commands: None, containers, limit };
    let moments = Moments::new(&root, None, Arc::new(SystemClock)).holding(options);
    let holds = Holds { again: Duration::from_millis(1), ..moments.holds };
    Moments { holds, ..moments }
}

fn labels(before: &str, after: &str) -> Value {
    json!({ "convoy-backups.exec-before": before, "convoy-backups.exec-after": after })
}

#[test]
fn commands_run_before_what_writes_is_held_and_after_it_goes_on() {
    let mut web = labels("true 1", "true 2");
    web["convoy-backups.exec-user"] = json!("www");
    let only_after = json!({ "convoy-backups.exec-after": "true 3" });
    let scene = Scene::new(&[("web", "running", web.clone()), ("db", "running", only_after)]);
    let still = scene.moments.still([&scene.place]);
    assert!(still.hold().unwrap() && still.hold().unwrap());
    still.release().unwrap();
    let done = "exec in web as www: true 1, pause db, pause web, unpause web, unpause db, exec in web as www: true 2, exec in db: true 3";
    assert_eq!(scene.engine.acts(), done);
    // Where nothing is held, they run all the same.
    let scene = Scene::with(HoldPolicy::None, &[("web", "running", web)]);
    let still = scene.moments.still([&scene.place]);
    assert!(!still.hold().unwrap() && !still.hold().unwrap());
    still.release().unwrap();
    still.release().unwrap();
    assert_eq!(scene.engine.acts(), "exec in web as www: true 1, exec in web as www: true 2");
}

#[test]
fn a_command_before_that_fails_holds_nothing_and_those_after_run() {
    let containers = [
        ("a", "running", labels("true a", "true A")),
        ("b", "running", labels("echo no disk >&2; exit 4", "true B")),
        ("c", "running", labels("true c", "true C")),
    ];
    let scene = Scene::new(&containers);
    let error = scene.fails();
    assert_eq!(error.kind, ErrorKind::Io);
    assert_eq!(
        error.message,
        "volume \"db\": container \"b\": convoy-backups.exec-before failed (exit code 4): no disk"
    );
    let done = "exec in a: true a, exec in b: echo no disk >&2; exit 4, exec in b: true B, exec in a: true A";
    assert_eq!(scene.engine.acts(), done);
}

#[test]
fn commands_after_run_also_where_the_backup_fails_and_their_failure_is_its() {
    let scene = Scene::new(&[("web", "running", labels("true 1", "true 2"))]);
    let still = scene.moments.still([&scene.place]);
    still.hold().unwrap();
    drop(still);
    assert!(scene.engine.acts().ends_with("unpause web, exec in web: true 2"));
    // Another volume need not wait any more.
    scene.moments.still([&scene.place]).hold().unwrap();
    scene.engine.acts();

    let scene = Scene::new(&[("web", "running", labels("true 1", "echo locked; exit 7"))]);
    let still = scene.moments.still([&scene.place]);
    still.hold().unwrap();
    let error = still.release().unwrap_err();
    assert!(error.message.contains("exec-after failed (exit code 7): locked"), "{error}");
    assert!(still.stood().is_some(), "it was released");
}

#[test]
fn in_what_does_not_run_no_command_is_run_and_an_odd_label_fails_the_backup() {
    let containers =
        [("off", "exited", labels("true", "true")), ("still", "paused", labels("true", "true"))];
    let scene = Scene::new(&containers);
    assert!(!scene.moments.still([&scene.place]).hold().unwrap());
    assert_eq!(scene.engine.acts(), "");
    let told = scene.moments.held(std::slice::from_ref(&scene.place), &Ask::Now).remove(0).unwrap();
    let commands = told.commands.unwrap();
    assert!(
        commands.starts_with("run convoy-backups.exec-before in off (it does not run now), run")
    );
    let scene = Scene::new(&[("web", "running", labels("", "true"))]);
    let error = scene.fails();
    assert!(
        error.message.contains("container \"web\": the label convoy-backups.exec-before is empty")
    );
    assert!(scene.moments.held(std::slice::from_ref(&scene.place), &Ask::Now).remove(0).is_err());
}

/// Begins to back up, and is killed.
fn killed(scene: &Scene) -> (Moments, Vec<String>) {
    let still = scene.moments.still([&scene.place]);
    still.hold().unwrap();
    std::mem::forget(still);
    scene.engine.acts();
    let anew = moments(&scene.folder, &scene.engine, HoldPolicy::Pause);
    let sentences = anew.undo_left();
    (anew, sentences)
}

fn notes(scene: &Scene) -> usize {
    std::fs::read_dir(scene.folder.path().join("root/moments")).unwrap().count()
}

#[test]
fn what_a_kill_kept_from_being_run_after_is_run_once_by_the_next_start_when_all_goes_on() {
    let only_before = json!({ "convoy-backups.exec-before": "true 3" });
    let containers = [
        ("a", "running", labels("true 1", "true A")),
        ("b", "running", labels("true 2", "echo locked; exit 7")),
        ("c", "running", only_before),
        ("off", "exited", labels("true 4", "true D")),
    ];
    let scene = Scene::new(&containers);
    let (anew, sentences) = killed(&scene);
    let done = scene.engine.acts();
    assert!(
        done.starts_with("unpause ")
            && done.ends_with("unpause a, exec in b: echo locked; exit 7, exec in a: true A"),
        "{done}"
    );
    let told = "convoy-backups.exec-after of what writes to volume \"db\" (b, a) was not run, because a run did not end; it was run now";
    assert!(sentences.contains(&told.to_owned()), "{sentences:?}");
    assert_eq!(notes(&scene), 0);
    assert!(anew.undo_left().is_empty());
    // A run that ends by itself leaves nothing to be run.
    let still = anew.still([&scene.place]);
    still.hold().unwrap();
    assert_eq!(notes(&scene), 2);
    still.release().unwrap_err();
    assert_eq!(notes(&scene), 0);
    assert_eq!(scene.engine.acts().matches("true A").count(), 1);
}

#[test]
fn what_cant_be_run_after_yet_is_run_when_its_container_runs_and_one_that_is_gone_is_told() {
    let scene = Scene::new(&[("web", "running", labels("true 1", "true 2"))]);
    let still = scene.moments.still([&scene.place]);
    still.hold().unwrap();
    std::mem::forget(still);
    // A power cut: nothing runs yet.
    scene.engine.with(|contents| contents.containers[0]["State"] = json!("exited"));
    let anew = moments(&scene.folder, &scene.engine, HoldPolicy::Pause);
    let sentences = anew.undo_left();
    assert!(
        sentences.iter().any(|told| told.contains("is still not (tried again")),
        "{sentences:?}"
    );
    scene.engine.with(|contents| contents.containers[0]["State"] = json!("running"));
    scene.engine.acts();
    while notes(&scene) > 0 {
        std::thread::yield_now();
    }
    assert_eq!(scene.engine.acts(), "exec in web: true 2");

    let scene = Scene::new(&[("web", "running", labels("true 1", "true 2"))]);
    let still = scene.moments.still([&scene.place]);
    still.hold().unwrap();
    std::mem::forget(still);
    scene.engine.with(|contents| contents.containers.clear());
    moments(&scene.folder, &scene.engine, HoldPolicy::Pause).undo_left();
    assert_eq!((notes(&scene), scene.engine.acts().contains("true 2")), (0, false));
}
