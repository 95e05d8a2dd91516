//! A command in a container that runs. It is run by `sh -c`; what it prints is taken while it is
//! printed, and never kept whole.
//!
//! The API has no way to end a command. One that is not waited for any more is killed by another one:
//! all processes in the container that have its mark in their environment.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    thread,
    time::{Duration, Instant},
};

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    CONNECT_TIME, Engine,
    exec_output::{Frames, Stream, Tail, secrets_of},
    failure,
    under_way::UnderWay,
};
use crate::{
    blocking,
    error::{Error, ErrorKind, Result},
    unix_http::{self, Receiver},
};

/// How long Docker may take to make a command, and to tell how one ended.
const ASKED_WITHIN: Duration = Duration::from_secs(20);
/// How long Docker may take to note the end of a command after its output has ended.
const NOTED_WITHIN: Duration = Duration::from_secs(10);
/// How often is looked for that.
const LOOK: Duration = Duration::from_millis(50);
/// How long it may take to kill a command.
const KILLED_WITHIN: Duration = Duration::from_secs(10);
/// The variable with a command's mark.
const MARK: &str = "CONVOY_BACKUPS_EXEC";
/// What a shell, or Docker, says where a program is not there, or can't be run.
const NOT_RUN: [i64; 2] = [126, 127];
/// Docker says why on the standard output: so much of its beginning may be that, in bytes.
const BEGINNING: usize = 2 << 10;

/// A command in a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exec<'a> {
    /// The container's id, and its name.
    pub(crate) container: (&'a str, &'a str),
    /// What is run, for people, such as the name of the label that says so.
    pub(crate) what: &'a str,
    pub(crate) script: &'a str,
    /// The user in the container; `None` for the one of its other processes.
    pub(crate) user: Option<&'a str>,
    pub(crate) limit: Limit,
}

/// How long a command may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Whole(Duration),
    /// So long it may print nothing.
    Silent(Duration),
}

/// Takes what a command prints on its standard output.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

/// How a command is, as the engine tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    running: bool,
    #[serde(default)]
    exit_code: Option<i64>,
}

