//! The one door through which every run goes, whoever starts it: guards, dry run, deadline,
//! cancellation, outcome, record.
//!
//! [`run`] is the door; [`store`] remembers what went through it, [`record`] says what that is, and
//! `recording` writes it down while it happens.

mod alive;
mod host;
mod id;
pub(crate) mod record;
mod recording;
mod schema;
pub(crate) mod since;
pub(crate) mod store;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    convoy::{
        BackupUrl, Daemon, Destination,
        dry_run::{DryRun, Step},
        guards::{Guards, Observation},
    },
    diagnostic,
    error::{Error, ErrorKind, Result},
    locks::Locks,
    run_words::{RunStatus, Trigger},
    scope::{self, Scope},
    script::{
        self, Arguments, Effect, Failure, Host, Listener, MessageSink, Outcome, RunInfo, Script,
        Settings, Speaker,
    },
    text::command_line,
};
pub(crate) use record::Entry;
use record::{Output, RunRecord};
pub(crate) use recording::Recorder;
use recording::Recording;
pub(crate) use store::{Begun, EntryEvent, Store};
use turns::Place;
pub(crate) use turns::Turns;

/// A longer list is not kept, in bytes of JSON.
const LONGEST_LIST: usize = 16 << 10;
/// Why a run did not get to its end, where the program ended first.
const CUT_OFF: &str = "serve was ended";

/// What all runs of one process share.
#[derive(Clone)]
pub(crate) struct Door {
    /// The daemon, unguarded: no one but the guards gets it from here.
    pub(crate) daemon: Arc<dyn Daemon>,
    /// The folder of the lock files.
    pub(crate) lock_folder: PathBuf,
    /// How long a run waits for a lock.
    pub(crate) lock_wait: Duration,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The configuration that scripts see.
    pub(crate) settings: Arc<Settings>,
    /// Hears what scripts say.
    pub(crate) listener: Arc<dyn Listener>,
    /// Takes what scripts want people to know.
    pub(crate) message_sink: Arc<dyn MessageSink>,
    /// Where runs are written down; nowhere where there is none.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// How many runs that change something there are at a time; any number where there is none.
    pub(crate) turns: Option<Arc<Turns>>,
    /// How many that only read, or are dry; any number where there is none.
    pub(crate) readers: Option<Arc<Turns>>,
    /// Cancelled where the program that all these runs are a part of is told to end. A run that is
    /// cancelled then was cut off, and is remembered as interrupted, not as cancelled.
    pub(crate) ending: CancellationToken,
}

impl Door {
    /// Which daemon and destination its runs work with, in one spelling.
    pub(crate) fn place(&self) -> String {
        format!(
            "{} {}",
            self.daemon.identity(),
            self.settings.destination.as_ref().map(Destination::key).unwrap_or_default()
        )
    }
}

/// What to run.
pub(crate) struct Request {
    /// The script.
    pub(crate) script: Script,
    /// Its arguments, checked.
    pub(crate) arguments: Arguments,
    /// Who asks.
    pub(crate) trigger: Trigger,
    /// The crontab's entry, where one asks.
    pub(crate) entry: Option<Entry>,
    /// Read for real, write nothing.
    pub(crate) dry_run: bool,
    /// How long it may take.
    pub(crate) timeout: Duration,
}

/// A run that came to its end.
#[derive(Debug)]
pub(crate) struct Finished {
    /// The run's id; ids sort by time.
    pub(crate) id: String,
    /// The script's name.
    pub(crate) script: String,
    /// How it ended.
    pub(crate) status: RunStatus,
    /// What the script returned; `Err` where it did not come to its end.
    pub(crate) result: Result<Value>,
    /// What failed on the way without ending it.
    pub(crate) failures: Vec<Failure>,
    /// In a dry run: what would have been done, in order.
    pub(crate) plan: Option<Vec<Step>>,
    /// When it began.
    pub(crate) started: Timestamp,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether the store remembers it.
    pub(crate) recorded: bool,
    /// Whether its turn came: else it was cancelled before.
    pub(crate) has_begun: bool,
    /// Whether its script only reads.
    pub(crate) read_only: bool,
    /// What its script says that it does.
    pub(crate) does: Vec<Effect>,
    /// The volumes that it backed up to the configured destination, each backup proven good; none
    /// in a dry run.
    pub(crate) backed_up: BTreeSet<String>,
}

