//! What is asked of one container: how it is, to stand still, and to go on.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::{ANSWER_TIME, Container, Engine, EngineVolume, failure};
use crate::{
    blocking,
    error::{Error, ErrorKind, Result},
};

/// How long a look at a container, and letting it go on, may take.
const GO_ON_TIME: Duration = Duration::from_secs(20);
/// For how long an engine that could not freeze the processes of a container is asked again.
const FREEZE_TIME: Duration = Duration::from_secs(10);
/// How often is looked whether to give up waiting for an answer.
const LOOK: Duration = Duration::from_millis(50);
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
    /// When it ended last, as the engine writes it.
    pub(crate) finished: String,
    /// How many seconds it gets to stop; `None` if the engine waits for ever.
    pub(crate) grace: Option<u64>,
    /// Whether it is removed when it stops.
    pub(crate) is_removed_at_its_end: bool,
}

impl ContainerState {
    /// Whether its processes run, and are not frozen.
    pub(crate) fn writes(&self) -> bool {
        self.runs && !self.is_paused
    }

    /// Whether it stands still in this way.
    pub(crate) fn stands(&self, how: How) -> bool {
        match how {
            How::Pause => self.runs && self.is_paused,
            How::Stop => !self.runs,
        }
    }
}

/// What the engine says to what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It did it.
    Done,
    /// It was so before, so this was not what made it so.
    WasSo,
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
    #[serde(default)]
    finished_at: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    stop_timeout: Option<i64>,
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
        let until = Instant::now() + GO_ON_TIME;
        let answer = match self.call_until(&Method::GET, &route, None, until) {
            Err(error) if is_no_container(&error) => return Ok(None),
            answer => answer?,
        };
        let Inspected { state, config, host_config } =
            self.json(&answer, &format!("GET {route}"))?;
        Ok(Some(ContainerState {
            // Podman says of a paused one that it does not run.
            runs: state.running || state.paused,
            is_paused: state.paused,
            started: state.started_at,
            finished: state.finished_at,
            // The engine waits for ever where it is negative.
            grace: config.stop_timeout.map_or(Some(USUAL_GRACE), |it| u64::try_from(it).ok()),
            is_removed_at_its_end: host_config.auto_remove,
        }))
    }

    /// Asks the engine to make a container stand still. Gives up soon after `stopped` returns true.
    ///
    /// # Errors
    /// If the engine refused ([`Engine::has_refused`]); else it may have done it, or do it later.
    pub(crate) fn hold_container(
        &self,
        id: &str,
        how: How,
        within: Duration,
        stopped: &dyn Fn() -> bool,
    ) -> Result<Answered> {
        let route = format!("/containers/{id}/{}", how.as_str());
        let within = if how == How::Pause { within.min(ANSWER_TIME) } else { within };
        let begun = Instant::now();
        loop {
            let held = self.done(&route, within.saturating_sub(begun.elapsed()), stopped);
            let Err(error) = &held else { return held };
            let may_freeze_later = how == How::Pause && error.status == Some(500);
            let is_time = begun.elapsed() < FREEZE_TIME.min(within) && !stopped();
            if !may_freeze_later || !is_time || !self.runs(id) {
                return held;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether it is known that a container runs. With control groups of version 1, processes that wait
    /// for a disk can't be frozen for that time: the engine gives up after a moment, and lets them go on.
    fn runs(&self, id: &str) -> bool {
        matches!(self.container(id), Ok(Some(state)) if state.runs && !state.is_paused)
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
        self.done(&route, GO_ON_TIME, &|| false).map(drop)
    }

    /// Does what a route says. Gives up soon after `stopped` returns true.
    fn done(&self, route: &str, within: Duration, stopped: &dyn Fn() -> bool) -> Result<Answered> {
        let until = Instant::now() + within;
        let path = format!("/v{}{route}", self.version_until(until)?);
        let given_up = async {
            while !stopped() {
                tokio::time::sleep(LOOK).await;
            }
        };
        let method = &Method::POST;
        let answer = async {
            tokio::select! {
                answer = self.send(method, &path, None, until) => answer,
                () = given_up => Err(failure::given_up().with_request(format!("{method} {route}"))),
            }
        };
        let answer = blocking::wait(answer)??;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(Answered::WasSo);
        }
        self.judged(answer, method, route).map(|_| Answered::Done)
    }

    /// The volumes and containers, all of which could be read.
    ///
    /// # Errors
    /// As [`Engine::everything`], or if something makes no sense.
    pub(crate) fn all(&self, within: Duration) -> Result<(Vec<EngineVolume>, Vec<Container>)> {
        let everything = self.everything(within)?;
        match everything.odd() {
            Some(odd) => Err(failure::no_sense(&self.socket, &odd.why)),
            None => Ok((everything.volumes.known, everything.containers.known)),
        }
    }

    /// Whether an error says that the engine did not do what was asked, and will not.
    pub(crate) fn has_refused(error: &Error) -> bool {
        // What it says with 5xx, or what a proxy says in its place, does not tell what became of it.
        let is_refused = |status: u16| (400..500).contains(&status) && status != 408;
        error.status.is_some_and(is_refused) || error.kind == ErrorKind::Unreachable
    }

    /// Whether an error says that there was nothing to do: the container is gone, does not run, or is
    /// paused already.
    pub(crate) fn had_nothing_to_do(error: &Error) -> bool {
        matches!(error.status, Some(404 | 409))
    }
}

/// Whether the engine says that there is no such container. A proxy that does not let a request pass
/// may answer 404 as well.
fn is_no_container(error: &Error) -> bool {
    let words = error.message.to_ascii_lowercase();
    error.kind == ErrorKind::NotFound && words.contains("no such container")
}
