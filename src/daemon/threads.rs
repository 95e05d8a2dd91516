//! Threads beside the one that starts them, in the same scope and for the same run.

use std::{
    io,
    thread::{Builder, Scope, ScopedJoinHandle},
};

use crate::{blocking::no_thread, error::Result, scope};

/// Starts a thread. What would wait for the thread has to be told of an error.
///
/// # Errors
/// If the system gives no thread.
pub(super) fn spawn<'scope, T: Send + 'scope>(
    threads: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let run = scope::current();
    let started = given().and_then(|()| {
        Builder::new().name(name.to_owned()).spawn_scoped(threads, move || scope::within(run, work))
    });
    started.map_err(|error| no_thread("cannot start a thread", &error))
}

#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "a test can be given too few threads")]
fn given() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
fn given() -> io::Result<()> {
    tests::given()
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static LEFT: Cell<Option<usize>> = const { Cell::new(None) };
    }

    /// Does the work, during which this thread can start only so many others.
    pub(in crate::daemon) fn with_threads<T>(most: usize, work: impl FnOnce() -> T) -> T {
        LEFT.set(Some(most));
        let done = work();
        LEFT.set(None);
        done
    }

    pub(super) fn given() -> io::Result<()> {
        match LEFT.get() {
            Some(0) => Err(io::Error::from(io::ErrorKind::WouldBlock)),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }
}