impl Engine {
    /// Runs a command to its end. Soon after `stopped` returns true, it is killed. What it prints on
    /// its standard output goes to `sink`; without one, the end of that is in the error as well.
    ///
    /// # Errors
    /// If it can't be run, fails, takes too long, is stopped
    /// ([`ErrorKind::Cancelled`]), its output does not come to its end, or the sink fails. The error
    /// names the container, and has the last lines that were printed.
    pub(crate) fn exec<'a>(
        &self,
        exec: Exec<'a>,
        stopped: &'a dyn Fn() -> bool,
        sink: Option<Sink<'a>>,
    ) -> Result<()> {
        let _under_way = UnderWay::begin();
        let mark = format!("{MARK}={:016x}", RandomState::new().build_hasher().finish());
        let id = self.make_exec(exec, Some(&mark)).map_err(|error| exec.not_run(error))?;
        let mut output = Output::new(exec, stopped, sink);
        let streamed = self.stream_exec(&id, &mut output);
        let ended = match streamed {
            Ok(Err(refused)) => return Err(exec.not_run(refused)),
            Ok(Ok(())) if output.frames.are_whole() => self.end_of(exec, &id),
            Ok(Ok(())) => Err(exec.cut_off()),
            Err(error) => Err(error),
        };
        match ended {
            Ok(0) => Ok(()),
            Ok(code) => Err(self.failed(exec, code, &output)),
            Err(error) => {
                let became = self.kill(exec, &id, &mark);
                let secrets = self.secrets_in(exec.container.0);
                let printed = secrets.map(|secrets| output.printed(&secrets)).unwrap_or_default();
                let mut error = error;
                error.message = format!("{}; {became}{printed}", error.message);
                Err(error)
            }
        }
    }

    fn make_exec(&self, exec: Exec<'_>, mark: Option<&str>) -> Result<String> {
        let body = json!({
            "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false,
            "Cmd": ["sh", "-c", exec.script], "Env": mark.into_iter().collect::<Vec<_>>(),
            "User": exec.user.unwrap_or_default(),
        });
        let route = format!("/containers/{}/exec", exec.container.0);
        let until = Instant::now() + ASKED_WITHIN;
        let answer = self.call_until(&Method::POST, &route, Some(&body), until)?;
        self.json(&answer, &format!("POST {route}")).map(|Made { id }| id)
    }

    /// Begins a command, and takes what it prints. The inner error is that of an engine that refused to
    /// begin it.
    fn stream_exec(&self, id: &str, output: &mut Output<'_>) -> Result<Result<()>> {
        let route = format!("/exec/{id}/start");
        let path = format!("/v{}{route}", self.version_until(Instant::now() + ASKED_WITHIN)?);
        let method = &Method::POST;
        let named = || format!("{method} {route}");
        let body = json!({ "Detach": false, "Tty": false });
        let streamed = async {
            let request = Self::request(method, &path, Some(&body))?;
            unix_http::stream(&self.socket, request, CONNECT_TIME, output).await
        };
        let answered = blocking::wait(streamed)?
            .map_err(|failure| failure::error_of(&failure, &self.socket).with_request(named()))??;
        Ok(self.judged(answered, method, &route).map(drop))
    }

    /// The exit code of a command whose output has ended.
    fn end_of(&self, exec: Exec<'_>, id: &str) -> Result<i64> {
        let since = Instant::now();
        loop {
            let told = self.told(id).map_err(|error| exec.unknown_end(error))?;
            match told {
                Told { running: false, exit_code: Some(code) } => return Ok(code),
                _ if since.elapsed() >= NOTED_WITHIN => return Err(exec.cut_off()),
                _ => thread::sleep(LOOK),
            }
        }
    }

    fn told(&self, id: &str) -> Result<Told> {
        self.get(&format!("/exec/{id}/json"), Instant::now() + ASKED_WITHIN)
    }

    /// Kills what a command started, and tells what became of it.
    fn kill(&self, exec: Exec<'_>, id: &str, mark: &str) -> String {
        // Before it begins, it does not run either.
        let has_ended =
            || self.told(id).is_ok_and(|told| !told.running && told.exit_code.is_some());
        if has_ended() {
            return "it has ended".into();
        }
        let script = format!(
            "for process in /proc/[0-9]*; do if grep -q {mark} \"$process/environ\" 2>/dev/null; then kill -9 \"${{process#/proc/}}\"; fi; done"
        );
        let limit = Limit::Whole(KILLED_WITHIN);
        let killer = Exec { script: &script, limit, ..exec };
        // Twice: what was just being started has the mark as well.
        for _ in 0..2 {
            let mut output = Output::new(killer, &|| false, None);
            let made = self.make_exec(killer, None);
            _ = made.and_then(|id| self.stream_exec(&id, &mut output));
        }
        let since = Instant::now();
        while since.elapsed() < KILLED_WITHIN {
            if has_ended() {
                return "it was killed".into();
            }
            thread::sleep(LOOK);
        }
        format!(
            "it may still run in the container, and could not be killed: see \"docker top {}\"",
            exec.container.1
        )
    }

    fn failed(&self, exec: Exec<'_>, code: i64, output: &Output<'_>) -> Error {
        let secrets = self.secrets_in(exec.container.0);
        // Where that can't be told, it is not shown.
        let Some(secrets) = secrets else {
            let message = format!(
                "{exec} failed (exit code {code}); what it printed is not shown, because Docker does not tell which of it is secret"
            );
            return Error::new(ErrorKind::Io, message)
                .with_hint(format!("try it by hand: docker exec {} sh -c '..'", exec.container.1));
        };
        let mut printed = output.printed(&secrets);
        if NOT_RUN.contains(&code) && printed.is_empty() {
            let beginning = output.beginning.as_ref().map(|begun| begun.told(&secrets));
            printed = beginning.map(|told| format!(": {told}")).unwrap_or_default();
        }
        let message = format!("{exec} failed (exit code {code}){printed}");
        let error = Error::new(ErrorKind::Io, message);
        if NOT_RUN.contains(&code) {
            return error.with_hint(
                "a program is missing in the container, or may not be run: try it with \"docker exec\"; commands need a shell (sh) there",
            );
        }
        error.with_hint(format!("try it by hand: docker exec {} sh -c '..'", exec.container.1))
    }

    /// The secrets among a container's variables: what is printed may have them. `None` if Docker does
    /// not tell.
    fn secrets_in(&self, container: &str) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            config: Config,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Config {
            #[serde(default)]
            env: Option<Vec<String>>,
        }
        let route = format!("/containers/{container}/json");
        let inspected = self.get::<Inspected>(&route, Instant::now() + ASKED_WITHIN);
        let environment = inspected.ok()?.config.env.unwrap_or_default();
        Some(secrets_of(&environment))
    }
}

