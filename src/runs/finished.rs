//! A run that ended, and the record of its end.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::record::{Deleted, Output, RunRecord};
use crate::{
    convoy::{BackupUrl, Destination, dry_run::Step, guards::Observation},
    diagnostic,
    error::{ErrorKind, Result},
    run_words::RunStatus,
    script::{Effect, Failure, Outcome},
};

/// The longest result of a read-only script that is recorded, in bytes of JSON.
const LONGEST_LIST: usize = 16 << 10;
/// How many of the things that a failed run deleted its error names.
const MOST_NAMED: usize = 3;
/// The reason of a run that the end of the program interrupted.
pub(super) const INTERRUPTED_BY_SERVE: &str = "serve was ended";

/// A run that ended.
#[derive(Debug)]
pub(crate) struct FinishedRun {
    /// Ids sort by time.
    pub(crate) id: String,
    pub(crate) script: String,
    pub(crate) status: RunStatus,
    /// The value that the script returned, or the error that ended it.
    pub(crate) result: Result<Value>,
    /// The failures that did not end the run.
    pub(crate) failures: Vec<Failure>,
    /// In a dry run: the steps that were not done, in order.
    pub(crate) plan: Option<Vec<Step>>,
    pub(crate) started: Timestamp,
    pub(crate) took: Duration,
    /// Whether the run is in the store.
    pub(crate) recorded: bool,
    /// `false` where the run was cancelled in the queue.
    pub(crate) began: bool,
    /// Whether the script only reads.
    pub(crate) read_only: bool,
    /// The effects that the script declares in `DOES`.
    pub(crate) does: Vec<Effect>,
    /// Whether the script has a parameter `volume`, which stands for every volume if left out.
    pub(crate) takes_volume: bool,
    /// The volumes that the run backed up to the configured destination, each backup proven good.
    /// Empty in a dry run.
    pub(crate) backed_up: BTreeSet<String>,
    /// What the run deleted, in order. Empty in a dry run.
    pub(crate) deleted: Vec<Deleted>,
}

impl FinishedRun {
    /// The end of a run that began. The caller sets the fields that depend on more than the script.
    pub(super) fn new(
        record: &RunRecord,
        outcome: Result<Outcome>,
        plan: Option<Vec<Step>>,
        took: Duration,
    ) -> Self {
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
        Self {
            id,
            script,
            status,
            result,
            failures,
            plan,
            started,
            took,
            recorded: false,
            began: true,
            read_only: false,
            does: Vec::new(),
            takes_volume: false,
            backed_up: BTreeSet::new(),
            deleted: Vec::new(),
        }
    }

    /// Adds to the error that ended the run what the run had deleted before.
    pub(super) fn explain_deletions(&mut self) {
        let Err(error) = &mut self.result else { return };
        let first = self.deleted.iter().take(MOST_NAMED);
        let mut named: Vec<_> =
            first.map(|it| format!("the {} \"{}\"", it.what.as_str(), it.name)).collect();
        match self.deleted.len().saturating_sub(MOST_NAMED) {
            0 if named.is_empty() => return,
            0 => {}
            more => named.push(format!("{more} more (\"convoy-backups runs show {}\")", self.id)),
        }
        error.message += &format!("; deleted before that: {}", named.join(", "));
    }

    /// The process's exit code: 0 for done, 3 for partial, else the error's, 1 without an error.
    pub(crate) fn exit_code(&self) -> u8 {
        match (self.status, &self.result) {
            (RunStatus::Done, _) => 0,
            (RunStatus::Partial, _) => 3,
            (_, Err(error)) => error.exit_code(),
            // Every volume failed. If all failed at a busy lock, the code still says "try later".
            (_, Ok(_))
                if self.failures.iter().all(|failure| failure.code == ErrorKind::Busy.code()) =>
            {
                75
            }
            (_, Ok(_)) => 1,
        }
    }
}

/// The volumes that a run made good backups of, at one destination.
pub(super) fn backed_up(
    observed: &[Observation],
    destination: Option<&Destination>,
) -> BTreeSet<String> {
    let is_there = |url: &str| {
        BackupUrl::parse(url)
            .is_ok_and(|url| Some(url.destination().key()) == destination.map(Destination::key))
    };
    let is_in_doubt = |url: &str| {
        let is_it = |observation: &Observation| {
            matches!(
                observation,
                Observation::BackupInDoubt { url: there, .. } | Observation::BackupPartial { url: there, .. } if there == url
            )
        };
        observed.iter().any(is_it)
    };
    let made = observed.iter().filter_map(|observation| match observation {
        Observation::BackupGood { volume, url, made: true, .. }
            if is_there(url) && !is_in_doubt(url) =>
        {
            Some(volume.clone())
        }
        _ => None,
    });
    made.collect()
}

/// The record of a run that ended, with what the guards saw.
pub(super) fn ended_record(
    record: RunRecord,
    finished: &FinishedRun,
    observed: &[Observation],
    ended: Timestamp,
) -> RunRecord {
    let failed: BTreeSet<&str> =
        finished.failures.iter().map(|failure| failure.volume.as_str()).collect();
    let worked_on: BTreeSet<&str> = observed.iter().filter_map(Observation::worked_on).collect();
    // A dry run does nothing to a volume.
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
        reason: (finished.status == RunStatus::Interrupted)
            .then(|| INTERRUPTED_BY_SERVE.to_owned()),
        error: finished.result.as_ref().err().map(diagnostic::to_json),
        failures: finished.failures.clone(),
        ..record
    }
}

/// The recorded output of a run. The result of a read-only script matters to its caller alone, so
/// only a short one is recorded.
pub(super) fn output(finished: &FinishedRun, is_read_only: bool) -> Output {
    let is_list = is_read_only && finished.plan.is_none();
    let result = finished.result.as_ref().ok().map(|result| {
        let is_long = is_list && room_left(result, LONGEST_LIST).is_none();
        if is_long { json!({ "NotKept": "it was too long" }) } else { result.clone() }
    });
    Output {
        result,
        plan: finished.plan.as_ref().and_then(|plan| serde_json::to_value(plan).ok()),
        deleted: finished.deleted.clone(),
    }
}

/// Subtracts the length of a value's JSON from `bytes`, roughly. `None`: the value is longer.
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
