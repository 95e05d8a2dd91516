//! Runs the crontab's lines, and records what came of their due times.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    notified_run::{log_end, run_and_notify},
    program,
    state::ServeState,
};
use crate::{
    blocking,
    clock::{Clock, SystemClock},
    diagnostic::explained,
    error::{Error, Result},
    run_words::{RunStatus, Trigger},
    runs::{self, EntryEvent, EntryTimes, FinishedRun, RunRequest, Store, record::Skipped},
    schedule::{
        Before, Crontab, CrontabEntry, Due, MissedTick, RecordBegin, RunEnd, Runner, StartReply,
        StartedRun,
    },
    sync::lock,
    web::events::EventName,
};

pub(super) struct CrontabRunner(pub(super) Arc<ServeState>);

impl CrontabRunner {
    async fn try_run(
        &self,
        entry: &Arc<CrontabEntry>,
        due: Due,
        begins: &mut Option<RecordBegin>,
        reply: &mut StartReply,
        cancellation: CancellationToken,
    ) -> Result<FinishedRun> {
        let loaded = entry.clone();
        let (script, arguments) = blocking::run(move || loaded.load()).await?;
        let connection = self.0.daemons.get(&entry.config).await?;
        let environment = self.0.environment_of_entry(entry, &connection);
        let request = RunRequest {
            script,
            arguments,
            trigger: if due.before == Before::NotDue { Trigger::Http } else { Trigger::Cron },
            entry: Some(record_entry(entry)),
            dry_run: entry.dry_run,
            timeout: entry.timeout,
        };
        let queued = runs::enqueue(&environment, request, cancellation);
        if reply.is_awaited() {
            // The record is written before the answer, so that a client that gets the run's id
            // finds it.
            let (recorder, run) = (self.0.recorder.clone(), queued.id().to_owned());
            blocking::run(move || recorder.write_now(&run)).await;
            reply.send(Ok(StartedRun {
                run: queued.id().to_owned(),
                is_waiting: queued.is_waiting(),
            }));
        }
        let begins = begins.take().unwrap_or_else(|| Box::pin(std::future::ready(())));
        let finished = run_and_notify(queued, &self.0.notifier, begins).await;
        log_end(&finished);
        Ok(finished)
    }
}

/// Records runs that were due and did not begin.
fn skip(store: &Store, skipped: impl Iterator<Item = (Arc<CrontabEntry>, Timestamp, String)>) {
    let skipped = skipped.map(|(entry, due, reason)| Skipped {
        script: entry.script.clone(),
        arguments: entry
            .load()
            .map(|(_, arguments)| arguments.values().clone())
            .unwrap_or_default(),
        entry: record_entry(&entry),
        does: entry.does.clone(),
        due,
        reason,
    });
    if let Err(error) = store.skipped(&skipped.collect::<Vec<_>>(), SystemClock.now()) {
        log::warn!("what did not run is not remembered: {error}");
    }
}

/// Reports that a line could not be started, or resolves that problem.
fn report_start(state: &ServeState, entry: &Arc<CrontabEntry>, due: Due, started: Result<()>) {
    let script = &entry.script;
    let key = format!("entry {}", entry.key);
    let what =
        format!("\"{script} {}\" (line {} of the crontab)", entry.arguments_text(), entry.line);
    let Err(error) = started else {
        state.notifier.resolve(&key, &format!("{script} can be started again"), &what);
        return;
    };
    log::error!("line {}: \"{script}\" can't be started: {error}", entry.line);
    skip(state.store(), std::iter::once((entry.clone(), due.time, error.to_string())));
    let when = if due.before == Before::NotDue { "was wanted" } else { "was due" };
    let text =
        format!("{what} {when} at {} and could not be started:\n\n{}", due.time, explained(&error));
    state.notifier.problem(&key, &format!("{script} can't be started"), &text);
}

fn record_entry(entry: &CrontabEntry) -> runs::Entry {
    runs::Entry { key: entry.key.clone(), line: u32::try_from(entry.line).unwrap_or(u32::MAX) }
}

#[async_trait]
impl Runner for CrontabRunner {
    async fn run(
        &self,
        entry: Arc<CrontabEntry>,
        due: Due,
        begins: RecordBegin,
        mut reply: StartReply,
        cancellation: CancellationToken,
    ) -> RunEnd {
        let mut begins = Some(begins);
        let ran = self.try_run(&entry, due, &mut begins, &mut reply, cancellation).await;
        if let Err(error) = &ran {
            reply.send(Err(error.clone()));
        }
        if let Some(begins) = begins.filter(|_| ran.is_err()) {
            // The scheduler waits for the beginning even of a run that could not be started.
            begins.await;
        }
        let end = match &ran {
            Ok(finished) if finished.status == RunStatus::Interrupted => RunEnd::CutOff,
            _ => RunEnd::Ended,
        };
        let state = self.0.clone();
        blocking::run(move || report_start(&state, &entry, due, ran.map(drop))).await;
        self.0.changed.notify_one();
        end
    }

    fn remembered(&self) -> HashMap<String, EntryTimes> {
        self.0.store().entry_times().unwrap_or_else(|error| {
            log::warn!("when lines of the crontab ran last is not known: {error}");
            HashMap::new()
        })
    }

    fn paused(&self) -> BTreeSet<String> {
        program::paused(&self.0.config.data_dir)
    }

    fn remember(&self, events: &[(Arc<CrontabEntry>, EntryEvent)]) -> bool {
        let events: Vec<_> =
            events.iter().map(|(entry, event)| (entry.key.as_str(), *event)).collect();
        let remembered = self.0.store().remember(&events);
        if let Err(error) = &remembered {
            log::debug!("what became of {} due times is not remembered yet: {error}", events.len());
        }
        remembered.is_ok()
    }

    fn missed(&self, missed: &[MissedTick]) {
        skip(
            self.0.store(),
            missed.iter().map(|tick| (tick.entry.clone(), tick.due, tick.why.to_string())),
        );
    }

    fn refused(&self, errors: &[Error]) {
        let text: Vec<String> = errors
            .iter()
            .take(20)
            .map(|error| {
                let place = error
                    .location
                    .as_ref()
                    .map(|place| format!("line {}: ", place.line))
                    .unwrap_or_default();
                format!("{place}{error}")
            })
            .collect();
        let text = format!(
            "The crontab was changed and has errors, so the one before stays in force:\n\n{}\n\nLook at it with: convoy-backups crontab check",
            text.join("\n")
        );
        self.0.notifier.problem("crontab", "the crontab has errors", &text);
        *lock(&self.0.refused) = errors.to_vec();
        self.0.changed.notify_one();
        self.0.hub.publish(EventName::Schedule);
    }

    fn followed(&self, crontab: &Crontab) {
        *lock(&self.0.following) = crontab.clone();
        self.0.notifier.resolve(
            "crontab",
            "the crontab is in order again",
            "The new crontab is in force.",
        );
        lock(&self.0.refused).clear();
        self.0.hub.publish(EventName::Schedule);
        self.0.changed.notify_one();
    }
}
