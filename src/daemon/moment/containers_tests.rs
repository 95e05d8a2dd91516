//! Containers stand still while their volume is read, and go on whatever happens; what was off or
//! paused before stays so.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;

use super::{
    containers_scene::{HOUR, Scene, die_holding},
    *,
};
use crate::{clock::SystemClock, engine::HoldPolicy, error::ErrorKind, support::engine::Faults};

fn told(moments: &Moments, place: &Place) -> Result<Told, String> {
    moments.held(std::slice::from_ref(place), &Ask::Now).remove(0)
}

#[test]
fn containers_that_write_to_a_volume_stand_still_and_it_is_known_for_how_long() {
    let scene = Scene::with_one();
    scene.engine.container("other", "running", &json!({}), &[]);
    scene.runs("reader", &json!({}));
    scene.set(
        "reader",
        "Mounts",
        json!([{ "Name": "db", "Source": scene.place.folder, "RW": false }]),
    );
    let moments = scene.moments();
    assert_eq!(told(&moments, &scene.place).unwrap().held.as_deref(), Some("pause one"));
    let still = moments.still([&scene.place]);
    assert!(still.is_wanted() && still.hold().unwrap() && still.hold().unwrap());
    assert_eq!((scene.engine.state("one").as_str(), scene.notes()), ("paused", 1));
    still.release().unwrap();
    still.release().unwrap();
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("pause one, unpause one", 0));
    let stood = still.stood().unwrap();
    assert!(stood.containers["one"] <= stood.milliseconds && stood.containers.len() == 1);
}

#[test]
fn what_was_off_or_paused_before_stays_so() {
    let scene = Scene::with_one();
    scene.engine.container("paused", "paused", &json!({}), &["db"]);
    scene.engine.container("off", "exited", &json!({}), &["db"]);
    for policy in [HoldPolicy::Pause, HoldPolicy::Stop] {
        let done = scene.held(&scene.holding(policy, false, HOUR));
        assert!(done.split(", ").all(|act| act.ends_with(" one")), "{done}");
    }
    assert_eq!(scene.engine.state("paused"), "paused");
    assert_eq!(scene.engine.state("off"), "exited");
    scene.set("one", "State", json!("exited"));
    let still = scene.moments().still([&scene.place]).hold().map(|held| (held, scene.notes()));
    assert_eq!(still.unwrap(), (false, 0));
}

#[test]
fn what_depends_on_another_is_stopped_before_it_and_started_after_it() {
    let scene = Scene::new();
    let labels = |service: &str, depends_on: &str| {
        json!({
            "com.docker.compose.project": "shop",
            "com.docker.compose.service": service,
            "com.docker.compose.depends_on": depends_on,
        })
    };
    scene.runs("a-db", &labels("db", ""));
    scene.runs("b-cron", &labels("cron", "web:service_started:false,db:service_healthy:true"));
    scene.runs("c-web", &labels("web", "db:service_started:true"));
    assert_eq!(
        scene.held(&scene.holding(HoldPolicy::Stop, false, HOUR)),
        "stop b-cron, stop c-web, stop a-db, start a-db, start c-web, start b-cron"
    );
}

#[test]
fn a_label_of_the_volume_comes_before_one_of_the_container_and_both_before_the_setting() {
    let hold = |how: &str| json!({ "convoy-backups.hold": how });
    let scene = Scene::new();
    scene.runs("one", &hold("stop"));
    scene.runs("two", &hold("none"));
    scene.runs("three", &json!({}));
    assert_eq!(scene.held(&scene.moments()), "stop one, pause three, unpause three, start one");
    let none = scene.holding(HoldPolicy::None, false, HOUR);
    assert_eq!(scene.held(&none), "stop one, start one");

    let scene = Scene::with_label(&hold("none"));
    scene.runs("one", &hold("stop"));
    assert!(!scene.moments().still([&scene.place]).is_wanted());

    let scene = Scene::new();
    scene.runs("one", &hold("freeze"));
    let error = scene.fails(&scene.moments());
    assert!(
        error.message.contains("convoy-backups.hold=\"freeze\" of container \"one\" must be pause"),
        "{error}"
    );
    let told = told(&scene.moments(), &scene.place);
    assert!(told.as_ref().unwrap_err().contains("freeze"), "{told:?}");
}

#[test]
fn a_container_that_speaks_to_the_engine_is_left_alone_unless_a_label_says_otherwise() {
    let scene = Scene::new();
    let with_socket = json!([
        { "Name": "db", "Driver": "local", "Source": scene.place.folder, "RW": true },
        { "Source": "/var/run/docker.sock", "RW": true },
    ]);
    scene.runs("proxy", &json!({}));
    scene.runs("panel", &json!({ "convoy-backups.hold": "pause" }));
    for name in ["proxy", "panel"] {
        scene.set(name, "Mounts", with_socket.clone());
    }
    assert_eq!(scene.held(&scene.moments()), "pause panel, unpause panel");
}

