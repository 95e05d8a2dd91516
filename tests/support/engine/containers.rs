//! The containers of the engine in memory: they are paused, stopped and let go on as engine 20.10.24
//! does, with its answers.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::Contents;

/// What the engine does wrong, and how long it takes.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// How long an act takes after it was asked for.
    pub slow: Duration,
    /// Acts that are refused, such as `pause`, with this status and these words.
    pub refused: Option<(&'static str, &'static str, &'static str)>,
    /// Acts after which the connection breaks, done or not.
    pub breaks: Option<&'static str>,
}

/// Waits until something about a container changed.
#[derive(Debug, Default)]
pub struct Changes {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Changes {
    fn note(&self) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// Waits until it is so, looking after each change; at most a minute.
    pub fn until(&self, is_so: impl Fn() -> bool) {
        let mut count = self.count.lock().unwrap();
        for _ in 0..600 {
            if is_so() {
                return;
            }
            let waited = self.changed.wait_timeout(count, Duration::from_millis(100));
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        panic!("it never was so");
    }
}

/// The answer to what is asked of one container; `None` if it is another request. The second is
/// whether the connection breaks.
pub fn answer(
    (method, route): (&str, &str),
    contents: &Arc<Mutex<Contents>>,
    changes: &Changes,
) -> Option<((&'static str, Value), bool)> {
    let (id, act) = route.strip_prefix("/containers/")?.split_once('/')?;
    let act = act.split('?').next()?;
    if (method, act) == ("GET", "json") {
        let contents = contents.lock().unwrap();
        return Some((inspected(&contents, id), false));
    }
    let faults = contents.lock().unwrap().faults.clone();
    if let Some((refused, status, words)) = faults.refused
        && refused == act
    {
        return Some(((status, json!({ "message": words })), false));
    }
    thread::sleep(faults.slow);
    let answer = done(&mut contents.lock().unwrap(), id, act);
    changes.note();
    Some((answer, faults.breaks == Some(act)))
}

fn find<'a>(contents: &'a mut Contents, id: &str) -> Option<&'a mut Value> {
    contents.containers.iter_mut().find(|container| container["Id"] == id)
}

fn no_such(id: &str) -> (&'static str, Value) {
    ("404 Not Found", json!({ "message": format!("No such container: {id}") }))
}

fn inspected(contents: &Contents, id: &str) -> (&'static str, Value) {
    let Some(container) = contents.containers.iter().find(|container| container["Id"] == id) else {
        return no_such(id);
    };
    let state = container["State"].as_str().unwrap_or_default();
    let body = json!({
        "Id": id,
        "State": {
            "Status": state,
            "Running": (state == "running" || state == "paused"),
            "Paused": state == "paused",
            "StartedAt": container["StartedAt"],
        },
        "Config": { "Labels": container["Labels"], "StopTimeout": 0 },
        "HostConfig": { "AutoRemove": container["AutoRemove"] == true },
    });
    ("200 OK", body)
}

fn done(contents: &mut Contents, id: &str, act: &str) -> (&'static str, Value) {
    contents.starts += 1;
    let start = format!("2026-11-27T02:00:00.{:09}Z", contents.starts);
    let Some(container) = find(contents, id) else { return no_such(id) };
    let state = container["State"].as_str().unwrap_or_default().to_owned();
    let refused =
        |status, words: &str| (status, json!({ "message": format!("Container {id} {words}") }));
    let next = match (act, state.as_str()) {
        ("pause", "running") => "paused",
        ("pause", "paused") => return refused("409 Conflict", "is already paused"),
        ("pause", _) => return refused("409 Conflict", "is not running"),
        ("unpause", "paused") => "running",
        ("unpause", _) => return refused("500 Internal Server Error", "is not paused"),
        ("stop", "running" | "paused") => "exited",
        ("start", "exited" | "created") => {
            container["StartedAt"] = json!(start);
            "running"
        }
        ("stop" | "start", _) => return ("304 Not Modified", Value::Null),
        _ => return ("404 Not Found", json!({ "message": "page not found" })),
    };
    container["State"] = json!(next);
    let name = container["Names"][0].as_str().unwrap_or_default().trim_matches('/').to_owned();
    contents.acts.push(format!("{act} {name}"));
    ("204 No Content", Value::Null)
}
