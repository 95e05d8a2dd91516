//! A parameter of a script: which arguments it accepts, and how a value is converted.

use serde_json::Value;

use crate::{
    convoy::{BackupUrl, Destination, Name},
    error::{Error, Result},
    suggest, units,
};

/// A parameter as the script declares it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter {
    /// Letters, digits and `_`.
    pub(crate) name: String,
    pub(crate) kind: ParameterKind,
    /// Whether an argument must be given.
    pub(crate) required: bool,
    /// The value that the script gets if no argument is given. A size is in bytes, a duration in
    /// seconds.
    pub(crate) default: Option<Value>,
    /// The default as the script's author wrote it, for help: `7d`.
    pub(crate) default_text: Option<String>,
    /// What the parameter is for, in the author's words.
    pub(crate) help: String,
}

/// The type of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// True or false; a flag on the command line.
    Bool,
    /// A size such as `40G`; bytes in the script.
    Size,
    /// A duration such as `7d`; seconds in the script.
    Duration,
    /// One of these values.
    OneOf(Vec<String>),
    /// Several texts. On the command line, the option is repeated.
    List,
    /// A volume's name.
    Volume,
    /// A snapshot's name.
    Snapshot,
    /// A backup's URL.
    BackupUrl,
    /// A backup destination.
    Destination,
}

impl ParameterKind {
    /// The word in a declaration's `type:`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::Size => "size",
            Self::Duration => "duration",
            Self::OneOf(_) => "choice",
            Self::List => "list",
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
            Self::BackupUrl => "backup_url",
            Self::Destination => "destination",
        }
    }

    /// The placeholder in usage lines: `SIZE`, `ext4|xfs`.
    pub(crate) fn placeholder(&self) -> String {
        match self {
            Self::String => "STRING".into(),
            Self::Int => "NUMBER".into(),
            Self::Bool => "true|false".into(),
            Self::Size => "SIZE".into(),
            Self::Duration => "DURATION".into(),
            Self::OneOf(choices) => choices.join("|"),
            Self::List => "STRING".into(),
            Self::Volume => "VOLUME".into(),
            Self::Snapshot => "SNAPSHOT".into(),
            Self::BackupUrl => "URL".into(),
            Self::Destination => "DESTINATION".into(),
        }
    }
}

impl Parameter {
    /// The option on the command line: `--create-snapshot`.
    pub(crate) fn option(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

/// The longest value of an argument, in bytes. Each value is stored with its run.
const LONGEST: usize = 16 << 10;

/// A whole number. JSON may write it as `5.0`, which is the same to some languages and to JSON
/// Schema.
fn whole(number: &Value) -> Option<i64> {
    /// Above this, a float has already lost its last digits.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| {
        let number =
            number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < EXACT)?;
        Some(number as i64)
    })
}

/// Converts a value to the form that the script gets, if the value fits the parameter.
pub(crate) fn typed(parameter: &Parameter, value: &Value) -> Result<Value> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::len).sum(),
        _ => 0,
    };
    if length > LONGEST {
        return Err(Error::usage(format!("the value is longer than {} KiB", LONGEST >> 10)));
    }
    let text = value.as_str();
    let wrong = |what: &str| {
        let shown = text.map_or_else(|| value.to_string(), |text| format!("\"{text}\""));
        Error::usage(format!("{shown} is not {what}"))
    };
    let string = || match text {
        Some(text) if !text.is_empty() => Ok(text),
        Some(_) => Err(Error::usage("the value is empty")),
        None => Err(wrong("a string")),
    };
    Ok(match &parameter.kind {
        ParameterKind::String => Value::from(string()?),
        ParameterKind::Int => match text {
            Some(text) => text.trim().parse::<i64>().map_err(|_| wrong("a whole number"))?.into(),
            None => whole(value).ok_or_else(|| wrong("a whole number"))?.into(),
        },
        ParameterKind::Bool => match (value, text.map(str::to_ascii_lowercase).as_deref()) {
            (Value::Bool(value), _) => Value::Bool(*value),
            (_, Some("true" | "yes" | "1")) => Value::Bool(true),
            (_, Some("false" | "no" | "0")) => Value::Bool(false),
            _ => return Err(wrong("true or false")),
        },
        ParameterKind::Size => match text {
            Some(text) => units::parse_size(text)?.into(),
            None => whole(value).filter(|bytes| *bytes >= 0).ok_or_else(|| wrong("a size"))?.into(),
        },
        ParameterKind::Duration => match text {
            Some(text) => units::parse_duration(text)?.as_secs().into(),
            None => whole(value)
                .filter(|seconds| *seconds >= 0)
                .ok_or_else(|| wrong("a duration"))?
                .into(),
        },
        ParameterKind::OneOf(choices) => {
            let text = string()?;
            if !choices.iter().any(|choice| choice == text) {
                let otherwise = format!("there are {}", choices.join(", "));
                let hint =
                    suggest::did_you_mean_or(text, choices.iter().map(String::as_str), &otherwise);
                return Err(wrong(&format!("one of {}", choices.join(", "))).with_hint(hint));
            }
            Value::from(text)
        }
        ParameterKind::List => match value {
            Value::String(one) => Value::Array(vec![Value::from(one.as_str())]),
            Value::Array(all) if all.iter().all(Value::is_string) => value.clone(),
            _ => return Err(wrong("a list of strings")),
        },
        ParameterKind::Volume => Value::from(Name::volume(string()?)?.as_str()),
        ParameterKind::Snapshot => Value::from(Name::snapshot(string()?)?.as_str()),
        ParameterKind::BackupUrl => Value::from(BackupUrl::parse(string()?)?.to_string()),
        ParameterKind::Destination => Value::from(Destination::parse(string()?)?.as_str()),
    })
}
