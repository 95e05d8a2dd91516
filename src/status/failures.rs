//! What failed with volumes, and which runs go on, by the store of runs.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::known::VolumeStatus;
use crate::{
    run_words::{RunStatus, Trigger},
    runs::{
        Store,
        record::{self, Filter, RunRecord},
    },
    script::Effect,
};

/// So many of the last runs are looked at for what failed as a whole.
const LAST_RUNS: usize = 200;
/// So many of a volume's last runs are looked at for what failed.
const RUNS: usize = 20;

/// What failed last with this volume, if that was after `since` and the same went well never since.
pub(super) fn last_failure(
    store: &Store,
    volume: &str,
    since: Option<Timestamp>,
) -> Option<String> {
    let filter = Filter {
        volume: Some(volume.to_owned()),
        without_looks: true,
        limit: Some(RUNS),
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
        if let Some(message) =
            run.error.as_ref().and_then(|error| error.get("message")).and_then(|text| text.as_str())
            && run.trigger == Trigger::Cron
        {
            return Some(failed(&run, message));
        }
    }
    None
}

/// The runs that failed as a whole, and never went well since with the same arguments: a sentence
/// each. What a person tried by hand and got wrong does not count, unless it was to make or keep
/// backups; nor does a backup of one volume that has a good one since, or is not there any more.
pub(crate) fn failed_runs(store: &Store, volumes: &[VolumeStatus]) -> Vec<String> {
    let is_over = |run: &RunRecord| {
        let Some(volume) = run.arguments.get("volume").and_then(|volume| volume.as_str()) else {
            return false;
        };
        match volumes.iter().find(|known| known.name == volume) {
            Some(known) => {
                let made = known.backup.as_ref().map(|backup| backup.made);
                run.does.contains(&Effect::Backup) && made.is_some_and(|made| made > run.started)
            }
            // Somebody removed it since. Where no volume is known, the daemon did not answer.
            None => run.trigger != Trigger::Cron && !volumes.is_empty(),
        }
    };
    let filter = Filter { without_looks: true, limit: Some(LAST_RUNS), ..Filter::default() };
    let mut seen = BTreeSet::new();
    let mut failed_runs = Vec::new();
    for run in store.list(&filter).unwrap_or_default() {
        let counts = run.trigger == Trigger::Cron
            || [Effect::Snapshot, Effect::Backup, Effect::Prune]
                .iter()
                .any(|wanted| run.does.contains(wanted));
        // One that goes on says nothing yet; one that was skipped or cancelled takes nothing back.
        let is_open = matches!(
            run.status,
            RunStatus::Waiting | RunStatus::Running | RunStatus::Skipped | RunStatus::Cancelled
        );
        if !counts || run.dry_run || is_open || !seen.insert(same_work(&run)) || is_over(&run) {
            continue;
        }
        let code =
            run.error.as_ref().and_then(|error| error.get("code")).and_then(|code| code.as_str());
        // Whoever typed it was told at once that there is no such thing.
        if run.trigger != Trigger::Cron && matches!(code, Some("usage" | "not_found" | "guard")) {
            continue;
        }
        match (&run.error, run.status) {
            (_, RunStatus::Interrupted) => {
                let why = run.reason.as_deref().unwrap_or("its process is gone");
                failed_runs.push(failed(&run, &format!("it was interrupted, {why}")));
            }
            (Some(error), _) => {
                failed_runs.push(failed(
                    &run,
                    error.get("message").and_then(|text| text.as_str()).unwrap_or_default(),
                ));
            }
            (None, _) => {}
        }
    }
    failed_runs
}

/// What two runs have in common where the newer one says how it stands with the older one, too: to
/// take a fresh snapshot or not makes no other backup.
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

/// The runs that go on now, the newest first.
pub(crate) fn running(store: &Store) -> Vec<RunRecord> {
    let list = |status| {
        store.list(&Filter { status: Some(status), ..Filter::default() }).unwrap_or_default()
    };
    let mut open = list(RunStatus::Waiting);
    open.extend(list(RunStatus::Running));
    open.sort_by(|one, other| other.id.cmp(&one.id));
    open
}
