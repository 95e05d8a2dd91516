//! Has written down what the scheduler's loop decides, on a thread of its own: the loop waits
//! neither for the store nor for a file.
//!
//! What has come in meanwhile is handed on together, so that a thousand entries are one
//! transaction: first the times, for which runs wait, then what was missed, then the news of the
//! crontab; each kind in its order. Times that can't be written, because somebody else holds the
//! store, are tried again with the next.

use std::sync::{
    Arc,
    mpsc::{self, Receiver},
};

use tokio::sync::oneshot;

use super::{
    crontab::{Crontab, Entry},
    due::Due,
    runner::{Event, MissedTick, Runner},
};
use crate::error::Error;

enum Note {
    Events(Vec<(Arc<Entry>, Event)>),
    /// A run begins; it waits until that is remembered.
    Begins(Arc<Entry>, Due, oneshot::Sender<()>),
    Missed(Vec<MissedTick>),
    News(News),
    /// Nothing more comes.
    End(oneshot::Sender<()>),
}

/// News of the crontab.
enum News {
    Refused(Vec<Error>),
    Followed(Crontab),
}

/// Takes what is to be written down. All clones write to the same thread.
#[derive(Clone)]
pub(super) struct Clerk {
    take: Arc<dyn Fn(Note) + Send + Sync>,
}

impl Clerk {
    /// Starts the thread, which ends with the last clone or with [`Clerk::end`].
    pub(super) fn start(runner: Arc<dyn Runner>) -> Self {
        let (notes, received) = mpsc::channel();
        let writer = runner.clone();
        match std::thread::Builder::new()
            .name("schedule".into())
            .spawn(move || work(&received, &*writer))
        {
            // After the end there is nobody left to take it.
            Ok(_) => Self { take: Arc::new(move |note| drop(notes.send(note))) },
            Err(error) => {
                log::warn!(
                    "cannot start a thread for the schedule's records, so ticks may wait for them: {error}"
                );
                Self::at_once(runner)
            }
        }
    }

    /// Writes everything down at once, in the caller's thread.
    pub(super) fn at_once(runner: Arc<dyn Runner>) -> Self {
        let take = move |note| {
            let mut batch = Batch::default();
            batch.add(note);
            batch.write(&*runner);
        };
        Self { take: Arc::new(take) }
    }

    pub(super) fn remember(&self, events: Vec<(Arc<Entry>, Event)>) {
        if !events.is_empty() {
            (self.take)(Note::Events(events));
        }
    }

    /// A run begins: comes back when that is remembered, or can't be.
    pub(super) async fn begins(&self, entry: Arc<Entry>, due: Due) {
        let (written, is_written) = oneshot::channel();
        (self.take)(Note::Begins(entry, due, written));
        let _ = is_written.await;
    }

    pub(super) fn missed(&self, missed: Vec<MissedTick>) {
        if !missed.is_empty() {
            (self.take)(Note::Missed(missed));
        }
    }

    pub(super) fn refused(&self, errors: Vec<Error>) {
        (self.take)(Note::News(News::Refused(errors)));
    }

    pub(super) fn followed(&self, crontab: Crontab) {
        (self.take)(Note::News(News::Followed(crontab)));
    }

    /// Comes back when all that was taken is written down; what is taken later is not.
    pub(super) async fn end(&self) {
        let (written, is_written) = oneshot::channel();
        (self.take)(Note::End(written));
        let _ = is_written.await;
    }
}

/// So many events are kept that could not be written down; of more, the oldest are forgotten.
const MOST_UNWRITTEN: usize = 10_000;

fn work(received: &Receiver<Note>, runner: &dyn Runner) {
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

/// What came in meanwhile.
#[derive(Default)]
struct Batch {
    events: Vec<(Arc<Entry>, Event)>,
    missed: Vec<MissedTick>,
    news: Vec<News>,
    /// The runs that wait for their beginning to be remembered.
    begins: Vec<oneshot::Sender<()>>,
    end: Option<oneshot::Sender<()>>,
}

impl Batch {
    fn add(&mut self, note: Note) {
        match note {
            Note::Events(events) => self.events.extend(events),
            Note::Begins(entry, due, written) => {
                self.events.push((entry, Event::Begins(due)));
                self.begins.push(written);
            }
            Note::Missed(missed) => self.missed.extend(missed),
            Note::News(news) => self.news.push(news),
            Note::End(written) => self.end = Some(written),
        }
    }

    /// Writes it down; the events that could not be, for the next time; `None` after the last.
    fn write(self, runner: &dyn Runner) -> Option<Vec<(Arc<Entry>, Event)>> {
        let is_written = self.events.is_empty() || runner.remember(&self.events);
        for written in self.begins {
            // Whoever does not wait any more needs no answer.
            let _ = written.send(());
        }
        if !self.missed.is_empty() {
            runner.missed(&self.missed);
        }
        for news in self.news {
            match news {
                News::Refused(errors) => runner.refused(&errors),
                News::Followed(crontab) => runner.followed(&crontab),
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
