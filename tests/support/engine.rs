//! A Docker engine that keeps its volumes in memory and their files in a folder. Its answers have
//! the shapes that engine 20.10.24 gave (API 1.41).

mod containers;
mod exec;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

pub use containers::{Changes, Faults};
pub use exec::FakeExec;

/// A volume and a container of the engine are what its routes answer, in JSON.
#[derive(Default)]
pub struct Contents {
    pub volumes: BTreeMap<String, Value>,
    pub containers: Vec<Value>,
    /// The requests so far, such as `GET /v1.41/volumes`.
    pub requests: Vec<String>,
    /// Whether requests get no answer.
    pub hangs: bool,
    /// What others do just before a request that begins so is answered, each once.
    pub before: Vec<(String, Act)>,
    /// What was done to containers, such as `pause shop-db-1`.
    pub acts: Vec<String>,
    pub faults: Faults,
    /// The commands that were asked for, by their ids.
    pub execs: BTreeMap<String, FakeExec>,
    /// What happened to containers and volumes, and when.
    events: Vec<(jiff::Timestamp, Value)>,
}

/// What others do.
pub type Act = Box<dyn FnOnce(&mut Contents) + Send>;

/// An engine that answers until the process ends.
pub struct FakeEngine {
    pub socket: PathBuf,
    folder: PathBuf,
    contents: Arc<Mutex<Contents>>,
    changes: Arc<Changes>,
}

impl FakeEngine {
    /// An engine whose socket and volumes are in `folder`.
    pub fn start(folder: &Path) -> Self {
        fs::create_dir_all(folder.join("volumes")).unwrap();
        let engine = Self {
            socket: folder.join("docker.sock"),
            folder: folder.to_owned(),
            contents: Arc::default(),
            changes: Arc::default(),
        };
        let listener = UnixListener::bind(&engine.socket).unwrap();
        let folder = engine.folder.clone();
        let (contents, changes) = (engine.contents.clone(), engine.changes.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let folder = folder.clone();
                let (contents, changes) = (contents.clone(), changes.clone());
                thread::spawn(move || converse(stream.unwrap(), &folder, &contents, &changes));
            }
        });
        engine
    }

    /// Changes or reads what the engine has.
    pub fn with<T>(&self, act: impl FnOnce(&mut Contents) -> T) -> T {
        act(&mut self.contents.lock().unwrap())
    }

    /// Waits until a container's state is this one.
    pub fn until(&self, name: &str, state: &str) {
        self.changes.until(|| self.state(name) == state);
    }

    /// The state of a container: `running`, `paused` or `exited`.
    pub fn state(&self, name: &str) -> String {
        let is_it = |container: &&Value| container["Names"][0] == format!("/{name}");
        self.with(|contents| {
            let container = contents.containers.iter().find(is_it).unwrap();
            container["State"].as_str().unwrap().to_owned()
        })
    }

    /// Makes a program that commands in containers find first.
    pub fn program(&self, name: &str, script: &str) {
        let path = self.folder.join("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, permissions).unwrap();
    }

    /// What was done to containers since it was asked last: `pause db, unpause db`.
    pub fn acts(&self) -> String {
        self.with(|contents| std::mem::take(&mut contents.acts)).join(", ")
    }

    /// Makes a volume as `docker volume create` does, and returns the folder of its files.
    pub fn volume(&self, name: &str, labels: &Value, options: &Value) -> PathBuf {
        self.with(|contents| create(&self.folder, contents, name, labels, options));
        self.folder.join("volumes").join(name).join("_data")
    }

    /// Makes a container that has these volumes mounted.
    pub fn container(&self, name: &str, state: &str, labels: &Value, volumes: &[&str]) {
        let mount = |volume: &&str| {
            let source = self.folder.join("volumes").join(volume).join("_data");
            json!({
                "Type": "volume", "Name": volume, "Driver": "local", "Source": source, "RW": true,
                "Destination": format!("/{volume}"),
            })
        };
        let mounts: Vec<_> = volumes.iter().map(mount).collect();
        self.with(|contents| {
            let id = format!("{:064x}", contents.containers.len() + 1);
            contents.containers.push(json!({
                "Id": id, "Names": [format!("/{name}")], "Image": "debian", "State": state,
                "Labels": labels, "Mounts": mounts, "StartedAt": "2026-11-27T01:00:00.1Z",
            }));
        });
    }
}

/// How a request for the containers that have one volume begins.
const FILTERED: &str = "/containers/json?all=1&filters=%7B%22volume%22%3A%5B%22";

