//! The program's own log, on standard error: one line a message, whatever is in it.
//!
//! A line reads `2026-11-23T07:00:48Z WARN  backup: text`. The target is this program's module (without the crate's name) or the
//! name of the script that logs. Other crates are heard from warnings on, unless everything is wanted.

pub mod scope;

use std::{fmt::Arguments, io::Write};

use jiff::Timestamp;
use log::{Level, LevelFilter, Metadata};

use crate::{
    error::{Error, Result},
    terminal::Bars,
    text::{Style, escape, styled},
};

/// Sends the `log` crate's messages to standard error from now on; `bars` step aside for each.
///
/// # Errors
/// An internal error where it was done before: there is one logger in a process.
pub fn init(level: LevelFilter, colour: bool, bars: &Bars) -> Result<()> {
    let bars = bars.clone();
    let output = fern::Output::call(move |record| {
        let line = line(Timestamp::now(), record.level(), record.target(), record.args(), colour);
        // Nobody is left to tell where standard error is gone.
        bars.suspend(|| drop(std::io::stderr().lock().write_all(line.as_bytes())));
    });
    let logger = fern::Dispatch::new().chain(dispatch(level, output)).chain(dispatch(KEPT, kept_lines()));
    logger.apply().map_err(|error| Error::internal(format!("the log can't be set up: {error}")))
}

/// What is kept with a run: enough to see what it did, whatever the console shows.
const KEPT: LevelFilter = LevelFilter::Info;

/// Hands lines to the run that the thread works for.
fn kept_lines() -> fern::Output {
    fern::Output::call(|record| {
        if let Some(lines) = scope::current().and_then(|scope| scope.lines) {
            lines.line(Timestamp::now(), record.level(), record.target(), &record.args().to_string());
        }
    })
}

fn dispatch(level: LevelFilter, output: fern::Output) -> fern::Dispatch {
    fern::Dispatch::new().level(level).filter(move |metadata| wanted(level, metadata)).chain(output)
}

/// Whether a message is wanted, as far as the crate it comes from is concerned.
fn wanted(level: LevelFilter, metadata: &Metadata<'_>) -> bool {
    metadata.level() <= Level::Warn || level == LevelFilter::Trace || is_ours(metadata.target())
}

/// This crate's modules, and scripts, whose names are no paths. The crates that log and have a module without a path are few.
fn is_ours(target: &str) -> bool {
    const OTHERS: [&str; 8] =
        ["rustic_core", "rustic_backend", "hyper", "hyper_util", "mio", "globset", "ignore", "want"];
    match target.split_once("::") {
        Some((root, _)) => root == "convoy_backups",
        None => !OTHERS.contains(&target),
    }
}

/// One line of the log, with its newline.
fn line(time: Timestamp, level: Level, target: &str, message: &Arguments<'_>, colour: bool) -> String {
    let style = match level {
        Level::Error => Style::Red,
        Level::Warn => Style::Yellow,
        Level::Info => Style::Green,
        Level::Debug | Level::Trace => Style::Faint,
    };
    let label = format!("{level:<5}");
    let target = target.strip_prefix("convoy_backups::").unwrap_or(target);
    let message = message.to_string();
    format!(
        "{} {} {}: {}\n",
        styled(&time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), Style::Faint, colour),
        styled(&label, style, colour),
        escape(target),
        escape(message.trim_end())
    )
}

/// Whether a record would be written at this level: for tests of what a level means.
#[cfg(test)]
fn is_written(level: LevelFilter, record: &log::Record<'_>) -> bool {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (_, logger) = dispatch(level, fern::Output::call(move |_| sender.send(()).unwrap())).into_log();
    logger.log(record);
    receiver.try_recv().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        let time = "2026-11-23T07:00:48.9Z".parse().unwrap();
        let line = |target, message: &str, colour| line(time, Level::Warn, target, &format_args!("{message}"), colour);
        assert_eq!(line("backup", "text", false), "2026-11-23T07:00:48Z WARN  backup: text\n");
        assert_eq!(
            line("convoy_backups::convoy::client", "a\n2026-11-23T07:00:48Z ERROR x: forged\u{1b}[2J\n", false),
            "2026-11-23T07:00:48Z WARN  convoy::client: a\\n2026-11-23T07:00:48Z ERROR x: forged\\u{1b}[2J\n"
        );
        assert!(line("backup", "text", true).contains("\u{1b}[33mWARN \u{1b}[0m backup"));
    }

    #[test]
    fn other_crates_are_heard_from_warnings_on_unless_everything_is_wanted() {
        for (limit, level, target, written) in [
            (LevelFilter::Debug, Level::Debug, "backup", true),
            (LevelFilter::Debug, Level::Debug, "convoy_backups::daemon", true),
            (LevelFilter::Debug, Level::Trace, "backup", false),
            (LevelFilter::Debug, Level::Info, "rustic_core::commands", false),
            (LevelFilter::Debug, Level::Info, "rustic_core", false),
            (LevelFilter::Debug, Level::Warn, "rustic_core", true),
            (LevelFilter::Trace, Level::Trace, "rustic_core", true),
            (LevelFilter::Error, Level::Warn, "rustic_core", false),
            (LevelFilter::Off, Level::Error, "backup", false),
        ] {
            let record = log::Record::builder().level(level).target(target).build();
            assert_eq!(is_written(limit, &record), written, "{limit} {level} {target}");
        }
    }
}
