//! Runs of `serve`: what each is followed by, in the log and in the outbox.

use std::sync::Arc;

use crate::{
    app::run_reports,
    blocking,
    notify::Notifier,
    run_words::{RunStatus, Trigger},
    runs::{Announced, Finished, Store},
};

/// Runs a script when its turn has come and `begins` is done, and queues the messages about it.
pub(super) async fn run_and_notify(
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
    // A person who asked for a list sees the answer.
    if finished.read_only && trigger != Trigger::Cron {
        return finished;
    }
    let notifier = notifier.clone();
    // The log's end is in the store, and the outbox is on a disk: both may block.
    blocking::run(move || {
        notifier.on_run_end(&run_reports::of_finished(&door, &finished, trigger, &words));
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
        // The dashboard asks for lists all the time.
        Ok(_) if finished.failures.is_empty() && finished.read_only => log::debug!("{text}"),
        Ok(_) if finished.failures.is_empty() => log::info!("{text}"),
        Ok(_) => {
            for failure in &finished.failures {
                log::error!("{text}: {}: {}", failure.volume, failure.message);
            }
        }
    }
}

/// Remembers that people were notified of this interrupted run, or the next start would notify them
/// again.
pub(super) fn interruption_told(store: &Store, run: &str) {
    if let Err(error) = store.interruption_told(run) {
        log::warn!("that it was told is not remembered: {error}");
    }
}
