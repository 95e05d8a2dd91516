//! The values of all settings as users gave them, each with its origin. [`super::Config`] is read
//! from them.

use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsString,
};

use super::{
    given::{Layers, PREFIX, Source, Value, given, is_quoted, quote},
    kind::{Parser, Visibility},
    secret::Secret,
    settings::{SETTINGS, Typed, find},
    warning::Warning,
};
use crate::{
    error::{Error, ErrorKind, Result},
    suggest::nearest,
};

/// The given values by the names of their settings.
#[derive(Debug, Clone)]
pub(super) struct Values(HashMap<&'static str, Value>);

impl Values {
    /// Gathers the values. Flags win over the environment and its files, these over the system's
    /// settings, and these over the defaults.
    pub(super) fn gather(layers: Layers<'_>) -> Result<(Self, Vec<Warning>)> {
        let mut values = HashMap::new();
        for setting in SETTINGS {
            let default = setting
                .default
                .map(|text| Value { text: Secret::new(text), source: Source::Default });
            if let Some(value) = given(setting.name, setting.form(), layers)?.or(default) {
                values.insert(setting.name, value);
            }
        }
        if let Some(wrong) = layers.overrides.iter().find(|wrong| find(wrong.name).is_none()) {
            return Err(Error::internal(format!(
                "\"{}\" sets \"{}\", which is no setting",
                wrong.flag, wrong.name
            )));
        }
        // Each name once, because the services have the file's variables in their environment too.
        let system = layers.system.iter().flat_map(|(_, values)| values.keys());
        let names: BTreeSet<&OsString> = layers.environment.keys().chain(system).collect();
        Ok((Self(values), unknown_names(names)))
    }

    /// The origin of a setting's value.
    pub(super) fn source(&self, name: &str) -> Source {
        self.0.get(name).map_or(Source::Default, |value| value.source.clone())
    }

    /// The text of a setting's value, also of a secret.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.text.expose())
    }

    /// Sets a default that depends on the system, unless the setting has a value.
    pub(super) fn set_default<T>(&mut self, setting: &Typed<T>, text: String) {
        self.0
            .entry(setting.row.name)
            .or_insert_with(|| Value { text: Secret::new(text), source: Source::Default });
    }

    /// Reads an optional setting.
    pub(super) fn read<T>(&self, setting: &Typed<T>) -> Result<Option<T>> {
        let about = setting.row.about;
        match setting.parser {
            Parser::Explaining(parse) => self.read_with(setting, parse),
            Parser::Plain(parse) => self.read_with(setting, |text| {
                let is_hidden = match about.visibility {
                    Visibility::Public => false,
                    Visibility::HiddenWithUser => text.contains('@'),
                    Visibility::Secret => true,
                };
                parse(text).ok_or_else(|| {
                    let shown = if is_hidden { "the value".into() } else { quote(text) };
                    Error::configuration(format!("{shown} is not {}", about.noun))
                        .with_hint(about.hint())
                })
            }),
        }
    }

    /// Reads an optional setting by another parser than its kind's.
    pub(super) fn read_with<T>(
        &self,
        setting: &Typed<T>,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.0.get(setting.row.name) else {
            return Ok(None);
        };
        parse(value.text.expose()).map(Some).map_err(|error| {
            let mut error = error.context(value.source.given_as(setting.row.name));
            error.kind = ErrorKind::Configuration;
            if is_quoted(value.text.expose()) {
                error.hint =
                    Some("take the quotes away: they are part of the value (files for --env-file keep them)".into());
            }
            error
        })
    }

    /// Reads a setting that has a default.
    pub(super) fn require<T>(&self, setting: &Typed<T>) -> Result<T> {
        self.read(setting)?
            .ok_or_else(|| Error::internal(format!("\"{}\" has no default", setting.row.name)))
    }

    /// Reads two secrets that are useful only together.
    ///
    /// # Errors
    /// A configuration error if only one of the two is set.
    pub(super) fn pair<A, B>(
        &self,
        first: &Typed<A>,
        second: &Typed<B>,
        hint: &str,
    ) -> Result<Option<(A, B)>> {
        let (given, missing) = match (self.read(first)?, self.read(second)?) {
            (Some(first), Some(second)) => return Ok(Some((first, second))),
            (None, None) => return Ok(None),
            (Some(_), None) => (first.row.name, second.row.name),
            (None, Some(_)) => (second.row.name, first.row.name),
        };
        Err(Error::configuration(format!("{given} is set, but {missing} is not")).with_hint(hint))
    }
}

/// A warning for each variable that begins like this program's variables and is not a setting.
fn unknown_names(given: BTreeSet<&OsString>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for name in
        given.into_iter().map(|name| name.to_string_lossy()).filter(|name| name.starts_with(PREFIX))
    {
        let base = name.strip_suffix("_FILE").unwrap_or(&name);
        if find(&name).is_some() || find(base).is_some() {
            continue;
        }
        // All names have the prefix, so only the rest tells how near two names are.
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
