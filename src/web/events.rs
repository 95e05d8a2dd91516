//! What happens, as server-sent events: runs that begin, what they log, how far they are, how they
//! end.
//!
//! The store is the source, so that runs of every process are told: [`follow`] looks whether it
//! changed. How far a run is comes from this process alone ([`RunsProgress`]). A client that comes
//! back says which event it saw last; where that is too long ago, it is told to get everything anew
//! (`reset`).

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, Weak, mpsc as std_mpsc},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use warp::{Reply as _, Stream, reply::Response, sse::Event};

use super::{
    problem::Problem,
    progress::{RunsProgress, Shown},
    query::Query,
    request::Asked,
    run_answer::shown,
};
use crate::{
    error::{ErrorKind, Result},
    run_words::RunStatus,
    runs::{
        Store,
        record::{Filter, Line, RunRecord},
    },
    sync::lock,
};

/// So many events are kept for clients that come back, and so many bytes.
const KEPT: usize = 4_000;
const KEPT_BYTES: usize = 4 << 20;
/// So many may listen at a time.
const MOST_LISTENERS: usize = 64;
/// So many wait for a client that reads slowly.
const WAITING: usize = 64;
/// How often it is looked whether the store changed, and how far the runs are.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is looked whether runs are gone without a word.
const LOOK_FOR_DEAD: Duration = Duration::from_secs(2);
/// So many lines of a run's log are read at a time.
const LINES: usize = 500;

/// The names of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
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

impl Name {
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
    name: Name,
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

    /// Ends the streams of all who listen.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    /// Tells of something that is about no run.
    pub(crate) fn tell(&self, name: Name) {
        self.publish(name, None, &json!({}));
    }

