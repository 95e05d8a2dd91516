//! Docker's engine, over its socket. Podman's compatible socket answers the same routes.
//!
//! The routes: <https://docs.docker.com/reference/api/engine/>. Each call begins with the newest
//! version of the API that the engine has, because engines drop old ones. Every method blocks.

mod commands;
mod containers;
mod events;
mod exec;
mod exec_output;
#[cfg(test)]
mod exec_tests;
mod failure;
mod holding;
mod links;
mod model;
mod own;
mod selection;
#[cfg(test)]
mod tests;
mod under_way;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, header};
use serde::{Deserialize as _, de::DeserializeOwned};
use serde_json::{Value, json};

use self::model::VolumeList;
use crate::{
    blocking,
    error::Result,
    sync::lock,
    unix_http::{self, Answer, Failure, Times},
};
pub(crate) use commands::{
    AFTER_LABEL, Activity, Asked, BEFORE_LABEL, Commands, DUMP_LABEL, DumpKind, EXEC_LABEL,
    commands, commands_of, named_command,
};
pub(crate) use containers::{Answered, ContainerState, How};
pub(crate) use events::Event;
pub(crate) use exec::{Exec, Limit};
pub(crate) use holding::{
    HOLD_LABEL, HoldPolicy, Policies, Writer, Writing, Written, to_any, writing,
};
pub(crate) use model::{
    Container, EngineVolume, Everything, Listed, Odd, PROJECT_LABEL, is_anonymous_name,
};
pub(crate) use own::Own;
pub(crate) use selection::{
    BINDS_LABEL, Binds, ENABLE_LABEL, EngineUse, LeftOut, Policy, Selection,
    asked_for_by_containers,
};
pub(crate) use under_way::{UnderWay, wait_for_commands};

/// How long the engine may take to accept a connection. It accepts at once, unless it hangs.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long an answer may take. An engine with a volume plugin that is away waits 15 s for it.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// The oldest version of the API that will do: older engines answer parts of what is asked.
const OLDEST_VERSION: (u32, u32) = (1, 24);

fn is_too_old(version: &str) -> bool {
    let number = |text: &str| text.parse::<u32>().ok();
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    number(major).zip(number(minor)).is_some_and(|version| version < OLDEST_VERSION)
}

/// An engine behind a unix socket. Each call has a connection of its own.
#[derive(Debug)]
pub(crate) struct Engine {
    socket: PathBuf,
    /// The version of its API, such as `1.41`, once it told it. An engine that was replaced by
    /// another is asked anew.
    version: Mutex<Option<String>>,
}

