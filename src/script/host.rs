//! What a run gives the primitives of its script, and what it keeps while the script runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::engine;
use crate::{
    clock::{Clock, SystemClock},
    convoy::{Destination, guards::Guards},
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// What a run gives the primitives of its script.
pub(crate) struct Host {
    /// The guarded daemon.
    pub(crate) guards: Arc<Guards>,
    /// Where the primitives' asynchronous work is done.
    pub(crate) runtime: Handle,
    /// Ends the run when it is cancelled.
    pub(crate) cancellation: CancellationToken,
    /// When the run must be over.
    pub(crate) deadline: Option<Instant>,
    /// The time that `time::` and `retention::` go by.
    pub(crate) clock: Arc<dyn Clock>,
    /// The configuration that scripts may see.
    pub(crate) settings: Arc<Settings>,
    /// Which run this is.
    pub(crate) run: RunInfo,
    /// Hears what the script says.
    pub(crate) listener: Arc<dyn Listener>,
    /// Takes what the script wants people to know.
    pub(crate) message_sink: Arc<dyn MessageSink>,
    /// How many steps of a script, in all its threads together, are too many.
    pub(crate) max_operations: u64,
}

impl Host {
    /// A host with this daemon, and defaults for the rest: no deadline, the system's clock,
    /// notifications to the log.
    pub(crate) fn new(guards: Arc<Guards>, runtime: Handle) -> Self {
        Self {
            guards,
            runtime,
            cancellation: CancellationToken::new(),
            deadline: None,
            clock: Arc::new(SystemClock),
            settings: Arc::default(),
            run: RunInfo::default(),
            listener: Arc::new(Silent),
            message_sink: Arc::new(NotifyLog),
            max_operations: engine::MAX_OPERATIONS,
        }
    }
}

/// The configuration that scripts may see. Secrets do not belong here.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where backups go unless a script says otherwise.
    pub(crate) destination: Option<Destination>,
    /// Whether `backup` deletes a volume's older snapshots.
    pub(crate) delete_old_snapshots: bool,
    /// Other values, by the name that `config::get` knows them by.
    pub(crate) values: BTreeMap<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { destination: None, delete_old_snapshots: true, values: BTreeMap::new() }
    }
}

/// Which run this is.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunInfo {
    /// Its id.
    pub(crate) id: String,
    /// Who started it: `cli`, `cron` or `http`.
    pub(crate) trigger: String,
    /// Whether nothing is to be written.
    pub(crate) dry_run: bool,
}

/// Hears what a script says while it runs. The `log` crate gets the log's lines in any case, under
/// the script's name.
pub(crate) trait Listener: Send + Sync {
    /// A line for the run's log.
    fn log(&self, _level: log::Level, _message: &str) {}
    /// What the script is about to do.
    fn progress(&self, _text: &str) {}
}

/// Hears nothing: the log has it all.
pub(crate) struct Silent;

impl Listener for Silent {}

/// Which script speaks to people, in which run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speaker {
    /// The script's name.
    pub(crate) script: String,
    /// The run's id.
    pub(crate) run: String,
}

/// An e-mail that a script writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    /// The addresses; none: the configured ones.
    pub(crate) to: Vec<String>,
    /// The subject.
    pub(crate) subject: String,
    /// The plain text.
    pub(crate) text: String,
    /// The HTML in its place, for mail programs that show it; made from the text where there is
    /// none.
    pub(crate) html: Option<String>,
}

/// What a script posts to the webhook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    /// The subject.
    pub(crate) subject: String,
    /// The text.
    pub(crate) text: String,
    /// JSON of the script's own, posted as it is where the webhook takes JSON.
    pub(crate) body: Option<Value>,
}

/// Takes what a script wants people to know. Whether people can be reached is no concern of the
/// script's: what can't be sent now is sent later.
#[async_trait]
pub(crate) trait MessageSink: Send + Sync {
    /// A run begins. `only_reads`: it is a dry one, or its script writes nothing.
    fn run_started(&self, _speaker: &Speaker, _only_reads: bool) {}

    /// Something is wrong and somebody should look.
    ///
    /// # Errors
    /// Where the message could not be handed over.
    async fn problem(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()>;

    /// Something is worth knowing.
    ///
    /// # Errors
    /// Where the message could not be handed over.
    async fn info(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()>;

    /// An e-mail of the script's own.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an address that is none; or where the message could not be handed
    /// over.
    async fn email(&self, speaker: &Speaker, mail: Mail) -> Result<()>;

    /// Something for the configured webhook.
    ///
    /// # Errors
    /// Where the message could not be handed over.
    async fn webhook(&self, speaker: &Speaker, post: Post) -> Result<()>;
}

/// Tells the log.
pub(crate) struct NotifyLog;

#[async_trait]
impl MessageSink for NotifyLog {
    async fn problem(&self, _: &Speaker, subject: &str, text: &str) -> Result<()> {
        log::error!("{subject}: {text}");
        Ok(())
    }

    async fn info(&self, _: &Speaker, subject: &str, text: &str) -> Result<()> {
        log::info!("{subject}: {text}");
        Ok(())
    }

    async fn email(&self, _: &Speaker, mail: Mail) -> Result<()> {
        log::info!("{}: {}", mail.subject, mail.text);
        Ok(())
    }

    async fn webhook(&self, _: &Speaker, post: Post) -> Result<()> {
        log::info!("{}: {}", post.subject, post.text);
        Ok(())
    }
}

/// What a script's run came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// What the script's `main` returned.
    pub(crate) result: Value,
    /// What went wrong on the way without ending the run.
    pub(crate) failures: Vec<Failure>,
}

/// One thing that went wrong in a run that went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The volume it was about.
    pub(crate) volume: String,
    /// The [`ErrorKind`]'s code.
    pub(crate) code: String,
    /// What was wrong.
    pub(crate) message: String,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// How a run that came to its end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// All went well.
    Done,
    /// Some things failed, others went well.
    Partial,
    /// Nothing went well.
    Failed,
}

