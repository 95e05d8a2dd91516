//! The settings' values as they were given, each with where it came from: what [`super::Config`] is
//! read from.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    fmt,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    Override, Warning,
    secret::Secret,
    settings::{Kind, SETTINGS, Setting, find},
    system::SystemSettings,
};
use crate::{
    error::{Error, ErrorKind, Result},
    suggest::nearest,
    text::{cut, escape},
};

/// More than any setting needs; a file that is larger is not what was meant.
pub(super) const LARGEST_FILE: u64 = 64 * 1024;

/// What our variables begin with.
pub(super) const PREFIX: &str = "BKUP_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody gave one.
    Default,
    /// The environment variable.
    Environment,
    /// The file of the system's services.
    System(PathBuf),
    /// The file that the variable `.._FILE` names.
    File(PathBuf),
    /// A flag, such as `--backup-url`.
    Flag(&'static str),
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

/// A value and its source. All are kept as secrets, so that none can slip into a log.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) text: Secret,
    source: Source,
}

/// The values by the settings' names.
#[derive(Debug, Clone)]
pub(super) struct Values(HashMap<&'static str, Value>);

impl Values {
    /// Gathers the values: flags first, then the environment and its files, then the system's
    /// settings, then the defaults.
    pub(super) fn gather(
        environment: &BTreeMap<OsString, OsString>,
        system: &SystemSettings,
        overrides: &[Override],
    ) -> Result<(Self, Vec<Warning>)> {
        let mut values = HashMap::new();
        for setting in SETTINGS {
            if let Some(value) = given(setting, environment, system, overrides)? {
                values.insert(setting.name, value);
            } else if let Some(default) = setting.default {
                values.insert(
                    setting.name,
                    Value { text: Secret::new(default), source: Source::Default },
                );
            }
        }
        if let Some(wrong) = overrides.iter().find(|wrong| find(wrong.name).is_none()) {
            return Err(Error::internal(format!(
                "\"{}\" sets \"{}\", which is no setting",
                wrong.flag, wrong.name
            )));
        }
        let mut warnings = system.warnings.clone();
        // Each once: the services have the file's also in their environment.
        let names: BTreeSet<&OsString> = environment.keys().chain(system.values.0.keys()).collect();
        warnings.extend(unknown_names(names));
        Ok((Self(values), warnings))
    }

    /// Where a setting's value came from.
    pub(super) fn source(&self, name: &str) -> Source {
        self.0.get(name).map_or(Source::Default, |value| value.source.clone())
    }

    /// A setting's text, a secret's too.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.text.expose())
    }

    /// Gives a setting the default that depends on the system.
    pub(super) fn set_default(&mut self, name: &'static str, text: String) {
        self.0
            .entry(name)
            .or_insert_with(|| Value { text: Secret::new(text), source: Source::Default });
    }

    /// Reads an optional setting by a function that has its own words for what is wrong.
    pub(super) fn read_with<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        parse(value.text.expose()).map(Some).map_err(|error| {
            let mut error = error.context(given_as(name, &value.source));
            error.kind = ErrorKind::Configuration;
            if quoted(value.text.expose()) {
                error.hint =
                    Some("take the quotes away: they are part of the value (files for --env-file keep them)".into());
            }
            error
        })
    }

    /// Reads an optional setting; `parse` gives nothing for what is not of its kind.
    pub(super) fn read<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let setting =
            find(name).ok_or_else(|| Error::internal(format!("\"{name}\" is no setting")))?;
        let (noun, hint) = setting.kind.expected();
        self.read_with(name, |text| {
            // An endpoint with a password in it is refused without being shown.
            let hidden =
                setting.is_secret() || (setting.kind == Kind::Endpoint && text.contains('@'));
            let shown = if hidden { "the value".into() } else { quote(text) };
            parse(text).ok_or_else(|| {
                Error::configuration(format!("{shown} is not {noun}")).with_hint(hint)
            })
        })
    }

    /// Reads a setting that has a default.
    pub(super) fn require<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        self.read(name, parse)?.ok_or_else(|| Error::internal(format!("\"{name}\" has no default")))
    }
}

/// A value as a message shows it: quoted, escaped, not too long.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", cut(&escape(text), 80))
}

fn quoted(text: &str) -> bool {
    text.len() > 1
        && ['"', '\''].iter().any(|quote| text.starts_with(*quote) && text.ends_with(*quote))
}

/// What the user wrote to give it: the start of an error's message.
fn given_as(name: &str, source: &Source) -> String {
    match source {
        Source::Flag(flag) => (*flag).to_owned(),
        Source::File(path) | Source::System(path) => {
            format!("{name} (in the file {})", quote(&path.to_string_lossy()))
        }
        Source::Environment | Source::Default => name.to_owned(),
    }
}

/// The value that a user gave. An empty variable counts as not given: compose files pass unset ones
/// on as empty. But it hides what the system's settings say, so that they can be left out.
pub(super) fn given(
    setting: &Setting,
    environment: &BTreeMap<OsString, OsString>,
    system: &SystemSettings,
    overrides: &[Override],
) -> Result<Option<Value>> {
    let name = setting.name;
    let file_name = format!("{name}_FILE");
    let is_in_environment =
        [name, &file_name].iter().any(|name| environment.contains_key(OsStr::new(name)));
    let (layer, source) = match &system.path {
        Some(path) if !is_in_environment => (&system.values.0, Source::System(path.clone())),
        _ => (environment, Source::Environment),
    };
    let variable = |name: &str| layer.get(OsStr::new(name)).filter(|value| !value.is_empty());
    let (direct, file) = (variable(name), variable(&file_name));
    if let Some(given) = overrides.iter().rev().find(|given| given.name == name) {
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
    let text = if setting.is_secret() { text } else { text.trim().to_owned() };
    if !setting.is_secret() {
        if text.is_empty() {
            return Err(Error::configuration(format!(
                "{} is only white space",
                given_as(name, &source)
            )));
        }
        if text.contains(char::is_control) {
            return Err(Error::configuration(format!(
                "{} has a control character or several lines",
                given_as(name, &source)
            )));
        }
    }
    Ok(Some(Value { text: Secret::new(text), source }))
}

/// A file's text without the newline at its end.
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

/// A warning for each variable that begins as ours do and is none of ours.
fn unknown_names(given: BTreeSet<&OsString>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for name in
        given.into_iter().map(|name| name.to_string_lossy()).filter(|name| name.starts_with(PREFIX))
    {
        let base = name.strip_suffix("_FILE").unwrap_or(&name);
        if find(&name).is_some() || find(base).is_some() {
            continue;
        }
        // All begin alike, so only what follows tells how near two names are.
        let nearest = |name: &str| {
            let rest = SETTINGS.iter().filter_map(|setting| setting.name.strip_prefix(PREFIX));
            nearest(name.strip_prefix(PREFIX)?, rest)
                .map(|rest| format!("did you mean \"{PREFIX}{rest}\"?"))
        };
        let hint = nearest(&name).or_else(|| nearest(base));
        warnings.push(Warning {
            message: format!("{} is not a setting, so it has no effect", quote(&name)),
            hint,
        });
    }
    warnings
}
