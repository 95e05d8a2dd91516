//! Writes the decisions of the scheduler's loop to the store, on a separate thread: the loop waits
//! neither for the store nor for a file.
//!
//! The thread takes everything that has come in as one batch, so that a thousand entries are one
//! transaction. A batch is written in this order: first the due times, because runs wait for them;
//! then the missed ticks; then the news of the crontab. Due times that can't be written, because
//! another process holds the store, are tried again with the next batch.

use std::sync::{
    Arc,
    mpsc::{self, Receiver},
};

use tokio::sync::oneshot;

use super::{
    crontab::{Crontab, CrontabEntry},
    due::Due,
    runner::{MissedTick, Runner},
};
use crate::{error::Error, runs::EntryEvent};

enum Write {
    Events(Vec<(Arc<CrontabEntry>, EntryEvent)>),
    /// A run begins. The run waits until this is written.
    Begins(Arc<CrontabEntry>, Due, oneshot::Sender<()>),
    Missed(Vec<MissedTick>),
    CrontabNews(CrontabNews),
    /// Nothing more comes.
    End(oneshot::Sender<()>),
}

/// Whether a changed crontab was refused or is followed.
enum CrontabNews {
    Refused(Vec<Error>),
    Followed(Crontab),
}

/// Hands decisions to the thread. All clones share one thread.
#[derive(Clone)]
pub(super) struct ScheduleWriter {
    take: Arc<dyn Fn(Write) + Send + Sync>,
}

impl ScheduleWriter {
    /// Starts the thread, which ends with the last clone or with [`ScheduleWriter::end`].
    pub(super) fn start(runner: Arc<dyn Runner>) -> Self {
        let (notes, received) = mpsc::channel();
        let writer = runner.clone();
        match std::thread::Builder::new()
            .name("schedule".into())
            .spawn(move || work(&received, &*writer))
        {
            // After the end there is no thread, so nothing is written any more.
            Ok(_) => Self { take: Arc::new(move |note| drop(notes.send(note))) },
            Err(error) => {
                log::warn!(
                    "cannot start a thread for the schedule's records, so ticks may wait for them: {error}"
                );
                Self::at_once(runner)
            }
        }
    }

    /// A writer without a thread: the caller's thread writes at once.
    pub(super) fn at_once(runner: Arc<dyn Runner>) -> Self {
        let take = move |note| {
            let mut batch = Batch::default();
            batch.add(note);
            batch.write(&*runner);
        };
        Self { take: Arc::new(take) }
    }

    pub(super) fn remember(&self, events: Vec<(Arc<CrontabEntry>, EntryEvent)>) {
        if !events.is_empty() {
            (self.take)(Write::Events(events));
        }
    }

    /// Writes that a run begins. Returns when that is written, or could not be written.
    pub(super) async fn begins(&self, entry: Arc<CrontabEntry>, due: Due) {
        let (written, is_written) = oneshot::channel();
        (self.take)(Write::Begins(entry, due, written));
        let _ = is_written.await;
    }

    pub(super) fn missed(&self, missed: Vec<MissedTick>) {
        if !missed.is_empty() {
            (self.take)(Write::Missed(missed));
        }
    }

    pub(super) fn refused(&self, errors: Vec<Error>) {
        (self.take)(Write::CrontabNews(CrontabNews::Refused(errors)));
    }

    pub(super) fn followed(&self, crontab: Crontab) {
        (self.take)(Write::CrontabNews(CrontabNews::Followed(crontab)));
    }

    /// Ends the thread. Returns when everything that came before is written. What comes later is
    /// not written.
    pub(super) async fn end(&self) {
        let (written, is_written) = oneshot::channel();
        (self.take)(Write::End(written));
        let _ = is_written.await;
    }
}

/// How many events that could not be written are kept. The oldest of more are dropped.
const MOST_UNWRITTEN: usize = 10_000;

fn work(received: &Receiver<Write>, runner: &dyn Runner) {
    let mut unwritten = Vec::new();
    while let Ok(first) = received.recv() {
        let mut batch = Batch { events: unwritten, ..Batch::default() };
        batch.add(first);
        received.try_iter().for_each(|note| batch.add(note));
        match batch.write(runner) {
            Some(left) => unwritten = left,
            None => return,
        }
        unwritten.drain(..unwritten.len().saturating_sub(MOST_UNWRITTEN));
    }
}

/// Decisions that are written together.
#[derive(Default)]
struct Batch {
    events: Vec<(Arc<CrontabEntry>, EntryEvent)>,
    missed: Vec<MissedTick>,
    news: Vec<CrontabNews>,
    /// The runs that wait until their beginning is written.
    begins: Vec<oneshot::Sender<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, note: Write) {
        match note {
            Write::Events(events) => self.events.extend(events),
            Write::Begins(entry, due, written) => {
                self.events.push((entry, EntryEvent::Begun(due.run())));
                self.begins.push(written);
            }
            Write::Missed(missed) => self.missed.extend(missed),
            Write::CrontabNews(news) => self.news.push(news),
            Write::End(written) => self.end = Some(written),
        }
    }

    /// Writes the batch. Returns the events that could not be written, for the next batch. `None`:
    /// this was the last batch.
    fn write(self, runner: &dyn Runner) -> Option<Vec<(Arc<CrontabEntry>, EntryEvent)>> {
        let is_written = self.events.is_empty() || runner.remember(&self.events);
        for written in self.begins {
            // The run may have been dropped: then it needs no answer.
            let _ = written.send(());
        }
        if !self.missed.is_empty() {
            runner.missed(&self.missed);
        }
        for news in self.news {
            match news {
                CrontabNews::Refused(errors) => runner.refused(&errors),
                CrontabNews::Followed(crontab) => runner.followed(&crontab),
            }
        }
        match self.end {
            Some(written) => {
                let _ = written.send(());
                None
            }
            None => Some(if is_written { Vec::new() } else { self.events }),
        }
    }
}