impl Engine {
    /// The engine behind this socket. Nothing is sent yet.
    pub(crate) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), version: Mutex::default() }
    }

    /// The version of the engine's API, such as `1.41`.
    ///
    /// # Errors
    /// If nothing answers, or no engine does.
    fn version_until(&self, until: Instant) -> Result<String> {
        if let Some(known) = lock(&self.version).clone() {
            return Ok(known);
        }
        let answer = self.exchange(&Method::GET, "/_ping", None, until)?;
        if answer.header("api-version").is_none() && !answer.status.is_success() {
            return Err(failure::no_answer(&self.socket, answer.status).with_request("GET /_ping"));
        }
        let version = answer.header("api-version").filter(|_| answer.status.is_success());
        let is_version = |text: &String| {
            text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let version = version.filter(is_version).ok_or_else(|| failure::no_engine(&self.socket))?;
        if is_too_old(&version) {
            return Err(failure::too_old(&self.socket, &version));
        }
        *lock(&self.version) = Some(version.clone());
        Ok(version)
    }

    /// All volumes, of all drivers, and all containers, also those that do not run.
    ///
    /// # Errors
    /// If the engine can't be reached, its answers make no sense, or they take longer than `within`
    /// in all.
    pub(crate) fn everything(&self, within: Duration) -> Result<Everything> {
        let until = Instant::now() + within;
        let (volumes, mut containers) = (self.volumes_until(until)?, self.containers_until(until)?);
        links::follow_links(&mut containers.known, &volumes.known);
        Ok(Everything { volumes, containers })
    }

    /// A volume of this name, of whichever driver.
    ///
    /// # Errors
    /// If the engine can't be reached, or what it tells of that volume makes no sense.
    pub(crate) fn volume(&self, name: &str) -> Result<Option<EngineVolume>> {
        let listed = self.volumes_until(Instant::now() + ANSWER_TIME)?;
        let may_be_it = |odd: &&Odd| odd.name.as_deref().is_none_or(|odd| odd == name);
        if let Some(odd) = listed.odd.iter().find(may_be_it) {
            return Err(failure::no_sense(&self.socket, &odd.why).with_request("GET /volumes"));
        }
        Ok(listed.known.into_iter().find(|volume| volume.name == name))
    }

    /// The containers that have a volume, running or not, by name or id.
    ///
    /// # Errors
    /// If the engine can't be reached, or its answer makes no sense.
    pub(crate) fn users_of(&self, volume: &str) -> Result<Vec<String>> {
        // The engine looks for the volume, so a container that can't be read here counts as well.
        let filters = format!("%7B%22volume%22%3A%5B%22{volume}%22%5D%7D");
        let users: Vec<Value> = self.get(
            &format!("/containers/json?all=1&filters={filters}"),
            Instant::now() + ANSWER_TIME,
        )?;
        let name = |user: Value| {
            let named = Container::deserialize(&user).map(|user| user.name().to_owned());
            named.unwrap_or_else(|_| user["Id"].as_str().unwrap_or("of no name").to_owned())
        };
        Ok(users.into_iter().map(name).collect())
    }

    fn volumes_until(&self, until: Instant) -> Result<Listed<EngineVolume>> {
        self.get::<VolumeList>("/volumes", until).map(|list| Listed::read(list.volumes))
    }

    fn containers_until(&self, until: Instant) -> Result<Listed<Container>> {
        self.get("/containers/json?all=1", until).map(Listed::read)
    }

    /// Makes a volume of the engine's own driver.
    ///
    /// # Errors
    /// As [`Engine::volumes`]. A volume of that name is no error for the engine; the caller looks.
    pub(crate) fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<EngineVolume> {
        let body =
            json!({ "Name": name, "Driver": "local", "Labels": labels, "DriverOpts": options });
        let answer = self.call(&Method::POST, "/volumes/create", Some(&body))?;
        self.json(&answer, "POST /volumes/create")
    }

    /// Removes a volume with its files. The engine refuses while a container has it, also one that
    /// does not run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, else as [`Engine::volumes`].
    pub(crate) fn remove_volume(&self, name: &str) -> Result<()> {
        self.call(&Method::DELETE, &format!("/volumes/{name}"), None).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, route: &str, until: Instant) -> Result<T> {
        let answer = self.call_until(&Method::GET, route, None, until)?;
        self.json(&answer, &format!("GET {route}"))
    }

    fn json<T: DeserializeOwned>(&self, answer: &Answer, request: &str) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            failure::no_sense(&self.socket, &error.to_string()).with_request(request.to_owned())
        })
    }

    /// The engine's answer, if it did what was asked.
    fn call(&self, method: &Method, route: &str, body: Option<&Value>) -> Result<Answer> {
        self.call_until(method, route, body, Instant::now() + ANSWER_TIME)
    }

    fn call_until(
        &self,
        method: &Method,
        route: &str,
        body: Option<&Value>,
        until: Instant,
    ) -> Result<Answer> {
        let version = self.version_until(until)?;
        let answer = self.exchange(method, &format!("/v{version}{route}"), body, until)?;
        self.judged(answer, method, route)
    }

    fn judged(&self, answer: Answer, method: &Method, route: &str) -> Result<Answer> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        // Another engine may answer now, which does not have that version.
        *lock(&self.version) = None;
        Err(failure::refused(&answer).with_request(format!("{method} {route}")))
    }

    fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        until: Instant,
    ) -> Result<Answer> {
        blocking::wait(self.send(method, path, body, until))?
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        until: Instant,
    ) -> Result<Answer> {
        let request = Self::request(method, path, body);
        let deadline = until.saturating_duration_since(Instant::now());
        let times = Times { connect: CONNECT_TIME, deadline };
        let answer = async { unix_http::exchange(&self.socket, request?, times).await };
        answer.await.map_err(|failure| {
            failure::error_of(&failure, &self.socket).with_request(format!("{method} {path}"))
        })
    }

    fn request(
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::NotConnected(io::Error::other(error)))
    }
}
