//! How a user gave one value: by a flag, the environment, a file that a variable names, or the file
//! of the system's services.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

use super::secret::Secret;
use crate::{
    error::{Error, Result},
    exclude::{in_one_line, of_lines},
    text::{cut, escape},
};

/// The largest file with a value, in bytes. No setting needs as much: a larger file is a mistake.
pub(super) const LARGEST_FILE: u64 = 64 * 1024;

/// The prefix of this program's variables.
pub(super) const PREFIX: &str = "BKUP_";

/// A setting given by a flag, which wins over the environment.
#[derive(Debug, Clone)]
pub(crate) struct Override {
    /// The setting, such as `BKUP_BACKUP_URL`.
    pub(crate) name: &'static str,
    /// The flag, such as `--backup-url`.
    pub(crate) flag: &'static str,
    pub(crate) value: String,
}

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    /// The environment variable.
    Environment,
    /// The file of the system's services.
    System(PathBuf),
    /// The file that the variable `.._FILE` names.
    File(PathBuf),
    Flag(&'static str),
}

impl Source {
    /// What the user wrote to give the setting, as an error's message begins.
    pub(super) fn given_as(&self, name: &str) -> String {
        match self {
            Self::Flag(flag) => (*flag).to_owned(),
            Self::File(path) | Self::System(path) => {
                format!("{name} (in the file {})", quote(&path.to_string_lossy()))
            }
            Self::Environment | Self::Default => name.to_owned(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment => f.write_str("environment"),
            Self::File(path) | Self::System(path) => write!(f, "file {}", path.display()),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value and its origin. Every text is kept as a secret, so that it can't slip into a log.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) text: Secret,
    pub(super) source: Source,
}

/// The layers in which users give values, the strongest first.
#[derive(Clone, Copy)]
pub(super) struct Layers<'a> {
    pub(super) overrides: &'a [Override],
    pub(super) environment: &'a BTreeMap<OsString, OsString>,
    /// The file of the system's services, and the variables in it.
    pub(super) system: Option<(&'a Path, &'a BTreeMap<OsString, OsString>)>,
}

/// How the text of a value is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Line,
    /// A list that may have line ends in place of commas, and comments.
    Lines,
    /// A secret.
    AsItIs,
}

/// The value that a user gave. An empty variable counts as not given, because compose files pass
/// unset variables on as empty. It still hides the system's value, so that a user can leave that
/// one out.
pub(super) fn given(name: &str, form: Form, layers: Layers<'_>) -> Result<Option<Value>> {
    let file_name = format!("{name}_FILE");
    let is_in_environment =
        [name, &file_name].iter().any(|name| layers.environment.contains_key(OsStr::new(name)));
    let (variables, source) = match layers.system {
        Some((path, values)) if !is_in_environment => (values, Source::System(path.into())),
        _ => (layers.environment, Source::Environment),
    };
    let variable = |name: &str| variables.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let (direct, file) = (variable(name), variable(&file_name));
    if let Some(given) = layers.overrides.iter().rev().find(|given| given.name == name) {
        return Ok(Some(Value {
            text: Secret::new(given.value.clone()),
            source: Source::Flag(given.flag),
        }));
    }
    let (text, source) = match (direct, file) {
        (Some(_), Some(_)) => {
            return Err(Error::configuration(format!("{name} and {file_name} are both set"))
                .with_hint("unset one of them"));
        }
        (Some(value), None) => {
            let text = value
                .to_str()
                .ok_or_else(|| Error::configuration(format!("{name} is not valid UTF-8")))?;
            (text.to_owned(), source)
        }
        (None, Some(path)) => (read_file(name, Path::new(path))?, Source::File(path.into())),
        (None, None) => return Ok(None),
    };
    let text = match form {
        Form::AsItIs => text,
        Form::Lines => match source {
            Source::File(_) => one_line(name, &source, &of_lines(&text))?,
            _ => one_line(name, &source, &in_one_line(&text))?,
        },
        Form::Line => one_line(name, &source, &text)?,
    };
    Ok(Some(Value { text: Secret::new(text), source }))
}

/// A public value's text, without white space around it.
fn one_line(name: &str, source: &Source, text: &str) -> Result<String> {
    let text = text.trim();
    let wrong = |what: &str| Error::configuration(format!("{} {what}", source.given_as(name)));
    if text.is_empty() {
        Err(wrong("is only white space"))
    } else if text.contains(char::is_control) {
        Err(wrong("has a control character or several lines"))
    } else {
        Ok(text.to_owned())
    }
}

/// A file's text, without the newline at its end.
fn read_file(name: &str, path: &Path) -> Result<String> {
    let shown = quote(&path.to_string_lossy());
    let wrong = |why: String| {
        Error::configuration(format!("{name}_FILE: {why}"))
            .with_hint(format!("{name}_FILE names a file that holds the value of {name}"))
    };
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut text))
        .map_err(|error| wrong(format!("cannot read {shown}: {error}")))?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(wrong(format!("{shown} is larger than 64 KiB")));
    }
    let text = String::from_utf8(text).map_err(|_| wrong(format!("{shown} is not valid UTF-8")))?;
    let text = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if text.is_empty() {
        return Err(wrong(format!("{shown} is empty")));
    }
    Ok(text.to_owned())
}

/// A value as messages show it: quoted, escaped and cut.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", cut(&escape(text), 80))
}

/// Whether a text is in quotes.
pub(super) fn is_quoted(text: &str) -> bool {
    text.len() > 1
        && ['"', '\''].iter().any(|quote| text.starts_with(*quote) && text.ends_with(*quote))
}
