//! Writes runs down while they go on, all of a process's on one thread: neither a script nor its
//! log ever waits for the store, and what many runs say at the same time is one write.
//!
//! Nothing that goes wrong here stops a run. It is said once as a warning, and the run goes on
//! without a record; what is kept back is tried again, at the latest at the run's end.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use log::Level;
use tokio_util::sync::CancellationToken;

use super::{
    alive::Alive,
    record::{Line, Output, RunRecord},
    store::{Change, Ending, Store},
};
use crate::{
    clock::Clock,
    convoy::guards::Observation,
    diagnostic,
    error::{Error, ErrorKind, Result},
    run_words::RunStatus,
    scope::Lines,
    sync::lock,
};

/// So many lines of a run's log are kept, and so many bytes.
const MAX_LINES: u64 = 10_000;
const MAX_BYTES: usize = 4 << 20;
/// Beyond them, warnings and errors still are, up to so many times as much in all.
const FOR_WARNINGS: u64 = 2;
/// A longer line is cut, in bytes.
const LONGEST_LINE: usize = 16 << 10;
/// Lines wait so long for others to be written with.
const GATHER: Duration = Duration::from_millis(200);
/// Or until there are so many.
const BATCH: usize = 500;
/// How often it is looked whether somebody wants a run to end, and whether the store works again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A run that only reads is written down when it is so old, or at its end: a crash has nothing to
/// tell of it before.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// A run that is over waits so long for its record to be written.
const PATIENCE: Duration = Duration::from_secs(10);
/// So many ends may be on their way that nobody waits for.
const MOST_UNWRITTEN: usize = 256;
/// So many ends that could not be written are tried again, as long as the process lives.
const MOST_FAILED: usize = 100;
/// After an end that nobody waits for was written, so long nothing is: a thousand of them a second
/// are written together.
const BREATH: Duration = Duration::from_millis(5);
/// So many messages are taken together.
const TOGETHER: usize = 1_000;

/// Writes the runs of this process into a store, on a thread of its own that ends when this is
/// dropped.
pub(crate) struct Recorder {
    store: Arc<Store>,
    messages: Sender<Message>,
    /// How many ends are on their way that nobody waits for.
    unwritten: Arc<AtomicUsize>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A run that is being written down. Dropped without its end, the run is recorded as broken off.
pub(super) struct Recording {
    kept: Arc<Kept>,
    unwritten: Arc<AtomicUsize>,
    cancelled_by: Arc<OnceLock<String>>,
}

/// The lines of a run on their way to the store.
struct Kept {
    run: Arc<str>,
    messages: Sender<Message>,
    count: Mutex<Count>,
}

#[derive(Debug, Default)]
struct Count {
    lines: u64,
    bytes: usize,
    left_out: u64,
}

enum Message {
    Begin(Arc<str>, Box<Run>),
    /// The run's turn has come: its record is this now.
    Turn(Arc<str>, Box<RunRecord>),
    Line(Arc<str>, Line),
    /// The run is to be written now, whatever it is worth; the sender goes when that was tried.
    Now(Arc<str>, Sender<()>),
    End(Arc<str>, Box<End>),
    /// The run's thread is gone; without its end, this program broke.
    Gone(Arc<str>),
}

struct End {
    record: RunRecord,
    output: Output,
    observed: Option<(String, Vec<Observation>)>,
    waiting: Waiting,
    since: Instant,
}

/// Who waits until an end is written.
enum Waiting {
    /// The run, to be told whether it is.
    Run(Sender<bool>),
    /// Nobody; there may be too many of those.
    Nobody { _counted: Option<OnItsWay> },
    /// It failed, and the run goes on without. It is tried again.
    Failed,
}

/// An end that is on its way.
struct OnItsWay(Arc<AtomicUsize>);

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Kept {
    /// How many lines were too many.
    fn left_out(&self) -> u64 {
        lock(&self.count).left_out
    }
}

impl Lines for Kept {
    fn line(&self, time: Timestamp, level: Level, target: &str, message: &str) {
        let mut count = lock(&self.count);
        let text = cut(message.trim_end());
        let target = cut(target.strip_prefix("convoy_backups::").unwrap_or(target));
        let bytes = text.len() + target.len();
        let (times, times_bytes) =
            if level <= Level::Warn { (FOR_WARNINGS, FOR_WARNINGS as usize) } else { (1, 1) };
        if count.lines >= MAX_LINES * times || count.bytes + bytes > MAX_BYTES * times_bytes {
            count.left_out += 1;
            return;
        }
        count.lines += 1;
        count.bytes += bytes;
        let line = Line {
            number: count.lines,
            time,
            level,
            target: target.to_owned(),
            text: text.to_owned(),
        };
        // Sent under the lock, so that they arrive in their order. A run that ended keeps no more
        // lines.
        let _ = self.messages.send(Message::Line(self.run.clone(), line));
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_LINE)]
}