impl Outcome {
    /// Done without failures; failed where there are failures and the result is an array without
    /// one good element; else partial. What failed has an `Error`. In a plan (its elements have
    /// `Keep`), nothing of a volume that failed went well but what was deleted: to keep the rest
    /// was no work.
    pub(crate) fn status(&self) -> Status {
        let failed: BTreeSet<&str> =
            self.failures.iter().map(|failure| failure.volume.as_str()).collect();
        let is_bad = |element: &Value| {
            let volume = element.get("VolumeName").and_then(Value::as_str);
            let undone = element.get("Keep").is_some() && element.get("Deleted").is_none();
            element.get("Error").is_some()
                || undone && volume.is_some_and(|volume| failed.contains(volume))
        };
        match &self.result {
            _ if self.failures.is_empty() => Status::Done,
            Value::Array(elements) if elements.iter().all(is_bad) => Status::Failed,
            _ => Status::Partial,
        }
    }
}

/// What is kept while a script runs.
pub(crate) struct Run {
    pub(crate) host: Arc<Host>,
    /// The script's name: the log's target.
    pub(crate) script: String,
    /// The text of each file that takes part, by the name errors call it.
    pub(crate) sources: Mutex<BTreeMap<String, String>>,
    failures: Mutex<Vec<Failure>>,
    operations: AtomicU64,
    threads: AtomicUsize,
}

/// Why a run ends whatever the script says; the token of Rhai's `ErrorTerminated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Cancelled,
    DeadlineExceeded,
    TooManyOperations,
}

impl End {
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Cancelled => Error::new(ErrorKind::Cancelled, "the run was cancelled"),
            Self::DeadlineExceeded => {
                Error::new(ErrorKind::DeadlineExceeded, "the run's time is up")
                    .with_hint("give it more with --timeout or BKUP_RUN_TIMEOUT")
            }
            Self::TooManyOperations => {
                Error::new(ErrorKind::Limit, "the script took too many steps")
                    .with_hint("look for a loop that does not end")
            }
        }
    }
}

impl Run {
    pub(crate) fn new(host: Arc<Host>, script: &str) -> Self {
        Self {
            host,
            script: script.to_owned(),
            sources: Mutex::default(),
            failures: Mutex::default(),
            operations: AtomicU64::new(0),
            threads: AtomicUsize::new(0),
        }
    }

    /// Counts one step of the script, whichever its thread; `Some` where it must not take another.
    pub(crate) fn step(&self) -> Option<End> {
        let count = self.operations.fetch_add(1, Ordering::Relaxed);
        if count >= self.host.max_operations {
            return Some(End::TooManyOperations);
        }
        // Looking costs a lock and a system call, a step nearly nothing; sixteen steps are no time
        // at all.
        if count.is_multiple_of(16) { self.end() } else { None }
    }

    /// Whether the run was cancelled or its time is up.
    pub(crate) fn end(&self) -> Option<End> {
        if self.host.cancellation.is_cancelled() {
            Some(End::Cancelled)
        } else if self.host.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some(End::DeadlineExceeded)
        } else {
            None
        }
    }

    /// Waits for the work, but no longer than the run lasts.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if let Some(end) = self.end() {
            return Err(end.error());
        }
        let deadline = async {
            match self.host.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        self.host.runtime.block_on(async {
            tokio::select! {
                // What is done is done: a result counts even where the run is cancelled at the same
                // moment.
                biased;
                result = work => result,
                () = self.host.cancellation.cancelled() => Err(End::Cancelled.error()),
                () = deadline => Err(End::DeadlineExceeded.error()),
            }
        })
    }

    /// Waits, but no longer than the run lasts.
    pub(crate) fn sleep(&self, time: Duration) -> Result<()> {
        self.wait(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
    }

    pub(crate) fn log(&self, level: log::Level, message: &str) {
        log::log!(target: &self.script, level, "{message}");
        self.host.listener.log(level, message);
    }

    /// Who speaks, for those who are told.
    pub(crate) fn speaker(&self) -> Speaker {
        Speaker { script: self.script.clone(), run: self.host.run.id.clone() }
    }

    pub(crate) fn fail(&self, failure: Failure) {
        lock(&self.failures).push(failure);
    }

    pub(crate) fn failures(&self) -> Vec<Failure> {
        lock(&self.failures).clone()
    }

    pub(crate) fn remember_source(&self, file: &str, text: &str) {
        lock(&self.sources).insert(file.to_owned(), text.to_owned());
    }

    /// Takes up to `wanted` threads out of those that a run may have.
    pub(crate) fn take_threads(&self, wanted: usize) -> usize {
        let mut taken = 0;
        let _ = self.threads.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |busy| {
            taken = wanted.min(engine::MAX_THREADS.saturating_sub(busy));
            Some(busy + taken)
        });
        taken
    }

    pub(crate) fn return_threads(&self, taken: usize) {
        self.threads.fetch_sub(taken, Ordering::SeqCst);
    }
}

/// The run as it travels with an engine, for the primitives to find.
#[derive(Clone)]
pub(crate) struct RunTag(pub(crate) Arc<Run>);
