//! What others do to containers between two calls, and what an engine does after an answer that says
//! otherwise: nothing stays paused or stopped, and nothing that others did is undone.

use std::{fs, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    containers_scene::{HOUR, Scene, die_holding},
    *,
};
use crate::{
    clock::SystemClock,
    engine::HoldPolicy,
    support::engine::{Contents, Faults},
};

const STOPS: HoldPolicy = HoldPolicy::Stop;
const PAUSES: HoldPolicy = HoldPolicy::Pause;

impl Scene {
    /// Lets others do something just before a call such as `pause` comes to the engine.
    fn before(&self, act: &str, done: impl FnOnce(&mut Contents) + Send + 'static) {
        let id = self.engine.with(|contents| contents.containers[0]["Id"].clone());
        let (method, id) = (if act == "json" { "GET" } else { "POST" }, id.as_str().unwrap());
        let call = (format!("{method} /containers/{id}/{act}"), Box::new(done) as _);
        self.engine.with(|contents| contents.before.push(call));
    }

    fn undo_left(&self) -> Vec<String> {
        self.moments().undo_left()
    }

    fn is_as_before(&self, acts: &str) {
        assert_eq!((self.engine.acts().as_str(), self.notes()), (acts, 0));
        assert_eq!(self.engine.state("one"), "running");
    }
}

fn change(contents: &mut Contents, field: &str, value: Value) {
    contents.containers[0][field] = value;
}

/// Its new start has another time.
fn restart(contents: &mut Contents) {
    change(contents, "StartedAt", json!(jiff::Timestamp::now().to_string()));
}

#[test]
fn a_container_that_was_started_anew_just_before_it_is_held_goes_on() {
    for (policy, acts) in [(PAUSES, "pause one, unpause one"), (STOPS, "stop one, start one")] {
        for call in ["json", policy_act(policy)] {
            // The note has the start before, unless it is looked at again.
            let scene = Scene::with_one();
            let moments = scene.holding(policy, false, HOUR);
            let still = moments.still([&scene.place]);
            if call == "json" {
                scene.before("json", |_| {});
            }
            scene.before(call, restart);
            assert!(still.hold().unwrap());
            still.release().unwrap();
            scene.is_as_before(acts);
        }
        // A kill before the note could be corrected.
        let scene = Scene::with_one();
        let moments = scene.holding(policy, false, HOUR);
        note_before_the_hold(&scene, &moments, restart);
        assert_eq!(scene.undo_left().len(), 1);
        scene.is_as_before(acts);
    }
}

fn policy_act(policy: HoldPolicy) -> &'static str {
    if policy == STOPS { "stop" } else { "pause" }
}

/// Holds, and leaves the note as it was when the engine was asked, just before others did something.
fn note_before_the_hold(scene: &Scene, moments: &Moments, others: fn(&mut Contents)) -> String {
    let folder = scene.folder.path().join("root/moments");
    let read = |folder: &Path| {
        let path = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        (path.clone(), fs::read_to_string(path).unwrap())
    };
    let kept = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&kept);
    let noted = folder.clone();
    scene.before(policy_act(moments.holds.containers.as_ref().unwrap().policy), move |contents| {
        *keep.lock().unwrap() = read(&noted).1;
        others(contents);
    });
    let still = moments.still([&scene.place]);
    assert!(still.hold().unwrap());
    std::mem::forget(still);
    let kept = kept.lock().unwrap().clone();
    fs::write(read(&folder).0, &kept).unwrap();
    kept
}

#[test]
fn what_an_engine_did_or_does_later_though_it_said_that_it_failed_is_undone() {
    for (policy, acts) in [(PAUSES, "pause one, unpause one"), (STOPS, "stop one, start one")] {
        for after in [Duration::ZERO, Duration::from_millis(100)] {
            for reads_unheld in [false, true] {
                let scene = Scene::with_one();
                let done_later = Some((policy_act(policy), after));
                scene.faults(Faults { done_later, ..Faults::default() });
                let moments = scene.holding(policy, reads_unheld, HOUR);
                let held = moments.still([&scene.place]).hold();
                assert_eq!(held.is_ok_and(|held| !held), reads_unheld);
                scene.is_as_before(acts);
            }
        }
    }
}