impl std::fmt::Display for Exec<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "container \"{}\": {}", self.container.1, self.what)
    }
}

impl Exec<'_> {
    fn not_run(self, error: Error) -> Error {
        let hint = match error.status {
            Some(403) => error.hint.clone(),
            _ if error.kind == ErrorKind::NotFound => {
                Some("the container is gone, or was made anew: try again".into())
            }
            Some(409) => Some("the container is paused, restarts, or has just ended".into()),
            _ => error.hint.clone(),
        };
        Error { hint, ..error }.context(format!("{self} can't be run"))
    }

    fn cut_off(self) -> Error {
        let message = format!("{self}: its output was cut off before it ended");
        Error::new(ErrorKind::Io, message)
            .with_hint("was Docker restarted, or does a proxy before its socket end long answers?")
    }

    fn unknown_end(self, error: Error) -> Error {
        error.context(format!("{self}: it is not known how it ended"))
    }

    fn timed_out(self) -> Error {
        let (what, limit) = match self.limit {
            Limit::Whole(limit) => ("did not end", limit),
            Limit::Silent(limit) => ("printed nothing", limit),
        };
        let within = crate::units::format_duration(limit);
        Error::new(ErrorKind::Io, format!("{self} {what} within {within}")).with_hint(
            "find out what it waits for (a lock, a question), or raise the label convoy-backups.exec-timeout",
        )
    }
}

/// What a command prints, while it arrives.
struct Output<'a> {
    exec: Exec<'a>,
    stopped: &'a dyn Fn() -> bool,
    sink: Option<Sink<'a>>,
    frames: Frames,
    tail: Tail,
    /// What a sink got, if that is not more than [`BEGINNING`].
    beginning: Option<Tail>,
    begun: Instant,
}

impl<'a> Output<'a> {
    fn new(exec: Exec<'a>, stopped: &'a dyn Fn() -> bool, sink: Option<Sink<'a>>) -> Self {
        let (frames, tail, begun) = (Frames::default(), Tail::default(), Instant::now());
        Self { exec, stopped, sink, frames, tail, beginning: Some(Tail::default()), begun }
    }

    /// The last lines that were printed, to be added to a sentence.
    fn printed(&self, secrets: &[String]) -> String {
        let told = self.tail.told(secrets);
        if told.is_empty() { told } else { format!(": {told}") }
    }

    /// Whether it may go on.
    fn goes_on(&self, silent: Duration) -> Result<()> {
        if (self.stopped)() {
            return Err(Error::new(
                ErrorKind::Cancelled,
                format!("{}: the run was cancelled", self.exec),
            ));
        }
        let is_over = match self.exec.limit {
            Limit::Whole(limit) => self.begun.elapsed() >= limit,
            Limit::Silent(limit) => silent >= limit,
        };
        if is_over { Err(self.exec.timed_out()) } else { Ok(()) }
    }
}

impl Receiver for Output<'_> {
    type Stop = Error;

    fn piece(&mut self, piece: &[u8]) -> Result<()> {
        self.goes_on(Duration::ZERO)?;
        let Self { frames, tail, beginning, sink, exec, .. } = self;
        let odd = |why: String| {
            let message = format!("{exec}: Docker's answer makes no sense: {why}");
            Error::new(ErrorKind::Protocol, message)
        };
        frames.read(piece, odd, |stream, part| match (stream, sink.as_mut()) {
            (Stream::Out, Some(sink)) => {
                if let Some(begun) = beginning {
                    begun.add(part);
                }
                beginning.take_if(|begun| begun.len() > BEGINNING);
                sink(part)
            }
            (Stream::Out, None) | (Stream::Error, _) => {
                tail.add(part);
                Ok(())
            }
        })
    }

    fn waited(&mut self, silent: Duration) -> Result<()> {
        self.goes_on(silent)
    }
}
