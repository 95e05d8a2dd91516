//! Runs and the people who are told of them.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    blocking,
    clock::{Clock as _, SystemClock},
    diagnostic,
    error::Error,
    notify::{Notifier, RunReport},
    run_words::{RunStatus, Trigger},
    runs::{
        Announced, Door, Finished, Store,
        record::{RunRecord, VolumeRecord},
    },
    script::Script,
};

/// How many lines of a run's log are told with it.
const LOG_TAIL: usize = 20;

/// Runs a script when its turn has come and `begins` is done, and puts what people are to be told
/// of it into the outbox.
pub(crate) async fn run_and_tell(
    announced: Announced,
    notifier: &Arc<Notifier>,
    begins: impl Future<Output = ()>,
) -> Finished {
    let (door, trigger, words) = (announced.door().clone(), announced.trigger(), announced.words());
    let finished = announced.run_after(begins).await;
    // The next start makes up for a line of the crontab that never began.
    if !finished.has_begun && trigger == Trigger::Cron {
        let store = door
            .recorder
            .as_ref()
            .filter(|_| finished.recorded)
            .map(|recorder| recorder.store().clone());
        let id = finished.id.clone();
        blocking::run(move || store.iter().for_each(|store| interruption_told(store, &id))).await;
        return finished;
    }
    // Whoever asked for a list sees himself what came of it.
    if finished.read_only && trigger != Trigger::Cron {
        return finished;
    }
    let notifier = notifier.clone();
    // The log's end is in the store, and the outbox is on a disk: both may keep their reader
    // waiting.
    blocking::run(move || {
        notifier.on_run_end(&report(&door, &finished, trigger, &words));
        if finished.status == RunStatus::Interrupted
            && finished.recorded
            && let Some(recorder) = &door.recorder
        {
            interruption_told(recorder.store(), &finished.id);
        }
        finished
    })
    .await
}

/// Says in the log how a run ended.
pub(super) fn log_end(finished: &Finished) {
    let text = format!("run {}: \"{}\" {}", finished.id, finished.script, finished.status.as_str());
    match &finished.result {
        Err(error) => log::error!("{text}: {error}"),
        // Lists are asked for again and again.
        Ok(_) if finished.failures.is_empty() && finished.read_only => log::debug!("{text}"),
        Ok(_) if finished.failures.is_empty() => log::info!("{text}"),
        Ok(_) => {
            for failure in &finished.failures {
                log::error!("{text}: {}: {}", failure.volume, failure.message);
            }
        }
    }
}

/// Remembers that people are told of this run; the next start would tell them again.
pub(super) fn interruption_told(store: &Store, run: &str) {
    if let Err(error) = store.interruption_told(run) {
        log::warn!("that it was told is not remembered: {error}");
    }
}

/// The report of a run that has just ended; `words` are its arguments
/// ([`crate::runs::record::words`]).
pub(crate) fn report(
    door: &Door,
    finished: &Finished,
    trigger: Trigger,
    words: &[String],
) -> RunReport {
    let store = door.recorder.as_ref().map(|recorder| recorder.store());
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
        backed_up: finished.backed_up.clone(),
        place: Some(door.place()),
        started: finished.started,
        took: Some(finished.took),
        error: finished.result.as_ref().err().cloned(),
        failures: finished.failures.clone(),
        last_good: Vec::new(),
        log_tail: tail.unwrap_or_default(),
    };
    with_last_good(report, store.map(Arc::as_ref), Some(&door.daemon.identity()))
}

/// With the newest good backups of the volumes that it failed with: whoever reads of a failure asks
/// for them first. `daemon`: whose volumes they are, where that is known.
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

/// The report of a run that did not even begin, because there is no daemon to work with.
pub(crate) fn report_of_unstarted(
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
        backed_up: BTreeSet::new(),
        place: None,
        started: SystemClock.now(),
        took: None,
        error: Some(error.clone()),
        failures: Vec::new(),
        last_good: Vec::new(),
        log_tail: Vec::new(),
    }
}

/// The report of a run that another process began, such as one that was interrupted.
pub(crate) fn report_of_record(store: &Store, run: &RunRecord) -> RunReport {
    let report = RunReport {
        run: run.id.clone(),
        script: run.script.clone(),
        arguments: run.words(),
        trigger: run.trigger,
        status: run.status,
        dry_run: run.dry_run,
        read_only: run.read_only,
        does: run.does.clone(),
        backed_up: BTreeSet::new(),
        place: None,
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
    let lines = store.last_lines(run, LOG_TAIL).unwrap_or_default();
    lines
        .iter()
        .map(|line| format!("{} {:<5} {}", line.time.strftime("%H:%M:%SZ"), line.level, line.text))
        .collect()
}
