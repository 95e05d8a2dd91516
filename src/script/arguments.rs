//! Checks arguments against what a script declares. The command line, the crontab and HTTP all use
//! this one place.

use serde_json::{Map, Value};

use super::{
    library::Script,
    parameter::{Parameter, ParameterKind},
};
use crate::{
    error::{Error, Result},
    suggest,
};

/// A script's arguments, complete and typed, as `main` gets them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arguments {
    values: Map<String, Value>,
}

impl Arguments {
    /// All arguments by parameter. Sizes are in bytes and durations in seconds; an argument that
    /// was left out is its default or `null`.
    pub(crate) fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }
}

impl Script {
    /// One line that shows how to call the script: `backup [--volume VOLUME] [--create-snapshot]`.
    pub(crate) fn signature(&self) -> String {
        let mut line = self.name.clone();
        for parameter in &self.parameters {
            let option = match parameter.kind {
                ParameterKind::Bool if parameter.default == Some(Value::Bool(true)) => {
                    format!("--no-{}", &parameter.option()[2..])
                }
                ParameterKind::Bool if !parameter.required => parameter.option(),
                _ => format!("{} {}", parameter.option(), parameter.kind.placeholder()),
            };
            let option = if parameter.positional { parameter.kind.placeholder() } else { option };
            let dots = if parameter.kind == ParameterKind::List { ".." } else { "" };
            line += &if parameter.required {
                format!(" {option}{dots}")
            } else {
                format!(" [{option}]{dots}")
            };
        }
        line
    }

    fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters
            .iter()
            .find(|parameter| suggest::fold(&parameter.name) == suggest::fold(name))
    }

    fn usage(&self, message: impl Into<String>) -> Error {
        Error::usage(message).with_hint(format!("usage: {}", self.signature()))
    }

    fn unknown(&self, name: &str) -> Error {
        let mut hint = String::new();
        if let Some(found) = suggest::nearest(name, self.parameters.iter().map(|p| p.name.as_str()))
        {
            let option = self.parameter(found).map(Parameter::option).unwrap_or_default();
            hint = format!("did you mean \"{option}\"? ");
        }
        Error::usage(format!("\"{}\" has no argument \"{name}\"", self.name))
            .with_hint(format!("{hint}usage: {}", self.signature()))
            .with_field(name)
    }

    fn given(&self, parameter: &Parameter, value: &Value) -> Result<Value> {
        parameter.kind.typed(value).map_err(|error| {
            let hint = error.hint.map(|hint| format!("{hint}; ")).unwrap_or_default();
            Error::usage(format!("{}: {}", parameter.option(), error.message))
                .with_hint(format!("{hint}usage: {}", self.signature()))
                .with_field(&parameter.name)
        })
    }

    /// Adds the defaults of arguments that were left out.
    fn complete(&self, mut given: Map<String, Value>) -> Result<Arguments> {
        let mut values = Map::new();
        for parameter in &self.parameters {
            let value = match given.remove(&parameter.name) {
                Some(value) => value,
                None if parameter.required => {
                    return Err(self
                        .usage(format!("\"{}\" needs {}", self.name, parameter.option()))
                        .with_field(&parameter.name));
                }
                None => match (&parameter.default, &parameter.kind) {
                    // It depends on the time at which it is asked for.
                    (Some(_), ParameterKind::Time | ParameterKind::Since) => {
                        let text = parameter.default_text.clone().unwrap_or_default();
                        self.given(parameter, &text.into())?
                    }
                    (Some(default), _) => default.clone(),
                    (None, ParameterKind::Bool) => Value::Bool(false),
                    (None, ParameterKind::List) => Value::Array(Vec::new()),
                    (None, _) => Value::Null,
                },
            };
            values.insert(parameter.name.clone(), value);
        }
        Ok(Arguments { values })
    }
}