impl Recorder {
    /// A recorder into this store. Where its thread can't be started, that is said, and nothing is
    /// recorded.
    pub(crate) fn new(store: Arc<Store>, clock: Arc<dyn Clock>) -> Self {
        let (messages, received) = mpsc::channel();
        let unwritten = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            store: store.clone(),
            clock,
            runs: HashMap::new(),
            retry: None,
            asked: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("record".into());
        if let Err(error) = thread.spawn(move || writer.work(&received)) {
            say(&store, &Err(Error::io("cannot start a thread for it", &error)));
        }
        Self { store, messages, unwritten }
    }

    /// The store.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Writes a run that has begun down now, and waits until that was tried, but not for ever:
    /// whoever is told the run's id only can look for it then.
    pub(crate) fn write_now(&self, run: &str) {
        let (written, tried) = mpsc::channel();
        if self.messages.send(Message::Now(run.into(), written)).is_ok() {
            let _ = tried.recv_timeout(PATIENCE);
        }
    }

    /// Begins to write a run down; the request that it should end, from wherever it comes, goes to
    /// `cancellation`. A run that only reads may wait to be written until it is worth it
    /// (`at_once`: it is written now).
    pub(super) fn begin(
        &self,
        record: RunRecord,
        cancellation: CancellationToken,
        at_once: bool,
    ) -> Recording {
        let run: Arc<str> = record.id.as_str().into();
        let cancelled_by = Arc::new(OnceLock::new());
        let begun = Box::new(Run {
            record,
            cancellation,
            cancelled_by: cancelled_by.clone(),
            alive: None,
            is_written: false,
            is_due: at_once,
            since: Instant::now(),
            lines: Vec::new(),
            gathering: None,
            end: None,
        });
        let _ = self.messages.send(Message::Begin(run.clone(), begun));
        Recording {
            kept: Arc::new(Kept { run, messages: self.messages.clone(), count: Mutex::default() }),
            unwritten: self.unwritten.clone(),
            cancelled_by,
        }
    }
}

impl Recording {
    /// Takes the run's log lines.
    pub(super) fn lines(&self) -> Arc<dyn Lines> {
        Arc::clone(&self.kept) as Arc<dyn Lines>
    }

    /// Who wanted the run to end, if it was through the store.
    pub(super) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.get().map(String::as_str)
    }

    /// The run waited for its turn, which has come: this is its record now.
    pub(super) fn turn_came(&self, record: RunRecord) {
        let _ = self.kept.messages.send(Message::Turn(self.kept.run.clone(), Box::new(record)));
    }

    /// Has it written soon how the run ended; whether it will be. It waits as [`Recording::end`]
    /// does where too much is on its way.
    pub(super) fn end_soon(
        self,
        mut record: RunRecord,
        output: Output,
        observed: Option<(String, Vec<Observation>)>,
    ) -> bool {
        let count = self.unwritten.fetch_add(1, Ordering::Relaxed);
        let on_its_way = OnItsWay(self.unwritten.clone());
        if count >= MOST_UNWRITTEN {
            return self.end(record, output, observed);
        }
        record.lines_left_out = self.kept.left_out();
        let waiting = Waiting::Nobody { _counted: Some(on_its_way) };
        let end = End { record, output, observed, waiting, since: Instant::now() };
        self.kept.messages.send(Message::End(self.kept.run.clone(), Box::new(end))).is_ok()
    }

    /// Writes how the run ended, and waits until that is done, but not for ever; whether it is.
    pub(super) fn end(
        self,
        mut record: RunRecord,
        output: Output,
        observed: Option<(String, Vec<Observation>)>,
    ) -> bool {
        record.lines_left_out = self.kept.left_out();
        let (written, is_written) = mpsc::channel();
        let end = Box::new(End {
            record,
            output,
            observed,
            waiting: Waiting::Run(written),
            since: Instant::now(),
        });
        if self.kept.messages.send(Message::End(self.kept.run.clone(), end)).is_err() {
            return false;
        }
        match is_written.recv_timeout(PATIENCE) {
            Ok(is_written) => is_written,
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => {
                log::warn!("the run's record is not written yet; going on without it");
                false
            }
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.kept.messages.send(Message::Gone(self.kept.run.clone()));
    }
}

/// A run, as the thread knows it.
struct Run {
    record: RunRecord,
    cancellation: CancellationToken,
    cancelled_by: Arc<OnceLock<String>>,
    /// Held until the end is written: who finds the run without it takes it for interrupted.
    alive: Option<Result<Alive>>,
    /// Its record is in the store, as it is now.
    is_written: bool,
    /// It is to be written as soon as may be.
    is_due: bool,
    since: Instant,
    lines: Vec<Line>,
    /// Since when lines wait.
    gathering: Option<Instant>,
    end: Option<Box<End>>,
}

