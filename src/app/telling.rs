//! Runs and the people who are told of them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::{Clock as _, SystemClock},
    diagnostic,
    error::Error,
    notify::{RunReport, Teller},
    runs::{
        self, Door, Finished, Request, Status, Store, Trigger,
        record::{self, RunRecord},
    },
};

/// How many lines of a run's log are told with it.
const LOG_TAIL: usize = 20;

/// Runs a script, and puts what people are to be told of it into the outbox.
pub async fn run_and_tell(
    door: &Door,
    request: Request,
    teller: &Arc<Teller>,
    cancellation: CancellationToken,
) -> Finished {
    let (trigger, words) = (request.trigger, record::words(request.arguments.values()));
    let finished = runs::run(door, request, cancellation).await;
    let (store, teller) = (door.store.clone(), teller.clone());
    // The log's end is in the store, and the outbox is on a disk: both may keep their reader waiting.
    off_the_runtime(move || {
        teller.run_ended(&report_from(store.as_deref(), &finished, trigger, &words));
        if finished.status == Status::Interrupted
            && finished.recorded
            && let Some(store) = store
        {
            interruption_told(&store, &finished.id);
        }
        finished
    })
    .await
}

/// Remembers that people are told of this run; the next start would tell them again.
pub(super) fn interruption_told(store: &Store, run: &str) {
    if let Err(error) = store.interruption_told(run) {
        log::warn!("that it was told is not remembered: {error}");
    }
}

/// Does what may block on a thread that is there for that.
pub(super) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: whoever waits here is not asked again.
            Err(_) => std::future::pending().await,
        },
    }
}

/// The report of a run that has just ended; `words` are its arguments ([`record::words`]).
pub fn report(door: &Door, finished: &Finished, trigger: Trigger, words: &[String]) -> RunReport {
    report_from(door.store.as_deref(), finished, trigger, words)
}

fn report_from(store: Option<&Store>, finished: &Finished, trigger: Trigger, words: &[String]) -> RunReport {
    let tail = store.filter(|_| finished.recorded).map(|store| log_tail(store, &finished.id));
    RunReport {
        run: finished.id.clone(),
        script: finished.script.clone(),
        arguments: words.to_vec(),
        trigger: trigger.as_str().to_owned(),
        status: finished.status.as_str().to_owned(),
        is_bad: is_bad(finished.status),
        dry_run: finished.plan.is_some(),
        started: finished.started,
        took: Some(finished.took),
        error: finished.result.as_ref().err().cloned(),
        failures: finished.failures.clone(),
        log_tail: tail.unwrap_or_default(),
    }
}

/// The report of a run that did not even begin, because there is no daemon to work with.
pub fn report_of_unstarted(script: &str, words: &[String], dry_run: bool, error: &Error) -> RunReport {
    RunReport {
        run: String::new(),
        script: script.to_owned(),
        arguments: words.to_vec(),
        trigger: Trigger::Cli.as_str().to_owned(),
        status: Status::Failed.as_str().to_owned(),
        is_bad: true,
        dry_run,
        started: SystemClock.now(),
        took: None,
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
        started: run.started,
        took: run.took,
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