#[test]
fn a_container_that_a_stop_would_lose_is_not_stopped() {
    let stops = json!({ "convoy-backups.hold": "stop" });
    let scene = Scene::new();
    scene.runs("one", &stops);
    scene.set("one", "AutoRemove", json!(true));
    assert!(scene.fails(&scene.moments()).message.contains("--rm"));
    let scene = Scene::new();
    scene.runs("one", &json!({ "convoy-backups.hold": "stop", "com.docker.swarm.task.id": "t" }));
    assert!(scene.fails(&scene.moments()).message.contains("Swarm"));
    assert_eq!(scene.engine.acts(), "");
}

#[test]
fn containers_that_have_a_folder_mounted_or_something_above_or_in_it_stand_still() {
    let scene = Scene::new();
    let folder = scene.folder.path().join("site/uploads");
    let at = |name: &str, source: PathBuf| {
        let label = json!({ "convoy-backups.hold": "pause" });
        scene.engine.container(name, "running", &label, &[]);
        scene.set(name, "Mounts", json!([{ "Type": "bind", "Source": source, "RW": true }]));
    };
    at("above", scene.folder.path().join("site"));
    at("in", folder.join("images"));
    at("beside", scene.folder.path().join("site/uploads2"));
    at("all", "/".into());
    let place =
        Place { volume: "site".into(), folder, is_of_the_engine: false, ..scene.place.clone() };
    let moments = scene.moments();
    assert_eq!(told(&moments, &place).unwrap().held.as_deref(), Some("pause above, pause in"));
    // A folder need not have to do with Docker.
    fs::remove_file(&scene.engine.socket).unwrap();
    assert!(!moments.still([&place]).hold().unwrap());
    let none = scene.holding(HoldPolicy::None, false, HOUR);
    assert!(!none.still([&scene.place]).hold().unwrap());
    let error = scene.fails(&moments);
    assert!(
        error.kind == ErrorKind::Unreachable && error.message.starts_with("volume \"db\": "),
        "{error}"
    );
}

#[test]
fn what_cant_be_held_fails_or_is_read_as_it_is_and_goes_on() {
    let scene = Scene::with_one();
    scene.runs("two", &json!({ "convoy-backups.hold": "stop" }));
    let refused = ("stop", "500 Internal Server Error", "cannot stop container: permission denied");
    scene.faults(Faults { refused: Some(refused), ..Faults::default() });
    let error = scene.fails(&scene.moments());
    assert!(
        error
            .message
            .contains("volume \"db\": cannot stop container \"two\": Docker refused: cannot stop"),
        "{error}"
    );
    assert!(error.hint.unwrap().contains("BKUP_DOCKER_UNHELD=live"));
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("pause one, unpause one", 0));
    let still = scene.holding(HoldPolicy::Pause, true, HOUR);
    let still = still.still([&scene.place]);
    assert!(!still.hold().unwrap() && still.stood().is_none());
    still.release().unwrap();
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("pause one, unpause one", 0));
}

#[test]
fn what_docker_does_after_it_was_given_up_is_undone() {
    let scene = Scene::with_one();
    scene.faults(Faults { slow: Duration::from_millis(300), ..Faults::default() });
    let error = scene.fails(&scene.holding(HoldPolicy::Pause, false, Duration::from_millis(100)));
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("pause one, unpause one", 0));

    scene.faults(Faults { breaks: Some("pause"), ..Faults::default() });
    scene.fails(&scene.moments());
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("pause one, unpause one", 0));
}

#[test]
fn a_hold_that_lasts_too_long_is_released_while_its_reader_still_reads_and_fails_it() {
    let scene = Scene::with_one();
    let moments = scene.holding(HoldPolicy::Pause, false, Duration::from_millis(300));
    let still = moments.still([&scene.place]);
    assert!(still.hold().unwrap());
    scene.engine.until("one", "running");
    let error = still.release().unwrap_err();
    assert!(error.message.contains("stood still for 300ms, the longest"), "{error}");
    assert_eq!(scene.notes(), 0);
}

#[test]
fn what_somebody_let_go_on_or_started_meanwhile_spoils_the_copy() {
    let scene = Scene::with_one();
    let moments = scene.moments();
    for (meanwhile, why) in [
        (
            &(|| scene.set("one", "State", json!("running"))) as &dyn Fn(),
            "\"one\" went on, or ended",
        ),
        (&|| scene.set("one", "StartedAt", json!("later")), "\"one\" went on, or ended"),
        (&|| scene.runs("new", &json!({})), "container \"new\" was started while"),
    ] {
        scene.set("one", "State", json!("running"));
        let still = moments.still([&scene.place]);
        assert!(still.hold().unwrap());
        meanwhile();
        let error = still.release().unwrap_err();
        assert!(error.message.contains(why), "{error}");
        assert_eq!(scene.notes(), 0);
    }
}

