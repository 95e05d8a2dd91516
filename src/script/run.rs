//! What is kept while a script runs, and why its run ends.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{host::Host, limits::MAX_THREADS, message_sink::Speaker, outcome::Failure};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::lock,
};

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
            taken = wanted.min(MAX_THREADS.saturating_sub(busy));
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