impl Finished {
    /// The process's exit code: 0 done, 3 partial, else by the error, 1 where there is none.
    pub(crate) fn exit_code(&self) -> u8 {
        match (self.status, &self.result) {
            (RunStatus::Done, _) => 0,
            (RunStatus::Partial, _) => 3,
            (_, Err(error)) => error.exit_code(),
            // Every volume failed: all of them for the same busy lock is still "try later".
            (_, Ok(_))
                if self.failures.iter().all(|failure| failure.code == ErrorKind::Busy.code()) =>
            {
                75
            }
            (_, Ok(_)) => 1,
        }
    }
}

/// Runs a script to its end, when its turn has come. Once the script runs, dropping the future does
/// not end it, and it is recorded all the same; cancelling the token ends it.
pub(crate) async fn run(
    door: &Door,
    request: Request,
    cancellation: CancellationToken,
) -> Finished {
    announce(door, request, cancellation).run().await
}

/// A run that has its id, its place in the line and its record. Dropped, it is recorded as broken
/// off.
pub(crate) struct Announced {
    door: Door,
    request: Request,
    cancellation: CancellationToken,
    record: RunRecord,
    recording: Option<Recording>,
    place: Option<Place>,
}

/// Gives a run its id and its place in the line, and begins its record; [`Announced::run`] runs it.
pub(crate) fn announce(
    door: &Door,
    request: Request,
    cancellation: CancellationToken,
) -> Announced {
    let name = || {
        let now = door.clock.now();
        (id::next(now), now)
    };
    let read_only = request.dry_run || request.script.read_only;
    let ((id, started), place) = match if read_only { &door.readers } else { &door.turns } {
        Some(turns) => {
            let (named, place) = turns.place(name);
            (named, Some(place))
        }
        None => (name(), None),
    };
    let mut record = begun_record(&id, &request, started);
    if matches!(place, Some(Place::Waiting(_))) {
        record.status = RunStatus::Waiting;
    }
    let begin =
        |recorder: &Arc<Recorder>| recorder.begin(record.clone(), cancellation.clone(), !read_only);
    let recording = door.recorder.as_ref().map(begin);
    Announced { door: door.clone(), request, cancellation, record, recording, place }
}

impl Announced {
    /// The run's id; ids sort by time.
    pub(crate) fn id(&self) -> &str {
        &self.record.id
    }

    /// The door that it goes through.
    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    /// Who started it.
    pub(crate) fn trigger(&self) -> Trigger {
        self.request.trigger
    }

