//! What is asked of one container: how it is, to stand still, and to go on.

use std::time::Duration;

use hyper::Method;
use serde::Deserialize;

use super::{ANSWER_TIME, Engine};
use crate::error::{Error, ErrorKind, Result};

/// How long a look at a container, and letting it go on, may take.
const GO_ON_TIME: Duration = Duration::from_secs(20);
/// The engine's own grace before it kills a container that is to stop, in seconds.
const USUAL_GRACE: u64 = 10;

/// How a container is made to stand still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum How {
    /// Its processes are frozen. Connections stay, and memory is not written out.
    Pause,
    /// It ends, and is started again.
    Stop,
}

impl How {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Stop => "stop",
        }
    }
}

/// How a container is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerState {
    /// Also while it is paused.
    pub(crate) runs: bool,
    pub(crate) is_paused: bool,
    /// When it was started last, as the engine writes it: another start has another.
    pub(crate) started: String,
    /// How many seconds it gets to stop.
    pub(crate) grace: u64,
    /// Whether it is removed when it stops.
    pub(crate) is_removed_at_its_end: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
    #[serde(default)]
    config: Config,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    paused: bool,
    #[serde(default)]
    started_at: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    stop_timeout: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    auto_remove: bool,
}

impl Engine {
    /// How a container is; `None` if there is none with this id.
    ///
    /// # Errors
    /// If the engine can't be reached, or its answer makes no sense.
    pub(crate) fn container(&self, id: &str) -> Result<Option<ContainerState>> {
        let route = format!("/containers/{id}/json");
        let answer = match self.call(&Method::GET, &route, None, GO_ON_TIME) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            answer => answer?,
        };
        let Inspected { state, config, host_config } =
            self.json(&answer, &format!("GET {route}"))?;
        Ok(Some(ContainerState {
            // Podman says of a paused one that it does not run.
            runs: state.running || state.paused,
            is_paused: state.paused,
            started: state.started_at,
            grace: config.stop_timeout.unwrap_or(USUAL_GRACE),
            is_removed_at_its_end: host_config.auto_remove,
        }))
    }

    /// Makes a container stand still. It stands when this returns. Gives up soon after `stopped`
    /// returns true.
    ///
    /// # Errors
    /// With a status, if the engine refused; else the engine may still do it later.
    pub(crate) fn hold_container(
        &self,
        id: &str,
        how: How,
        within: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<()> {
        let route = format!("/containers/{id}/{}", how.as_str());
        let within = if how == How::Pause { within.min(ANSWER_TIME) } else { within };
        self.done(&Method::POST, &route, within, stopped)
    }

    /// Lets a container go on that stood still in this way.
    ///
    /// # Errors
    /// If the engine does not answer, or refuses.
    pub(crate) fn let_go_on(&self, id: &str, how: How) -> Result<()> {
        let act = match how {
            How::Pause => "unpause",
            How::Stop => "start",
        };
        let route = format!("/containers/{id}/{act}");
        self.done(&Method::POST, &route, GO_ON_TIME, &|| false)
    }

    /// Whether an error says that the engine did not do what was asked, and will not.
    pub(crate) fn has_refused(error: &Error) -> bool {
        error.status.is_some() || error.kind == ErrorKind::Unreachable
    }
}
