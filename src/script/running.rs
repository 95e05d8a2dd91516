//! The state of a running script, and why its run ends.

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

/// The state of a running script.
pub(crate) struct RunningScript {
    pub(crate) host: Arc<Host>,
    /// The script's name, which is also the target of its log lines.
    pub(crate) script: String,
    /// The text of the script and of each imported file, by the name that errors use.
    pub(crate) sources: Mutex<BTreeMap<String, String>>,
    failures: Mutex<Vec<Failure>>,
    operations: AtomicU64,
    threads: AtomicUsize,
}

/// Why a run ends, whatever its script does. It is the token of Rhai's `ErrorTerminated`.
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

impl RunningScript {
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

    /// Counts one step of the script, on any of its threads. `Some` if the script must not take
    /// another step.
    pub(crate) fn step(&self) -> Option<End> {
        let count = self.operations.fetch_add(1, Ordering::Relaxed);
        if count >= self.host.max_operations {
            return Some(End::TooManyOperations);
        }
        // The check costs a lock and a system call, a step costs almost nothing. Sixteen steps take
        // no noticeable time.
        if count.is_multiple_of(16) { self.end() } else { None }
    }

    /// Why the run must end now: it was cancelled, or its time is up.
    pub(crate) fn end(&self) -> Option<End> {
        if self.host.cancellation.is_cancelled() {
            Some(End::Cancelled)
        } else if self.host.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            Some(End::DeadlineExceeded)
        } else {
            None
        }
    }

    /// Waits for the work, but not beyond the end of the run.
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
                // If the work ends at the same moment as the run, the result counts, because the
                // work is done.
                biased;
                result = work => result,
                () = self.host.cancellation.cancelled() => Err(End::Cancelled.error()),
                () = deadline => Err(End::DeadlineExceeded.error()),
            }
        })
    }

    /// Waits for work that must be done also where the run is to end.
    pub(crate) fn wait_to_the_end<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.host.runtime.block_on(work)
    }

    /// Sleeps, but not beyond the end of the run.
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

    /// The script and the run that a message comes from.
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

    /// Reserves up to `wanted` of the threads that the run may have, and returns how many.
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

/// Gives primitives access to their run: the engine carries this as its tag.
#[derive(Clone)]
pub(crate) struct RunTag(pub(crate) Arc<RunningScript>);
