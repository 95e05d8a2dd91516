//! Reads and checks a crontab as a whole.
//!
//! ```text
//! CRON_TZ=Europe/Berlin
//! BKUP_BACKUP_URL=vfs:///mnt/backups
//! # minute hour day month weekday  SCRIPT [--argument value..]
//! 0  *   *   *   *                 snapshot
//! 30 3   *   *   *                 @catchup=off @jitter=5m backup --create-snapshot
//! @weekly                          prune --keep-daily 7 --keep-weekly 5
//! ```
//!
//! Schedules are exactly those of crontab(5): 0 and 7 are Sunday, and if neither day field begins
//! with `*`, matching one of them is enough. [`super::timetable`] has the rules for changes of the
//! clock. One thing differs: a line names a script, not a command for a shell. So nothing is
//! expanded, `%` has no special meaning, there is no field for a user, and a comment may follow
//! behind ` #`.
//!
//! All errors of a file are found at once, each with its location. A file with errors is refused.

mod assignment;
mod call;
mod entry;
pub(crate) mod field;
mod line;
mod old_form;
mod options;
mod schedule;
mod settings;
mod surroundings;
#[cfg(test)]
mod tests;
mod words;

use std::{collections::HashMap, sync::Arc};

use crate::error::{Error, Result};
pub(crate) use assignment::without_secrets;
pub(crate) use entry::CrontabEntry;
use line::{CrontabLine, LineError};
use schedule::Patterns;
use settings::LineSettings;
pub(crate) use surroundings::Surroundings;

/// Reading stops after so many errors: a file with more of them is no crontab.
pub(crate) const MOST_ERRORS: usize = 1_000;

/// A crontab that can be followed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crontab {
    /// The name of the file in errors.
    pub(crate) file: String,
    /// In the order of their lines.
    pub(crate) entries: Vec<Arc<CrontabEntry>>,
}

/// A crontab that was read, with its errors and warnings.
#[derive(Debug)]
pub(crate) struct Checked {
    /// The entries without errors.
    pub(crate) crontab: Crontab,
    /// The errors, each with its location. Empty: the crontab can be followed.
    pub(crate) errors: Vec<Error>,
    /// The warnings. The crontab can be followed all the same.
    pub(crate) warnings: Vec<Error>,
}

impl Checked {
    /// The crontab with its warnings.
    ///
    /// # Errors
    /// All errors of the file.
    pub(crate) fn accept(self) -> Result<(Crontab, Vec<Error>), Vec<Error>> {
        if self.errors.is_empty() { Ok((self.crontab, self.warnings)) } else { Err(self.errors) }
    }
}

/// Reads a crontab's text. `file` is the file's name in errors. Scripts are loaded but not run.
pub(crate) fn parse(text: &str, file: &str, surroundings: &Surroundings) -> Checked {
    let mut crontab = Crontab { file: file.to_owned(), entries: Vec::new() };
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    let mut settings = LineSettings::new(surroundings);
    let mut patterns = Patterns::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    // Some editors begin a file with a byte order mark.
    for (index, text) in text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate() {
        let line = CrontabLine { file, number: index + 1, text };
        match read_line(&line, &mut settings, &mut patterns, &mut warnings) {
            Ok(None) => {}
            Ok(Some(mut entry)) => {
                let first = *seen.entry(entry.key.clone()).or_insert(line.number);
                if first != line.number {
                    let wrong = LineError::new(
                        0,
                        format!("this line is the same as line {first}: it runs twice"),
                    );
                    warnings.push(line.error(wrong.hint("take one of them out")));
                    entry.key = format!("{}-{}", entry.key, seen.len() + line.number);
                }
                crontab.entries.push(Arc::new(entry));
            }
            Err(error) => errors.push(error),
        }
        if errors.len() >= MOST_ERRORS || warnings.len() >= 10 * MOST_ERRORS {
            errors.push(
                Error::configuration(format!(
                    "\"{file}\" has too many errors: what follows was not looked at"
                ))
                .with_hint("is it a crontab at all?"),
            );
            break;
        }
    }
    Checked { crontab, errors, warnings }
}

fn read_line(
    line: &CrontabLine<'_>,
    settings: &mut LineSettings<'_>,
    patterns: &mut Patterns,
    warnings: &mut Vec<Error>,
) -> Result<Option<CrontabEntry>> {
    let trimmed = line.text.trim_matches([' ', '\t']);
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(None);
    }
    let control =
        line.text.char_indices().find(|(_, letter)| letter.is_control() && *letter != '\t');
    if let Some((at, letter)) = control {
        let message =
            format!("there is a control character ({}) in this line", letter.escape_unicode());
        return Err(line.error(LineError::new(at, message).hint("a crontab is plain text")));
    }
    match assignment::assignment(line.text) {
        Some(assigned) => {
            warnings.extend(settings.assign(line, &assigned)?);
            Ok(None)
        }
        None => entry::parse(line, settings, patterns, warnings).map(Some),
    }
}

/// What tests of other modules need.
#[cfg(test)]
pub(crate) mod testing {
    use std::ffi::OsString;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::config::Config;

    /// The surroundings of a test: this environment alone, and UTC.
    pub(crate) fn surroundings(environment: &[(&str, &str)]) -> Surroundings {
        let all = environment.iter().chain(&[("HOME", "/home/test")]);
        let environment: Vec<(OsString, OsString)> =
            all.map(|(name, value)| (name.into(), value.into())).collect();
        let config = Config::from_environment(environment.clone(), &[]).unwrap().0;
        Surroundings {
            environment,
            overrides: Vec::new(),
            config: Arc::new(config),
            zone: TimeZone::UTC,
        }
    }

    /// A crontab without errors.
    pub(crate) fn crontab(text: &str) -> Crontab {
        parse(text, "crontab", &surroundings(&[])).accept().unwrap().0
    }
}