#[test]
fn what_a_kill_left_is_let_go_on_by_the_next_start_whatever_its_settings() {
    for (policy, done) in [(HoldPolicy::Pause, "unpause one"), (HoldPolicy::Stop, "start one")] {
        let scene = Scene::with_one();
        die_holding(&scene, policy);
        scene.engine.container("paused", "paused", &json!({}), &["db"]);
        scene.engine.container("off", "exited", &json!({}), &["db"]);
        let root = Root::at(&scene.folder.path().join("root"));
        let said = Moments::new(&root, None, Arc::new(SystemClock)).undo_left();
        assert!(said.len() == 1 && said[0].contains("(one) was left by a run"), "{said:?}");
        assert_eq!((scene.engine.acts().as_str(), scene.notes()), (done, 0));
    }
}

#[test]
fn what_was_started_anew_removed_or_ended_since_is_no_longer_ours() {
    for (policy, change) in [
        (
            HoldPolicy::Pause,
            &(|scene: &Scene| scene.set("one", "StartedAt", json!("later"))) as &dyn Fn(&Scene),
        ),
        (HoldPolicy::Stop, &|scene| scene.set("one", "StartedAt", json!("later"))),
        (HoldPolicy::Pause, &|scene| scene.set("one", "State", json!("exited"))),
        (HoldPolicy::Stop, &|scene| scene.engine.with(|contents| contents.containers.clear())),
    ] {
        let scene = Scene::with_one();
        die_holding(&scene, policy);
        change(&scene);
        scene.moments().undo_left();
        assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("", 0));
    }
}

#[test]
fn what_cant_be_let_go_on_at_the_start_is_tried_again_as_long_as_the_process_lives() {
    let scene = Scene::with_one();
    die_holding(&scene, HoldPolicy::Pause);
    let away = scene.folder.path().join("away");
    fs::rename(&scene.engine.socket, &away).unwrap();
    let mut moments = scene.moments();
    moments.holds.again = Duration::from_millis(10);
    let said = moments.undo_left();
    assert!(
        said.len() == 1 && said[0].contains("can't be released (tried again every 10ms"),
        "{said:?}"
    );
    assert!(said[0].contains("docker unpause one"), "{said:?}");
    assert_eq!(scene.notes(), 1);
    fs::rename(&away, &scene.engine.socket).unwrap();
    scene.engine.until("one", "running");
    while scene.notes() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(scene.engine.acts(), "unpause one");
}

#[test]
fn a_container_with_a_volume_of_our_own_is_held_and_one_with_a_folder_above_it_only_if_asked_for() {
    let scene = Scene::new();
    let root = scene.folder.path().join("root");
    let folder = root.join("volumes/app");
    fs::create_dir_all(&folder).unwrap();
    let place = Place {
        volume: "app".into(),
        folder: folder.clone(),
        is_of_the_host: false,
        is_of_the_engine: false,
        is_for_containers_only: false,
        ..scene.place.clone()
    };
    let scene = Scene { place, ..scene };
    let mount = |driver: &str, source: &std::path::Path| json!([{ "Type": "volume", "Name": "app", "Driver": driver, "Source": source, "RW": true, "Destination": "/app" }]);
    for (name, mounts) in [
        ("plugin", mount("convoy", &folder)),
        ("tool", json!([{ "Type": "bind", "Source": root, "RW": true, "Destination": "/root" }])),
        ("other", mount("local", std::path::Path::new("/elsewhere"))),
    ] {
        scene.runs(name, &json!({}));
        scene.set(name, "Mounts", mounts);
    }
    // Docker knows it as a volume of the plugin, or as a folder that a volume of its own has.
    let known = json!({ "Name": "app", "Driver": "convoy", "Mountpoint": folder });
    for volume in [None, Some(known)] {
        scene.engine.with(|contents| {
            volume.map(|volume| contents.volumes.insert("app".into(), volume));
        });
        assert_eq!(scene.held(&scene.moments()), "pause plugin, unpause plugin");
    }
    let told = told(&scene.moments(), &scene.place).unwrap();
    assert_eq!(told.held.as_deref(), Some("pause plugin"));
    scene.set("plugin", "Labels", json!({ "convoy-backups.hold": "none" }));
    assert!(!scene.moments().still([&scene.place]).hold().unwrap());
    scene.set("tool", "Labels", json!({ "convoy-backups.hold": "pause" }));
    scene.engine.with(|contents| contents.volumes.remove("app"));
    assert_eq!(scene.held(&scene.moments()), "pause tool, unpause tool");
    // Where Docker is not there, nothing says that it has to do with containers.
    fs::remove_file(&scene.engine.socket).unwrap();
    assert!(!scene.moments().still([&scene.place]).hold().unwrap());
}
