//! The containers of the engine in memory: they are paused, stopped and let go on as engine 20.10.24
//! does, with its answers.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Contents;

impl Contents {
    /// Remembers what happened just now, as the engine tells it.
    pub fn happened(&mut self, kind: &str, action: &str, id: &str, attributes: Value, name: &str) {
        let mut attributes = attributes.as_object().cloned().unwrap_or_default();
        attributes.insert("name".into(), name.into());
        let actor = json!({ "ID": id, "Attributes": attributes });
        let now = Timestamp::now();
        let event = json!({
            "Type": kind, "Action": action, "Actor": actor,
            "timeNano": i64::try_from(now.as_nanosecond()).unwrap(),
        });
        self.events.push((now, event));
    }
}

/// What happened between two times, one JSON object after another.
fn told(contents: &Contents, query: &str) -> String {
    let time = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap();
        let (second, nanosecond) = value.split_once('.').unwrap();
        Timestamp::new(second.parse().unwrap(), nanosecond.parse().unwrap()).unwrap()
    };
    let (since, until) = (time("since="), time("until="));
    let within = contents.events.iter().filter(|(at, _)| (since..=until).contains(at));
    within.map(|(_, event)| format!("{event}\n")).collect()
}

/// What the engine does wrong, and how long it takes.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// How long an act takes after it was asked for.
    pub slow: Duration,
    /// Acts that are refused, such as `pause`, with this status and these words.
    pub refused: Option<(&'static str, &'static str, &'static str)>,
    /// Acts after which the connection breaks, done or not.
    pub breaks: Option<&'static str>,
    /// After so many bytes of a command's output the connection breaks, and the command goes on.
    pub output_breaks_after: Option<usize>,
    /// Acts that are answered with `502 Bad Gateway`, and are done so much later all the same.
    pub done_later: Option<(&'static str, Duration)>,
    /// Whether what happened is not told.
    pub no_events: bool,
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
    changes: &Arc<Changes>,
) -> Option<((&'static str, Value), bool)> {
    if let Some(query) = route.strip_prefix("/events?") {
        let contents = contents.lock().unwrap();
        if contents.faults.no_events {
            return Some((("403 Forbidden", json!({ "message": "not allowed" })), false));
        }
        return Some((("200 OK", Value::String(told(&contents, query))), false));
    }
    let (id, act) = route.strip_prefix("/containers/")?.split_once('/')?;
    let act = act.split('?').next()?.to_owned();
    let act = act.as_str();
    let faults = contents.lock().unwrap().faults.clone();
    if let Some((refused, status, words)) = faults.refused
        && refused == act
    {
        return Some(((status, json!({ "message": words })), false));
    }
    if (method, act) == ("GET", "json") {
        let contents = contents.lock().unwrap();
        return Some((inspected(&contents, id), false));
    }
    if let Some((late, after)) = faults.done_later
        && late == act
    {
        let (contents, changes) = (Arc::clone(contents), Arc::clone(changes));
        let (id, act) = (id.to_owned(), act.to_owned());
        let late = thread::spawn(move || {
            thread::sleep(after);
            done(&mut contents.lock().unwrap(), &id, &act);
            changes.note();
        });
        if after.is_zero() {
            late.join().unwrap();
        }
        return Some((("502 Bad Gateway", json!({ "message": "no answer" })), false));
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
    let grace = container["StopTimeout"].as_i64().unwrap_or(0);
    let body = json!({
        "Id": id,
        "State": {
            "Status": state,
            "Running": (state == "running" || state == "paused"),
            "Paused": state == "paused",
            "StartedAt": container["StartedAt"],
            "FinishedAt": container["FinishedAt"].as_str().unwrap_or("0001-01-01T00:00:00Z"),
        },
        "Config": { "Labels": container["Labels"], "Env": container["Env"], "StopTimeout": grace },
        "HostConfig": { "AutoRemove": container["AutoRemove"] == true },
    });
    ("200 OK", body)
}

fn done(contents: &mut Contents, id: &str, act: &str) -> (&'static str, Value) {
    let now = Timestamp::now();
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
        ("stop", "running" | "paused") => {
            container["FinishedAt"] = json!(now.to_string());
            "exited"
        }
        ("start", "exited" | "created") => {
            container["StartedAt"] = json!(now.to_string());
            "running"
        }
        ("stop" | "start", _) => return ("304 Not Modified", Value::Null),
        _ => return ("404 Not Found", json!({ "message": "page not found" })),
    };
    container["State"] = json!(next);
    let name = container["Names"][0].as_str().unwrap_or_default().trim_matches('/').to_owned();
    let attributes = container["Labels"].clone();
    contents.acts.push(format!("{act} {name}"));
    contents.happened("container", act, id, attributes, &name);
    ("204 No Content", Value::Null)
}
