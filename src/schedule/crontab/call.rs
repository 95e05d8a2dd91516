//! The call of a line: a script's name, the script's arguments, and flags of the program among
//! them.

use std::ffi::OsString;

use super::{
    line::{CrontabLine, LineError},
    old_form,
    words::{self, Word},
};
use crate::{
    command_words::{self, Flags, Words},
    config::Override,
    error::{Error, Result},
};

/// The words of a call.
pub(super) struct Call {
    pub(super) words: Vec<Word>,
    /// Where the call begins, in bytes of the line.
    pub(super) at: usize,
    /// Where the text behind the line's schedule and options begins, in bytes of the line. In the
    /// old form, other words stand between this and the call.
    pub(super) line_at: usize,
    /// Whether other words stand in front of the call.
    is_embedded: bool,
}

impl Call {
    /// Reads the line from this byte on.
    pub(super) fn read(line: &CrontabLine<'_>, from: usize) -> Result<Self> {
        let words = words::split(line.text, from).map_err(|wrong| line.error(wrong))?;
        let Some(first) = words.first() else {
            let at = line.word(from).map_or(line.text.len(), |(_, at)| at);
            let wrong = LineError::new(at, "the line runs nothing");
            return Err(
                line.error(wrong.hint("write a script's name behind the schedule, such as backup"))
            );
        };
        let line_at = first.at;
        let (words, is_embedded) = match old_form::call(&words) {
            Some(given) => (given.map_err(|wrong| line.error(wrong))?, true),
            None => (words, false),
        };
        let only_in_a_shell =
            |word: &&Word| old_form::is_operator(word) || old_form::is_redirection(word);
        if let Some(word) = words.iter().find(only_in_a_shell) {
            let wrong = LineError::new(
                word.at,
                format!("\"{}\" means nothing here: no shell runs the line", word.text),
            );
            return Err(line.error(wrong.hint(
                "write a script and its arguments only; put quotes around a value that has it",
            )));
        }
        let at = words.first().map_or(line_at, |word| word.at);
        Ok(Self { words, at, line_at, is_embedded })
    }

    /// Splits the words into flags of the program, the script's name, and the script's arguments.
    pub(super) fn sort(&self, line: &CrontabLine<'_>) -> Result<(Flags, String, Vec<String>)> {
        let texts = self.words.iter().map(|word| OsString::from(&word.text));
        let (flags, sorted) = command_words::sort(texts).map_err(|error| {
            let at = self.at_word(|word| error.message.contains(&word.text));
            line.located(error, at, None)
        })?;
        match sorted {
            Words::Script { name, arguments } => Ok((flags, name, arguments)),
            Words::Command(command) => {
                let name = command.first().map_or("nothing", String::as_str);
                let wrong = LineError::new(
                    self.at,
                    format!("\"{name}\" is no script, and only scripts run from a crontab"),
                );
                Err(line.error(
                    wrong.hint("see \"convoy-backups scripts list\" for the scripts there are"),
                ))
            }
        }
    }

    /// Refuses flags that a line can't have, and returns a warning for flags that have no effect in
    /// a crontab.
    pub(super) fn check_flags(
        &self,
        line: &CrontabLine<'_>,
        flags: &Flags,
    ) -> Result<Option<Error>> {
        if let Some(flag) = flags.overrides.iter().find(|flag| flag.name == "BKUP_DATA_DIR") {
            let wrong = LineError::new(
                self.at_word(|word| word.text.starts_with(flag.flag)),
                format!("{} is for the program as a whole, not for a line", flag.flag),
            );
            return Err(line.error(
                wrong.hint("the locks are there: runs with another would not see each other"),
            ));
        }
        if !flags.json && !flags.quiet && flags.verbose == 0 {
            return Ok(None);
        }
        let at = self.at_word(|word| {
            ["--json", "-q", "--quiet", "--verbose"].contains(&word.text.as_str())
                || word.text.starts_with("-v")
        });
        let wrong = LineError::new(at, "--json, --quiet and -v do nothing in a crontab")
            .hint("the result goes into the run's record, and its log has its own levels");
        Ok(Some(line.error(wrong)))
    }

    /// Where the first of these flags stands, in bytes of the line.
    pub(super) fn at_override(&self, overrides: &[Override]) -> usize {
        let find =
            |flag: &Override| self.words.iter().find(|word| word.text.starts_with(flag.flag));
        overrides.iter().find_map(find).map_or(self.line_at, |word| word.at)
    }

    /// Where the first matching word stands, in bytes of the line. Without one: where the call
    /// begins.
    fn at_word(&self, is_it: impl Fn(&Word) -> bool) -> usize {
        self.words.iter().find(|word| is_it(word)).map_or(self.at, |word| word.at)
    }

    /// Whether the line has the form of the Node version's crontab.
    pub(super) fn is_old_form(&self) -> bool {
        self.is_embedded || self.words.first().is_some_and(|word| word.text.starts_with("--"))
    }
}