impl Run {
    /// When it is to be written next; `None` where there is nothing to write.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.end.is_some() {
            return Some(now);
        }
        // Without its sign it would be taken for interrupted.
        if matches!(self.alive, Some(Err(_))) {
            return None;
        }
        match (self.is_written, self.is_due) {
            (false, true) => Some(now),
            (false, false) => Some(self.since + WORTH_TELLING),
            (true, _) if self.lines.len() >= BATCH => Some(now),
            (true, _) => self.gathering.map(|since| since + GATHER),
        }
    }

    /// Whether its end could not be written, and nobody waits for it any more.
    fn has_failed(&self) -> bool {
        self.end.as_deref().is_some_and(|end| matches!(end.waiting, Waiting::Failed))
    }

    /// Whether it ended just now.
    fn ends(&self) -> bool {
        self.end.is_some() && !self.has_failed()
    }

    fn changes(&self) -> Vec<Change<'_>> {
        let lines = &self.lines;
        if let Some(end) = &self.end {
            let observed = end
                .observed
                .as_ref()
                .map(|(daemon, observed)| (daemon.as_str(), observed.as_slice()));
            return vec![Change::End(Ending {
                record: &end.record,
                output: &end.output,
                observed,
                lines,
            })];
        }
        let begin = (!self.is_written).then_some(Change::Begin(&self.record));
        let lines = (!lines.is_empty()).then_some(Change::Lines(&self.record.id, lines));
        begin.into_iter().chain(lines).collect()
    }

    fn written(&mut self) {
        self.is_written = true;
        self.lines.clear();
        self.gathering = None;
    }
}

/// The thread's own.
struct Writer {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    runs: HashMap<Arc<str>, Run>,
    /// The store failed: it is tried again then, for all but the runs that end just now.
    retry: Option<Instant>,
    /// Who waits until the runs are written.
    asked: Vec<Sender<()>>,
}

impl Writer {
    fn work(mut self, received: &Receiver<Message>) {
        let mut looked = Instant::now();
        loop {
            let message = match self.next(looked) {
                // Nothing goes on.
                None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(next) => received.recv_timeout(next.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(message) => {
                    self.take(message);
                    received.try_iter().take(TOGETHER).for_each(|message| self.take(message));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let is_hurried = self.is_hurried();
            self.write(Instant::now());
            self.asked.clear();
            // Where nobody waits, those that come next are written together.
            if !is_hurried {
                std::thread::sleep(BREATH);
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.look();
            }
        }
    }

    /// When there is something to do next; `None` where no run goes on.
    fn next(&self, looked: Instant) -> Option<Instant> {
        if self.runs.is_empty() {
            return None;
        }
        let now = Instant::now();
        let due = |run: &Run| {
            let due = run.due(now)?;
            Some(if run.ends() { due } else { due.max(self.retry.unwrap_or(due)) })
        };
        self.runs.values().filter_map(due).chain([looked + LOOK_EVERY]).min()
    }

    /// Whether somebody waits for what is written next, or there is nothing to write.
    fn is_hurried(&self) -> bool {
        let waits_for_nobody = |run: &Run| {
            matches!(run.end.as_deref(), Some(End { waiting: Waiting::Nobody { .. }, .. }))
        };
        !self.asked.is_empty() || !self.runs.values().any(waits_for_nobody)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin(id, run) => {
                self.runs.insert(id, *run);
            }
            Message::Turn(id, record) => {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.record = *record;
                    (run.is_written, run.is_due) = (false, true);
                }
            }
            Message::Line(id, line) => {
                if let Some(run) = self.runs.get_mut(&id).filter(|run| run.end.is_none()) {
                    run.lines.push(line);
                    run.gathering.get_or_insert_with(Instant::now);
                }
            }
            Message::Now(id, written) => {
                self.asked.push(written);
                if let Some(run) = self.runs.get_mut(&id) {
                    run.is_due = true;
                }
            }
            Message::End(id, end) => {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.end = Some(end);
                }
            }
            Message::Gone(id) => {
                if let Some(run) = self.runs.get_mut(&id).filter(|run| run.end.is_none()) {
                    run.end = Some(Box::new(broken(run.record.clone(), self.clock.now())));
                }
            }
        }
    }

