//! Runs and the people who are told of them.

use std::{collections::BTreeSet, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock as _, SystemClock},
    convoy::{BackupUrl, Destination},
    diagnostic,
    error::Error,
    notify::{RunReport, Teller},
    runs::{
        self, Door, Finished, Request, Status, Store, Trigger,
        record::{self, RunRecord},
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
    let destination = door.settings.destination.as_ref().map(Destination::key);
    let is_there = |url: &str| BackupUrl::parse(url).is_ok_and(|url| Some(url.destination().key()) == destination);
    let tail =
        door.recorder.as_ref().filter(|_| finished.recorded).map(|recorder| log_tail(recorder.store(), &finished.id));
    RunReport {
        run: finished.id.clone(),
        script: finished.script.clone(),
        arguments: words.to_vec(),
        trigger: trigger.as_str().to_owned(),
        status: finished.status.as_str().to_owned(),
        is_bad: is_bad(finished.status),
        dry_run: finished.plan.is_some(),
        read_only: finished.read_only,
        backed_up: finished
            .backed_up
            .iter()
            .filter(|(_, url)| is_there(url))
            .map(|(volume, _)| volume.clone())
            .collect(),
        place: Some(format!("{} {}", door.daemon.identity(), destination.unwrap_or_default())),
        started: finished.started,
        took: finished.took,
        error: finished.result.as_ref().err().cloned(),
        failures: finished.failures.clone(),
        log_tail: tail.unwrap_or_default(),
    }
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
        log_tail: Vec::new(),
    }
}

/// The report of a run that another process began, such as one that was interrupted.
pub fn report_of_record(store: &Store, run: &RunRecord) -> RunReport {
    RunReport {
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
        log_tail: log_tail(store, &run.id),
    }
}

fn is_bad(status: Status) -> bool {
    matches!(status, Status::Failed | Status::Partial | Status::TimedOut | Status::Interrupted)
}

/// The last lines of a run's log, as people read them.
fn log_tail(store: &Store, run: &str) -> Vec<String> {
    let lines = store.last_lines(run, LOG_TAIL).unwrap_or_default();
    lines.iter().map(|line| format!("{} {:<5} {}", line.time.strftime("%H:%M:%SZ"), line.level, line.text)).collect()
}
