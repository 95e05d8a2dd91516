//! Access to the scheduler for the rest of the program, from any thread at any time.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    board::Board,
    crontab::CrontabEntry,
    due::{Action, Due, EntryStatus},
    runner::{StartReply, StartedRun},
    timer::Timer,
    writer::ScheduleWriter,
};
use crate::{
    error::{Error, ErrorKind, Result},
    runs::EntryEvent,
    sync::lock,
};

/// A run of an entry that a person started.
pub(super) struct ManualRun {
    pub(super) entry: Arc<CrontabEntry>,
    pub(super) due: Due,
    pub(super) reply: StartReply,
}

/// Shows the entries, and runs, pauses or resumes one. Clones belong to the same scheduler.
#[derive(Clone)]
pub(crate) struct View {
    pub(super) board: Arc<Mutex<Board>>,
    pub(super) timer: Arc<dyn Timer>,
    pub(super) writer: ScheduleWriter,
    /// Wakes the loop.
    pub(super) wake: Arc<Notify>,
    pub(super) manual_runs: mpsc::UnboundedSender<ManualRun>,
}

impl View {
    /// All entries as they are now, in the order of their lines.
    pub(crate) fn entries(&self) -> Vec<EntryStatus> {
        lock(&self.board).statuses()
    }

    /// Runs the entry with this key now, and returns when the run is in the queue of all runs.
    /// `None`: there is no such entry.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if the entry runs or waits already, [`ErrorKind::Cancelled`] if the
    /// program is ending, another error if the run could not begin.
    pub(crate) async fn run_now(&self, key: &str) -> Result<Option<StartedRun>> {
        let (reply, told) = oneshot::channel();
        {
            let mut board = lock(&self.board);
            let Some((entry, due)) = board.run_now(key, self.timer.now())? else { return Ok(None) };
            // The board is locked: once it has ended, no run is sent any more.
            let _ = self.manual_runs.send(ManualRun { entry, due, reply: StartReply::new(reply) });
        }
        match told.await {
            Ok(started) => started.map(Some),
            Err(_) if lock(&self.board).is_ending() => Err(Error::new(
                ErrorKind::Cancelled,
                "the run did not begin: the program is ending",
            )),
            Err(_) => Err(Error::internal("the run broke off before it began")),
        }
    }

    /// Pauses the entry with this key. Returns the keys of all paused entries. `None`: there is no
    /// such entry.
    pub(crate) fn pause(&self, key: &str) -> Option<BTreeSet<String>> {
        let mut board = lock(&self.board);
        board.pause(key).then(|| board.paused().clone())
    }

    /// Resumes the entry with this key. Returns the keys of all paused entries. `None`: there is no
    /// such entry.
    pub(crate) fn resume(&self, key: &str) -> Option<BTreeSet<String>> {
        let mut board = lock(&self.board);
        let actions = board.resume(key, self.timer.now())?;
        let dealt_with = actions.into_iter().filter_map(|action| match action {
            Action::Remember(entry, due) => Some((entry, EntryEvent::DealtWith(due))),
            _ => None,
        });
        self.writer.remember(dealt_with.collect());
        self.wake.notify_one();
        Some(board.paused().clone())
    }
}
