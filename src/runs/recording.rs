//! Records the runs of a process on one thread: no script and no log waits for the store, and lines
//! that many runs log at the same time are one write.
//!
//! A failure here never stops a run. The log has one warning, and the run goes on without a record.
//! Whatever was not written is tried again, at the latest at the end of the run.

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

/// How much of a run's log is recorded.
const MAX_LINES: u64 = 10_000;
const MAX_BYTES: usize = 4 << 20;
/// Warnings and errors are recorded beyond that, up to this many times the limits.
const WARNINGS_FACTOR: u64 = 2;
/// A longer line is cut; in bytes.
const LONGEST_LINE: usize = 16 << 10;
/// Lines wait this long for more, so that one write takes many.
const LINES_DELAY: Duration = Duration::from_millis(200);
/// This many lines are written without a wait.
const LINES_BATCH: usize = 500;
/// How often the store is asked for requests to cancel, and a store that failed is tried again.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// A run that only reads is recorded at this age or at its end: after a crash, a younger one is of
/// no interest.
const READ_RUN_DELAY: Duration = Duration::from_secs(1);
/// How long a run waits for the record of its end to be written.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// How many ends may be unwritten without a run that waits for them.
const MAX_UNWRITTEN_ENDS: usize = 256;
/// How many ends that could not be written are kept to be tried again.
const MAX_FAILED_ENDS: usize = 100;
/// The pause after the write of ends that no run waits for: many such ends a second become one
/// write.
const WRITE_GAP: Duration = Duration::from_millis(5);
/// How many messages are taken for one write.
const MESSAGES_BATCH: usize = 1_000;

/// Writes the runs of this process into a store, on a thread that ends when this is dropped.
pub(crate) struct Recorder {
    store: Arc<Store>,
    messages: Sender<Message>,
    /// How many ends are unwritten without a run that waits for them.
    unwritten: Arc<AtomicUsize>,
    /// [`READ_RUN_DELAY`], but for tests.
    read_run_delay: Duration,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("store", &self.store).finish_non_exhaustive()
    }
}

/// A run that is being recorded. Dropped without an end, the run is recorded as failed.
pub(super) struct Recording {
    kept: Arc<LogLines>,
    unwritten: Arc<AtomicUsize>,
    cancelled_by: Arc<OnceLock<String>>,
}

/// The lines of a run on their way to the store.
struct LogLines {
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
    Begin(Arc<str>, Box<OpenRun>),
    /// A run that waited has its permit, with the record as it is now.
    Started(Arc<str>, Box<RunRecord>),
    Line(Arc<str>, Line),
    /// Write the run without delay. The sender is dropped after the attempt.
    Now(Arc<str>, Sender<()>),
    End(Arc<str>, Box<End>),
    /// The recording was dropped. Without an end before, this program broke.
    Gone(Arc<str>),
}

struct End {
    record: RunRecord,
    output: Output,
    observed: Option<(String, Vec<Observation>)>,
    waiting: Waiting,
    since: Instant,
}

/// What waits until an end is written.
enum Waiting {
    /// The run. The sender tells it whether the end is written.
    Run(Sender<bool>),
    /// Nothing waits: the end is counted until it is written.
    Nothing { _counted: Option<UnwrittenEnd> },
    /// The write failed and the run no longer waits. The write is tried again.
    Failed,
}

/// Counts an end until it is written.
struct UnwrittenEnd(Arc<AtomicUsize>);

impl Drop for UnwrittenEnd {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LogLines {
    fn left_out(&self) -> u64 {
        lock(&self.count).left_out
    }
}

impl Lines for LogLines {
    fn line(&self, time: Timestamp, level: Level, target: &str, message: &str) {
        let mut count = lock(&self.count);
        let text = cut(message.trim_end());
        let target = cut(target.strip_prefix("convoy_backups::").unwrap_or(target));
        let bytes = text.len() + target.len();
        let (times, times_bytes) =
            if level <= Level::Warn { (WARNINGS_FACTOR, WARNINGS_FACTOR as usize) } else { (1, 1) };
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
        // Sent under the lock, so that lines arrive in order. The writer drops lines after the end.
        let _ = self.messages.send(Message::Line(self.run.clone(), line));
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_LINE)]
}

impl Recorder {
    /// Starts the thread that writes. If that fails, the log says so and no run is recorded.
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
        Self { store, messages, unwritten, read_run_delay: READ_RUN_DELAY }
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Writes the record of a run without delay, and waits for the attempt up to [`END_TIMEOUT`]:
    /// a client that was told the id can then find the run.
    pub(crate) fn write_now(&self, run: &str) {
        let (written, tried) = mpsc::channel();
        if self.messages.send(Message::Now(run.into(), written)).is_ok() {
            let _ = tried.recv_timeout(END_TIMEOUT);
        }
    }

