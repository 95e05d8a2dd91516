//! Values as they were given, and their conversion to the form that the script gets.

use serde_json::Value;

use crate::{
    clock::{Clock as _, SystemClock},
    convoy::{BackupUrl, Destination, Name},
    error::{Error, Result},
    suggest,
    time_words::{self, Day},
    units,
};

/// The longest value of an argument, in bytes. Each value is stored with its run.
const LONGEST: usize = 16 << 10;

/// Checks that the value is short enough to be stored with a run.
pub(super) fn check_length(value: &Value) -> Result<()> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::len).sum(),
        _ => 0,
    };
    if length > LONGEST {
        return Err(Error::usage(format!("the value is longer than {} KiB", LONGEST >> 10)));
    }
    Ok(())
}

/// A value as it was given, on its way to the script.
pub(super) struct Given<'a> {
    pub(super) value: &'a Value,
    /// The values of a choice.
    pub(super) choices: &'a [String],
}

impl Given<'_> {
    fn wrong(&self, what: &str) -> Error {
        let shown = self
            .value
            .as_str()
            .map_or_else(|| self.value.to_string(), |text| format!("\"{text}\""));
        Error::usage(format!("{shown} is not {what}"))
    }

    fn string(&self) -> Result<&str> {
        match self.value.as_str() {
            Some(text) if !text.is_empty() => Ok(text),
            Some(_) => Err(Error::usage("the value is empty")),
            None => Err(self.wrong("a string")),
        }
    }

    fn not_negative(&self, what: &str) -> Result<Value> {
        let number = whole(self.value).filter(|number| *number >= 0);
        Ok(number.ok_or_else(|| self.wrong(what))?.into())
    }
}

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

pub(super) fn text(given: &Given<'_>) -> Result<Value> {
    Ok(given.string()?.into())
}

pub(super) fn int(given: &Given<'_>) -> Result<Value> {
    let number = match given.value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => whole(given.value),
    };
    Ok(number.ok_or_else(|| given.wrong("a whole number"))?.into())
}

pub(super) fn bool(given: &Given<'_>) -> Result<Value> {
    let text = given.value.as_str().map(str::to_ascii_lowercase);
    match (given.value, text.as_deref()) {
        (Value::Bool(value), _) => Ok(Value::Bool(*value)),
        (_, Some("true" | "yes" | "1")) => Ok(Value::Bool(true)),
        (_, Some("false" | "no" | "0")) => Ok(Value::Bool(false)),
        _ => Err(given.wrong("true or false")),
    }
}

pub(super) fn size(given: &Given<'_>) -> Result<Value> {
    match given.value.as_str() {
        Some(text) => Ok(units::parse_size(text)?.into()),
        None => given.not_negative("a size"),
    }
}

pub(super) fn duration(given: &Given<'_>) -> Result<Value> {
    match given.value.as_str() {
        Some(text) => Ok(units::parse_duration(text)?.as_secs().into()),
        None => given.not_negative("a duration"),
    }
}

pub(super) fn time(given: &Given<'_>) -> Result<Value> {
    point(given, Day::End)
}

pub(super) fn since(given: &Given<'_>) -> Result<Value> {
    point(given, Day::Begin)
}

/// What is read means the same when it is read again, as when a run is repeated.
fn point(given: &Given<'_>, day: Day) -> Result<Value> {
    let now = SystemClock.now_local();
    let at = time_words::parse(given.string()?, &now, day)?;
    let local = at.to_zoned(now.time_zone().clone());
    Ok(local.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string().into())
}

pub(super) fn choice(given: &Given<'_>) -> Result<Value> {
    let text = given.string()?;
    if given.choices.iter().any(|choice| choice == text) {
        return Ok(text.into());
    }
    let all = given.choices.join(", ");
    let choices = given.choices.iter().map(String::as_str);
    let hint = suggest::did_you_mean_or(text, choices, &format!("there are {all}"));
    Err(given.wrong(&format!("one of {all}")).with_hint(hint))
}

pub(super) fn list(given: &Given<'_>) -> Result<Value> {
    match given.value {
        Value::String(one) => Ok(Value::Array(vec![Value::from(one.as_str())])),
        Value::Array(all) if all.iter().all(Value::is_string) => Ok(given.value.clone()),
        _ => Err(given.wrong("a list of strings")),
    }
}

pub(super) fn volume(given: &Given<'_>) -> Result<Value> {
    Ok(Name::volume(given.string()?)?.as_str().into())
}

pub(super) fn snapshot(given: &Given<'_>) -> Result<Value> {
    Ok(Name::snapshot(given.string()?)?.as_str().into())
}

pub(super) fn backup_url(given: &Given<'_>) -> Result<Value> {
    Ok(BackupUrl::parse(given.string()?)?.to_string().into())
}

pub(super) fn destination(given: &Given<'_>) -> Result<Value> {
    Ok(Destination::parse(given.string()?)?.to_string().into())
}