#[test]
fn a_release_that_is_answered_with_an_error_and_is_done_all_the_same_is_one() {
    for (policy, act, acts) in
        [(PAUSES, "unpause", "pause one, unpause one"), (STOPS, "start", "stop one, start one")]
    {
        let scene = Scene::with_one();
        let moments = scene.holding(policy, false, HOUR);
        let still = moments.still([&scene.place]);
        assert!(still.hold().unwrap());
        scene.faults(Faults { done_later: Some((act, Duration::ZERO)), ..Faults::default() });
        still.release().unwrap();
        scene.is_as_before(acts);
    }
}

#[test]
fn what_ended_or_was_paused_by_others_just_before_it_is_held_stays_so() {
    for (policy, state) in [(PAUSES, "exited"), (PAUSES, "paused"), (STOPS, "exited")] {
        let scene = Scene::with_one();
        scene.before(policy_act(policy), move |contents| change(contents, "State", json!(state)));
        let moments = scene.holding(policy, false, HOUR);
        let still = moments.still([&scene.place]);
        assert!(!still.hold().unwrap() && still.stood().is_none());
        still.release().unwrap();
        assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("", 0));
        assert_eq!(scene.engine.state("one"), state);
    }
}

#[test]
fn what_others_stop_after_a_run_died_is_not_started_by_its_note() {
    let scene = Scene::with_one();
    let moments = scene.holding(STOPS, false, HOUR);
    let note = note_before_the_hold(&scene, &moments, |_| {});
    // The run died before it asked.
    let long_ago =
        note.replace("\"from\": \"2", "\"from\": \"1").replace("\"to\": \"2", "\"to\": \"1");
    assert_ne!(note, long_ago);
    for path in fs::read_dir(scene.folder.path().join("root/moments")).unwrap() {
        fs::write(path.unwrap().path(), &long_ago).unwrap();
    }
    scene.engine.acts();
    scene.undo_left();
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("", 0));
    assert_eq!(scene.engine.state("one"), "exited");
}

#[test]
fn what_is_released_is_not_released_again_where_another_release_failed() {
    let scene = Scene::with_one();
    scene.runs("two", &json!({ "convoy-backups.hold": "stop" }));
    die_holding(&scene, PAUSES);
    // What is held first is released last: "two" can't be.
    let refused = ("start", "500 Internal Server Error", "no room");
    scene.faults(Faults { refused: Some(refused), ..Faults::default() });
    let moments = scene.moments();
    assert!(moments.undo_left()[0].contains("docker start two"));
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("unpause one", 1));
    // Somebody pauses it again, for reasons of his own.
    scene.set("one", "State", json!("paused"));
    scene.faults(Faults::default());
    moments.undo_left();
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("start two", 0));
    assert_eq!(scene.engine.state("one"), "paused");
}

#[test]
fn only_an_engine_says_that_a_container_is_gone_and_a_proxy_does_not() {
    let scene = Scene::with_one();
    die_holding(&scene, PAUSES);
    let refused = ("json", "404 Not Found", "page not found");
    scene.faults(Faults { refused: Some(refused), ..Faults::default() });
    assert!(scene.undo_left()[0].contains("can't be released"));
    assert_eq!((scene.engine.state("one").as_str(), scene.notes()), ("paused", 1));
    scene.faults(Faults::default());
    scene.undo_left();
    scene.is_as_before("unpause one");
}

#[test]
fn a_container_that_is_never_killed_is_paused_and_not_stopped() {
    let scene = Scene::with_one();
    scene.set("one", "StopTimeout", json!(-1));
    assert_eq!(scene.held(&scene.moments()), "pause one, unpause one");
    let error = scene.fails(&scene.holding(STOPS, false, HOUR));
    assert!(error.message.contains("stop_grace_period") && error.hint.is_some(), "{error}");
    assert_eq!((scene.engine.acts().as_str(), scene.notes()), ("", 0));
}

/// A container with this id and this volume runs for a moment, and is removed again.
fn ran(contents: &mut Contents, id: &str, volume: &str, labels: Value) {
    let mounted = json!({ "container": id, "driver": "local", "read/write": "true" });
    contents.happened("volume", "mount", volume, mounted, "");
    contents.happened("container", "start", id, labels, "job");
}

