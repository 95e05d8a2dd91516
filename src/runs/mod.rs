//! The one door through which every run goes, whoever starts it: guards, dry run, deadline, cancellation, outcome.

mod id;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    convoy::{
        Daemon,
        dry_run::{DryRun, Step},
        guards::Guards,
    },
    error::{Error, ErrorKind, Result},
    locks::Locks,
    script::{self, Arguments, Failure, Host, Listener, Notifier, Outcome, RunInfo, Script, Settings, Speaker},
};

/// Who started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The command line.
    Cli,
    /// A crontab entry.
    Cron,
    /// An HTTP request.
    Http,
}

impl Trigger {
    /// The word for it in scripts, logs and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Cron => "cron",
            Self::Http => "http",
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All of it went well.
    Done,
    /// Some of it failed, the rest went well.
    Partial,
    /// It failed.
    Failed,
    /// Someone ended it.
    Cancelled,
    /// Its deadline passed.
    TimedOut,
}

/// What all runs of one process share.
pub struct Door {
    /// The daemon, unguarded: no one but the guards gets it from here.
    pub daemon: Arc<dyn Daemon>,
    /// The folder of the lock files.
    pub lock_folder: PathBuf,
    /// How long a run waits for a lock.
    pub lock_wait: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The configuration that scripts see.
    pub settings: Settings,
    /// Hears what scripts say.
    pub listener: Arc<dyn Listener>,
    /// Takes what scripts want people to know.
    pub notifier: Arc<dyn Notifier>,
}

/// What to run.
pub struct Request {
    /// The script.
    pub script: Script,
    /// Its arguments, checked.
    pub arguments: Arguments,
    /// Who asks.
    pub trigger: Trigger,
    /// Read for real, write nothing.
    pub dry_run: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Finished {
    /// The run's id; ids sort by time.
    pub id: String,
    /// The script's name.
    pub script: String,
    /// How it ended.
    pub status: Status,
    /// What the script returned; `Err` where it did not come to its end.
    pub result: Result<Value>,
    /// What failed on the way without ending it.
    pub failures: Vec<Failure>,
    /// In a dry run: what would have been done, in order.
    pub plan: Option<Vec<Step>>,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub took: Duration,
}

impl Finished {
    /// The process's exit code: 0 done, 3 partial, else by the error, 1 where there is none.
    pub fn exit_code(&self) -> u8 {
        match (self.status, &self.result) {
            (Status::Done, _) => 0,
            (Status::Partial, _) => 3,
            (_, Err(error)) => error.exit_code(),
            // Every volume failed: all of them for the same busy lock is still "try later".
            (_, Ok(_)) if self.failures.iter().all(|failure| failure.code == ErrorKind::Busy.code()) => 75,
            (_, Ok(_)) => 1,
        }
    }
}

/// Runs a script to its end. Dropping the future does not end the script; cancelling the token does.
pub async fn run(door: &Door, request: Request, cancellation: CancellationToken) -> Finished {
    let started = door.clock.now();
    let begun = Instant::now();
    let id = id::next(started);
    let script_name = request.script.name.clone();
    let dry = request.dry_run.then(|| Arc::new(DryRun::new(door.daemon.clone(), door.clock.clone())));
    let daemon = dry.clone().map_or_else(|| door.daemon.clone(), |dry| dry as Arc<dyn Daemon>);
    let locks = Locks::new(&door.lock_folder, door.lock_wait, format!("\"{script_name}\", run {id}"));
    let guards = Guards::new(daemon, (!request.dry_run).then_some(locks), door.clock.clone());

    let mut host = Host::new(Arc::new(guards), tokio::runtime::Handle::current());
    host.cancellation = cancellation;
    // A deadline too far away for the clock is none.
    host.deadline = begun.checked_add(request.timeout);
    host.clock = door.clock.clone();
    host.settings = door.settings.clone();
    host.run = RunInfo { id: id.clone(), trigger: request.trigger.as_str().into(), dry_run: request.dry_run };
    host.listener = door.listener.clone();
    host.notifier = door.notifier.clone();

    log::debug!("run {id}: \"{script_name}\" with {:?}", request.arguments.values());
    door.notifier.run_started(&Speaker { script: script_name.clone(), run: id.clone() }, request.dry_run);
    let host = Arc::new(host);
    let Request { script, arguments, .. } = request;
    let outcome = tokio::task::spawn_blocking(move || script::run(&script, &arguments, host)).await;
    let outcome = outcome.unwrap_or_else(|panic| Err(Error::internal(format!("the script's host failed: {panic}"))));
    let (status, result, failures) = match outcome {
        Ok(outcome) => (status(&outcome), Ok(outcome.result), outcome.failures),
        Err(error) => {
            let status = match error.kind {
                ErrorKind::Cancelled => Status::Cancelled,
                ErrorKind::DeadlineExceeded => Status::TimedOut,
                _ => Status::Failed,
            };
            (status, Err(error), Vec::new())
        }
    };
    let plan = dry.map(|dry| dry.plan());
    Finished { id, script: script_name, status, result, failures, plan, started, took: begun.elapsed() }
}

fn status(outcome: &Outcome) -> Status {
    match outcome.status() {
        script::Status::Done => Status::Done,
        script::Status::Partial => Status::Partial,
        script::Status::Failed => Status::Failed,
    }
}
