//! A run of `serve`, with the log line and the messages at its end.

use std::sync::Arc;

use crate::{
    app::run_reports,
    blocking,
    notify::Notifier,
    run_words::{RunStatus, Trigger},
    runs::{FinishedRun, QueuedRun, Store},
};

/// Runs a queued run once its turn has come and `begins` is done, and queues the messages on it.
pub(super) async fn run_and_notify(
    queued: QueuedRun,
    notifier: &Arc<Notifier>,
    begins: impl Future<Output = ()>,
) -> FinishedRun {
    let (environment, trigger, words) =
        (queued.environment().clone(), queued.trigger(), queued.words());
    let finished = queued.run_after(begins).await;
    // The next start makes up for a line of the crontab whose run never began.
    if !finished.began && trigger == Trigger::Cron {
        let store = environment
            .recorder
            .as_ref()
            .filter(|_| finished.recorded)
            .map(|recorder| recorder.store().clone());
        let id = finished.id.clone();
        blocking::run(move || {
            store.iter().for_each(|store| mark_interruption_reported(store, &id))
        })
        .await;
        return finished;
    }
    // A person who started a script that only reads sees the answer.
    if finished.read_only && trigger != Trigger::Cron {
        return finished;
    }
    let notifier = notifier.clone();
    // The store with the log's end, and the outbox on disk, may both block.
    blocking::run(move || {
        notifier.on_run_end(&run_reports::of_finished(&environment, &finished, trigger, &words));
        if finished.status == RunStatus::Interrupted
            && finished.recorded
            && let Some(recorder) = &environment.recorder
        {
            mark_interruption_reported(recorder.store(), &finished.id);
        }
        finished
    })
    .await
}

/// Logs how a run ended.
pub(super) fn log_end(finished: &FinishedRun) {
    let text = format!("run {}: \"{}\" {}", finished.id, finished.script, finished.status.as_str());
    match &finished.result {
        Err(error) => log::error!("{text}: {error}"),
        // The dashboard starts scripts that only read all the time.
        Ok(_) if finished.failures.is_empty() && finished.read_only => log::debug!("{text}"),
        Ok(_) if finished.failures.is_empty() => log::info!("{text}"),
        Ok(_) => {
            for failure in &finished.failures {
                log::error!("{text}: {}: {}", failure.volume, failure.message);
            }
        }
    }
}

/// Records that this interrupted run was reported; the next start would report it again.
pub(super) fn mark_interruption_reported(store: &Store, run: &str) {
    if let Err(error) = store.mark_interruption_reported(run) {
        log::warn!("that it was told is not remembered: {error}");
    }
}
