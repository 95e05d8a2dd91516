//! Keeps the last events and hands events to the clients that listen.

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
    web::progress::{RunProgress, RunsProgress},
};

/// How many events are kept for clients that come back, and how many bytes of them.
const MOST_KEPT: usize = 4_000;
const MOST_KEPT_BYTES: usize = 4 << 20;
/// How many events may wait for a client that reads slowly.
const MOST_WAITING: usize = 64;

/// The names of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventName {
    /// A run began, or its turn came.
    RunStarted,
    /// A line of a run's log.
    RunLine,
    /// The progress of a run.
    RunProgress,
    /// A run ended.
    RunEnded,
    /// There is a new report on the volumes.
    Status,
    /// The schedule changed.
    Schedule,
    /// The client missed events, and has to fetch everything anew.
    Reset,
}

impl EventName {
    /// The name in the event stream.
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
struct StoredEvent {
    number: u64,
    name: EventName,
    /// The id of the run that the event is about.
    run: Option<String>,
    data: String,
}

/// Publishes events: keeps the last ones, and hands them to the clients that listen.
#[derive(Debug)]
pub(crate) struct Hub {
    /// A word that tells the events of this process from those of an earlier one.
    boot: String,
    kept: Mutex<Kept>,
    progress: RunsProgress,
    newest: watch::Sender<u64>,
    /// Cancelling this ends all streams.
    closed: CancellationToken,
    /// Each client's stream holds a clone, so the count of clones is the count of clients.
    listeners: Arc<()>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Arc<StoredEvent>>,
    bytes: usize,
    newest: u64,
}

impl Hub {
    /// A hub without events. `boot` must differ between starts of the program.
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

    /// Ends the streams of all clients.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Publishes an event without data that concerns no single run.
    pub(crate) fn publish(&self, name: EventName) {
        self.add(name, None, &json!({}));
    }

    /// Publishes an event of a run. A client that follows one run gets only the events of that run.
    pub(super) fn publish_for_run(&self, name: EventName, run: &str, data: &Value) {
        self.add(name, Some(run), data);
    }

    fn add(&self, name: EventName, run: Option<&str>, data: &Value) {
        let newest = {
            let mut kept = self.kept();
            kept.newest += 1;
            let event = StoredEvent {
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

    /// The progress of this process's runs.
    pub(crate) fn progress(&self) -> &RunsProgress {
        &self.progress
    }

    /// The progress of a run, if any is known.
    pub(in crate::web) fn progress_of(&self, run: &str) -> Option<RunProgress> {
        self.progress.of(run)
    }

    /// Publishes the progress of a run, if it has changed.
    pub(super) fn publish_progress(&self, run: &str) {
        if let Some(RunProgress { what, done, total }) = self.progress.changed_progress_of(run) {
            let value = json!({ "run": run, "what": what, "done": done, "total": total });
            self.publish_for_run(EventName::RunProgress, run, &value);
        }
    }

    /// Streams the events after the one that a client saw last (`BOOT-NUMBER`), or from now on.
    /// With a run, only the events of that run.
    pub(crate) fn listen(
        self: &Arc<Self>,
        after: Option<&str>,
        run: Option<String>,
    ) -> EventStream {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        let seen = after.map(|id| id.rsplit_once('-').filter(|(boot, _)| *boot == self.boot));
        // An id of another start of the program, or no valid id: the missed events are not known.
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
        EventStream(receiver, self.listeners.clone())
    }

    /// The events after this number. `None`: some of them are not kept any more.
    fn behind(&self, position: u64) -> Option<Vec<Arc<StoredEvent>>> {
        let kept = self.kept();
        let oldest = kept.events.front().map_or(kept.newest + 1, |event| event.number);
        if position + 1 < oldest && position < kept.newest {
            return None;
        }
        let skip = usize::try_from(position + 1 - oldest.min(position + 1)).unwrap_or(0);
        Some(kept.events.iter().skip(skip).take(MOST_WAITING).cloned().collect())
    }
}

/// Hands events to one client until the client is gone.
async fn hand_on(
    hub: Arc<Hub>,
    mut newest: watch::Receiver<u64>,
    client: mpsc::Sender<Event>,
    mut position: u64,
    mut is_lost: bool,
    run: Option<String>,
) {
    // The comment goes out at once, because a proxy or a page may wait for the first byte.
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
pub(crate) struct EventStream(
    mpsc::Receiver<Event>,
    #[expect(dead_code, reason = "it is counted")] Arc<()>,
);

impl Stream for EventStream {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|event| event.map(Ok))
    }
}