fn create(
    folder: &Path,
    contents: &mut Contents,
    name: &str,
    labels: &Value,
    options: &Value,
) -> Value {
    let data = folder.join("volumes").join(name).join("_data");
    fs::create_dir_all(&data).unwrap();
    let number = contents.requests.len() + contents.volumes.len();
    let volume = json!({
        "CreatedAt": format!("2026-11-27T02:{:02}:{:02}Z", number / 60 % 60, number % 60),
        "Driver": "local", "Labels": labels, "Mountpoint": data, "Name": name, "Options": options, "Scope": "local",
    });
    contents.volumes.entry(name.to_owned()).or_insert(volume).clone()
}

fn converse(
    mut stream: UnixStream,
    folder: &Path,
    locked: &Arc<Mutex<Contents>>,
    changes: &Arc<Changes>,
) {
    let Some((method, path, body)) = request(&mut stream) else { return };
    let mut contents = locked.lock().unwrap();
    contents.requests.push(format!("{method} {path}"));
    while contents.hangs {
        drop(contents);
        thread::park();
        contents = locked.lock().unwrap();
    }
    let request = format!("{method} {}", path.strip_prefix("/v1.41").unwrap_or(&path));
    let begins = |(begin, _): &(String, Act)| request.starts_with(begin.as_str());
    if let Some(at) = contents.before.iter().position(begins) {
        let (_, act) = contents.before.remove(at);
        act(&mut contents);
    }
    drop(contents);
    let route = path.strip_prefix("/v1.41").unwrap_or(&path);
    if exec::answer((&method, route), &body, (&mut stream, folder), locked) {
        return;
    }
    let (status, body) = match containers::answer((&method, route), locked, changes) {
        Some((_, true)) => return,
        Some((answer, false)) => answer,
        None => answer(&method, &path, &body, folder, &mut locked.lock().unwrap()),
    };
    let body = match body {
        Value::Null => String::new(),
        // Not one value: a stream of them.
        Value::String(stream) if route.starts_with("/events") => stream,
        body => body.to_string(),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    _ = stream.write_all(format!("{head}{body}").as_bytes());
}

fn answer(
    method: &str,
    path: &str,
    body: &Value,
    folder: &Path,
    contents: &mut Contents,
) -> (&'static str, Value) {
    let route = path.strip_prefix("/v1.41").unwrap_or(path);
    let no_such =
        |name: &str| ("404 Not Found", json!({ "message": format!("get {name}: no such volume") }));
    match (method, route) {
        ("GET", "/_ping") => ("200 OK", json!("OK")),
        ("GET", "/volumes") => {
            let volumes: Vec<_> = contents.volumes.values().collect();
            ("200 OK", json!({ "Volumes": volumes, "Warnings": null }))
        }
        ("GET", "/containers/json?all=1") => ("200 OK", json!(contents.containers)),
        ("GET", route) if route.starts_with(FILTERED) => {
            let name = route.trim_start_matches(FILTERED).trim_end_matches("%22%5D%7D");
            let users = contents.containers.iter().filter(|container| uses(container, name));
            ("200 OK", json!(users.collect::<Vec<_>>()))
        }
        ("POST", "/volumes/create") => {
            let name = body["Name"].as_str().unwrap_or_default();
            let made = create(folder, contents, name, &body["Labels"], &body["DriverOpts"]);
            ("201 Created", made)
        }
        ("DELETE", route) => {
            let name = route.trim_start_matches("/volumes/");
            let users: Vec<_> = contents
                .containers
                .iter()
                .filter(|container| uses(container, name))
                .map(|container| &container["Id"])
                .collect();
            if !users.is_empty() {
                let words = format!("remove {name}: volume is in use - {users:?}");
                return ("409 Conflict", json!({ "message": words }));
            }
            if contents.volumes.remove(name).is_none() {
                return no_such(name);
            }
            _ = fs::remove_dir_all(folder.join("volumes").join(name));
            ("204 No Content", Value::Null)
        }
        _ => ("404 Not Found", json!({ "message": "page not found" })),
    }
}

fn uses(container: &Value, volume: &str) -> bool {
    container["Mounts"]
        .as_array()
        .is_some_and(|mounts| mounts.iter().any(|mount| mount["Name"] == volume))
}

/// The method, the path and the body of a request.
fn request(stream: &mut UnixStream) -> Option<(String, String, Value)> {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
            });
            if read.len() >= end + 4 + length.unwrap_or(0) {
                let mut words = head.split(' ');
                let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
                let body = serde_json::from_slice(&read[end + 4..]).unwrap_or_default();
                return Some((method, path, body));
            }
        }
        let got = stream.read(&mut piece).ok().filter(|&got| got > 0)?;
        read.extend_from_slice(&piece[..got]);
    }
}
