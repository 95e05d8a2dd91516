//! Runs and the people who are told of them.

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock as _, SystemClock},
    diagnostic,
    error::Error,
    notify::{RunReport, Teller},
    runs::{
        self, Door, Finished, Request, Status, Store, Trigger,
        record::{self, RunRecord, VolumeRecord},
    },
    script::{Library, Script},
};

/// How many lines of a run's log are told with it.
const LOG_TAIL: usize = 20;

/// Runs a script, and puts what people are to be told of it into the outbox. Where `ending` says so, a run that was cancelled was
/// cut off by the end of the program, of which people are told.
pub async fn run_and_tell(
    door: &Door,
    request: Request,
    teller: &Teller,
    cancellation: CancellationToken,
    ending: impl Fn() -> bool,
) -> Finished {
    let (trigger, words) = (request.trigger, record::words(request.arguments.values()));
    let finished = runs::run(door, request, cancellation).await;
    let mut report = report(door, &finished, trigger, &words);
    if finished.status == Status::Cancelled && ending() {
        (report.status, report.is_bad) = (Status::Interrupted.as_str().to_owned(), true);
    }
    teller.run_ended(&report);
    finished
}

/// The report of a run that has just ended; `words` are its arguments ([`record::words`]).
pub fn report(door: &Door, finished: &Finished, trigger: Trigger, words: &[String]) -> RunReport {
    let tail = door.store.as_ref().filter(|_| finished.recorded).map(|store| log_tail(store, &finished.id));
    let report = RunReport {
        run: finished.id.clone(),
        script: finished.script.clone(),
        arguments: words.to_vec(),
        trigger: trigger.as_str().to_owned(),
        status: finished.status.as_str().to_owned(),
        is_bad: is_bad(finished.status),
        dry_run: finished.plan.is_some(),
        read_only: finished.read_only,
        backed_up: finished.backed_up.clone(),
        place: Some(finished.place.clone()),
        started: finished.started,
        took: finished.took,
        error: finished.result.as_ref().err().cloned(),
        failures: finished.failures.clone(),
        last_good: Vec::new(),
        log_tail: tail.unwrap_or_default(),
    };
    with_last_good(report, door.store.as_deref(), Some(&finished.daemon))
}

/// With the newest good backups of the volumes that it failed with: whoever reads of a failure asks for them first. `daemon`: whose
/// volumes they are, where that is known.
fn with_last_good(mut report: RunReport, store: Option<&Store>, daemon: Option<&str>) -> RunReport {
    let volumes: Vec<String> = report.volumes_at_fault().into_iter().map(str::to_owned).collect();
    let Some(store) = store.filter(|_| report.is_bad && !volumes.is_empty()) else { return report };
    let Ok(records) = store.volumes() else { return report };
    let newest = |volume: &String| {
        let same = |record: &&VolumeRecord| record.name == *volume && daemon.is_none_or(|known| known == record.daemon);
        let good = records.iter().filter(same).filter_map(|record| record.good_backups.first());
        good.max_by_key(|good| good.proven).map(|good| (good.proven, good.url.clone()))
    };
    report.last_good = volumes.iter().map(|volume| (volume.clone(), newest(volume))).collect();
    report
}

/// The report of a run that did not even begin, because there is no daemon to work with.
pub fn report_of_unstarted(script: &Script, words: &[String], dry_run: bool, error: &Error) -> RunReport {
    RunReport {
        run: String::new(),
        script: script.name.clone(),
        arguments: words.to_vec(),
        trigger: Trigger::Cli.as_str().to_owned(),
        status: Status::Failed.as_str().to_owned(),
        is_bad: true,
        dry_run,
        read_only: script.read_only,
        backed_up: BTreeSet::new(),
        place: None,
        started: SystemClock.now(),
        took: Duration::ZERO,
        error: Some(error.clone()),
        failures: Vec::new(),
        last_good: Vec::new(),
        log_tail: Vec::new(),
    }
}

/// The report of a run that another process began, such as one that was interrupted.
pub fn report_of_record(store: &Store, run: &RunRecord) -> RunReport {
    let report = RunReport {
        run: run.id.clone(),
        script: run.script.clone(),
        arguments: run.words(),
        trigger: run.trigger.as_str().to_owned(),
        status: run.status.as_str().to_owned(),
        is_bad: is_bad(run.status),
        dry_run: run.dry_run,
        read_only: Library::new(None).and_then(|all| all.load(&run.script)).is_ok_and(|built_in| {
            // A script of the user's own may be another one by now.
            built_in.digest == run.digest && built_in.read_only
        }),
        backed_up: BTreeSet::new(),
        place: None,
        started: run.started,
        took: run.took.unwrap_or(Duration::ZERO),
        error: run.error.as_ref().map(diagnostic::from_json),
        failures: run.failures.clone(),
        last_good: Vec::new(),
        log_tail: log_tail(store, &run.id),
    };
    with_last_good(report, Some(store), None)
}

fn is_bad(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Partial | Status::TimedOut | Status::Interrupted)
}

/// The last lines of a run's log, as people read them.
fn log_tail(store: &Store, run: &str) -> Vec<String> {
    let lines = store.last_lines(run, LOG_TAIL).unwrap_or_default();
    lines.iter().map(|line| format!("{} {:<5} {}", line.time.strftime("%H:%M:%SZ"), line.level, line.text)).collect()
}
