//! What is held goes on again, whatever happens, and what was read without a hold counts for nothing.

use std::{fs, sync::Arc, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    clock::SystemClock,
    error::{Error, ErrorKind},
    scope::{self, Scope},
};

/// A volume, and a log of the commands that hold it and let it go on.
struct Scene {
    folder: TempDir,
    place: Place,
}

const HOUR: Duration = Duration::from_hours(1);

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volume");
        fs::create_dir(&path).unwrap();
        let place = Place {
            volume: "vol1".into(),
            folder: path,
            beside: None,
            is_of_the_host: false,
            is_of_the_engine: false,
            is_for_containers_only: false,
        };
        Self { folder, place }
    }

    /// Moments with these commands, which run in the scene's folder.
    fn moments(&self, hold: &str, release: &str, limit: Duration) -> Moments {
        let cd = format!("cd '{}' || exit", self.folder.path().display());
        let root = Root::make(&self.folder.path().join("root")).unwrap();
        root.make_folders().unwrap();
        let commands = HoldCommands {
            hold: format!("{cd}; echo hold $VOLUME >> log; {hold}"),
            release: format!("{cd}; echo release $VOLUME >> log; {release}"),
            volumes: Some(vec!["vol1".into()]),
        };
        Moments::new(&root, None, Arc::new(SystemClock)).holding(HoldOptions {
            commands: Some(commands),
            containers: None,
            limit,
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default().replace('\n', ", ")
    }

    fn notes(&self) -> usize {
        fs::read_dir(self.folder.path().join("root/moments")).map_or(0, Iterator::count)
    }

    fn fails(&self, moments: &Moments) -> Error {
        moments.still([&self.place]).hold().unwrap_err()
    }
}

#[test]
fn what_is_held_is_noted_first_and_its_time_is_known_once_it_goes_on() {
    let scene = Scene::new();
    let moments = scene.moments("ls root/moments > noted", "true", HOUR);
    let still = moments.still([&scene.place]);
    assert!(still.is_wanted() && still.stood().is_none());
    still.hold().unwrap();
    still.hold().unwrap();
    assert_ne!(fs::read_to_string(scene.folder.path().join("noted")).unwrap(), "");
    assert!(!still.is_over());
    still.release().unwrap();
    still.release().unwrap();
    assert!(still.stood().is_some());
    assert_eq!((scene.log().as_str(), scene.notes()), ("hold vol1, release vol1, ", 0));
}

#[test]
fn volumes_that_the_setting_does_not_name_are_not_held() {
    let scene = Scene::new();
    let moments = scene.moments("true", "true", HOUR);
    let other = Place { volume: "vol2".into(), ..scene.place.clone() };
    let still = moments.still([&other]);
    assert!(!still.is_wanted() && moments.still([&scene.place]).is_wanted());
    let told = moments.held(&[other.clone(), scene.place.clone()], &Ask::Now);
    let held: Vec<_> = told.into_iter().map(|told| told.unwrap().held).collect();
    assert_eq!(held, [None, Some("command".to_owned())]);
    still.hold().unwrap();
    still.release().unwrap();
    assert_eq!((scene.log().as_str(), still.stood()), ("", None));
}

#[test]
fn what_is_held_goes_on_after_an_error_and_after_a_panic() {
    let scene = Scene::new();
    let moments = scene.moments("true", "true", HOUR);
    let still = moments.still([&scene.place]);
    still.hold().unwrap();
    drop(still);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let still = moments.still([&scene.place]);
        still.hold().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(scene.log(), "hold vol1, release vol1, ".repeat(2));
    assert_eq!(scene.notes(), 0);
}

#[test]
fn a_hold_that_fails_or_is_killed_is_released_and_told() {
    for (hold, told) in [
        ("echo no such container >&2; exit 3", "(exit status: 3): no such container"),
        ("kill -9 $$", "(signal: 9 (SIGKILL))"),
    ] {
        let scene = Scene::new();
        let error = scene.fails(&scene.moments(hold, "true", HOUR));
        assert!(
            error.message.starts_with("volume \"vol1\": BKUP_HOLD failed")
                && error.message.contains(told),
            "{error}"
        );
        assert_eq!((scene.log().as_str(), scene.notes()), ("hold vol1, release vol1, ", 0));
    }
}

#[test]
fn a_hold_that_hangs_is_stopped_at_the_limit_and_released() {
    let scene = Scene::new();
    let error = scene.fails(&scene.moments("sleep 600", "true", Duration::from_millis(200)));
    assert!(error.kind == ErrorKind::Timeout && error.message.contains("BKUP_HOLD did not end"));
    assert_eq!((scene.log().as_str(), scene.notes()), ("hold vol1, release vol1, ", 0));
}

#[test]
fn a_hold_that_lasts_too_long_is_released_while_its_reader_still_reads_and_fails_it() {
    let scene = Scene::new();
    let moments = scene.moments("true", "touch released", Duration::from_millis(200));
    let still = moments.still([&scene.place]);
    still.hold().unwrap();
    while !scene.folder.path().join("released").exists() {
        std::thread::yield_now();
    }
    assert!(still.is_over());
    let error = still.release().unwrap_err();
    assert!(
        error.kind == ErrorKind::Timeout && error.message.contains("stood still for 200ms"),
        "{error}"
    );
    assert_eq!(scene.notes(), 0);
}

#[test]
fn a_release_that_fails_is_tried_again_says_what_to_do_by_hand_and_stays_noted() {
    let scene = Scene::new();
    let moments = scene.moments("true", "echo gone away >&2; test -e mended", HOUR);
    let still = moments.still([&scene.place]);
    still.hold().unwrap();
    let error = still.release().unwrap_err();
    assert!(error.message.contains("BKUP_RELEASE failed (exit status: 1): gone away"), "{error}");
    let hint = error.hint.unwrap();
    assert!(hint.contains("run by hand what BKUP_RELEASE says, with VOLUME=vol1"), "{hint}");
    assert_eq!(scene.notes(), 1);
    let tries = scene.log().matches("release").count();
    assert!(tries > 1, "{}", scene.log());

    let said = moments.undo_left();
    assert!(said.len() == 1 && said[0].contains("can't be released"), "{said:?}");
    fs::write(scene.folder.path().join("mended"), "").unwrap();
    let said = moments.undo_left();
    assert!(said.len() == 1 && said[0].ends_with("it was released"), "{said:?}");
    assert_eq!((scene.notes(), moments.undo_left().len()), (0, 0));
}

#[test]
fn a_release_that_failed_is_tried_again_by_the_next_hold() {
    let scene = Scene::new();
    let moments = scene.moments("true", "test -e mended", HOUR);
    drop_held(&moments, &scene.place);
    assert_eq!(scene.notes(), 1);
    fs::write(scene.folder.path().join("mended"), "").unwrap();
    drop_held(&moments, &scene.place);
    assert_eq!(scene.notes(), 0);
}

fn drop_held(moments: &Moments, place: &Place) {
    let still = moments.still([place]);
    still.hold().unwrap();
    drop(still);
}

#[test]
fn what_was_left_by_a_kill_is_not_forgotten_where_the_commands_are_gone() {
    let scene = Scene::new();
    let moments = scene.moments("true", "true", HOUR);
    let still = moments.still([&scene.place]);
    still.hold().unwrap();
    std::mem::forget(still);
    let root = Root::at(&scene.folder.path().join("root"));
    let without = Moments::new(&root, None, Arc::new(SystemClock));
    let said = without.undo_left();
    assert!(said.len() == 1 && said[0].contains("there is no BKUP_RELEASE"), "{said:?}");
    assert_eq!(scene.notes(), 1);
    assert_eq!(moments.undo_left().len(), 1);
    assert_eq!((scene.log().as_str(), scene.notes()), ("hold vol1, release vol1, ", 0));
}

#[test]
fn one_hold_at_a_time_is_held_because_volumes_may_have_the_same_writer() {
    let scene = Scene::new();
    let moments = scene.moments("mkdir held", "rmdir held", HOUR);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                for _ in 0..5 {
                    let still = moments.still([&scene.place]);
                    still.hold().unwrap();
                    still.release().unwrap();
                }
            });
        }
    });
    assert_eq!(scene.log(), "hold vol1, release vol1, ".repeat(15));
}

