//! Finds the crontab in force: the file of `BKUP_CRONTAB`, else `/etc/convoy-backups/crontab` if
//! that exists, else the built-in crontab. A file that `serve` followed before and that is gone
//! stays the crontab in force, with an error: another schedule would save other things, or nothing.

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    crontab::{self, Checked, Crontab, Surroundings},
    followed::{followed, followed_file},
};
use crate::{
    config::Config,
    error::{Error, Result},
};

/// The path of the crontab without `BKUP_CRONTAB`.
pub(crate) const DEFAULT_PATH: &str = "/etc/convoy-backups/crontab";

/// The crontab that comes with the program.
pub(crate) const BUILT_IN: &str = include_str!("../../crontab");

/// The largest crontab that is read, in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// The source of the crontab in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    /// The crontab that is embedded in the binary.
    BuiltIn,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn => f.write_str("crontab (built in)"),
        }
    }
}

impl Source {
    /// Finds the source of the crontab in force.
    pub(crate) fn find(config: &Config) -> Self {
        Self::find_beside(config, Path::new(DEFAULT_PATH))
    }

    fn find_beside(config: &Config, usual: &Path) -> Self {
        match &config.crontab {
            Some(path) => Self::File(path.clone()),
            // A file that can't be checked may well exist. An error is better than running another
            // crontab than the operator's.
            None => match usual.symlink_metadata() {
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) && followed(config).is_none_or(|before| Path::new(&before) != usual) =>
                {
                    Self::BuiltIn
                }
                _ => Self::File(usual.to_owned()),
            },
        }
    }

    /// This crontab, unless it is only the built-in one because a file that was followed before is
    /// gone: a file that vanishes must not put another schedule in force without a word.
    #[must_use]
    pub(crate) fn unless_lost(self, followed: &Self) -> Self {
        if self == Self::BuiltIn { followed.clone() } else { self }
    }

    /// Reads the text of the crontab.
    ///
    /// # Errors
    /// A configuration error if the file is missing, no regular file, unreadable, longer than 4
    /// MiB, or not text.
    pub(crate) fn text(&self) -> Result<String> {
        match self {
            Self::BuiltIn => Ok(BUILT_IN.to_owned()),
            Self::File(path) => read(path),
        }
    }

    /// Says how to settle that a file which `serve` followed is gone on purpose.
    fn with_way_out(&self, error: Error, config: &Config) -> Error {
        let Self::File(path) = self else { return error };
        let is_gone = path.symlink_metadata().is_err();
        if !is_gone || config.crontab.is_some() || followed(config).is_none() {
            return error;
        }
        let way_out = format!(
            "if serve is not used here any more, as with cron(8): rm \"{}\"",
            followed_file(config).display()
        );
        let hint = error.hint.as_ref().map_or(way_out.clone(), |hint| format!("{hint}; {way_out}"));
        error.with_hint(hint)
    }

    /// Reads and checks the crontab.
    pub(crate) fn check(&self, surroundings: &Surroundings) -> Checked {
        match self.text() {
            Ok(text) => {
                let mut checked = crontab::parse(&text, &self.to_string(), surroundings);
                // A file that was emptied by mistake must not silently end all backups.
                if checked.crontab.entries.is_empty() && checked.errors.is_empty() {
                    checked.errors.push(
                        Error::configuration(format!(
                            "the crontab \"{self}\" has no line that runs anything"
                        ))
                        .with_hint(
                            "\"convoy-backups crontab show --default\" prints one to begin with",
                        ),
                    );
                }
                if checked.errors.is_empty()
                    && !checked.crontab.entries.iter().any(|entry| entry.may_back_up)
                {
                    checked.warnings.push(
                        Error::configuration(format!(
                            "no line of the crontab \"{self}\" backs anything up"
                        ))
                        .with_hint("add one such as: 30 3 * * * backup"),
                    );
                }
                checked
            }
            Err(error) => {
                let error = self.with_way_out(error, &surroundings.config);
                Checked { crontab: Crontab::default(), errors: vec![error], warnings: Vec::new() }
            }
        }
    }
}