    /// Writes what is due, in one go.
    fn write(&mut self, now: Instant) {
        let may_try = self.retry.is_none_or(|retry| retry <= now);
        let is_due =
            |run: &Run| run.ends() || may_try && run.due(now).is_some_and(|due| due <= now);
        let mut due: Vec<Arc<str>> =
            self.runs.iter().filter(|(_, run)| is_due(run)).map(|(id, _)| id.clone()).collect();
        // The order in which they began.
        due.sort();
        for id in &due {
            let Some(run) = self.runs.get_mut(id) else { continue };
            if run.alive.is_none() && run.end.is_none() {
                run.alive = Some(alive(&self.store, id));
            }
        }
        due.retain(|id| {
            self.runs
                .get(id)
                .is_some_and(|run| run.end.is_some() || !matches!(run.alive, Some(Err(_))))
        });
        if due.is_empty() {
            return;
        }
        let written = self.record(&due);
        // One that can't be written must not keep the others from it.
        let is_busy = written.as_ref().is_err_and(|error| error.kind == ErrorKind::Busy);
        if written.is_err() && !is_busy && due.len() > 1 {
            for id in &due {
                let written = self.record(std::slice::from_ref(id));
                self.settle(id, &written);
            }
        } else {
            due.iter().for_each(|id| self.settle(id, &written));
        }
    }

    fn record(&self, ids: &[Arc<str>]) -> Result<()> {
        let changes: Vec<_> =
            ids.iter().filter_map(|id| self.runs.get(id)).flat_map(Run::changes).collect();
        self.store.apply(&changes, self.clock.now())
    }

    /// Takes note of what came of writing this run.
    fn settle(&mut self, id: &Arc<str>, written: &Result<()>) {
        say(&self.store, written);
        let Some(run) = self.runs.get_mut(id) else { return };
        match written {
            Ok(()) => {
                self.retry = None;
                run.written();
            }
            Err(error) => {
                self.retry = Some(Instant::now() + LOOK_EVERY);
                let waits =
                    |end: &End| error.kind == ErrorKind::Busy && end.since.elapsed() < PATIENCE / 2;
                // Another process holds the store for a moment.
                if run.end.as_deref().is_none_or(waits) {
                    return;
                }
                // Without its end a run looks interrupted once its sign is gone: it is kept, and
                // tried again.
                let end = run
                    .end
                    .as_deref_mut()
                    .map(|end| std::mem::replace(&mut end.waiting, Waiting::Failed));
                if let Some(Waiting::Run(run)) = end {
                    _ = run.send(false);
                }
                if self.runs.values().filter(|run| run.has_failed()).count() > MOST_FAILED {
                    self.runs.remove(id);
                }
                return;
            }
        }
        if written.is_ok() && run.end.is_some() {
            // The sign that it is alive goes with it, and only now.
            if let Some(Waiting::Run(run)) =
                self.runs.remove(id).and_then(|run| run.end).map(|end| end.waiting)
            {
                _ = run.send(true);
            }
        }
    }

    /// Looks whether somebody wants a run to end.
    fn look(&mut self) {
        let waits =
            |run: &Run| run.is_written && run.end.is_none() && run.cancelled_by.get().is_none();
        if !self.runs.values().any(waits) {
            return;
        }
        match self.store.cancel_requests() {
            Ok(requests) => {
                for (id, request) in requests {
                    if let Some(run) = self.runs.get(id.as_str()).filter(|run| waits(run)) {
                        let _ = run.cancelled_by.set(request.by);
                        run.cancellation.cancel();
                    }
                }
            }
            Err(error) => say(&self.store, &Err(error)),
        }
    }
}

/// The sign that a run is alive. Without it, the run is written down at its end only, and that is
/// said.
fn alive(store: &Store, id: &str) -> Result<Alive> {
    let alive = Alive::new(store.running(), id).map_err(|error| {
        Error::io("cannot leave a sign that the run is alive", &error)
            .with_hint("set BKUP_DATA_DIR to a folder that can be written")
    });
    if let Err(error) = &alive {
        say(store, &Err(error.clone()));
    }
    alive
}

/// How a run ends whose thread is gone without a word: this program broke.
fn broken(record: RunRecord, now: Timestamp) -> End {
    let error = Error::internal("the run broke off inside the program");
    let record = RunRecord {
        status: RunStatus::Failed,
        ended: Some(now),
        error: Some(diagnostic::to_json(&error)),
        ..record
    };
    End {
        record,
        output: Output::default(),
        observed: None,
        waiting: Waiting::Nobody { _counted: None },
        since: Instant::now(),
    }
}

/// Says what is wrong with the store, once, and that it is well again.
fn say(store: &Store, result: &Result<()>) {
    match (result, store.is_news(result.is_ok())) {
        (Err(error), true) => {
            log::warn!("the run goes on, but is not recorded: {}", diagnostic::in_one_line(error));
        }
        (Ok(()), true) => log::info!("runs are recorded again"),
        (_, false) => {}
    }
}

#[cfg(test)]
mod tests;
