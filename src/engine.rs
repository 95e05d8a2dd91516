//! Docker's engine, over its socket. Podman's compatible socket answers the same routes.
//!
//! The routes: <https://docs.docker.com/reference/api/engine/>. Each call begins with the newest
//! version of the API that the engine has, because engines drop old ones. Every method blocks.

mod containers;
mod failure;
mod holding;
mod model;
mod selection;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::model::VolumeList;
use crate::{
    blocking,
    error::Result,
    sync::lock,
    unix_http::{self, Answer, Failure, Times},
};
pub(crate) use containers::{ContainerState, How};
pub(crate) use holding::{HOLD_LABEL, HoldPolicy, Writer, own_container, writers};
pub(crate) use model::{Container, EngineVolume};
pub(crate) use selection::{ENABLE_LABEL, LeftOut, Policy, Selection};

/// How long the engine may take to accept a connection. It accepts at once, unless it hangs.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long an answer may take. An engine with a volume plugin that is away waits 15 s for it.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// How often is looked whether to give up waiting for an answer.
const LOOK: Duration = Duration::from_millis(50);

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
    pub(crate) fn api_version(&self) -> Result<String> {
        if let Some(known) = lock(&self.version).clone() {
            return Ok(known);
        }
        let answer = blocking::wait(self.exchange(&Method::GET, "/_ping", None, ANSWER_TIME))??;
        let version = answer.header("api-version").filter(|_| answer.status.is_success());
        let is_version = |text: &String| {
            text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let version = version.filter(is_version).ok_or_else(|| failure::no_engine(&self.socket))?;
        *lock(&self.version) = Some(version.clone());
        Ok(version)
    }

    /// All volumes, of all drivers.
    ///
    /// # Errors
    /// If the engine can't be reached, or its answer makes no sense.
    pub(crate) fn volumes(&self) -> Result<Vec<EngineVolume>> {
        self.get::<VolumeList>("/volumes").map(|list| list.volumes)
    }

    /// All containers, also those that do not run.
    ///
    /// # Errors
    /// As [`Engine::volumes`].
    pub(crate) fn containers(&self) -> Result<Vec<Container>> {
        self.get("/containers/json?all=1")
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
        let answer = self.call(&Method::POST, "/volumes/create", Some(&body), ANSWER_TIME)?;
        self.json(&answer, "POST /volumes/create")
    }

    /// Removes a volume with its files. The engine refuses while a container has it, also one that
    /// does not run.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none, else as [`Engine::volumes`].
    pub(crate) fn remove_volume(&self, name: &str) -> Result<()> {
        self.call(&Method::DELETE, &format!("/volumes/{name}"), None, ANSWER_TIME).map(drop)
    }

    fn get<T: DeserializeOwned>(&self, route: &str) -> Result<T> {
        let answer = self.call(&Method::GET, route, None, ANSWER_TIME)?;
        self.json(&answer, &format!("GET {route}"))
    }

    fn json<T: DeserializeOwned>(&self, answer: &Answer, request: &str) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            failure::no_sense(&self.socket, &error.to_string()).with_request(request.to_owned())
        })
    }

    /// The engine's answer, if it did what was asked.
    fn call(
        &self,
        method: &Method,
        route: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Answer> {
        let path = format!("/v{}{route}", self.api_version()?);
        let answer = blocking::wait(self.exchange(method, &path, body, within))??;
        self.judged(answer, method, route)
    }

    /// As [`Engine::call`], also well if there was nothing to do. Gives up soon after `stopped`
    /// returns true.
    fn done(
        &self,
        method: &Method,
        route: &str,
        within: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let path = format!("/v{}{route}", self.api_version()?);
        let given_up = async {
            while !stopped() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let answer = async {
            tokio::select! {
                answer = self.exchange(method, &path, None, within) => answer,
                () = given_up => Err(failure::given_up().with_request(format!("{method} {route}"))),
            }
        };
        let answer = blocking::wait(answer)??;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(());
        }
        self.judged(answer, method, route).map(drop)
    }

    fn judged(&self, answer: Answer, method: &Method, route: &str) -> Result<Answer> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        // Another engine may answer now, which does not have that version.
        *lock(&self.version) = None;
        Err(failure::refused(&answer).with_request(format!("{method} {route}")))
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Answer> {
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "docker")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::NotConnected(io::Error::other(error)));
        let times = Times { connect: CONNECT_TIME, deadline: within };
        let answer = async { unix_http::exchange(&self.socket, request?, times).await };
        answer.await.map_err(|failure| {
            failure::error_of(&failure, &self.socket).with_request(format!("{method} {path}"))
        })
    }
}