    fn publish(&self, name: Name, run: Option<&str>, data: &Value) {
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
            while kept.events.len() > KEPT || kept.bytes > KEPT_BYTES {
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
    pub(super) fn progress_of(&self, run: &str) -> Option<Shown> {
        self.progress.of(run)
    }

    /// Tells how far a run is, where that is news.
    fn tell_progress(&self, run: &str) {
        if let Some(Shown { what, done, total }) = self.progress.news_of(run) {
            let value = json!({ "run": run, "what": what, "done": done, "total": total });
            self.publish(Name::RunProgress, Some(run), &value);
        }
    }

    /// The events behind the one that was seen last (`BOOT-NUMBER`), or from now on; of this run
    /// alone, where one is named.
    pub(crate) fn listen(self: &Arc<Self>, after: Option<&str>, run: Option<String>) -> Listening {
        let (sender, receiver) = mpsc::channel(WAITING);
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
        Some(kept.events.iter().skip(skip).take(WAITING).cloned().collect())
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
                    .event(Name::Reset.as_str())
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

/// GET /api/events
pub(super) fn listen(hub: &Arc<Hub>, asked: &Asked) -> Result<Response, Problem> {
    let query = Query::read(&asked.query, &["after", "run"])?;
    // A browser that comes back says it in the header.
    let last =
        asked.headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(query.get("after"));
    // The rest of the connections is for those who ask for something.
    if Arc::strong_count(&hub.listeners) > MOST_LISTENERS {
        return Err(Problem::overloaded());
    }
    let events = hub.listen(last, query.get("run").map(str::to_owned));
    Ok(warp::sse::reply(warp::sse::keep_alive().stream(events)).into_response())
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

/// Follows a store on a thread of its own until what comes back is dropped, and tells the hub what
/// happens in it. What is there already is not told; this reads the store, and so may block for
/// moments.
pub(crate) fn follow(store: Store, hub: &Arc<Hub>) -> std_mpsc::Sender<()> {
    let (stop, stopped) = std_mpsc::channel();
    let hub = Arc::downgrade(hub);
    let mut follower = Follower::new(store);
    let follow = move || {
        let mut looked = Instant::now();
        while stopped.recv_timeout(LOOK_EVERY) == Err(std_mpsc::RecvTimeoutError::Timeout) {
            let Some(hub) = Weak::upgrade(&hub) else { return };
            let version = follower.store.change_count().ok();
            let look_for_dead = !follower.open.is_empty() && looked.elapsed() >= LOOK_FOR_DEAD;
            if version != follower.version || look_for_dead {
                looked = Instant::now();
                match follower.look(&hub) {
                    Ok(()) => follower.version = version,
                    Err(error) => log::debug!("what happens can't be told: {error}"),
                }
            }
            follower.open.keys().for_each(|run| hub.tell_progress(run));
        }
    };
    if let Err(error) = std::thread::Builder::new().name("events".into()).spawn(follow) {
        log::warn!("what happens is not told to those who watch: {error}");
    }
    stop
}

struct Follower {
    store: Store,
    /// The newest row that was looked at; `None` where there was no store yet.
    row: Option<i64>,
    version: Option<i64>,
    /// The runs that go on, with the last line of each that was told.
    open: BTreeMap<String, (RunRecord, u64)>,
}

impl Follower {
    /// A follower of what happens from now on; the runs that go on now are followed, too.
    fn new(store: Store) -> Self {
        let mut follower = Self { store, row: None, version: None, open: BTreeMap::new() };
        if let Err(error) = follower.begin() {
            log::debug!("what went on before is not followed: {error}");
        }
        follower
    }

    fn begin(&mut self) -> Result<()> {
        let row = match self.store.last_row() {
            Ok(row) => row,
            // There is none yet.
            Err(error) if error.kind == ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        for status in [RunStatus::Running, RunStatus::Waiting] {
            for run in self.store.list(&Filter { status: Some(status), ..Filter::default() })? {
                let last = self.store.last_lines(&run.id, 1)?.first().map_or(0, |line| line.number);
                self.open.insert(run.id.clone(), (run, last));
            }
        }
        self.row = Some(row);
        Ok(())
    }

    fn look(&mut self, hub: &Hub) -> Result<()> {
        let Some(row) = self.row else { return self.begin() };
        if self.store.last_row()? < row {
            // It is another store: it was moved away, or its places were given anew.
            self.open.clear();
            hub.tell(Name::Reset);
            return self.begin();
        }
        let (last, runs) = self.store.runs_behind(row)?;
        self.row = Some(last);
        for run in runs {
            if self.open.contains_key(&run.id) {
                continue;
            }
            hub.publish(Name::RunStarted, Some(&run.id), &shown(&run));
            self.open.insert(run.id.clone(), (run, 0));
        }
        let ids: Vec<String> = self.open.keys().cloned().collect();
        for id in ids {
            // The record first: what is logged until a run's end is in the store when its end is.
            let record = match self.store.get(&id) {
                Ok(record) => record,
                Err(error) if matches!(error.kind, ErrorKind::Usage | ErrorKind::NotFound) => {
                    self.open.remove(&id);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.tell_lines(hub, &id)?;
            let Some((known, _)) = self.open.get_mut(&id) else { continue };
            if !record.status.is_open() {
                hub.tell_progress(&id);
                hub.progress.forget(&id);
                hub.publish(Name::RunEnded, Some(&id), &shown(&record));
                self.open.remove(&id);
            } else if record.status != known.status {
                hub.publish(Name::RunStarted, Some(&id), &shown(&record));
                *known = record;
            }
        }
        Ok(())
    }

    fn tell_lines(&mut self, hub: &Hub, id: &str) -> Result<()> {
        let Some((_, told)) = self.open.get_mut(id) else { return Ok(()) };
        loop {
            let lines = self.store.lines(id, *told, LINES)?;
            for line in &lines {
                hub.publish(Name::RunLine, Some(id), &line_of(id, line));
                *told = line.number;
            }
            if lines.len() < LINES {
                return Ok(());
            }
        }
    }
}

fn line_of(run: &str, line: &Line) -> Value {
    let mut value = serde_json::to_value(line).unwrap_or_default();
    value["run"] = run.into();
    value
}
