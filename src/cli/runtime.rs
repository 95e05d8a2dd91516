//! The runtime of an asynchronous command, and the signals that end the command.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    daemon::release_all,
    error::{Error, ErrorKind, Result},
    logging,
};

/// Runs the work in a new runtime. Ctrl-C and SIGTERM cancel the token. Threads that still block at
/// the end are left behind: the daemon finishes their work or cleans up at its next start.
pub(super) fn in_runtime<F: Future<Output = Result<u8>>>(
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::io("cannot start the runtime", &error))?;
    let cancellation = CancellationToken::new();
    let code = runtime.block_on(async {
        // Before any work: a signal that comes first would end the process at once.
        match signals() {
            Ok(signals) => drop(tokio::spawn(watch(signals, cancellation.clone()))),
            Err(error) => {
                log::warn!("cannot watch for signals, so Ctrl-C ends the process at once: {error}");
            }
        }
        work(cancellation).await
    });
    // The threads that are left behind can't do that any more.
    release_all();
    runtime.shutdown_background();
    code
}

/// SIGINT (Ctrl-C) and SIGTERM, caught from now on.
fn signals() -> io::Result<[Signal; 2]> {
    Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?])
}

/// Watches for signals: the first asks the run to end, the second ends the process.
async fn watch([mut interrupt, mut terminate]: [Signal; 2], cancellation: CancellationToken) {
    for turn in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if turn > 0 {
            release_all();
            logging::flush();
            std::process::exit(130);
        }
        log::warn!("ending; once more ends at once");
        cancellation.cancel();
    }
}

/// The error of a command that a signal ended while no script ran.
pub(super) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "cancelled")
}
