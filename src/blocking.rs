//! Work that blocks (files, SQLite, scripts), on a thread that is there for it.

use std::{any::Any, fmt, io, sync::OnceLock};

use tokio::runtime::Runtime;

use crate::{
    error::{Error, ErrorKind, Result},
    scope,
};

/// Does `work` on a thread that may block, within the caller's log scope. A panic in it goes on in
/// the caller.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(scope::handed_on(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and with it the task that waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// [`run`] for work that may fail: a panic becomes an error of that `kind` that names `what`, and
/// the end of the runtime a [`ErrorKind::Cancelled`].
pub(crate) async fn try_run<T: Send + 'static>(
    what: &str,
    kind: ErrorKind,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(scope::handed_on(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => Err(panicked(what, kind, panic.as_ref())),
            Err(_) => Err(Error::new(
                ErrorKind::Cancelled,
                format!("{what} was cancelled: the program ends"),
            )),
        },
    }
}

/// Blocks until the future is done. For threads that are not asynchronous and call out.
///
/// # Errors
/// If no thread can be started for it.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    static RUNTIME: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let make = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("calls")
            .enable_all()
            .build()
    };
    match RUNTIME.get_or_init(make) {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(error) => Err(Error::io("cannot start a thread for calls", error)),
    }
}

/// The error for a thread that the system does not give.
pub(crate) fn no_thread(message: impl fmt::Display, error: &io::Error) -> Error {
    Error::io(message, error).with_hint(
        "the system's limit of threads or memory is reached (\"ulimit -u\", a container's --pids-limit); raise it, and try again",
    )
}

/// The error for a panic in `what`.
pub(crate) fn panicked(what: &str, kind: ErrorKind, panic: &(dyn Any + Send)) -> Error {
    let words = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    Error::new(kind, format!("{what} failed badly: {}", words.unwrap_or("no reason given")))
        .with_hint("this is a defect; please report it with the log")
}
