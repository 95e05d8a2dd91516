//! Holds for clients, and what is read inside of them.

use std::time::Duration;

use serde_json::json;

use super::{containers_scene::Scene, *};
use crate::{
    engine::HoldPolicy,
    scope::{self, Scope},
};

fn quiesced(moments: Moments, scene: &Scene) -> (Moments, Result<Quiet>) {
    let quiet = moments.quiesce(vec![scene.place.clone()], ());
    (moments, quiet)
}

/// Does what is inside of a client's hold.
fn inside<T>(quiet: &Quiet, act: impl FnOnce() -> T) -> T {
    let scope = Scope { hold: Some(Arc::clone(quiet.id())), ..Scope::of("run-1") };
    scope::within(Some(scope), act)
}

#[test]
fn what_is_read_inside_of_a_clients_hold_uses_it_and_releases_nothing() {
    let scene = Scene::with_one();
    let (moments, quiet) = quiesced(scene.moments(), &scene);
    let quiet = quiet.unwrap();
    assert_eq!(quiet.containers(), ["one"]);
    for _ in 0..2 {
        inside(&quiet, || {
            let still = moments.still([&scene.place]);
            assert!(!still.is_wanted() && still.hold().unwrap() && still.is_of_all());
            still.release().unwrap();
            assert!(still.stood().unwrap().containers.contains_key("one"));
        });
        assert_eq!(scene.engine.state("one"), "paused");
    }
    quiet.end().unwrap();
    assert_eq!(scene.engine.acts(), "pause one, unpause one");
    // A hold of its own again.
    let still = moments.still([&scene.place]);
    assert!(still.is_wanted() && still.hold().unwrap());
    still.end().unwrap();
    assert_eq!(scene.engine.acts(), "pause one, unpause one");
}

#[test]
fn what_was_read_while_somebody_let_it_go_on_is_of_no_use_also_inside_of_a_clients_hold() {
    let scene = Scene::with_one();
    let (moments, quiet) = quiesced(scene.moments(), &scene);
    let quiet = quiet.unwrap();
    inside(&quiet, || {
        let still = moments.still([&scene.place]);
        still.hold().unwrap();
        scene.runs("two", &json!({}));
        let error = still.release().unwrap_err();
        assert!(error.message.contains("container \"two\" was started"), "{error}");
    });
    assert!(quiet.end().is_err());
}

#[test]
fn a_clients_hold_ends_with_its_limit_and_where_it_goes_away() {
    let scene = Scene::with_one();
    let (_, quiet) =
        quiesced(scene.holding(HoldPolicy::Pause, false, Duration::from_nanos(1)), &scene);
    assert!(quiet.and_then(Quiet::end).is_err());
    let (moments, quiet) = quiesced(scene.moments(), &scene);
    let quiet = quiet.unwrap();
    let id = Arc::clone(quiet.id());
    drop(quiet);
    let of = Scope { hold: Some(id), ..Scope::of("run-1") };
    while scope::within(Some(of.clone()), || moments.is_quiet(&scene.place)) {
        std::thread::yield_now();
    }
    // It waits for the turn of the one that ends.
    let still = moments.still([&scene.place]);
    assert!(still.hold().unwrap());
    still.end().unwrap();
    assert_eq!(scene.engine.state("one"), "running");
}

#[test]
fn what_is_read_in_a_clients_hold_that_ends_meanwhile_is_of_no_use() {
    let scene = Scene::with_one();
    let (moments, quiet) = quiesced(scene.moments(), &scene);
    let quiet = quiet.unwrap();
    let still = moments.still([&scene.place]);
    assert!(inside(&quiet, || still.hold()).unwrap());
    quiet.end().unwrap();
    let error = still.release().unwrap_err();
    assert!(error.message.contains("went on while the volume was read"), "{error}");
}

#[test]
fn a_clients_hold_is_lent_to_what_is_inside_of_it_and_to_no_other_run() {
    let scene = Scene::with_one();
    let (moments, quiet) = quiesced(scene.moments(), &scene);
    let quiet = quiet.unwrap();
    // Another run that reads the same volume has to wait for a hold of its own.
    assert!(!moments.is_quiet(&scene.place));
    let other = Scope::of("run-2");
    other.ended.cancel();
    let error = scope::within(Some(other), || moments.still([&scene.place]).hold().unwrap_err());
    assert_eq!(error.kind, ErrorKind::Cancelled, "it waited: {error}");
    // What is not held by it can't be held inside of it: that would wait for the end of it.
    let beside = Place { volume: "vol2".into(), ..scene.place.clone() };
    let error = inside(&quiet, || moments.still([&beside]).hold().unwrap_err());
    assert!(error.message.contains("can't be held inside of docker::quiesced of db"), "{error}");
    assert_eq!(scene.engine.state("one"), "paused");
    quiet.end().unwrap();
    assert_eq!(scene.engine.acts(), "pause one, unpause one");
}
