//! Makes the report on a run's end, from which people are notified.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    clock::{Clock as _, SystemClock},
    diagnostic,
    error::Error,
    notify::RunReport,
    run_words::{RunStatus, Trigger},
    runs::{
        FinishedRun, RunEnvironment, Store,
        record::{RunRecord, VolumeRecord},
    },
    script::Script,
};

/// The number of last lines of a run's log in a report.
const LOG_TAIL_LINES: usize = 20;

/// The report of a run that has just ended. `words` are its arguments
/// ([`crate::runs::record::words`]).
pub(crate) fn of_finished(
    environment: &RunEnvironment,
    finished: &FinishedRun,
    trigger: Trigger,
    words: &[String],
) -> RunReport {
    let store = environment.recorder.as_ref().map(|recorder| recorder.store());
    let tail = store.filter(|_| finished.recorded).map(|store| log_tail(store, &finished.id));
    let report = RunReport {
        run: finished.id.clone(),
        script: finished.script.clone(),
        arguments: words.to_vec(),
        trigger,
        status: finished.status,
        dry_run: finished.plan.is_some(),
        read_only: finished.read_only,
        does: finished.does.clone(),
        takes_volume: finished.takes_volume,
        backed_up: finished.backed_up.clone(),
        daemon_and_destination: Some(environment.origin_key()),
        started: finished.started,
        took: Some(finished.took),
        error: finished.result.as_ref().err().cloned(),
        failures: finished.failures.clone(),
        last_good: Vec::new(),
        log_tail: tail.unwrap_or_default(),
    };
    with_last_good(report, store.map(Arc::as_ref), Some(&environment.daemon.identity()))
}

/// Adds the newest good backups of the volumes that failed: readers of a failure ask for them
/// first. `daemon`: the daemon of the volumes, if it is known.
fn with_last_good(mut report: RunReport, store: Option<&Store>, daemon: Option<&str>) -> RunReport {
    let volumes: Vec<String> = report.volumes_at_fault().into_iter().map(str::to_owned).collect();
    let Some(store) = store.filter(|_| report.status.is_failure() && !volumes.is_empty()) else {
        return report;
    };
    let Ok(records) = store.volumes() else { return report };
    let newest = |volume: &String| {
        let same = |record: &&VolumeRecord| {
            record.name == *volume && daemon.is_none_or(|known| known == record.daemon)
        };
        let good = records.iter().filter(same).filter_map(|record| record.good_backups.first());
        good.max_by_key(|good| good.proven).map(|good| (good.proven, good.url.clone()))
    };
    report.last_good = volumes.iter().map(|volume| (volume.clone(), newest(volume))).collect();
    report
}

/// The report of a run that never began, because there is no daemon to work with.
pub(crate) fn of_unstarted(
    script: &Script,
    words: &[String],
    dry_run: bool,
    error: &Error,
) -> RunReport {
    RunReport {
        run: String::new(),
        script: script.name.clone(),
        arguments: words.to_vec(),
        trigger: Trigger::Cli,
        status: RunStatus::Failed,
        dry_run,
        read_only: script.read_only,
        does: script.does.clone(),
        takes_volume: false,
        backed_up: BTreeSet::new(),
        daemon_and_destination: None,
        started: SystemClock.now(),
        took: None,
        error: Some(error.clone()),
        failures: Vec::new(),
        last_good: Vec::new(),
        log_tail: Vec::new(),
    }
}

/// The report of a run of another process, such as an interrupted one.
pub(crate) fn of_record(store: &Store, run: &RunRecord) -> RunReport {
    let report = RunReport {
        run: run.id.clone(),
        script: run.script.clone(),
        arguments: run.words(),
        trigger: run.trigger,
        status: run.status,
        dry_run: run.dry_run,
        read_only: run.read_only,
        does: run.does.clone(),
        takes_volume: false,
        backed_up: BTreeSet::new(),
        daemon_and_destination: None,
        started: run.started,
        took: run.took,
        error: run.error.as_ref().map(diagnostic::from_json),
        failures: run.failures.clone(),
        last_good: Vec::new(),
        log_tail: log_tail(store, &run.id),
    };
    with_last_good(report, Some(store), None)
}

/// The last lines of a run's log, as people read them.
fn log_tail(store: &Store, run: &str) -> Vec<String> {
    let lines = store.last_lines(run, LOG_TAIL_LINES).unwrap_or_default();
    lines
        .iter()
        .map(|line| format!("{} {:<5} {}", line.time.strftime("%H:%M:%SZ"), line.level, line.text))
        .collect()
}
