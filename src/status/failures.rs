//! Which runs failed and have not succeeded since, and which go on, by the store of runs.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::volume::VolumeStatus;
use crate::{
    error::{Error, ErrorKind},
    run_words::{RunStatus, Trigger},
    runs::{
        Store,
        record::{self, Filter, RunRecord},
    },
    script::Effect,
};

/// The number of last runs that are searched for failures of a whole run.
const RUNS_SEARCHED: usize = 200;
/// The number of a volume's last runs that are searched for a failure.
const RUNS_OF_VOLUME_SEARCHED: usize = 20;

/// The last failure of this volume after `since`, unless the same script succeeded with it later.
pub(super) fn last_failure(
    store: &Store,
    volume: &str,
    since: Option<Timestamp>,
) -> Option<String> {
    let filter = Filter {
        volume: Some(volume.to_owned()),
        without_read_only: true,
        limit: Some(RUNS_OF_VOLUME_SEARCHED),
        ..Filter::default()
    };
    let mut seen = BTreeSet::new();
    for run in store.list(&filter).unwrap_or_default() {
        if run.dry_run
            || run.ended.is_none()
            || run.status == RunStatus::Skipped
            || !seen.insert(run.script.clone())
            || since.is_some_and(|at| run.started < at)
        {
            continue;
        }
        if let Some(failure) = run.failures.iter().find(|failure| failure.volume == volume) {
            return Some(failed(&run, &failure.message));
        }
        if run.trigger == Trigger::Cron
            && let Some(message) = error_text(&run, "message")
        {
            return Some(failed(&run, message));
        }
    }
    None
}

/// The runs that failed as a whole and have not succeeded since with the same arguments, a sentence
/// each.
pub(super) fn failed_runs(store: &Store, volumes: &[VolumeStatus]) -> Vec<String> {
    let filter =
        Filter { without_read_only: true, limit: Some(RUNS_SEARCHED), ..Filter::default() };
    let mut seen = BTreeSet::new();
    let mut failed_runs = Vec::new();
    for run in store.list(&filter).unwrap_or_default() {
        if !counts(&run)
            || has_no_outcome(&run)
            || !seen.insert(same_work(&run))
            || is_over(&run, volumes)
            || was_a_mistyped_command(&run)
        {
            continue;
        }
        if run.status == RunStatus::Interrupted {
            let why = run.reason.as_deref().unwrap_or("its process is gone");
            failed_runs.push(failed(&run, &format!("it was interrupted, {why}")));
        } else if run.error.is_some() {
            failed_runs.push(failed(&run, error_text(&run, "message").unwrap_or_default()));
        }
    }
    failed_runs
}

/// A command that a person got wrong does not count, unless it was to make or keep backups.
fn counts(run: &RunRecord) -> bool {
    let makes_or_keeps =
        |does: &Effect| matches!(does, Effect::Snapshot | Effect::Backup | Effect::Prune);
    run.trigger == Trigger::Cron || run.does.iter().any(makes_or_keeps)
}

/// Whether a run says nothing about a failure before it. A run that goes on has no outcome yet, a
/// skipped or cancelled run does not disprove the failure, and a dry run changed nothing.
fn has_no_outcome(run: &RunRecord) -> bool {
    run.dry_run
        || matches!(
            run.status,
            RunStatus::Waiting | RunStatus::Running | RunStatus::Skipped | RunStatus::Cancelled
        )
}

/// A later good backup of the volume makes up for its failed backup. The volume's removal does too,
/// unless the crontab started the run.
fn is_over(run: &RunRecord, volumes: &[VolumeStatus]) -> bool {
    let Some(volume) = run.arguments.get("volume").and_then(Value::as_str) else { return false };
    match volumes.iter().find(|known| known.name == volume) {
        Some(known) => {
            let made = known.last_backup.as_ref().map(|backup| backup.made);
            run.does.contains(&Effect::Backup) && made.is_some_and(|made| made > run.started)
        }
        // The volume was removed since. If no volume is known, the daemon did not answer.
        None => run.trigger != Trigger::Cron && !volumes.is_empty(),
    }
}

/// The person who typed the command saw at once what is wrong with it.
fn was_a_mistyped_command(run: &RunRecord) -> bool {
    run.trigger != Trigger::Cron
        && matches!(error_text(run, "code"), Some("usage" | "not_found" | "guard"))
}

fn error_text<'a>(run: &'a RunRecord, field: &str) -> Option<&'a str> {
    run.error.as_ref()?.get(field)?.as_str()
}

/// Equal for two runs of which the newer replaces the older. A backup replaces another of the same
/// volumes, with or without a fresh snapshot.
fn same_work(run: &RunRecord) -> (String, Vec<String>) {
    let mut arguments = run.arguments.clone();
    if run.does.contains(&Effect::Backup) {
        arguments.remove("create_snapshot");
    }
    (run.script.clone(), record::words(&arguments))
}

fn failed(run: &RunRecord, message: &str) -> String {
    format!("{} failed: {message} (convoy-backups runs show {})", run.script, run.id)
}

/// Whether this error of the daemon says no more than that it is at work. Convoy answers no reads
/// while it writes.
pub(super) fn is_at_work(store: &Store, error: &Error) -> bool {
    match error.kind {
        ErrorKind::Busy => true,
        ErrorKind::Timeout => running(store).iter().any(|run| !run.dry_run),
        _ => false,
    }
}

/// The runs that go on or wait now, the newest first.
pub(super) fn running(store: &Store) -> Vec<RunRecord> {
    let list = |status| {
        store.list(&Filter { status: Some(status), ..Filter::default() }).unwrap_or_default()
    };
    let mut open = list(RunStatus::Waiting);
    open.extend(list(RunStatus::Running));
    open.sort_by(|one, other| other.id.cmp(&one.id));
    open
}
