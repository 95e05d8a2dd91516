//! A line of a crontab, and errors that point into it.

use super::assignment::without_secrets;
use crate::error::{Error, Location};

/// What is wrong with a part of a line.
#[derive(Debug)]
pub(super) struct LineError {
    /// Where, in bytes from the beginning of that part.
    pub(super) at: usize,
    /// What.
    pub(super) message: String,
    /// What to do about it.
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
    /// The first line is 1.
    pub(super) number: usize,
    /// Without its end.
    pub(super) text: &'a str,
}

impl<'a> CrontabLine<'a> {
    /// The next word from this byte on, and where it begins.
    pub(super) fn word(&self, from: usize) -> Option<(&'a str, usize)> {
        let rest = &self.text[from..];
        let start = from + rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let word = self.text[start..].split([' ', '\t']).next()?;
        (!word.is_empty()).then_some((word, start))
    }

    /// An error (or a warning) at this byte of the line. Secret values are not shown.
    pub(super) fn error(&self, wrong: LineError) -> Error {
        self.located(Error::configuration(wrong.message), wrong.at, wrong.hint)
    }

    /// That error, at this byte of the line.
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
