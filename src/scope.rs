//! Which run a thread works for: its log lines carry the run's id and are kept with the run.
//!
//! A run's script has a thread of its own; whoever hands work of a run to another thread hands the
//! scope on: `let scope = scope::current(); spawn(move || scope::within(scope, work))`.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use log::Level;
use tokio_util::sync::CancellationToken;

use crate::{
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// The run that a thread works for.
#[derive(Clone)]
pub(crate) struct Scope {
    /// The run's id.
    pub(crate) run: Arc<str>,
    /// Keeps the run's log lines; called on the thread that logs, so it must not log itself, nor
    /// wait for long.
    pub(crate) lines: Option<Arc<dyn Lines>>,
    /// Cancelled when the run is over, or is to end.
    pub(crate) ended: CancellationToken,
    /// How long the run waits for another's lock; `None`: as long as the configuration says.
    pub(crate) lock_wait: Option<Duration>,
    /// The id of the hold that a client has for what is done: it stands still meanwhile.
    pub(crate) hold: Option<Arc<str>>,
    /// What is done for the run beside its script.
    pub(crate) work: Arc<Work>,
}

/// How much work goes on for a run.
#[derive(Debug, Default)]
pub(crate) struct Work {
    count: Mutex<usize>,
    changed: Condvar,
}

/// A piece of work that goes on until this is dropped.
struct Piece(Option<Arc<Work>>);

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(work) = &self.0 {
            *lock(&work.count) -= 1;
            work.changed.notify_all();
        }
    }
}

impl Work {
    /// Waits until no work goes on any more, for at most so long. Returns whether none does.
    pub(crate) fn wait(&self, most: Duration) -> bool {
        let count = lock(&self.count);
        let waited = self.changed.wait_timeout_while(count, most, |count| *count > 0);
        let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *count == 0
    }
}

impl Scope {
    /// A run that goes on, and keeps no log lines here.
    pub(crate) fn of(run: &str) -> Self {
        Self {
            run: run.into(),
            lines: None,
            ended: CancellationToken::new(),
            lock_wait: None,
            hold: None,
            work: Arc::default(),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("run", &self.run).finish_non_exhaustive()
    }
}

/// Takes a run's log lines.
pub(crate) trait Lines: Send + Sync {
    /// One line, as it was logged: control characters are not escaped yet.
    fn line(&self, time: Timestamp, level: Level, target: &str, message: &str);
}

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// The run that this thread works for, if for any; a thread that is ending works for none.
pub(crate) fn current() -> Option<Scope> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Whether the run that this thread works for is over, or is to end. What takes long asks this now and
/// then, and ends.
pub(crate) fn is_ended() -> bool {
    let ended = |scope: &Scope| scope.ended.is_cancelled();
    CURRENT.try_with(|current| current.borrow().as_ref().is_some_and(ended)).unwrap_or(false)
}

/// Whether the run that this thread works for goes on while it does this ("a volume was restored").
///
/// # Errors
/// [`ErrorKind::Cancelled`] if it is over, or is to end.
pub(crate) fn goes_on(what: &str) -> Result<()> {
    if !is_ended() {
        return Ok(());
    }
    Err(cancelled_while(what))
}

/// The error of a run that was cancelled while it did this.
pub(crate) fn cancelled_while(what: &str) -> Error {
    Error::new(ErrorKind::Cancelled, format!("the run was cancelled while {what}"))
}

/// How long the run that this thread works for waits for another's lock, if that is known.
pub(crate) fn lock_wait() -> Option<Duration> {
    CURRENT.try_with(|current| current.borrow().as_ref()?.lock_wait).ok().flatten()
}

/// The id of the hold inside of which this thread works.
pub(crate) fn hold() -> Option<Arc<str>> {
    CURRENT.try_with(|current| current.borrow().as_ref()?.hold.clone()).ok().flatten()
}

/// Whether something stands still for what this thread does: it lets nobody go first.
pub(crate) fn is_in_a_hold() -> bool {
    hold().is_some()
}

/// Work for a run that goes on until this is dropped.
pub(crate) fn piece(scope: &Scope) -> impl Send + use<> {
    begin(Some(scope))
}

/// The work, to be done on another thread for the run that this one works for. It counts as going on
/// until it is done or given up.
pub(crate) fn handed_on<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let scope = current();
    let piece = begin(scope.as_ref());
    move || {
        let _goes_on = piece;
        within(scope, work)
    }
}

fn begin(scope: Option<&Scope>) -> Piece {
    let work = scope.map(|scope| scope.work.clone());
    if let Some(work) = &work {
        *lock(&work.count) += 1;
    }
    Piece(work)
}

/// Does the work for that run (or for none); afterwards, also after a panic, the thread is what it
/// was.
pub(crate) fn within<T>(scope: Option<Scope>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Scope>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(scope));
    work()
}

/// The work, done for the run that this thread works for, whichever thread polls it.
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    carried_for(current(), work)
}

/// As [`carried`], for that run (or for none).
pub(crate) fn carried_for<F: Future>(
    scope: Option<Scope>,
    work: F,
) -> impl Future<Output = F::Output> {
    let mut work = Box::pin(work);
    std::future::poll_fn(move |context| within(scope.clone(), || work.as_mut().poll(context)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Option<String> {
        current().map(|scope| scope.run.to_string())
    }

    #[test]
    fn a_scope_ends_with_its_work_whatever_becomes_of_it() {
        let scope = |run: &str| Some(Scope::of(run));
        within(scope("outer"), || {
            within(scope("inner"), || assert_eq!(run().as_deref(), Some("inner")));
            let panicked =
                std::panic::catch_unwind(|| within(scope("panics"), || panic!("on purpose")));
            assert!(panicked.is_err());
            assert_eq!(run().as_deref(), Some("outer"));
            within(None, || assert_eq!(run(), None));
        });
        assert_eq!(run(), None);
    }

    #[test]
    fn work_that_another_thread_goes_on_with_is_the_same_runs() {
        let work = within(Some(Scope::of("run-1")), || carried(async { run() }));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(work).as_deref(), Some("run-1"));
    }
}