#[test]
fn a_run_that_ends_waits_no_more_for_the_hold_of_another_volume() {
    let scene = Scene::new();
    let moments = scene.moments("true", "true", HOUR);
    let still = moments.still([&scene.place]);
    still.hold().unwrap();
    let run = Scope::of("run-1");
    run.ended.cancel();
    let error = scope::within(Some(run), || scene.fails(&moments));
    assert!(error.kind == ErrorKind::Cancelled && error.message.contains("waited"), "{error}");
    still.release().unwrap();
    assert_eq!(scene.log(), "hold vol1, release vol1, ");
}

#[test]
fn a_release_that_failed_is_tried_again_while_the_process_lives() {
    let scene = Scene::new();
    let mut moments = scene.moments("true", "test -e mended", HOUR);
    moments.holds.again = Duration::from_millis(10);
    drop_held(&moments, &scene.place);
    fs::write(scene.folder.path().join("mended"), "").unwrap();
    while scene.notes() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn all_that_a_stopped_hold_still_runs_is_killed_before_the_release() {
    let scene = Scene::new();
    let runs = "setsid sleep 600 & echo $! > process; sleep 600";
    let release = "cat /proc/$(cat process)/stat > seen || true";
    scene.fails(&scene.moments(runs, release, Duration::from_secs(1)));
    let seen = fs::read_to_string(scene.folder.path().join("seen")).unwrap();
    assert!(seen.is_empty() || seen.contains(") Z "), "{seen}");
    assert_eq!((scene.log().as_str(), scene.notes()), ("hold vol1, release vol1, ", 0));
}

#[test]
fn what_a_hold_that_went_well_started_stays_where_its_release_is_tried_again() {
    let scene = Scene::new();
    let runs = "setsid sleep 600 >/dev/null 2>&1 & echo $! > process";
    let moments = scene.moments(runs, "test -e mended", HOUR);
    drop_held(&moments, &scene.place);
    fs::write(scene.folder.path().join("mended"), "").unwrap();
    moments.undo_left();
    assert_eq!(scene.notes(), 0);
    let process = fs::read_to_string(scene.folder.path().join("process")).unwrap();
    // One that was killed is gone, or waits to be reaped (Z).
    let state = fs::read_to_string(format!("/proc/{}/stat", process.trim())).unwrap_or_default();
    let process = rustix::process::Pid::from_raw(process.trim().parse().unwrap()).unwrap();
    _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
    assert!(state.contains(") S "), "{state}");
}

#[test]
fn the_end_of_the_program_waits_a_short_time_for_a_release_that_hangs_and_its_note_stays() {
    let scene = Scene::new();
    let release = "test -e mended || while :; do test -e mended && exit 0; done";
    let moments = scene.moments("true", release, HOUR);
    let hold = moments.holds.hold(&[&scene.place], None).unwrap().unwrap();
    let begun = std::time::Instant::now();
    hold.release_at_the_end(Duration::from_millis(200));
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(scene.notes(), 1);
    fs::write(scene.folder.path().join("mended"), "").unwrap();
    hold.release_at_the_end(HOUR);
    assert_eq!(scene.notes(), 0);
}

#[test]
fn where_a_snapshot_fails_nothing_is_held_any_more_when_the_files_are_read_instead() {
    let scene = Scene::new();
    let moments = scene.moments("true", "true", HOUR);
    let still = moments.still([&scene.place]);
    // No folder of a test is a subvolume.
    let offer = Offer { kind: Kind::Btrfs, why: None, snapshot_place: None };
    let beginning = Beginning { moments: &moments, place: &scene.place, offer };
    still.hold().unwrap();
    let moment = beginning.take(None).unwrap();
    still.end().unwrap();
    assert!(moment.kind() != Kind::Btrfs);
    assert_eq!((scene.log().as_str(), scene.notes()), ("hold vol1, release vol1, ", 0));
    moment.end().unwrap();
}
