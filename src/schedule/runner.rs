//! What the scheduler needs from the program: to run entries, and to remember their due times.

use std::{
    collections::{BTreeSet, HashMap},
    pin::Pin,
    sync::Arc,
};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{
    crontab::{Crontab, CrontabEntry},
    due::{Due, Missed},
};
use crate::{
    error::{Error, Result},
    runs::{EntryEvent, EntryTimes},
};

/// Runs entries, and remembers what happened to their due times.
///
/// The loop itself only calls [`Runner::run`], and [`Runner::remembered`] and [`Runner::paused`]
/// once before it begins. The other methods are called one after the other on the thread of the
/// `writer`, and may block.
#[async_trait]
pub(crate) trait Runner: Send + Sync + 'static {
    /// Runs an entry's script to its end, and records the run. The run ends soon after
    /// `cancellation`.
    ///
    /// `reply` gets the run's id as soon as the run is in the queue of all runs, or the error if
    /// there is no run. Once the run's turn has come, and before the script does anything, the
    /// runner awaits `begins`, which records that the run began.
    async fn run(
        &self,
        entry: Arc<CrontabEntry>,
        due: Due,
        begins: RecordBegin,
        reply: StartReply,
        cancellation: CancellationToken,
    ) -> RunEnd;

    /// What is remembered of entries, by their keys, from before the program was started.
    fn remembered(&self) -> HashMap<String, EntryTimes>;

    /// The keys of the entries that were paused before the program was started.
    fn paused(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Remembers all of these events or none, in this order, by the entries' keys. Returns whether
    /// it did. Events that were not remembered come again.
    fn remember(&self, events: &[(Arc<CrontabEntry>, EntryEvent)]) -> bool;

    /// Takes ticks that were missed and are not made up for. The log already has them.
    fn missed(&self, missed: &[MissedTick]);

    /// Takes the errors of a changed crontab, which was refused: the crontab before stays in force.
    /// The log already has the errors.
    fn refused(&self, errors: &[Error]) {
        let _ = errors;
    }

    /// Takes the new crontab that is in force.
    fn followed(&self, crontab: &Crontab) {
        let _ = crontab;
    }
}

/// Records that a run begins.
pub(crate) type RecordBegin = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A run that a person started, once it is in the queue of all runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartedRun {
    /// The run's id.
    pub(crate) run: String,
    /// The run waits for its turn in the queue.
    pub(crate) is_waiting: bool,
}

/// The reply to a person who started a run. Dropping the reply says that the run did not begin. A
/// run that was due has an empty reply (`default`).
#[derive(Debug, Default)]
pub(crate) struct StartReply(Option<oneshot::Sender<Result<StartedRun>>>);

impl StartReply {
    pub(super) fn new(reply: oneshot::Sender<Result<StartedRun>>) -> Self {
        Self(Some(reply))
    }

    /// Whether a person waits for the reply.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Sends the run, or the error if there is no run. Only the first call counts.
    pub(crate) fn send(&mut self, started: Result<StartedRun>) {
        if let Some(reply) = self.0.take() {
            // The client may be gone.
            let _ = reply.send(started);
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// The run ended by itself, or a person cancelled it. The due time is dealt with, whatever the
    /// result.
    Ended,
    /// The run ended with the program. The next start makes up for it.
    CutOff,
}

/// A tick that was missed and is not made up for.
#[derive(Debug, Clone)]
pub(crate) struct MissedTick {
    pub(crate) entry: Arc<CrontabEntry>,
    pub(crate) due: Timestamp,
    pub(crate) why: Missed,
}
