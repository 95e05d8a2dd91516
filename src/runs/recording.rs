//! Writes one run down while it goes on, on a thread of its own: neither the script nor its log ever waits for the store.
//!
//! Nothing that goes wrong here stops a run. It is said once as a warning, and the run goes on without a record; what is
//! kept back is tried again at the end.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use log::Level;
use tokio_util::sync::CancellationToken;

use super::{
    alive::Alive,
    record::{Line, Output, RunRecord, Status},
    store::{Ending, Store},
};
use crate::{
    clock::Clock,
    convoy::guards::Witness,
    diagnostic,
    error::{Error, Result},
    logging::scope::Lines,
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
/// How often it is looked whether somebody wants the run to end, and whether the store works again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A run that is over waits so long for its record to be written.
const PATIENCE: Duration = Duration::from_secs(10);

/// A run that is being written down.
pub(super) struct Recording {
    kept: Arc<Kept>,
    cancelled_by: Arc<OnceLock<String>>,
}

/// The lines of a run on their way to the store.
struct Kept {
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
    Line(Line),
    End(Box<End>),
}

struct End {
    record: RunRecord,
    output: Output,
    witnessed: Option<(String, Vec<Witness>)>,
    written: Sender<bool>,
}

impl Lines for Kept {
    fn line(&self, time: Timestamp, level: Level, target: &str, message: &str) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let text = cut(message.trim_end());
        let target = cut(target.strip_prefix("convoy_backups::").unwrap_or(target));
        let bytes = text.len() + target.len();
        let (times, times_bytes) = if level <= Level::Warn { (FOR_WARNINGS, FOR_WARNINGS as usize) } else { (1, 1) };
        if count.lines >= MAX_LINES * times || count.bytes + bytes > MAX_BYTES * times_bytes {
            count.left_out += 1;
            return;
        }
        count.lines += 1;
        count.bytes += bytes;
        let line = Line { number: count.lines, time, level, target: target.to_owned(), text: text.to_owned() };
        // Sent under the lock, so that they arrive in their order. A run that ended keeps no more lines.
        let _ = self.messages.send(Message::Line(line));
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_LINE)]
}

impl Recording {
    /// Begins to write a run down; its request to end, from wherever it comes, goes to `cancellation`.
    pub(super) fn begin(
        store: Arc<Store>,
        record: RunRecord,
        clock: Arc<dyn Clock>,
        cancellation: CancellationToken,
    ) -> Self {
        let (messages, received) = mpsc::channel();
        let cancelled_by = Arc::new(OnceLock::new());
        let writer = Writer {
            store: Arc::clone(&store),
            clock,
            cancellation,
            cancelled_by: Arc::clone(&cancelled_by),
            pending: Vec::new(),
            is_begun: false,
            record,
        };
        let thread = std::thread::Builder::new().name("record".into());
        if let Err(error) = thread.spawn(move || writer.work(&received)) {
            say(&store, &Err(Error::io("cannot start a thread for it", &error)));
        }
        Self { kept: Arc::new(Kept { messages, count: Mutex::default() }), cancelled_by }
    }

    /// Takes the run's log lines.
    pub(super) fn lines(&self) -> Arc<dyn Lines> {
        Arc::clone(&self.kept) as Arc<dyn Lines>
    }

    /// Who wanted the run to end, if it was through the store.
    pub(super) fn cancelled_by(&self) -> Option<&str> {
        self.cancelled_by.get().map(String::as_str)
    }

