//! What the scheduler needs of the program: it runs entries, and remembers what became of them.

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
    due::{Due, Missed, Remembered},
};
use crate::error::{Error, Result};

/// Runs what is due, and remembers.
///
/// The loop itself calls none of these but [`Runner::remembered`], once, before it begins: all that
/// remembers or tells is called in turn on a thread of its own (`writer`), and may block.
#[async_trait]
pub(crate) trait Runner: Send + Sync + 'static {
    /// Runs an entry's script to its end, its record included. It ends soon after `cancellation`.
    /// Before the script does anything, but not before its turn has come, `begins` is to be
    /// awaited: it has remembered that the run began. `reply` is told which run it is as soon as it
    /// has its place in the line, or why there is none.
    async fn run(
        &self,
        entry: Arc<CrontabEntry>,
        due: Due,
        begins: RecordBegin,
        reply: StartReply,
        cancellation: CancellationToken,
    ) -> RunEnd;

    /// What is remembered of entries, by their keys, from before the program was started.
    fn remembered(&self) -> HashMap<String, Remembered>;

    /// The keys of the entries that somebody paused before the program was started.
    fn paused(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }

    /// Remembers all of this or nothing, in this order, with the entries' keys; whether it did.
    /// What it did not comes again.
    fn remember(&self, events: &[(Arc<CrontabEntry>, DueEvent)]) -> bool;

    /// These ticks were missed and are not made up for. They are in the log already.
    fn missed(&self, missed: &[MissedTick]);

    /// A crontab with errors was not taken; the one before stays in force. They are in the log
    /// already.
    fn refused(&self, errors: &[Error]) {
        let _ = errors;
    }

    /// Another crontab is in force.
    fn followed(&self, crontab: &Crontab) {
        let _ = crontab;
    }
}

/// Remembers that a run begins.
pub(crate) type RecordBegin = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A run that was asked for, and has its place in the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Started {
    /// Its id.
    pub(crate) run: String,
    /// Whether it waits for its turn.
    pub(crate) is_waiting: bool,
}

/// Whoever asked for a run, where somebody did; dropped, it says that the run did not begin.
#[derive(Debug, Default)]
pub(crate) struct StartReply(Option<oneshot::Sender<Result<Started>>>);

impl StartReply {
    pub(super) fn new(reply: oneshot::Sender<Result<Started>>) -> Self {
        Self(Some(reply))
    }

    /// Whether anybody waits to be told.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Tells which run it is, or why there is none; what is told first counts.
    pub(crate) fn send(&mut self, started: Result<Started>) {
        if let Some(reply) = self.0.take() {
            // Whoever asked may be gone.
            let _ = reply.send(started);
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// By itself, or because somebody wanted it to: its due time is dealt with, whatever came of
    /// it.
    Ended,
    /// With the program: the next start makes up for it.
    CutOff,
}

/// What there is to be remembered of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DueEvent {
    /// Its due times up to this one are dealt with: they were missed for good, or were before its
    /// time.
    DealtWith(Timestamp),
    /// A run of it begins; with that, its due time is dealt with.
    Begins(Due),
    /// Its run is over, and was not cut off; or one that was cut off is given up.
    Ended,
}

/// A tick that was missed and is not made up for.
#[derive(Debug, Clone)]
pub(crate) struct MissedTick {
    /// The entry.
    pub(crate) entry: Arc<CrontabEntry>,
    /// When it was due.
    pub(crate) due: Timestamp,
    /// Why it was missed.
    pub(crate) why: Missed,
}
