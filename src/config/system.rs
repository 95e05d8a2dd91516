//! The settings of the system's services, in `/etc/default/convoy-backups`. systemd passes them to
//! `serve` as its environment. A command typed in a shell should use the same settings, so the
//! program reads the file itself, as the layer below the environment.
//!
//! The program reads the file as systemd reads an `EnvironmentFile=`, without expansion of `$`, and
//! takes only `BKUP_` settings. A user who can write the file could make root do anything, so the
//! file counts only if root (or this user) owns it and only the owner may write to it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Read},
    iter::Peekable,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::Chars,
};

use super::{
    given::{LARGEST_FILE, Layers, PREFIX, given, quote},
    kind::Parser,
    settings::BKUP_DEFAULTS,
    warning::Warning,
};
use crate::error::{Error, Result};

/// The settings in the file, with warnings if the file is ignored.
#[derive(Debug, Clone, Default)]
pub(crate) struct SystemSettings {
    /// `None` if the file does not exist, or `BKUP_DEFAULTS` is off.
    pub(crate) path: Option<PathBuf>,
    /// Whether the file exists and this user may not read it.
    pub(crate) is_closed: bool,
    /// The `BKUP_` variables in the file. They never print, because there may be secrets among
    /// them.
    pub(super) values: Hidden,
    pub(crate) warnings: Vec<Warning>,
}

/// Values that never print.
#[derive(Clone, Default)]
pub(super) struct Hidden(pub(super) BTreeMap<OsString, OsString>);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl SystemSettings {
    /// Reads the file that `BKUP_DEFAULTS` names in this environment, else the usual file if it
    /// exists.
    ///
    /// # Errors
    /// A configuration error if `BKUP_DEFAULTS` is neither an absolute path nor `off`, or the file
    /// it names can't be read.
    pub(crate) fn find(environment: &BTreeMap<OsString, OsString>) -> Result<Self> {
        let setting = BKUP_DEFAULTS.row;
        let layers = Layers { overrides: &[], environment, system: None };
        let Some(value) = given(setting.name, setting.form(), layers)? else {
            return Ok(setting
                .default
                .map_or_else(Self::default, |path| Self::read_usual(Path::new(path))));
        };
        let shown = quote(value.text.expose());
        let named = match BKUP_DEFAULTS.parser {
            Parser::Plain(parse) => parse(value.text.expose()),
            Parser::Explaining(parse) => parse(value.text.expose()).ok(),
        };
        match named {
            None => Err(Error::configuration(format!(
                "BKUP_DEFAULTS: {shown} is not {}",
                setting.about.noun
            ))
            .with_hint(setting.about.hint())),
            Some(None) => Ok(Self::default()),
            Some(Some(path)) => Self::read(&path).map_err(|error| {
                Error::configuration(format!("BKUP_DEFAULTS: cannot read {shown}: {error}"))
                    .with_hint("name a file that this user can read, or write off")
            }),
        }
    }

    /// The file and the variables in it; `None` if the file does not count.
    pub(super) fn layer(&self) -> Option<(&Path, &BTreeMap<OsString, OsString>)> {
        self.path.as_deref().map(|path| (path, &self.values.0))
    }

    /// As [`SystemSettings::read`], for a file that need not exist.
    fn read_usual(path: &Path) -> Self {
        match Self::read(path) {
            Ok(settings) => settings,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                Self { path: Some(path.into()), is_closed: true, ..Self::default() }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                Self::default()
            }
            Err(error) => Self::ignored(path, &format!("it can't be read ({error})"), None),
        }
    }

    fn read(path: &Path) -> std::io::Result<Self> {
        // Opening a pipe would wait for its other end.
        if !std::fs::metadata(path)?.is_file() {
            return Ok(Self::ignored(path, "it is no file", None));
        }
        let file = File::open(path)?;
        let about = file.metadata()?;
        let shown = path.display();
        if !about.is_file() {
            return Ok(Self::ignored(path, "it is no file", None));
        }
        if about.uid() != 0 && about.uid() != rustix::process::geteuid().as_raw() {
            let hint = format!("chown root {shown}");
            return Ok(Self::ignored(
                path,
                "it belongs neither to root nor to this user",
                Some(hint),
            ));
        }
        if about.mode() & 0o022 != 0 {
            let hint = format!("chmod go-w {shown}");
            return Ok(Self::ignored(path, "others than its owner may write to it", Some(hint)));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Ok(Self::ignored(path, "it is larger than 64 KiB", None));
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Ok(Self::ignored(path, "it is not valid UTF-8", None));
        };
        let (values, wrong) = parse(&text);
        let warnings = wrong.into_iter().map(|line| Warning {
            message: format!("line {line} of {} has no effect", quote(&path.to_string_lossy())),
            hint: Some("write NAME=value, without \"export\": systemd reads it, too".into()),
        });
        Ok(Self {
            path: Some(path.into()),
            is_closed: false,
            values: Hidden(values),
            warnings: warnings.collect(),
        })
    }

    /// A file that is ignored, with a warning.
    fn ignored(path: &Path, why: &str, hint: Option<String>) -> Self {
        let message = format!(
            "the settings in {} have no effect here: {why}",
            quote(&path.to_string_lossy())
        );
        Self {
            path: Some(path.into()),
            warnings: vec![Warning { message, hint }],
            ..Self::default()
        }
    }
}