/// Arguments as they are written on a command line or in a crontab: `--volume vol1`,
/// `--volume=vol1`, `--create-snapshot`, `--no-create-snapshot`, `--create-snapshot=false`. The
/// option of a list is repeated.
///
/// # Errors
/// A usage error, with the script's signature, if an argument is unknown, repeated, missing or of
/// the wrong type.
pub(crate) fn from_command_line(script: &Script, words: &[String]) -> Result<Arguments> {
    let mut given: Map<String, Value> = Map::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--").filter(|rest| !rest.is_empty()) else {
            let Some(parameter) = positional(script, word, &given) else {
                return Err(unexpected(script, word));
            };
            let value = script.given(parameter, &Value::String(word.clone()))?;
            given.insert(parameter.name.clone(), value);
            continue;
        };
        let (name, inline) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let negated = || {
            let positive =
                script.parameter(name.strip_prefix("no-").or_else(|| name.strip_prefix("no_"))?)?;
            (positive.kind == ParameterKind::Bool && inline.is_none()).then_some(positive)
        };
        let (parameter, value) = match script.parameter(name) {
            Some(parameter) => {
                let value = match (inline, &parameter.kind) {
                    (Some(value), _) => value,
                    (None, ParameterKind::Bool) => "true",
                    (None, _) => match words.next_if(|next| !looks_like_an_option(next)) {
                        Some(value) => value,
                        None => {
                            return Err(script.usage(format!(
                                "{} needs a value: {}",
                                parameter.option(),
                                parameter.kind.placeholder()
                            )));
                        }
                    },
                };
                (parameter, value)
            }
            None => match negated() {
                Some(parameter) => (parameter, "false"),
                None => return Err(script.unknown(&format!("--{name}"))),
            },
        };
        let value = script.given(parameter, &Value::String(value.to_owned()))?;
        match (given.get_mut(&parameter.name), value) {
            (None, value) => {
                given.insert(parameter.name.clone(), value);
            }
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (Some(_), _) => {
                return Err(script.usage(format!("{} is given twice", parameter.option())));
            }
        }
    }
    script.complete(given)
}

/// Whether a word is an option. A negative number is a value.
fn looks_like_an_option(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1 && !word[1..].starts_with(|c: char| c.is_ascii_digit())
}

/// The parameter whose value a plain word is.
fn positional<'a>(
    script: &'a Script,
    word: &str,
    given: &Map<String, Value>,
) -> Option<&'a Parameter> {
    // They stand behind a flag, as if it had a value.
    let is_word = !looks_like_an_option(word) && !matches!(word, "true" | "false");
    let parameter = script.parameters.iter().find(|parameter| parameter.positional);
    parameter.filter(|parameter| is_word && !given.contains_key(&parameter.name))
}

fn unexpected(script: &Script, word: &str) -> Error {
    let usage = format!("usage: {}", script.signature());
    let hint = match word {
        "true" | "false" => format!("write a flag's value behind an \"=\": --flag={word}; {usage}"),
        _ => usage,
    };
    let message = format!("\"{}\" does not expect the word \"{word}\" here", script.name);
    Error::usage(message).with_hint(hint)
}

/// Arguments as JSON: `{"volume": "vol1", "createSnapshot": true}`. `null` means that an argument
/// is left out.
///
/// # Errors
/// A usage error, with the script's signature, if an argument is unknown, repeated in another
/// spelling, missing or of the wrong type.
pub(crate) fn from_json(script: &Script, object: &Map<String, Value>) -> Result<Arguments> {
    let mut given = Map::new();
    for (name, value) in object {
        let parameter = script.parameter(name).ok_or_else(|| script.unknown(name))?;
        if value.is_null() {
            continue;
        }
        let value = script.given(parameter, value)?;
        if given.insert(parameter.name.clone(), value).is_some() {
            return Err(script
                .usage(format!("\"{}\" is given twice", parameter.name))
                .with_field(&parameter.name));
        }
    }
    script.complete(given)
}
