//! The program's own log: on standard error, in a file, and at a syslog server, each with its own
//! switch and level.
//!
//! A line reads `2026-11-23T07:00:48Z WARN  backup [RUN]: text`; see the module `line`. The target
//! is this program's module (without the crate's name) or the name of the script that logs. The run
//! is the one that the thread works for ([`scope`]). Other crates are logged from level `warn` on.
//! Times are in UTC.
//!
//! What a run logs, from level `debug` on, also goes to the run's own log, whatever the level of
//! the console. A destination that fails loses only its own lines; the others log the failure.

mod file;
mod line;
mod syslog;

use std::{
    io::Write,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use log::{Level, LevelFilter, Metadata};

use crate::{
    config::{Config, FileLog, LogFormat},
    error::{Error, Result},
    scope,
    terminal::Bars,
};
use file::{LogFile, WriteChange};
use line::Line;
pub(crate) use syslog::try_out as try_out_syslog;

/// How long the end of the process waits for the syslog server to take the remaining lines.
const SYSLOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The level of a run's own log.
const RUN_LOG_LEVEL: LevelFilter = LevelFilter::Debug;

/// The target of messages that standard error has shown already. The console skips it.
const SHOWN_TARGET: &str = "convoy_backups::outcome";

/// The destinations besides the console, until the process ends.
static DESTINATIONS: OnceLock<Destinations> = OnceLock::new();

/// How to log to standard error.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    pub(crate) level: LevelFilter,
    pub(crate) format: LogFormat,
    pub(crate) colour: bool,
    /// The progress bars, which are hidden while a line is written.
    pub(crate) bars: Bars,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Destinations {
    file: Option<(Arc<LogFile>, LevelFilter)>,
    syslog: Option<(syslog::Sender, LevelFilter)>,
}

impl Destinations {
    /// Opens the destinations that the configuration turns on.
    ///
    /// # Errors
    /// A configuration error if the log file can't be written, or the syslog server's settings
    /// contradict each other. A server that can't be reached is not an error.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let mut destinations = Self::default();
        if config.file_log.enabled {
            destinations.file =
                Some((Arc::new(LogFile::open(&config.file_log.location)?), config.file_log.level));
        }
        if config.syslog.enabled {
            let server = syslog::Server::of(&config.syslog)?;
            destinations.syslog =
                Some((syslog::Sender::start(server, &config.host_name())?, config.syslog.level));
        }
        Ok(destinations)
    }
}

/// Sends the `log` crate's messages to the console and the other destinations from now on. JSON
/// lines name the host `host`.
///
/// # Errors
/// An internal error in a second call: a process has one logger.
pub(crate) fn init(console: Console, destinations: Destinations, host: &str) -> Result<()> {
    let format = console.format;
    let mut root = fern::Dispatch::new().chain(to_console(console, host)).chain(to_runs());
    if let Some((file, level)) = destinations.file.clone() {
        root = root.chain(to_file(file, level, format, host));
    }
    if let Some((sender, level)) = destinations.syslog.clone() {
        root = root.chain(to_syslog(sender, level));
    }
    root.apply().map_err(|error| Error::internal(format!("the log can't be set up: {error}")))?;
    // A second call has failed above, so this sets the destinations.
    let _ = DESTINATIONS.set(destinations);
    Ok(())
}

/// Opens the log file again by its name. The next line would notice a moved file anyway.
fn reopen() {
    if let Some((file, _)) = DESTINATIONS.get().and_then(|destinations| destinations.file.as_ref())
    {
        file.reopen();
    }
}

/// Whether SIGHUP opens the log file again, and does not end the program.
static HANGUP_IS_NO_END: AtomicBool = AtomicBool::new(false);

/// Whether SIGHUP tells the program to end, as for a command whose terminal is closed.
pub(crate) fn hangup_is_the_end() -> bool {
    !HANGUP_IS_NO_END.load(Ordering::Acquire)
}

/// From now on, each SIGHUP opens the log file again and calls `also`. Without a handler, SIGHUP
/// ends a process.
///
/// # Panics
/// Outside a tokio runtime.
pub(crate) fn on_hangup(also: impl Fn() + Send + 'static) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            HANGUP_IS_NO_END.store(true, Ordering::Release);
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    reopen();
                    log::info!("SIGHUP: the log file was opened anew");
                    also();
                }
            });
        }
        Err(error) => log::warn!("cannot watch for SIGHUP: {error}"),
    }
}