#[test]
fn what_wrote_only_while_others_stood_still_spoils_the_copy() {
    let gone = "c".repeat(64);
    for (meanwhile, why) in [
        (
            &(|contents: &mut Contents, gone: &str| ran(contents, gone, "db", json!({})))
                as &dyn Fn(&mut Contents, &str),
            Some("container \"job\" was started"),
        ),
        (
            &|contents, gone| ran(contents, gone, "db", json!({ "convoy-backups.hold": "none" })),
            None,
        ),
        (&|contents, gone| ran(contents, gone, "other", json!({})), None),
        (
            &|contents, _| {
                let id = contents.containers[0]["Id"].as_str().unwrap().to_owned();
                contents.happened("container", "unpause", &id, json!({}), "one");
            },
            Some("container \"one\" went on"),
        ),
        (
            &|contents, gone| {
                contents.faults.no_events = true;
                ran(contents, gone, "db", json!({}));
            },
            None,
        ),
    ] {
        let scene = Scene::with_one();
        let moments = scene.moments();
        // What happened before is no matter.
        scene.engine.with(|contents| ran(contents, &gone, "db", json!({})));
        let still = moments.still([&scene.place]);
        assert!(still.hold().unwrap());
        scene.engine.with(|contents| meanwhile(contents, &gone));
        let told = still.release().err().map(|error| error.message).unwrap_or_default();
        assert_eq!(told.is_empty(), why.is_none(), "{told}");
        assert!(told.contains(why.unwrap_or_default()), "{told}");
        scene.is_as_before("pause one, unpause one");
    }
}

#[test]
fn only_a_hold_of_all_that_writes_to_a_volume_of_dockers_makes_its_files_of_one_moment() {
    let is_of_all = |scene: &Scene, place: &Place| {
        let moments = scene.moments();
        let still = moments.still([place]);
        let held = still.hold().unwrap();
        held && still.is_of_all()
    };
    let scene = Scene::with_one();
    assert!(is_of_all(&scene, &scene.place));
    scene.engine.container("off", "exited", &json!({ "convoy-backups.hold": "none" }), &["db"]);
    assert!(is_of_all(&scene, &scene.place));
    scene.runs("two", &json!({ "convoy-backups.hold": "none" }));
    assert!(!is_of_all(&scene, &scene.place));

    let scene = Scene::with_one();
    scene.set("one", "Labels", json!({ "convoy-backups.hold": "pause" }));
    let share = Place { is_for_containers_only: false, ..scene.place.clone() };
    assert!(!is_of_all(&scene, &share), "others may write to it");
    let folder = Place { is_of_the_engine: false, ..share };
    assert!(!is_of_all(&scene, &folder), "others may write to it");
}

#[test]
fn what_writes_to_the_daemons_own_folders_is_held_by_label_or_by_choice_only() {
    let scene = Scene::with_one();
    let folder = Place { is_of_the_engine: false, ..scene.place.clone() };
    assert!(!scene.moments().still([&folder]).is_wanted());
    let mut moments = scene.moments();
    let containers = moments.holds.containers.take().unwrap();
    let chosen = ContainerHolds { is_chosen: true, ..(*containers).clone() };
    moments.holds.containers = Some(Arc::new(chosen));
    assert!(moments.still([&folder]).hold().unwrap());
    assert_eq!(scene.engine.acts(), "pause one, unpause one");
    scene.set("one", "Labels", json!({ "convoy-backups.hold": "pause" }));
    assert!(scene.moments().still([&folder]).hold().unwrap());
    assert_eq!(scene.engine.acts(), "pause one, unpause one");
}

