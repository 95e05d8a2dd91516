//! The words of messages: a subject of one line that a phone shows whole, and a body as plain text
//! and as HTML, both from the same blocks.
//!
//! Texts of scripts and of the daemon may contain control characters and HTML: both are escaped.

use std::fmt::Write;

use jiff::{Timestamp, tz::TimeZone};

use super::report::RunReport;
use crate::{
    error::Error,
    run_words::RunStatus,
    script::Failure,
    text::{cut, escape, escaped_lines},
    units::format_duration,
};

/// The longest subject, in columns.
pub(crate) const SUBJECT_COLUMNS: usize = 100;
/// The most failures of a run that are listed.
const MOST_FAILURES: usize = 20;
/// The most lines of a run's log that are shown.
const MOST_LOG_LINES: usize = 20;
/// The longest line, in columns.
const LINE_COLUMNS: usize = 1_000;
/// The most lines of a script's own text that are kept.
const MOST_TEXT_LINES: usize = 2_000;

/// A part of a body.
pub(super) enum Block {
    /// The first line, in bold.
    Headline(String),
    /// A paragraph of one or more lines.
    Words(String),
    /// A name and a value: `Error: ..`.
    Fact(&'static str, String),
    /// Items under a title.
    List(&'static str, Vec<String>),
    /// Lines under a title, unchanged.
    Lines(&'static str, Vec<String>),
}

/// A subject with the host in front, on one line, cut to [`SUBJECT_COLUMNS`].
pub(super) fn subject(host: &str, words: &str) -> String {
    let line = format!("[{host}] {}", words.trim());
    cut(&escape(&line), SUBJECT_COLUMNS).into_owned()
}

/// A script's own subject, on one line, cut to [`SUBJECT_COLUMNS`].
pub(super) fn subject_as_is(words: &str) -> String {
    cut(&escape(words.trim()), SUBJECT_COLUMNS).into_owned()
}

/// `2026-11-23 07:42:00 UTC`.
pub(super) fn moment(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// `vol1, vol2, vol3 and 4 more`.
pub(super) fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0..=3 => shown,
        more => format!("{shown} and {} more", more - 3),
    }
}

/// `once`, `3 times`.
pub(super) fn times_of(times: u64) -> String {
    if times == 1 { "once".into() } else { format!("{times} times") }
}

/// What happened, in words that follow the run's name.
fn happened(report: &RunReport) -> &'static str {
    match report.status {
        RunStatus::Partial => "partly failed",
        RunStatus::TimedOut => "timed out",
        RunStatus::Interrupted => "was cut off",
        RunStatus::Cancelled => "was cancelled",
        RunStatus::Skipped => "was skipped",
        RunStatus::Done => "went well",
        RunStatus::Failed => "failed",
        // Not reached: a report is of a run that ended.
        RunStatus::Waiting => "is waiting",
        RunStatus::Running => "is running",
    }
}

/// The subject for a run that ended, without the host. `again`: the failure was reported before and
/// persists.
pub(super) fn run_words(report: &RunReport, again: bool) -> String {
    let name = cut(&report.name(), 45).into_owned();
    let happened = happened(report);
    let happened = if again { format!("still {happened}") } else { happened.to_owned() };
    let volumes = report.volumes();
    let what = match (volumes.as_slice(), report.failures.as_slice(), &report.error) {
        (_, [], Some(error)) => error.message.clone(),
        ([volume], [first, ..], _) => format!("{volume}: {}", first.message),
        (volumes, ..) => some_of(volumes),
    };
    let what = what.lines().next().unwrap_or_default().to_owned();
    if what.is_empty() {
        format!("{name} {happened}")
    } else {
        format!("{name} {happened}: {what}")
    }
}

/// The body for a run that ended. `since`: when its open problem was seen first, and how often it
/// was seen.
pub(super) fn run_body(
    report: &RunReport,
    host: &str,
    zone: &TimeZone,
    since: Option<(Timestamp, u64)>,
) -> Vec<Block> {
    let mut blocks =
        vec![Block::Headline(format!("{} {} on {host}.", report.name(), happened(report)))];
    blocks.extend(since.map(|(first, times)| {
        let (first, times) = (moment(first, zone), times_of(times));
        Block::Words(format!("This goes on since {first}; it was seen {times}."))
    }));
    blocks.extend(report.error.iter().flat_map(error_blocks));
    blocks.extend(list("What failed", &report.failures, failure_line));
    blocks
        .extend(list("The last good backup", &report.last_good, |good| last_good_line(good, zone)));
    let took =
        report.took.map(|took| format!(", it took {}", format_duration(took))).unwrap_or_default();
    blocks.push(Block::Fact("When", format!("{}{took}", moment(report.started, zone))));
    blocks.push(Block::Fact("Started by", report.trigger.as_str().to_owned()));
    blocks.push(Block::Fact("Run", report.run.clone()));
    blocks.push(Block::Fact("Look closer", report.details_command()));
    if !report.log_tail.is_empty() {
        let skipped = report.log_tail.len().saturating_sub(MOST_LOG_LINES);
        blocks.push(Block::Lines("The end of its log", report.log_tail[skipped..].to_vec()));
    }
    blocks
}

/// The error that ended a run, its position in the script, and the hint.
fn error_blocks(error: &Error) -> Vec<Block> {
    let place = error.location.as_ref();
    let place = place.map(|place| format!("{}:{}:{}", place.file, place.line, place.column));
    let mut blocks = vec![Block::Fact("Error", error.to_string())];
    blocks.extend(place.map(|place| Block::Fact("Where", place)));
    blocks.extend(error.hint.clone().map(|hint| Block::Fact("What to do", hint)));
    blocks
}

/// A list of the first items and the number of the rest; `None` for an empty list.
fn list<T>(title: &'static str, items: &[T], line: impl Fn(&T) -> String) -> Option<Block> {
    let mut lines: Vec<String> = items.iter().take(MOST_FAILURES).map(line).collect();
    if items.len() > MOST_FAILURES {
        lines.push(format!("and {} more", items.len() - MOST_FAILURES));
    }
    (!lines.is_empty()).then_some(Block::List(title, lines))
}

fn failure_line(failure: &Failure) -> String {
    let hint =
        failure.hint.as_ref().map(|hint| format!("; what to do: {hint}")).unwrap_or_default();
    format!("{}: {} ({}){hint}", failure.volume, failure.message, failure.code)
}

fn last_good_line(
    (volume, backup): &(String, Option<(Timestamp, String)>),
    zone: &TimeZone,
) -> String {
    match backup {
        Some((made, url)) => format!("{volume}: {}, {url}", moment(*made, zone)),
        None => format!("{volume}: none that this program knows of"),
    }
}

/// The body of a message that is not on a run.
pub(super) fn plain_body(
    words: &str,
    host: &str,
    time: Timestamp,
    zone: &TimeZone,
    run: Option<&str>,
) -> Vec<Block> {
    let mut blocks = vec![
        Block::Words(words.to_owned()),
        Block::Fact("Host", host.to_owned()),
        Block::Fact("When", moment(time, zone)),
    ];
    blocks.extend(
        run.map(|run| Block::Fact("Look closer", format!("convoy-backups runs show {run}"))),
    );
    blocks
}

/// The words of an error and of its causes, each once.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        for part in error.to_string().split(": ").filter(|part| !part.is_empty()) {
            if !parts.iter().any(|known| known == part) {
                parts.push(part.to_owned());
            }
        }
        cause = error.source();
    }
    parts.join(": ")
}

