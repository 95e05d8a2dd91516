//! Runs and the people who are told of them.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    clock::{Clock as _, SystemClock},
    convoy::{BackupUrl, Destination},
    diagnostic,
    error::Error,
    notify::{RunReport, Teller},
    runs::{Announced, Door, Finished, Status, Store, Trigger, record::RunRecord},
    script::{Library, Script},
};

/// How many lines of a run's log are told with it.
const LOG_TAIL: usize = 20;

/// Runs a script, and puts what people are to be told of it into the outbox.
pub async fn run_and_tell(announced: Announced, teller: &Arc<Teller>) -> Finished {
    let (door, trigger, words) = (announced.door().clone(), announced.trigger(), announced.words());
    let finished = announced.run().await;
    let teller = teller.clone();
    // The log's end is in the store, and the outbox is on a disk: both may keep their reader waiting.
    off_the_runtime(move || {
        teller.run_ended(&report(&door, &finished, trigger, &words));
        if finished.status == Status::Interrupted
            && finished.recorded
            && let Some(recorder) = &door.recorder
        {
            interruption_told(recorder.store(), &finished.id);
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

/// The report of a run that has just ended; `words` are its arguments ([`crate::runs::record::words`]).
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
        took: Some(finished.took),
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
        read_only: Library::new(None).and_then(|all| all.load(&run.script)).is_ok_and(|built_in| {
            // A script of the user's own may be another one by now.
            built_in.digest == run.digest && built_in.read_only
        }),
        backed_up: BTreeSet::new(),
        place: None,
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