/// Reads the text of a crontab's file. Only a regular file is opened: a FIFO would wait for a
/// writer, and a device has no end.
fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let wrong = |why: String| Error::configuration(format!("the crontab \"{shown}\" {why}"));
    let cannot = |error: std::io::Error| {
        let wrong = wrong(format!("can't be read: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => wrong.with_hint(
                format!("put it back; BKUP_CRONTAB names another file; to begin with the built-in one: convoy-backups crontab show --default > {shown}"),
            ),
            std::io::ErrorKind::PermissionDenied => wrong.with_hint("let this user read it, and enter its folder"),
            _ => wrong,
        }
    };
    let metadata = path.metadata().map_err(cannot)?;
    if metadata.is_dir() {
        return Err(wrong("is a folder".into())
            .with_hint(format!("name the file in it, such as {shown}/crontab")));
    }
    if !metadata.is_file() {
        return Err(wrong("is not a file".into()));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(cannot)?
        .take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    // "Not text" comes before "too long": a disk image is both, and the first explains more.
    if bytes.contains(&0) {
        return Err(wrong("is not text: there are zero bytes in it".into())
            .with_hint("is it a crontab at all?"));
    }
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong("is longer than 4 MiB".into()).with_hint("is it a crontab at all?"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(format!("is not text: line {line} is not UTF-8")).with_hint("save it as UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;
    use crate::schedule::remember_followed;

    fn config(variables: &[(&str, &str)]) -> Config {
        let all = variables
            .iter()
            .chain(&[("HOME", "/root")])
            .map(|(n, v)| (OsString::from(n), OsString::from(v)));
        Config::from_environment(all, &[]).unwrap().0
    }

    #[test]
    fn the_crontab_is_looked_for_in_three_places() {
        let folder = tempfile::tempdir().unwrap();
        let usual = folder.path().join("crontab");
        assert_eq!(Source::find_beside(&config(&[]), &usual), Source::BuiltIn);
        fs::write(&usual, "").unwrap();
        assert_eq!(Source::find_beside(&config(&[]), &usual), Source::File(usual.clone()));
        let named = Source::find_beside(&config(&[("BKUP_CRONTAB", "/no/such")]), &usual);
        assert_eq!(
            named,
            Source::File("/no/such".into()),
            "a named one is not replaced by another"
        );
    }

    #[test]
    fn a_crontab_that_vanished_while_serve_was_down_is_not_replaced_by_the_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let usual = folder.path().join("crontab");
        let config = config(&[("BKUP_DATA_DIR", folder.path().to_str().unwrap())]);
        remember_followed(&config, &Source::BuiltIn.to_string()).unwrap();
        assert_eq!(Source::find_beside(&config, &usual), Source::BuiltIn);
        let file = Source::File(usual.clone());
        remember_followed(&config, &file.to_string()).unwrap();
        assert_eq!(Source::find_beside(&config, &usual), file);
        let error = file.text().unwrap_err();
        assert!(error.hint.unwrap().contains("show --default >"), "what settles it");
        // Where serve is not used any more, the hint says how to have the built-in one again.
        let config = std::sync::Arc::new(config);
        let surroundings = Surroundings {
            environment: Vec::new(),
            overrides: Vec::new(),
            config: config.clone(),
            zone: jiff::tz::TimeZone::UTC,
        };
        let hint = file.check(&surroundings).errors[0].hint.clone().unwrap();
        let remembered = folder.path().join("serve.crontab");
        assert!(hint.contains(&format!("rm \"{}\"", remembered.display())), "{hint}");
        fs::remove_file(remembered).unwrap();
        assert_eq!(Source::find_beside(&config, &usual), Source::BuiltIn);
    }

    #[test]
    fn a_crontab_that_vanishes_is_not_replaced_by_the_one_that_comes_with_the_program() {
        let file = Source::File("/no/such".into());
        assert_eq!(Source::BuiltIn.unless_lost(&file), file);
        assert!(Source::BuiltIn.unless_lost(&file).text().is_err());
        assert_eq!(file.clone().unless_lost(&Source::BuiltIn), file);
        assert_eq!(Source::BuiltIn.unless_lost(&Source::BuiltIn), Source::BuiltIn);
    }

    #[test]
    fn what_is_no_crontab_is_said_and_not_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let fails = |path: &Path, words: &str| {
            let error = read(path).unwrap_err();
            assert!(error.to_string().contains(words) && error.exit_code() == 2, "{error}");
        };
        fails(&path, "No such file");
        fails(folder.path(), "is a folder");
        fs::write(&path, b"0 * * * * backup\n\x80\n").unwrap();
        fails(&path, "line 2 is not UTF-8");
        fs::write(&path, b"\x7fELF\0\0").unwrap();
        fails(&path, "zero bytes");
        fs::write(&path, "# long\n".repeat(700_000)).unwrap();
        fails(&path, "longer than 4 MiB");
        fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        fails(&path, "zero bytes");
    }
}