    /// Begins to record a run. A request to cancel the run, from any process, cancels
    /// `cancellation`. Without `at_once`, the record waits for [`READ_RUN_DELAY`].
    pub(super) fn begin(
        &self,
        record: RunRecord,
        cancellation: CancellationToken,
        at_once: bool,
    ) -> Recording {
        let run: Arc<str> = record.id.as_str().into();
        let cancelled_by = Arc::new(OnceLock::new());
        let begun = Box::new(OpenRun {
            record,
            cancellation,
            cancelled_by: cancelled_by.clone(),
            alive: None,
            is_written: false,
            is_due: at_once,
            due_at: Instant::now() + self.read_run_delay,
            lines: Vec::new(),
            gathering: None,
            end: None,
        });
        let _ = self.messages.send(Message::Begin(run.clone(), begun));
        Recording {
            kept: Arc::new(LogLines {
                run,
                messages: self.messages.clone(),
                count: Mutex::default(),
            }),
            unwritten: self.unwritten.clone(),
            cancelled_by,
        }
    }
}

impl Recording {
    /// Receives the log lines of the run.
    pub(super) fn lines(&self) -> Arc<dyn Lines> {
        Arc::clone(&self.kept) as Arc<dyn Lines>
    }

    /// The person or program that asked through the store to cancel the run.
    pub(super) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.get().map(String::as_str)
    }

    /// Replaces the record of a run that waited and has its permit now.
    pub(super) fn started(&self, record: RunRecord) {
        let _ = self.kept.messages.send(Message::Started(self.kept.run.clone(), Box::new(record)));
    }

    /// Records the end of the run soon, without a wait. Returns whether the end will be recorded.
    /// If too many ends are unwritten, waits as [`Recording::end`] does.
    pub(super) fn end_soon(
        self,
        mut record: RunRecord,
        output: Output,
        observed: Option<(String, Vec<Observation>)>,
    ) -> bool {
        let count = self.unwritten.fetch_add(1, Ordering::Relaxed);
        let unwritten = UnwrittenEnd(self.unwritten.clone());
        if count >= MAX_UNWRITTEN_ENDS {
            return self.end(record, output, observed);
        }
        record.lines_left_out = self.kept.left_out();
        let waiting = Waiting::Nothing { _counted: Some(unwritten) };
        let end = End { record, output, observed, waiting, since: Instant::now() };
        self.kept.messages.send(Message::End(self.kept.run.clone(), Box::new(end))).is_ok()
    }

    /// Records the end of the run, and waits for the write up to [`END_TIMEOUT`]. Returns whether
    /// the end is recorded.
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
        match is_written.recv_timeout(END_TIMEOUT) {
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

/// A run whose end is not recorded yet, as the thread knows it.
struct OpenRun {
    record: RunRecord,
    cancellation: CancellationToken,
    cancelled_by: Arc<OnceLock<String>>,
    /// The sign that the run is alive. Held until the end is written: without the sign, a reader of
    /// the store takes the run for interrupted.
    alive: Option<Result<Alive>>,
    /// Whether the store has the record as it is now.
    is_written: bool,
    /// Whether the record is to be written without delay.
    is_due: bool,
    /// When it is written at the latest.
    due_at: Instant,
    lines: Vec<Line>,
    /// Since when lines wait.
    gathering: Option<Instant>,
    end: Option<Box<End>>,
}

impl OpenRun {
    /// The time at which the run is written next. `None`: there is nothing to write.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.end.is_some() {
            return Some(now);
        }
        // Without its sign the run would be taken for interrupted.
        if matches!(self.alive, Some(Err(_))) {
            return None;
        }
        match (self.is_written, self.is_due) {
            (false, true) => Some(now),
            (false, false) => Some(self.due_at),
            (true, _) if self.lines.len() >= LINES_BATCH => Some(now),
            (true, _) => self.gathering.map(|since| since + LINES_DELAY),
        }
    }

    /// Whether the end could not be written and waits to be tried again.
    fn has_failed(&self) -> bool {
        self.end.as_deref().is_some_and(|end| matches!(end.waiting, Waiting::Failed))
    }

    /// Whether the end waits for its first write.
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

/// The state of the thread.
struct Writer {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    runs: HashMap<Arc<str>, OpenRun>,
    /// When a store that failed is tried again. Ends are tried at once.
    retry: Option<Instant>,
    /// Senders whose receivers wait for the next write.
    asked: Vec<Sender<()>>,
}

