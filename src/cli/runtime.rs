//! The runtime of an asynchronous command, and the signals that end the command.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    daemon::release_all,
    error::{Error, ErrorKind, Result},
    logging,
};

/// Runs the work in a new runtime. Ctrl-C, SIGTERM and the end of the terminal cancel the token.
/// Threads that still block at the end are left behind: the daemon finishes their work or cleans up
/// at its next start.
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

/// What tells the program to end, caught from now on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone. `None` where that was made to say nothing (`nohup`).
    hangup: Option<Signal>,
}

fn signals() -> io::Result<Signals> {
    let hangup = || signal(SignalKind::hangup());
    Ok(Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hangup: if hangup_is_ignored() { None } else { Some(hangup()?) },
    })
}

/// Whether this process was started so that SIGHUP does nothing.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

impl Signals {
    /// Waits until the program is told to end.
    async fn told(&mut self) {
        loop {
            let hangup = async {
                match &mut self.hangup {
                    Some(hangup) => hangup.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = hangup => if logging::hangup_is_the_end() { return },
            }
        }
    }
}

/// Watches for signals: the first asks the run to end, the second ends the process.
async fn watch(mut signals: Signals, cancellation: CancellationToken) {
    for turn in 0.. {
        signals.told().await;
        if turn > 0 {
            // It waits for what it asks.
            tokio::task::block_in_place(release_all);
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