/// The lines of a text, each safe to show.
fn lines(text: &str) -> impl Iterator<Item = String> {
    escaped_lines(text).take(MOST_TEXT_LINES).map(|line| cut(&line, LINE_COLUMNS).into_owned())
}

/// A text on one line, safe to show.
fn line(text: &str) -> String {
    cut(&escape(text.trim()), LINE_COLUMNS).into_owned()
}

/// The blocks as plain text.
pub(super) fn to_text(blocks: &[Block]) -> String {
    let mut text = String::new();
    let mut after_fact = false;
    for block in blocks {
        let is_fact = matches!(block, Block::Fact(..));
        let goes_together = is_fact && after_fact;
        if !text.is_empty() && !goes_together {
            text.push('\n');
        }
        after_fact = is_fact;
        match block {
            Block::Headline(words) => text += &(line(words) + "\n"),
            Block::Words(words) => lines(words).for_each(|line| text += &(line + "\n")),
            Block::Fact(name, value) => {
                for (number, line) in lines(value).enumerate() {
                    _ = if number == 0 {
                        writeln!(text, "{name}: {line}")
                    } else {
                        writeln!(text, "  {line}")
                    };
                }
            }
            Block::List(title, items) => {
                _ = writeln!(text, "{title}:");
                items.iter().for_each(|item| text += &format!("- {}\n", line(item)));
            }
            Block::Lines(title, shown) => {
                _ = writeln!(text, "{title}:");
                shown.iter().for_each(|shown| text += &format!("  {}\n", line(shown)));
            }
        }
    }
    text
}

