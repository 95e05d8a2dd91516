//! Commands in containers of an engine in memory.

use std::{cell::Cell, time::Instant};

use serde_json::json;

use super::*;
use crate::{
    error::{Error, ErrorKind},
    support::engine::FakeEngine,
};

const LONG: Limit = Limit::Whole(Duration::from_secs(60));
const SHORT: Duration = Duration::from_secs(1);

struct Scene {
    _folder: tempfile::TempDir,
    fake: FakeEngine,
    id: String,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeEngine::start(folder.path());
        fake.container("db", "running", &json!({}), &[]);
        fake.with(|contents| contents.containers[0]["Env"] = json!(["DB_PASSWORD=hunter22"]));
        let id = fake.with(|contents| contents.containers[0]["Id"].as_str().unwrap().to_owned());
        Self { _folder: folder, fake, id }
    }

    fn exec<'a>(&'a self, script: &'a str, limit: Limit) -> Exec<'a> {
        Exec { container: (&self.id, "db"), what: "the test", script, user: None, limit }
    }

    fn run(&self, script: &str, limit: Limit, stopped: &dyn Fn() -> bool) -> Result<()> {
        Engine::at(&self.fake.socket).exec(self.exec(script, limit), stopped, None)
    }

    fn fails(&self, script: &str, limit: Limit) -> Error {
        self.run(script, limit, &|| false).unwrap_err()
    }
}

#[test]
fn what_a_command_prints_arrives_while_it_is_printed_and_its_exit_code_is_told() {
    let scene = Scene::new();
    let engine = Engine::at(&scene.fake.socket);
    let mut got = Vec::new();
    let mut sink = |part: &[u8]| {
        got.extend_from_slice(part);
        Ok(())
    };
    let script = "echo rows; echo a warning >&2; echo more";
    engine.exec(scene.exec(script, LONG), &|| false, Some(&mut sink)).unwrap();
    assert_eq!(got, b"rows\nmore\n");
    let error = scene.fails("echo begun >&2; echo no hunter22 >&2; exit 3", LONG);
    let words = "container \"db\": the test failed (exit code 3): begun / no ***";
    assert_eq!((error.message.as_str(), error.kind), (words, ErrorKind::Io));
    let missing = scene.fails("exec no-such-program", LONG);
    assert!(missing.hint.unwrap().contains("a program is missing"), "{}", missing.message);
}

#[test]
fn a_command_that_hangs_is_killed_with_all_that_it_started_and_told_with_its_time() {
    let scene = Scene::new();
    for limit in [Limit::Whole(SHORT), Limit::Silent(SHORT)] {
        let error = scene.fails("echo asking >&2; sleep 600 & sleep 600", limit);
        assert_eq!(error.kind, ErrorKind::Io, "the daemon is not at it any more");
        assert!(error.message.contains("; it was killed: asking"), "{error}");
        assert!(error.hint.unwrap().contains("exec-timeout"));
    }
    // One that prints all the time is not silent.
    let script = "for n in 1 2 3 4 5 6 7 8; do echo; sleep 0.1; done";
    scene.run(script, Limit::Silent(SHORT), &|| false).unwrap();
    let since = Instant::now();
    let error = scene.run("sleep 600", LONG, &|| since.elapsed() > SHORT).unwrap_err();
    assert!(error.kind == ErrorKind::Cancelled && error.message.contains("killed"), "{error}");
}

#[test]
fn a_gigabyte_of_output_is_never_kept() {
    let scene = Scene::new();
    let error = scene.fails("head -c 1073741824 /dev/zero; echo the end; exit 1", LONG);
    assert!(error.message.ends_with("the end") && error.message.len() < 8_000, "{error}");
    let length = Cell::new(0);
    let mut sink = |part: &[u8]| {
        length.set(length.get() + part.len());
        Ok(())
    };
    let script = "head -c 100000000 /dev/zero";
    let engine = Engine::at(&scene.fake.socket);
    engine.exec(scene.exec(script, LONG), &|| false, Some(&mut sink)).unwrap();
    assert_eq!(length.get(), 100_000_000);
}

#[test]
fn output_that_is_cut_off_and_a_sink_that_fails_end_the_command() {
    let scene = Scene::new();
    let most = |bytes: usize| scene.fake.with(|it| it.faults.output_breaks_after = Some(bytes));
    // In the middle of a frame, and between two.
    for bytes in [5, 8 + 5] {
        most(bytes);
        let error = scene.fails("echo rows; sleep 0.2; echo more; sleep 600", LONG);
        assert!(error.message.contains("cut off before it ended; it was killed"), "{error}");
    }
    scene.fake.with(|it| it.faults.output_breaks_after = None);
    let mut sink = |_: &[u8]| Err(Error::new(ErrorKind::Repository, "the disk is full"));
    let engine = Engine::at(&scene.fake.socket);
    let exec = scene.exec("echo rows; sleep 600", LONG);
    let error = engine.exec(exec, &|| false, Some(&mut sink)).unwrap_err();
    assert!(error.kind == ErrorKind::Repository && error.message.contains("was killed"), "{error}");
}

#[test]
fn a_container_that_is_gone_paused_or_off_and_an_engine_that_dies_are_told() {
    let scene = Scene::new();
    for (state, words) in [("paused", "is paused"), ("exited", "is not running")] {
        scene.fake.with(|contents| contents.containers[0]["State"] = json!(state));
        let error = scene.fails("true", LONG);
        assert!(error.message.contains("the test can't be run") && error.message.contains(words));
        assert!(error.hint.unwrap().contains("the container is paused"));
    }
    scene.fake.with(|contents| contents.containers[0]["State"] = json!("running"));
    scene.fake.with(|contents| {
        // The engine is another one by the time that the command is to begin.
        contents.before.push(("POST /exec/".into(), Box::new(|now| now.execs.clear())));
    });
    let error = scene.fails("true", LONG);
    assert!(error.message.contains("No such exec instance"), "{error}");
    scene.fake.with(|contents| {
        contents.before.push(("GET /exec/".into(), Box::new(|now| now.execs.clear())));
    });
    let error = scene.fails("true", LONG);
    assert!(error.message.contains("it is not known how it ended"), "{error}");
    scene.fake.with(|contents| contents.containers.clear());
    let error = scene.fails("true", LONG);
    assert!(error.hint.unwrap().contains("the container is gone"), "{}", error.message);
}