    /// Writes how the run ended, and waits until that is done, but not for ever; whether it is.
    pub(super) fn end(self, mut record: RunRecord, output: Output, witnessed: Option<(String, Vec<Witness>)>) -> bool {
        record.lines_left_out = self.kept.count.lock().unwrap_or_else(PoisonError::into_inner).left_out;
        let (written, is_written) = mpsc::channel();
        let end = Box::new(End { record, output, witnessed, written });
        if self.kept.messages.send(Message::End(end)).is_err() {
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

/// The thread's own.
struct Writer {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    cancellation: CancellationToken,
    cancelled_by: Arc<OnceLock<String>>,
    record: RunRecord,
    is_begun: bool,
    pending: Vec<Line>,
}

impl Writer {
    fn work(mut self, received: &Receiver<Message>) {
        // Held until the end is written: who finds the run without it takes it for interrupted.
        let alive = Alive::new(self.store.running(), &self.record.id)
            .map_err(|error| Error::io("cannot leave a sign that the run is alive", &error));
        match &alive {
            Ok(_) => self.begin(),
            Err(error) => {
                say(&self.store, &Err(error.clone().with_hint("set BKUP_DATA_DIR to a folder that can be written")))
            }
        }
        let mut looked = Instant::now();
        let mut gathering: Option<Instant> = None;
        loop {
            let next = looked + LOOK_EVERY;
            let next = gathering.map_or(next, |since| next.min(since + GATHER));
            match received.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Message::Line(line)) => {
                    self.pending.push(line);
                    gathering.get_or_insert_with(Instant::now);
                }
                Ok(Message::End(end)) => return self.end(*end),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.broken(),
            }
            if self.is_begun
                && (self.pending.len() >= BATCH || gathering.is_some_and(|since| since.elapsed() >= GATHER))
            {
                self.append();
                gathering = None;
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                if alive.is_ok() {
                    self.look();
                }
            }
        }
    }

    fn begin(&mut self) {
        let begun = self.store.begin(&self.record);
        self.is_begun = begun.is_ok();
        say(&self.store, &begun);
    }

    fn append(&mut self) {
        let appended = self.store.append(&self.record.id, &self.pending);
        if appended.is_ok() {
            self.pending.clear();
        }
        say(&self.store, &appended);
    }

    fn look(&mut self) {
        if !self.is_begun {
            self.begin();
        }
        if !self.is_begun || self.cancelled_by.get().is_some() {
            return;
        }
        match self.store.cancel_requested(&self.record.id) {
            Ok(Some(request)) => {
                let _ = self.cancelled_by.set(request.by);
                self.cancellation.cancel();
            }
            Ok(None) => {}
            Err(error) => say(&self.store, &Err(error)),
        }
    }

    fn end(self, end: End) {
        let witnessed = end.witnessed.as_ref().map(|(daemon, witnessed)| (daemon.as_str(), witnessed.as_slice()));
        let ending = Ending { record: &end.record, output: &end.output, witnessed, lines: &self.pending };
        // Each attempt waits for a moment where another process holds the store; without its end a run looks interrupted.
        let begun = Instant::now();
        let mut ended = self.store.end(&ending, self.clock.now());
        while ended.as_ref().is_err_and(|error| error.kind == crate::error::ErrorKind::Busy)
            && begun.elapsed() < PATIENCE / 2
        {
            ended = self.store.end(&ending, self.clock.now());
        }
        say(&self.store, &ended);
        let _ = end.written.send(ended.is_ok());
    }

    /// The run's thread is gone without a word: this program broke.
    fn broken(mut self) {
        let error = Error::internal("the run broke off inside the program");
        self.record.status = Status::Failed;
        self.record.ended = Some(self.clock.now());
        self.record.error = Some(diagnostic::to_json(&error));
        let ending = Ending { record: &self.record, output: &Output::default(), witnessed: None, lines: &self.pending };
        say(&self.store, &self.store.end(&ending, self.clock.now()));
    }
}

/// Says what is wrong with the store, once, and that it is well again.
fn say(store: &Store, result: &Result<()>) {
    match (result, store.is_news(result.is_ok())) {
        (Err(error), true) => {
            let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            log::warn!("the run goes on, but is not recorded: {error}{hint}");
        }
        (Ok(()), true) => log::info!("runs are recorded again"),
        (_, false) => {}
    }
}

#[cfg(test)]
mod tests;