/// The blocks as HTML with inline styles: mail programs remove style sheets.
pub(super) fn to_html(blocks: &[Block]) -> String {
    let mut body = String::new();
    for block in blocks {
        match block {
            Block::Headline(words) => {
                body += &format!(
                    "<p style=\"font-size:1.2em;font-weight:bold\">{}</p>\n",
                    html(&line(words))
                );
            }
            Block::Words(words) => {
                let shown: Vec<String> = lines(words).map(|line| html(&line)).collect();
                body += &format!("<p>{}</p>\n", shown.join("<br>\n"));
            }
            Block::Fact(name, value) => {
                let shown: Vec<String> = lines(value).map(|line| html(&line)).collect();
                body += &format!(
                    "<p style=\"margin:0.3em 0\"><b>{name}:</b> {}</p>\n",
                    shown.join("<br>\n")
                );
            }
            Block::List(title, items) => {
                let items: String =
                    items.iter().map(|item| format!("<li>{}</li>\n", html(&line(item)))).collect();
                body += &format!(
                    "<p><b>{title}:</b></p>\n<ul style=\"padding-left:1.2em\">\n{items}</ul>\n"
                );
            }
            Block::Lines(title, shown) => {
                let shown: Vec<String> = shown.iter().map(|shown| html(&line(shown))).collect();
                body += &format!(
                    "<p><b>{title}:</b></p>\n<pre style=\"background:#f4f4f4;padding:0.6em;white-space:pre-wrap\">{}</pre>\n",
                    shown.join("\n")
                );
            }
        }
    }
    format!(
        "<!doctype html>\n<html><body style=\"font-family:sans-serif;font-size:16px;overflow-wrap:anywhere\">\n{body}</body></html>\n"
    )
}

/// The text with the characters escaped that have a meaning in HTML.
pub(super) fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::{super::report::tests::failed, *};

    #[test]
    fn a_subject_says_host_script_volume_and_what_happened_on_one_short_line() {
        let words = |report: &RunReport| subject("db1", &run_words(report, false));
        assert_eq!(
            words(&failed(&["vol2"])),
            "[db1] backup partly failed: vol2: no space left, 12 bytes missing of vol2"
        );
        assert_eq!(
            words(&failed(&["v1", "v2", "v3", "v4", "v5"])),
            "[db1] backup partly failed: v1, v2, v3 and 2 more"
        );
        let mut report = failed(&[]);
        report.status = RunStatus::Failed;
        report.arguments = ["--volume", "vol2"].map(str::to_owned).into();
        report.error = Some(Error::guard("no\r\nBcc: everyone@example.com"));
        assert_eq!(words(&report), "[db1] backup --volume vol2 failed: no");
        report.error = Some(Error::guard(format!("x\rBcc: y {}", "long ".repeat(100))));
        let long = words(&report);
        assert!(
            crate::text::width(&long) <= 100
                && !long.contains(char::is_control)
                && long.ends_with('…'),
            "{long}"
        );
        assert_eq!(
            subject("h", &run_words(&failed(&["v"]), true)),
            "[h] backup still partly failed: v: no space left, 12 bytes missing of v"
        );
    }

    #[test]
    fn an_error_and_what_is_behind_it_are_said_once() {
        let refused = std::io::Error::other("refused");
        let error =
            std::io::Error::other(Error::io("connection error: connection error", &refused));
        assert_eq!(chain(&error), "connection error: refused");
    }

    #[test]
    fn a_body_has_the_error_the_hint_the_failures_the_log_and_the_command() {
        let names: Vec<String> = (0..25).map(|number| format!("vol{number}")).collect();
        let mut report = failed(&names.iter().map(String::as_str).collect::<Vec<_>>());
        report.error = Some(Error::guard("<b>stop</b>\nmore").with_hint("look & see"));
        let backup =
            ("2026-11-22T03:30:00Z".parse().unwrap(), "vfs:///backups?volume=vol0".to_owned());
        report.last_good = vec![("vol0".into(), Some(backup)), ("vol1".into(), None)];
        report.log_tail = (0..30).map(|number| format!("line {number} \u{1b}[2J")).collect();
        let blocks = run_body(&report, "db1", &TimeZone::UTC, None);
        let text = to_text(&blocks);
        for words in [
            "backup partly failed on db1.",
            "Error: <b>stop</b>\n  more\nWhat to do: look & see\n",
            "- vol0: no space left, 12 bytes missing of vol0 (daemon); what to do: make room",
            "The last good backup:\n- vol0: 2026-11-22 03:30:00 UTC, vfs:///backups?volume=vol0\n- vol1: none that this program knows of\n",
            "- and 5 more",
            "When: 2026-11-23 07:42:00 UTC, it took 3m 20s",
            "Look closer: convoy-backups runs show 20261123T074200.123456-1a2b-0",
            "line 10 \\u{1b}[2J",
            "line 29",
        ] {
            assert!(text.contains(words), "no {words:?} in {text}");
        }
        assert!(!text.contains("line 9 ") && !text.contains("vol24"), "{text}");
        let html = to_html(&blocks);
        assert!(
            html.contains("&lt;b&gt;stop&lt;/b&gt;<br>") && html.contains("look &amp; see"),
            "{html}"
        );
        assert!(!html.contains("<b>stop") && !html.contains('\u{1b}'), "{html}");
    }
}