impl Writer {
    fn work(mut self, received: &Receiver<Message>) {
        let mut looked = Instant::now();
        loop {
            let message = match self.next(looked) {
                // No run is open.
                None => received.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(next) => received.recv_timeout(next.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(message) => {
                    self.take(message);
                    received.try_iter().take(MESSAGES_BATCH).for_each(|message| self.take(message));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let is_hurried = self.is_hurried();
            self.write(Instant::now());
            self.asked.clear();
            // If nothing waits, the ends that come in the next moment are written together.
            if !is_hurried {
                std::thread::sleep(WRITE_GAP);
            }
            if looked.elapsed() >= POLL_INTERVAL {
                looked = Instant::now();
                self.look();
            }
        }
    }

    /// The time at which there is something to do next. `None`: no run is open.
    fn next(&self, looked: Instant) -> Option<Instant> {
        if self.runs.is_empty() {
            return None;
        }
        let now = Instant::now();
        let due = |run: &OpenRun| {
            let due = run.due(now)?;
            Some(if run.ends() { due } else { due.max(self.retry.unwrap_or(due)) })
        };
        self.runs.values().filter_map(due).chain([looked + POLL_INTERVAL]).min()
    }

    /// Whether something waits for the next write, or there is nothing to write.
    fn is_hurried(&self) -> bool {
        let is_awaited_by_nothing = |run: &OpenRun| {
            matches!(run.end.as_deref(), Some(End { waiting: Waiting::Nothing { .. }, .. }))
        };
        !self.asked.is_empty() || !self.runs.values().any(is_awaited_by_nothing)
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Begin(id, run) => {
                self.runs.insert(id, *run);
            }
            Message::Started(id, record) => {
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

    /// Writes what is due, in one transaction.
    fn write(&mut self, now: Instant) {
        let may_try = self.retry.is_none_or(|retry| retry <= now);
        let is_due =
            |run: &OpenRun| run.ends() || may_try && run.due(now).is_some_and(|due| due <= now);
        let mut due: Vec<Arc<str>> =
            self.runs.iter().filter(|(_, run)| is_due(run)).map(|(id, _)| id.clone()).collect();
        // Ids sort by time, so this is the order in which the runs began.
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
        // A run that can't be written must not keep the others from being written.
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
            ids.iter().filter_map(|id| self.runs.get(id)).flat_map(OpenRun::changes).collect();
        self.store.apply(&changes, self.clock.now())
    }

    /// Notes the result of writing this run.
    fn settle(&mut self, id: &Arc<str>, written: &Result<()>) {
        say(&self.store, written);
        let Some(run) = self.runs.get_mut(id) else { return };
        match written {
            Ok(()) => {
                self.retry = None;
                run.written();
            }
            Err(error) => {
                self.retry = Some(Instant::now() + POLL_INTERVAL);
                let waits = |end: &End| {
                    error.kind == ErrorKind::Busy && end.since.elapsed() < END_TIMEOUT / 2
                };
                // Busy: another process holds the store for a moment.
                if run.end.as_deref().is_none_or(waits) {
                    return;
                }
                // Without its end a run looks interrupted once its sign is gone: so the end is kept
                // and tried again.
                let end = run
                    .end
                    .as_deref_mut()
                    .map(|end| std::mem::replace(&mut end.waiting, Waiting::Failed));
                if let Some(Waiting::Run(run)) = end {
                    _ = run.send(false);
                }
                if self.runs.values().filter(|run| run.has_failed()).count() > MAX_FAILED_ENDS {
                    self.runs.remove(id);
                }
                return;
            }
        }
        if written.is_ok() && run.end.is_some() {
            // The sign that the run is alive may go only after its end is written.
            if let Some(Waiting::Run(run)) =
                self.runs.remove(id).and_then(|run| run.end).map(|end| end.waiting)
            {
                _ = run.send(true);
            }
        }
    }

    /// Cancels the runs for which the store has a request to cancel.
    fn look(&mut self) {
        let waits =
            |run: &OpenRun| run.is_written && run.end.is_none() && run.cancelled_by.get().is_none();
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

/// The sign that a run is alive. Without the sign, the run is recorded at its end only, and the log
/// says so.
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

/// The end of a run whose recording was dropped, which only a bug of this program does.
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
        waiting: Waiting::Nothing { _counted: None },
        since: Instant::now(),
    }
}

/// Logs once what is wrong with the store, and once that the store works again.
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