    /// Its arguments as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        record::words(self.request.arguments.values())
    }

    /// Whether it has to wait for its turn.
    pub(crate) fn is_waiting(&self) -> bool {
        self.record.status == RunStatus::Waiting
    }

    /// Runs it to its end, when its turn has come.
    pub(crate) async fn run(self) -> Finished {
        self.run_after(std::future::ready(())).await
    }

    /// Runs it to its end, when its turn has come and this is done: what must be remembered before
    /// the script does anything. It is not done where the program ends before the run's turn.
    pub(crate) async fn run_after(mut self, begins: impl Future<Output = ()>) -> Finished {
        let scope = Scope {
            run: self.record.id.as_str().into(),
            lines: self.recording.as_ref().map(Recording::lines),
        };
        let mut turn = None;
        if let Some(place) = self.place.take() {
            if self.is_waiting() {
                let waits = || {
                    log::info!(
                        "waiting for its turn: as many runs go on as BKUP_MAX_CONCURRENT allows"
                    )
                };
                scope::within(Some(scope.clone()), waits);
            }
            tokio::select! {
                biased;
                () = self.cancellation.cancelled() => {}
                // Nothing new is started then.
                () = self.door.ending.cancelled() => self.cancellation.cancel(),
                came = place.turn() => turn = Some(came),
            }
        }
        if self.is_waiting() {
            (self.record.status, self.record.started) = (RunStatus::Running, self.door.clock.now());
            if let Some(recording) = self.recording.as_ref().filter(|_| turn.is_some()) {
                recording.turn_came(self.record.clone());
            }
        }
        let has_begun = !self.cancellation.is_cancelled();
        // One that somebody cancelled before its turn is dealt with, too; one that the program's
        // end did is not.
        if has_begun || !self.door.ending.is_cancelled() {
            begins.await;
        }
        let finished = self.perform(scope, has_begun).await;
        drop(turn);
        finished
    }

    async fn perform(self, scope: Scope, has_begun: bool) -> Finished {
        let Self { door, request, cancellation, record, recording, .. } = self;
        let begun = Instant::now();
        let (id, script_name, started) = (record.id.clone(), record.script.clone(), record.started);
        let dry =
            request.dry_run.then(|| Arc::new(DryRun::new(door.daemon.clone(), door.clock.clone())));
        let daemon = dry.clone().map_or_else(|| door.daemon.clone(), |dry| dry as Arc<dyn Daemon>);
        let locks =
            Locks::new(&door.lock_folder, door.lock_wait, format!("\"{script_name}\", run {id}"));
        let (read_only, trigger) = (request.script.read_only, request.trigger);
        let does = request.script.does.clone();
        let guards = if read_only {
            Guards::read_only(daemon, door.clock.clone())
        } else {
            Guards::new(daemon, (!request.dry_run).then_some(locks), door.clock.clone())
        };
        let guards = Arc::new(guards.expecting_known_backups(&door.lock_folder));

        let mut host = Host::new(guards.clone(), tokio::runtime::Handle::current());
        host.cancellation = cancellation;
        // A deadline too far away for the clock is none.
        host.deadline = begun.checked_add(request.timeout);
        host.clock = door.clock.clone();
        host.settings = door.settings.clone();
        host.run = RunInfo { id: id.clone(), trigger: request.trigger, dry_run: request.dry_run };
        host.listener = door.listener.clone();
        host.message_sink = door.message_sink.clone();
        let host = Arc::new(host);
        if has_begun {
            door.message_sink.run_started(
                &Speaker { script: script_name.clone(), run: id.clone() },
                request.dry_run || read_only,
            );
        }

        let (clock, ending) = (door.clock.clone(), door.ending.clone());
        let destination = door.settings.destination.clone();
        let work = move || {
            let Request { script, arguments, .. } = request;
            let outcome = scope::within(Some(scope), || {
                let words =
                    std::iter::once(script.name.clone()).chain(record.words()).collect::<Vec<_>>();
                log::debug!(
                    "run {}: {}",
                    record.id,
                    command_line(words.iter().map(String::as_str))
                );
                script::run(&script, &arguments, host)
            });
            let mut finished =
                finished(&record, outcome, dry.map(|dry| dry.plan()), begun.elapsed());
            let observed = guards.observed();
            if !record.dry_run {
                finished.backed_up = backed_up(&observed, destination.as_ref());
            }
            let cancelled_by = recording.as_ref().and_then(Recording::cancelled_by);
            if let Err(error) = &mut finished.result
                && error.kind == ErrorKind::Cancelled
            {
                match cancelled_by {
                    Some(by) => error.message = format!("the run was cancelled by {by}"),
                    None if ending.is_cancelled() => {
                        finished.status = RunStatus::Interrupted;
                        error.message = CUT_OFF.to_owned();
                    }
                    None => {}
                }
            }
            if let Some(recording) = recording {
                let record = ended_record(record, &finished, &observed, clock.now());
                let observed = finished.plan.is_none().then(|| (guards.identity(), observed));
                // A process that goes on has time to write down what nobody looks for.
                let end = if read_only && trigger == Trigger::Http {
                    Recording::end_soon
                } else {
                    Recording::end
                };
                finished.recorded = end(recording, record, output(&finished, read_only), observed);
            }
            finished
        };
        let worked = match script::threads::run(work) {
            Ok(worked) => {
                worked.await.unwrap_or_else(|_| Err(Error::internal("the script's thread is gone")))
            }
            Err(error) => Err(error),
        };
        let lost = |error| {
            finished(
                &RunRecord::new(id, script_name, trigger, started),
                Err(error),
                None,
                begun.elapsed(),
            )
        };
        let finished = worked.unwrap_or_else(lost);
        Finished { has_begun, read_only, does, ..finished }
    }
}

/// The volumes that a run made good backups of at this destination.
fn backed_up(observed: &[Observation], destination: Option<&Destination>) -> BTreeSet<String> {
    let is_there = |url: &str| {
        BackupUrl::parse(url)
            .is_ok_and(|url| Some(url.destination().key()) == destination.map(Destination::key))
    };
    let made = observed.iter().filter_map(|observation| match observation {
        Observation::BackupGood { volume, url, made: true, .. } if is_there(url) => {
            Some(volume.clone())
        }
        _ => None,
    });
    made.collect()
}

