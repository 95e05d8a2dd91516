//! The last events, and the clients that listen.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use warp::{Stream, sse::Event};

use crate::{
    error::Result,
    sync::lock,
    web::progress::{RunsProgress, Shown},
};

/// So many events are kept for clients that come back, and so many bytes.
const MOST_KEPT: usize = 4_000;
const MOST_KEPT_BYTES: usize = 4 << 20;
/// So many events wait for a client that reads slowly.
const MOST_WAITING: usize = 64;

/// The names of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventName {
    /// A run began, or its turn came.
    RunStarted,
    /// A line of a run's log.
    RunLine,
    /// How far a run is.
    RunProgress,
    /// A run ended.
    RunEnded,
    /// What is known of the volumes changed.
    Status,
    /// The schedule changed.
    Schedule,
    /// Events were missed.
    Reset,
}

impl EventName {
    /// The word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RunStarted => "run-started",
            Self::RunLine => "run-line",
            Self::RunProgress => "run-progress",
            Self::RunEnded => "run-ended",
            Self::Status => "status",
            Self::Schedule => "schedule",
            Self::Reset => "reset",
        }
    }
}

/// One event.
#[derive(Debug)]
struct Told {
    number: u64,
    name: EventName,
    /// The run it is about, where it is about one.
    run: Option<String>,
    data: String,
}

/// Takes what happens, and hands it on to everyone who listens.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Tells this process's events from those of one before it.
    boot: String,
    kept: Mutex<Kept>,
    progress: RunsProgress,
    newest: watch::Sender<u64>,
    /// Nobody listens any more.
    closed: CancellationToken,
    /// Each who listens holds one of these.
    listeners: Arc<()>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<Told>>,
    bytes: usize,
    newest: u64,
}

impl Hub {
    /// A hub that has told nothing yet; `boot` is a word that no other start of the program has.
    pub(crate) fn new(boot: String) -> Self {
        Self {
            boot,
            kept: Mutex::default(),
            progress: RunsProgress::default(),
            newest: watch::Sender::new(0),
            closed: CancellationToken::new(),
            listeners: Arc::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }

    /// How many clients listen.
    pub(super) fn listener_count(&self) -> usize {
        Arc::strong_count(&self.listeners) - 1
    }

    /// Ends the streams of all who listen.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Tells of something that is about no run.
    pub(crate) fn tell(&self, name: EventName) {
        self.publish(name, None, &json!({}));
    }

    pub(super) fn publish(&self, name: EventName, run: Option<&str>, data: &Value) {
        let newest = {
            let mut kept = self.kept();
            kept.newest += 1;
            let event = Told {
                number: kept.newest,
                name,
                run: run.map(str::to_owned),
                data: data.to_string(),
            };
            kept.bytes += event.data.len();
            kept.events.push_back(Arc::new(event));
            while kept.events.len() > MOST_KEPT || kept.bytes > MOST_KEPT_BYTES {
                let Some(oldest) = kept.events.pop_front() else { break };
                kept.bytes -= oldest.data.len();
            }
            kept.newest
        };
        self.newest.send_replace(newest);
    }

    /// Takes how far this process's runs are.
    pub(crate) fn progress(&self) -> &RunsProgress {
        &self.progress
    }

    /// How far a run is, where that is known.
    pub(in crate::web) fn progress_of(&self, run: &str) -> Option<Shown> {
        self.progress.of(run)
    }

    /// Tells how far a run is, where that is news.
    pub(super) fn tell_progress(&self, run: &str) {
        if let Some(Shown { what, done, total }) = self.progress.news_of(run) {
            let value = json!({ "run": run, "what": what, "done": done, "total": total });
            self.publish(EventName::RunProgress, Some(run), &value);
        }
    }

    /// The events behind the one that was seen last (`BOOT-NUMBER`), or from now on; of this run
    /// alone, where one is named.
    pub(crate) fn listen(self: &Arc<Self>, after: Option<&str>, run: Option<String>) -> Listening {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let seen = after.map(|id| id.rsplit_once('-').filter(|(boot, _)| *boot == self.boot));
        // Of another start, or no id at all: what was missed is not known.
        let (position, is_lost) = match seen {
            None => (self.kept().newest, false),
            Some(Some((_, number))) => match number.parse() {
                Ok(number) if number <= self.kept().newest => (number, false),
                _ => (self.kept().newest, true),
            },
            Some(None) => (self.kept().newest, true),
        };
        tokio::spawn(hand_on(
            self.clone(),
            self.newest.subscribe(),
            sender,
            position,
            is_lost,
            run,
        ));
        Listening(receiver, self.listeners.clone())
    }

    /// The events behind this one; `None` where some of them are not kept any more.
    fn behind(&self, position: u64) -> Option<Vec<Arc<Told>>> {
        let kept = self.kept();
        let oldest = kept.events.front().map_or(kept.newest + 1, |event| event.number);
        if position + 1 < oldest && position < kept.newest {
            return None;
        }
        let skip = usize::try_from(position + 1 - oldest.min(position + 1)).unwrap_or(0);
        Some(kept.events.iter().skip(skip).take(MOST_WAITING).cloned().collect())
    }
}

/// Hands events on to one client until it is gone.
async fn hand_on(
    hub: Arc<Hub>,
    mut newest: watch::Receiver<u64>,
    client: mpsc::Sender<Event>,
    mut position: u64,
    mut is_lost: bool,
    run: Option<String>,
) {
    // Says at once that all is well: a proxy or a page that waits for the first byte has it.
    if client.send(Event::default().comment("listening")).await.is_err() {
        return;
    }
    loop {
        let events = if is_lost { None } else { hub.behind(position) };
        match events {
            None => {
                is_lost = false;
                position = *newest.borrow_and_update();
                let reset = Event::default()
                    .event(EventName::Reset.as_str())
                    .data("{}")
                    .id(format!("{}-{position}", hub.boot));
                if client.send(reset).await.is_err() {
                    return;
                }
            }
            Some(events) if events.is_empty() => tokio::select! {
                changed = newest.changed() => if changed.is_err() { return },
                () = client.closed() => return,
                () = hub.closed.cancelled() => return,
            },
            Some(events) => {
                for event in events {
                    position = event.number;
                    if run.is_some() && event.run != run {
                        continue;
                    }
                    let id = format!("{}-{position}", hub.boot);
                    let sent = Event::default()
                        .event(event.name.as_str())
                        .data(event.data.as_str())
                        .id(id);
                    if client.send(sent).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// The events of one client.
pub(crate) struct Listening(
    mpsc::Receiver<Event>,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl Stream for Listening {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}
