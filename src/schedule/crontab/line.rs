//! A line of a crontab, and errors that point into it.

use super::assignment::without_secrets;
use crate::error::{Error, Location};

/// An error in a part of a line.
#[derive(Debug)]
pub(super) struct LineError {
    /// The place, in bytes from the beginning of that part.
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl LineError {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn shifted(mut self, by: usize) -> Self {
        self.at += by;
        self
    }
}

/// A line as it stands in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct CrontabLine<'a> {
    /// The file's name, for messages.
    pub(super) file: &'a str,
    /// The number of the line, from 1.
    pub(super) number: usize,
    /// The text without its line break.
    pub(super) text: &'a str,
}

impl<'a> CrontabLine<'a> {
    /// The next word from byte `from` on, and the byte at which the word begins.
    pub(super) fn word(&self, from: usize) -> Option<(&'a str, usize)> {
        let rest = &self.text[from..];
        let start = from + rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let word = self.text[start..].split([' ', '\t']).next()?;
        (!word.is_empty()).then_some((word, start))
    }

    /// An error or a warning with its location in the line. Secret values are not shown.
    pub(super) fn error(&self, wrong: LineError) -> Error {
        self.located(Error::configuration(wrong.message), wrong.at, wrong.hint)
    }

    /// Adds a location in the line to an error: byte `at`.
    pub(super) fn located(&self, mut error: Error, at: usize, hint: Option<String>) -> Error {
        let shown = without_secrets(self.text);
        let column = self.text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        error.kind = crate::error::ErrorKind::Configuration;
        error.hint = hint.or(error.hint);
        error.location = Some(Box::new(Location {
            file: self.file.to_owned(),
            line: self.number,
            column,
            source_line: shown.into_owned(),
        }));
        error
    }
}
