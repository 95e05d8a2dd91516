//! The one entry point of every run: gives the run an id, a ticket of the queue and a record.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{
    environment::RunEnvironment,
    finished::FinishedRun,
    id,
    perform::DueRun,
    queue::{Permit, Ticket},
    record::{self, RunRecord},
    recording::{Recorder, Recording},
    request::RunRequest,
};
use crate::{
    run_words::{RunStatus, Trigger},
    scope::{self, Scope},
    sync::lock,
};

/// Runs a script as soon as the queue gives a permit. Once the script runs, dropping the future
/// neither ends the run nor prevents its record. Cancelling the token ends the run.
pub(crate) async fn run(
    environment: &RunEnvironment,
    request: RunRequest,
    cancellation: CancellationToken,
) -> FinishedRun {
    enqueue(environment, request, cancellation).run().await
}

/// A run with an id, a ticket and a record. Dropping a queued run records it as failed.
pub(crate) struct QueuedRun {
    environment: RunEnvironment,
    request: RunRequest,
    cancellation: CancellationToken,
    record: RunRecord,
    recording: Option<Recording>,
    ticket: Option<Ticket>,
}

/// Held from a run's id to the beginning of its record, so that records are in the order of ids.
static ENQUEUING: Mutex<()> = Mutex::new(());

/// Gives a run its id and its ticket, and begins its record; [`QueuedRun::run`] runs it.
pub(crate) fn enqueue(
    environment: &RunEnvironment,
    request: RunRequest,
    cancellation: CancellationToken,
) -> QueuedRun {
    let name = || {
        let now = environment.clock.now();
        (id::next(now), now)
    };
    let read_only = request.dry_run || request.script.read_only;
    let enqueuing = lock(&ENQUEUING);
    let ((id, started), ticket) =
        match if read_only { &environment.read_queue } else { &environment.queue } {
            Some(queue) => {
                let (named, ticket) = queue.ticket(name);
                (named, Some(ticket))
            }
            None => (name(), None),
        };
    let mut record = begun_record(&id, &request, started);
    if matches!(ticket, Some(Ticket::Waiting(_))) {
        record.status = RunStatus::Waiting;
    }
    let begin =
        |recorder: &Arc<Recorder>| recorder.begin(record.clone(), cancellation.clone(), !read_only);
    let recording = environment.recorder.as_ref().map(begin);
    drop(enqueuing);
    QueuedRun { environment: environment.clone(), request, cancellation, record, recording, ticket }
}

impl QueuedRun {
    /// Ids sort by time.
    pub(crate) fn id(&self) -> &str {
        &self.record.id
    }

    pub(crate) fn environment(&self) -> &RunEnvironment {
        &self.environment
    }

    pub(crate) fn trigger(&self) -> Trigger {
        self.request.trigger
    }

    /// The arguments as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        record::words(self.request.arguments.values())
    }

    /// Whether other runs are before this one in the queue.
    pub(crate) fn is_waiting(&self) -> bool {
        self.record.status == RunStatus::Waiting
    }

    /// Runs the script as soon as the queue gives a permit.
    pub(crate) async fn run(self) -> FinishedRun {
        self.run_after(std::future::ready(())).await
    }

    /// Runs the script once the queue has given a permit and `begins` is done. `begins` remembers
    /// that the run began, before the script does anything. It is not awaited if the program ends
    /// while the run waits.
    pub(crate) async fn run_after(mut self, begins: impl Future<Output = ()>) -> FinishedRun {
        let scope = Scope {
            run: self.record.id.as_str().into(),
            lines: self.recording.as_ref().map(Recording::lines),
            ended: self.cancellation.child_token(),
            lock_wait: Some(self.environment.lock_wait),
            hold: None,
            work: Arc::default(),
        };
        let permit = self.wait(&scope).await;
        if self.is_waiting() {
            (self.record.status, self.record.started) =
                (RunStatus::Running, self.environment.clock.now());
            if let Some(recording) = self.recording.as_ref().filter(|_| permit.is_some()) {
                recording.started(self.record.clone());
            }
        }
        let began = !self.cancellation.is_cancelled();
        // A run that a person cancelled in the queue is dealt with. A run that the end of the
        // program cancelled must be made up for later.
        if began || !self.environment.ending.is_cancelled() {
            begins.await;
        }
        let Self { environment, request, cancellation, record, recording, .. } = self;
        let due = DueRun { environment, request, cancellation, record, recording, scope };
        let finished = due.perform(began).await;
        drop(permit);
        finished
    }

    /// Waits for the permit. Cancels the run if the program ends first.
    async fn wait(&mut self, scope: &Scope) -> Option<Permit> {
        let ticket = self.ticket.take()?;
        if self.is_waiting() {
            scope::within(Some(scope.clone()), || {
                log::info!(
                    "waiting for its turn: as many runs go on as BKUP_MAX_CONCURRENT allows"
                );
            });
        }
        tokio::select! {
            biased;
            () = self.cancellation.cancelled() => None,
            // The program ends, and starts no further run.
            () = self.environment.ending.cancelled() => {
                self.cancellation.cancel();
                None
            }
            permit = ticket.permit() => Some(permit),
        }
    }
}

/// The record of a run that has not begun.
fn begun_record(id: &str, request: &RunRequest, started: Timestamp) -> RunRecord {
    RunRecord {
        digest: request.script.digest.clone(),
        origin: request.script.origin.to_string(),
        arguments: request.arguments.values().clone(),
        entry: request.entry.clone(),
        dry_run: request.dry_run,
        read_only: request.script.read_only,
        does: request.script.does.clone(),
        ..RunRecord::new(id.to_owned(), request.script.name.clone(), request.trigger, started)
    }
}