/// The `BKUP_` variables in a file's text, and the numbers of the lines that seem to set one and
/// can't be read.
fn parse(text: &str) -> (BTreeMap<OsString, OsString>, Vec<usize>) {
    let (mut values, mut wrong) = (BTreeMap::new(), Vec::new());
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|letter| letter.is_whitespace()).is_some() {}
        let at = text.chars().count() - rest.clone().count();
        let Some(first) = rest.peek().copied() else { return (values, wrong) };
        let mut name = String::new();
        while let Some(letter) = rest.next_if(|letter| *letter != '\n' && *letter != '=') {
            name.push(letter);
        }
        let is_comment = first == '#' || first == ';';
        if is_comment || rest.next_if_eq(&'=').is_none() {
            while rest.next_if(|letter| *letter != '\n').is_some() {}
            if !is_comment && name.contains(PREFIX) {
                wrong.push(line(text, at));
            }
            continue;
        }
        let value = value(&mut rest);
        let name = name.trim_end();
        if name.starts_with(PREFIX)
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        {
            values.insert(name.into(), value.into());
        } else if name.contains(PREFIX) {
            wrong.push(line(text, at));
        }
    }
}

/// The number, from 1, of the line with this character. `at` counts characters.
fn line(text: &str, at: usize) -> usize {
    1 + text.chars().take(at).filter(|letter| *letter == '\n').count()
}

/// Reads a value up to the end of its line. Quotes count at the beginning of a value, or of another
/// part of it behind a quoted one. A backslash removes the meaning of the next character, also of
/// the line's end.
fn value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    // The length that remains when trailing blanks are removed, but not those in quotes.
    let mut kept = 0;
    let mut begins = true;
    while let Some(letter) = rest.next_if(|letter| *letter != '\n') {
        match letter {
            ' ' | '\t' | '\r' if begins => continue,
            '\'' if begins => {
                value.extend(std::iter::from_fn(|| rest.next().filter(|letter| *letter != '\'')));
                kept = value.len();
                continue;
            }
            '"' if begins => {
                in_double_quotes(rest, &mut value);
                kept = value.len();
                continue;
            }
            '\\' => {
                value.extend(rest.next().filter(|letter| *letter != '\n'));
                kept = value.len();
            }
            other => {
                value.push(other);
                if !other.is_whitespace() {
                    kept = value.len();
                }
            }
        }
        begins = false;
    }
    value.truncate(kept);
    value
}

fn in_double_quotes(rest: &mut Peekable<Chars<'_>>, value: &mut String) {
    while let Some(letter) = rest.next().filter(|letter| *letter != '"') {
        match (letter, rest.peek()) {
            ('\\', Some('\n')) => drop(rest.next()),
            ('\\', Some('"' | '\\' | '`' | '$')) => value.extend(rest.next()),
            _ => value.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn read_as(text: &str) -> Vec<(String, String)> {
        let pairs = parse(text).0.into_iter();
        pairs
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect()
    }

    #[test]
    fn values_are_read_as_systemd_reads_them() {
        for (text, value) in [
            ("BKUP_HOST=db1", "db1"),
            ("  BKUP_HOST=db1 \t\n", "db1"),
            ("BKUP_HOST='a b '", "a b "),
            ("BKUP_HOST=\"a \\\"b\\\" \\n $HOME\"", "a \"b\" \\n $HOME"),
            ("BKUP_HOST=\"a\"'b'c", "abc"),
            ("BKUP_HOST=a\\\nb", "ab"),
            ("BKUP_HOST=a\\ b\\\\", "a b\\"),
            ("BKUP_HOST=it's # so", "it's # so"),
            ("BKUP_HOST=a=b\r\n", "a=b"),
            ("BKUP_HOST=", ""),
            ("BKUP_HOST=first\nBKUP_HOST=last", "last"),
            ("BKUP_HOST='two\nlines'", "two\nlines"),
        ] {
            assert_eq!(read_as(text), [("BKUP_HOST".into(), value.into())], "{text:?}");
        }
    }

    #[test]
    fn only_bkup_settings_are_taken_and_lines_that_look_like_one_are_reported() {
        let text = "# BKUP_HOST=no\n;BKUP_HOST=no\nTZ=UTC\n\nexport BKUP_HOST=no\nno value\nBKUP_LOCK_WAIT\n BKUP_CRONTAB=/c\n";
        let (values, wrong) = parse(text);
        assert_eq!(values.len(), 1, "{values:?}");
        assert_eq!(wrong, [5, 7]);
    }

    #[test]
    fn a_file_that_others_may_write_to_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings");
        fs::write(&path, "BKUP_HOST=db1").unwrap();
        for (mode, read) in [(0o600, 1), (0o644, 1), (0o664, 0), (0o646, 0)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let settings = SystemSettings::read_usual(&path);
            assert_eq!(
                (settings.values.0.len(), settings.warnings.len()),
                (read, 1 - read),
                "{mode:o}"
            );
        }
        let warning = SystemSettings::read_usual(&path).warnings.remove(0).to_string();
        assert!(warning.ends_with(&format!("(chmod go-w {})", path.display())), "{warning}");
    }

    #[test]
    fn the_usual_file_need_not_be_there() {
        let settings = SystemSettings::read_usual(Path::new("/no/such/file"));
        assert!(settings.path.is_none() && settings.warnings.is_empty());
    }

    #[test]
    fn what_is_in_it_does_not_print() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings");
        fs::write(&path, "BKUP_API_TOKEN=hunter2").unwrap();
        assert!(!format!("{:?}", SystemSettings::read_usual(&path)).contains("hunter2"));
    }
}
