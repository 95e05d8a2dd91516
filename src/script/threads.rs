//! Threads for scripts. Their stack is deep enough for the deepest script. A thread is kept for a
//! while after its script ends, because many scripts are short.

use std::{
    any::Any,
    cell::Cell,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::limits::STACK_BYTES;
use crate::{
    error::{Error, Result},
    sync::lock,
};

/// How long an idle thread waits for another script.
const KEPT_FOR: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// The idle threads, each with its number. The thread that became idle last is used first.
static IDLE: Mutex<Vec<(u64, Sender<Job>)>> = Mutex::new(Vec::new());

thread_local! {
    static IS_FOR_SCRIPTS: Cell<bool> = const { Cell::new(false) };
}

/// Whether the stack of this thread is deep enough for any script.
pub(super) fn is_deep() -> bool {
    IS_FOR_SCRIPTS.get()
}

/// Does the work on a thread for scripts.
///
/// # Errors
/// [`crate::error::ErrorKind::Io`] if no thread can be started, `Internal` if the work panicked.
pub(crate) fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<Result<T>>> {
    let (send, done) = oneshot::channel();
    let job = move || {
        let worked = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| broken(panic.as_ref()));
        // The receiver may have been dropped.
        _ = send.send(worked);
    };
    start(Box::new(job))
        .map_err(|error| Error::io("cannot start a thread for the script", &error))?;
    Ok(done)
}

fn broken(panic: &(dyn Any + Send)) -> Error {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Error::internal(format!("the script's host failed: {}", words.unwrap_or("no reason given")))
}

fn start(mut job: Job) -> io::Result<()> {
    while let Some((_, thread)) = idle().pop() {
        match thread.send(job) {
            Ok(()) => return Ok(()),
            Err(mpsc::SendError(back)) => job = back,
        }
    }
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let thread = std::thread::Builder::new().name("script".into()).stack_size(STACK_BYTES);
    thread.spawn(move || work(number, job)).map(drop)
}

fn idle() -> MutexGuard<'static, Vec<(u64, Sender<Job>)>> {
    lock(&IDLE)
}

fn work(number: u64, first: Job) {
    IS_FOR_SCRIPTS.set(true);
    let (sender, jobs) = mpsc::channel();
    first();
    loop {
        idle().push((number, sender.clone()));
        match next(number, &jobs) {
            Some(job) => job(),
            None => return,
        }
    }
}

/// The next job; `None` if no job came in time.
fn next(number: u64, jobs: &Receiver<Job>) -> Option<Job> {
    match jobs.recv_timeout(KEPT_FOR) {
        Ok(job) => Some(job),
        Err(RecvTimeoutError::Timeout) => {
            let mut idle = idle();
            let Some(place) = idle.iter().position(|(other, _)| *other == number) else {
                // Another thread has just chosen this one, and its job is on the way.
                drop(idle);
                return jobs.recv().ok();
            };
            idle.remove(place);
            None
        }
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_a_deep_thread_which_is_used_again_also_after_a_panic() {
        assert!(!is_deep());
        let done = run(|| (is_deep(), std::thread::current().id()))
            .unwrap()
            .blocking_recv()
            .unwrap()
            .unwrap();
        assert!(done.0);
        let error =
            run(|| -> () { panic!("on purpose") }).unwrap().blocking_recv().unwrap().unwrap_err();
        assert!(error.message.contains("on purpose"), "{error}");
        let again = run(is_deep).unwrap().blocking_recv().unwrap().unwrap();
        assert!(again);
    }
}