#[test]
fn a_folder_behind_a_symbolic_link_is_the_one_that_a_container_has() {
    let scene = Scene::new();
    let (real, link) = (scene.folder.path().join("real"), scene.folder.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    scene.engine.container("one", "running", &json!({ "convoy-backups.hold": "pause" }), &[]);
    scene.set("one", "Mounts", json!([{ "Type": "bind", "Source": real, "RW": true }]));
    let place = Place { folder: link, is_of_the_engine: false, ..scene.place.clone() };
    assert!(scene.moments().still([&place]).hold().unwrap());
}

#[test]
fn what_was_held_at_a_socket_that_is_gone_is_released_at_the_one_of_today() {
    let scene = Scene::with_one();
    die_holding(&scene, PAUSES);
    let moved = scene.folder.path().join("moved.sock");
    fs::rename(&scene.engine.socket, &moved).unwrap();
    let mut moments = scene.moments();
    let containers = moments.holds.containers.take().unwrap();
    let here = ContainerHolds { socket: moved, ..(*containers).clone() };
    moments.holds.containers = Some(Arc::new(here));
    moments.undo_left();
    scene.is_as_before("unpause one");
}

#[test]
fn what_stands_still_and_cant_be_released_fails_also_where_a_live_copy_would_do() {
    let scene = Scene::with_one();
    scene.runs("two", &json!({ "convoy-backups.hold": "stop" }));
    let two = scene.engine.with(|contents| contents.containers[1]["Id"].clone());
    let stop = format!("POST /containers/{}/stop", two.as_str().unwrap());
    let fails = |contents: &mut Contents| {
        contents.faults.breaks = Some("stop");
        contents.faults.refused = Some(("unpause", "403 Forbidden", "not allowed"));
    };
    scene.engine.with(|contents| contents.before.push((stop, Box::new(fails))));
    let moments = scene.holding(PAUSES, true, HOUR);
    let error = moments.still([&scene.place]).hold().unwrap_err();
    assert!(error.message.contains("container \"one\" may stay paused"), "{error}");
    assert!(error.hint.unwrap().contains("docker unpause one"));
    scene.faults(Faults::default());
    scene.undo_left();
    scene.is_as_before("pause one, stop two, start two, unpause one");
}

#[test]
fn the_end_of_the_program_waits_for_a_stop_that_was_begun() {
    let noted = |how, grace, is_held| {
        let container = notes::NotedContainer {
            id: "1".into(),
            name: "one".into(),
            how,
            started: String::new(),
            grace,
            finished: None,
            is_sure: false,
        };
        let scene = Scene::new();
        let note = Note::containers(&scene.place, "/s".into(), vec![container], HOUR);
        Note { is_held, ..note }
    };
    let within = |note| hold::at_the_end(&[note]).as_secs();
    assert_eq!(within(noted(crate::engine::How::Stop, 60, false)), 65);
    assert_eq!(within(noted(crate::engine::How::Stop, 60, true)), 10);
    assert_eq!(within(noted(crate::engine::How::Pause, 60, false)), 10);
}

#[test]
fn a_note_of_an_earlier_release_is_undone_as_it_was() {
    let scene = Scene::with_one();
    die_holding(&scene, PAUSES);
    for path in fs::read_dir(scene.folder.path().join("root/moments")).unwrap() {
        let path = path.unwrap().path();
        let mut note: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        note.as_object_mut().unwrap().remove("asked");
        note["containers"][0].as_object_mut().unwrap().remove("is_sure");
        fs::write(path, note.to_string()).unwrap();
    }
    let root = Root::at(&scene.folder.path().join("root"));
    Moments::new(&root, None, Arc::new(SystemClock)).undo_left();
    scene.is_as_before("unpause one");
}

#[test]
fn what_a_power_cut_left_stopped_is_started_whenever_its_engine_says_that_it_ended() {
    for (boot, done) in [("another", "start one"), ("", "")] {
        let scene = Scene::with_one();
        die_holding(&scene, STOPS);
        for path in fs::read_dir(scene.folder.path().join("root/moments")).unwrap() {
            let path = path.unwrap().path();
            let mut note: Value =
                serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            note["asked"] = json!({ "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:00:30Z" });
            if !boot.is_empty() {
                note["boot"] = json!(boot);
            }
            note["is_held"] = json!(false);
            let container = note["containers"][0].as_object_mut().unwrap();
            container.remove("is_sure");
            container.remove("finished");
            fs::write(path, note.to_string()).unwrap();
        }
        scene.undo_left();
        assert_eq!((scene.engine.acts().as_str(), scene.notes()), (done, 0), "boot {boot:?}");
    }
}
