//! One message as the console and the file write it: always on one line.
//!
//! As text `2026-11-23T07:00:48Z WARN  backup [20261123T070048.123456-1a2b-0]: text`, as JSON an
//! object with `time` (UTC, microseconds), `level`, `target`, `run` (where a run logs),
//! `message` and `host`.

use std::fmt::Write as _;

use jiff::Timestamp;
use log::{Level, Record};
use serde::Serialize;

use super::scope;
use crate::text::{Style, acts, escape, styled};

#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) time: Timestamp,
    pub(super) level: Level,
    /// The script's name, or this program's module without the crate's name.
    pub(super) target: String,
    /// Whether the target is a script. In a record, modules have the crate's name in front.
    pub(super) is_script: bool,
    /// The id of the run that logs; `None` outside a run.
    pub(super) run: Option<String>,
    /// Control characters are not escaped.
    pub(super) message: String,
}

impl Line {
    /// The record that this thread logs now, with the run that it works for.
    pub(super) fn now(record: &Record<'_>) -> Self {
        Self {
            time: Timestamp::now(),
            level: record.level(),
            target: short(record.target()).to_owned(),
            is_script: !record.target().contains("::"),
            run: scope::current().map(|scope| scope.run.to_string()),
            message: record.args().to_string(),
        }
    }

    /// The line for people, with its newline.
    pub(super) fn text(&self, colour: bool) -> String {
        let style = match self.level {
            Level::Error => Style::Red,
            Level::Warn => Style::Yellow,
            Level::Info => Style::Green,
            Level::Debug | Level::Trace => Style::Faint,
        };
        let label = format!("{:<5}", self.level);
        format!(
            "{} {} {}\n",
            styled(&self.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), Style::Faint, colour),
            styled(&label, style, colour),
            self.prefixed()
        )
    }

    /// `backup [run]: text`.
    pub(super) fn prefixed(&self) -> String {
        let mut text = escape(&self.target).into_owned();
        if let Some(run) = &self.run {
            let _ = write!(text, " [{}]", escape(run));
        }
        let _ = write!(text, ": {}", escape(self.message.trim_end()));
        text
    }

    /// The line for programs, with its newline.
    pub(super) fn json(&self, host: &str) -> String {
        #[derive(Serialize)]
        struct Object<'a> {
            time: String,
            level: String,
            target: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            run: Option<&'a str>,
            message: &'a str,
            host: &'a str,
        }
        let object = Object {
            time: microseconds(self.time),
            level: self.level.as_str().to_ascii_lowercase(),
            target: &self.target,
            run: self.run.as_deref(),
            message: self.message.trim_end(),
            host,
        };
        let text = serde_json::to_string(&object)
            .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        let mut line = String::with_capacity(text.len() + 1);
        for letter in text.chars() {
            // JSON leaves some characters unescaped that act on a terminal or end a line for some
            // readers. All of them have at most four hexadecimal digits.
            match acts(letter) {
                true => drop(write!(line, "\\u{:04x}", u32::from(letter))),
                false => line.push(letter),
            }
        }
        line.push('\n');
        line
    }
}

/// The target without the crate's name.
pub(super) fn short(target: &str) -> &str {
    target.strip_prefix("convoy_backups::").unwrap_or(target)
}

/// A time in UTC in the form of RFC 3339, with the microseconds that RFC 5424 allows.
pub(super) fn microseconds(time: Timestamp) -> String {
    format!("{time:.6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(target: &str, run: Option<&str>, message: &str) -> Line {
        Line {
            time: "2026-11-23T07:00:48.9Z".parse().unwrap(),
            level: Level::Warn,
            target: short(target).to_owned(),
            is_script: !target.contains("::"),
            run: run.map(str::to_owned),
            message: message.to_owned(),
        }
    }

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        assert_eq!(
            line("backup", None, "text").text(false),
            "2026-11-23T07:00:48Z WARN  backup: text\n"
        );
        assert_eq!(
            line(
                "convoy_backups::convoy::client",
                None,
                "a\n2026-11-23T07:00:48Z ERROR x: forged\u{1b}[2J\n"
            )
            .text(false),
            "2026-11-23T07:00:48Z WARN  convoy::client: a\\n2026-11-23T07:00:48Z ERROR x: forged\\u{1b}[2J\n"
        );
        assert!(
            line("backup", None, "text").text(true).contains("\u{1b}[33mWARN \u{1b}[0m backup")
        );
    }

    #[test]
    fn a_line_of_a_run_carries_its_id() {
        let line = line("backup", Some("20261123T070048.123456-1a2b-0"), "text");
        assert_eq!(
            line.text(false),
            "2026-11-23T07:00:48Z WARN  backup [20261123T070048.123456-1a2b-0]: text\n"
        );
        assert!(line.json("h").contains("\"run\":\"20261123T070048.123456-1a2b-0\""));
    }

    #[test]
    fn what_is_logged_within_a_scope_belongs_to_its_run() {
        let record = Record::builder().target("convoy_backups::runs").level(Level::Info).build();
        let scope = scope::Scope::of("r1");
        assert_eq!(scope::within(Some(scope), || Line::now(&record)).run.as_deref(), Some("r1"));
        let line = Line::now(&record);
        assert_eq!((line.run, line.target.as_str()), (None, "runs"));
    }

    #[test]
    fn json_is_one_object_a_line_and_says_what_was_prefixed() {
        let message = "a \"quote\"\n\u{1b}[2J \u{9b} \u{2028} \u{202e} é 漢";
        let text = line("backup", None, message).json("host1");
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.trim_end().contains(acts), "{text:?}");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "time": "2026-11-23T07:00:48.900000Z", "level": "warn", "target": "backup", "message": message, "host": "host1",
            })
        );
    }
}