/// What is known of a run when it begins.
fn begun_record(id: &str, request: &Request, started: Timestamp) -> RunRecord {
    RunRecord {
        digest: request.script.digest.clone(),
        origin: request.script.origin.to_string(),
        arguments: request.arguments.values().clone(),
        entry: request.entry.clone(),
        dry_run: request.dry_run,
        read_only: request.script.read_only,
        does: request.script.does.clone(),
        ..RunRecord::new(id.to_owned(), request.script.name.clone(), request.trigger, started)
    }
}

/// What came of a run; what its script can't change is left to the caller.
fn finished(
    record: &RunRecord,
    outcome: Result<Outcome>,
    plan: Option<Vec<Step>>,
    took: Duration,
) -> Finished {
    let (status, result, failures) = match outcome {
        Ok(outcome) => (outcome.status(), Ok(outcome.result), outcome.failures),
        Err(error) => {
            let status = match error.kind {
                ErrorKind::Cancelled => RunStatus::Cancelled,
                ErrorKind::DeadlineExceeded => RunStatus::TimedOut,
                _ => RunStatus::Failed,
            };
            (status, Err(error), Vec::new())
        }
    };
    let (id, script, started) = (record.id.clone(), record.script.clone(), record.started);
    Finished {
        id,
        script,
        status,
        result,
        failures,
        plan,
        started,
        took,
        recorded: false,
        has_begun: true,
        read_only: false,
        does: Vec::new(),
        backed_up: BTreeSet::new(),
    }
}

/// The record of a run that ended, with what the guards saw.
fn ended_record(
    record: RunRecord,
    finished: &Finished,
    observed: &[Observation],
    ended: Timestamp,
) -> RunRecord {
    let failed: BTreeSet<&str> =
        finished.failures.iter().map(|failure| failure.volume.as_str()).collect();
    let worked_on: BTreeSet<&str> = observed.iter().filter_map(Observation::worked_on).collect();
    // In a dry run it would have been done, and was not.
    let done = worked_on.difference(&failed).filter(|name| !name.is_empty() && !record.dry_run);
    let sizes = observed.iter().filter_map(|observation| match observation {
        Observation::BackupGood { bytes, made: true, .. } => Some(*bytes),
        _ => None,
    });
    let sizes: Vec<Option<u64>> = sizes.collect();
    RunRecord {
        volumes_done: done.map(|name| (*name).to_owned()).collect(),
        bytes: if sizes.is_empty() || record.dry_run { None } else { sizes.into_iter().sum() },
        ended: Some(ended),
        took: Some(finished.took),
        status: finished.status,
        reason: (finished.status == RunStatus::Interrupted).then(|| CUT_OFF.to_owned()),
        error: finished.result.as_ref().err().map(diagnostic::to_json),
        failures: finished.failures.clone(),
        ..record
    }
}

/// What a run returned, as it is kept. Of a list that somebody asked for, nobody misses it
/// afterwards: it is kept where it is short.
fn output(finished: &Finished, is_read_only: bool) -> Output {
    let is_list = is_read_only && finished.plan.is_none();
    let result = finished.result.as_ref().ok().map(|result| {
        let is_long = is_list && room_left(result, LONGEST_LIST).is_none();
        if is_long { json!({ "NotKept": "it was too long" }) } else { result.clone() }
    });
    Output { result, plan: finished.plan.as_ref().and_then(|plan| serde_json::to_value(plan).ok()) }
}

/// How many of so many bytes a value leaves, about; `None` where it is longer.
fn room_left(value: &Value, bytes: usize) -> Option<usize> {
    match value {
        Value::String(text) => bytes.checked_sub(text.len() + 2),
        Value::Array(values) => {
            values.iter().try_fold(bytes.checked_sub(2)?, |left, value| room_left(value, left))
        }
        Value::Object(members) => {
            members.iter().try_fold(bytes.checked_sub(2)?, |left, (name, value)| {
                room_left(value, left.checked_sub(name.len() + 4)?)
            })
        }
        _ => bytes.checked_sub(5),
    }
}