/// Sends the lines that wait for the syslog server, before the process ends, for at most
/// [`SYSLOG_FLUSH_TIMEOUT`]. Later messages do not reach the server.
pub(crate) fn flush() {
    if let Some((sender, _)) =
        DESTINATIONS.get().and_then(|destinations| destinations.syslog.as_ref())
    {
        sender.end(SYSLOG_FLUSH_TIMEOUT);
    }
}

/// Logs an error to the destinations besides the console, which has shown it already.
pub(crate) fn shown(error: &Error) {
    let place = error
        .location
        .as_ref()
        .map(|place| format!(" ({}:{})", place.file, place.line))
        .unwrap_or_default();
    let hint = error.hint.as_ref().map(|hint| format!("; hint: {hint}")).unwrap_or_default();
    log::error!(target: SHOWN_TARGET, "{error}{place}{hint}");
}

/// Opens the log file as a start does, for `doctor`.
///
/// # Errors
/// As [`Destinations::open`].
pub(crate) fn try_out_file(settings: &FileLog) -> Result<()> {
    LogFile::open(&settings.location).map(drop)
}

fn to_console(console: Console, host: &str) -> fern::Dispatch {
    let (Console { level, format, colour, bars }, host) = (console, host.to_owned());
    let output = fern::Output::call(move |record| {
        let line = written(&Line::now(record), format, colour, &host);
        // If standard error is closed, there is nowhere to report that.
        bars.suspend(|| drop(std::io::stderr().lock().write_all(line.as_bytes())));
    });
    dispatch(level, output).filter(|metadata| metadata.target() != SHOWN_TARGET)
}

fn to_file(
    file: Arc<LogFile>,
    level: LevelFilter,
    format: LogFormat,
    host: &str,
) -> fern::Dispatch {
    const TARGET: &str = "convoy_backups::logging::file";
    let host = host.to_owned();
    let output = fern::Output::call(move |record| {
        // Messages about the file do not go to the file, or each would cause the next.
        match file.write(&written(&Line::now(record), format, false, &host)) {
            Some(WriteChange::Failed(text)) => log::warn!(target: TARGET, "{text}"),
            Some(WriteChange::Recovered(lost)) => {
                let lines = crate::text::counted(
                    usize::try_from(lost).unwrap_or(usize::MAX),
                    "line was",
                    "lines were",
                );
                log::warn!(target: TARGET, "the log file can be written again; {lines} lost");
            }
            None => {}
        }
    });
    dispatch(level, output).filter(|metadata| metadata.target() != TARGET)
}

fn to_syslog(sender: syslog::Sender, level: LevelFilter) -> fern::Dispatch {
    let output = fern::Output::call(move |record| sender.send(&Line::now(record)));
    dispatch(level, output)
        .filter(|metadata| !metadata.target().starts_with("convoy_backups::logging::syslog"))
}

/// A run's own log gets its lines whatever the levels of the destinations.
fn to_runs() -> fern::Dispatch {
    let output = fern::Output::call(|record| {
        if let Some(lines) = scope::current().and_then(|scope| scope.lines) {
            let line = Line::now(record);
            lines.line(line.time, line.level, &line.target, &line.message);
        }
    });
    dispatch(RUN_LOG_LEVEL, output)
}

fn written(line: &Line, format: LogFormat, colour: bool, host: &str) -> String {
    match format {
        LogFormat::Text => line.text(colour),
        LogFormat::Json => line.json(host),
    }
}

fn dispatch(level: LevelFilter, output: fern::Output) -> fern::Dispatch {
    fern::Dispatch::new().level(level).filter(wanted).chain(output)
}

/// Whether messages of this crate and level are logged at all.
fn wanted(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    !logs_secrets(target) && (metadata.level() <= Level::Warn || is_ours(target))
}

/// Whether a crate is one of those that write credentials, headers and whole requests into their
/// messages. They log through `tracing`, which a dependency (`warp`) connects to the log. Their
/// messages are dropped.
fn logs_secrets(target: &str) -> bool {
    const ROOTS: [&str; 9] = [
        "tracing",
        "hyper",
        "hyper_util",
        "hyper_rustls",
        "h2",
        "tower",
        "rustls",
        "lettre",
        "warp",
    ];
    let root = target.split("::").next().unwrap_or(target);
    root.starts_with("aws_") || ROOTS.contains(&root)
}

/// Whether a target is a module of this crate, or a script, whose name has no `::`. Few other
/// crates log with a target without `::`.
fn is_ours(target: &str) -> bool {
    const OTHERS: [&str; 7] =
        ["rustic_core", "rustic_backend", "log", "mio", "globset", "ignore", "want"];
    match target.split_once("::") {
        Some((root, _)) => root == "convoy_backups",
        None => !OTHERS.contains(&target),
    }
}

#[cfg(test)]
mod tests;
