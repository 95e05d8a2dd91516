//! Errors as scripts throw and catch them: maps with the place in the script.

use rhai::{Dynamic, EvalAltResult, Map, Position};

use super::running::End;
use crate::error::{Error, ErrorKind, Location, Result};

/// An error as a primitive throws it: a map that the script can catch. If the run must end, the
/// error can't be caught.
pub(crate) fn thrown(error: &Error, position: Position) -> Box<EvalAltResult> {
    let end = match error.kind {
        ErrorKind::Cancelled => Some(End::Cancelled),
        ErrorKind::DeadlineExceeded => Some(End::DeadlineExceeded),
        _ => None,
    };
    match end {
        Some(end) => EvalAltResult::ErrorTerminated(Dynamic::from(end), position).into(),
        None => EvalAltResult::ErrorRuntime(to_map(error).into(), position).into(),
    }
}

/// Whether a script can't catch it.
pub(crate) fn ends_the_run(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Cancelled | ErrorKind::DeadlineExceeded)
}

/// An error as scripts see it. All keys are always present.
pub(crate) fn to_map(error: &Error) -> Map {
    let text = |text: &Option<String>| text.clone().map_or(Dynamic::UNIT, Dynamic::from);
    Map::from_iter([
        ("code".into(), error.kind.code().into()),
        ("message".into(), error.message.clone().into()),
        ("hint".into(), text(&error.hint)),
        ("request".into(), text(&error.request)),
        (
            "status".into(),
            error.status.map_or(Dynamic::UNIT, |status| Dynamic::from(i64::from(status))),
        ),
    ])
}

/// The error for a value that a script threw: a map of ours, a map of its own, or any other value.
pub(crate) fn of_thrown(value: &Dynamic) -> Error {
    let Ok(map) = value.as_map_ref() else {
        return Error::new(ErrorKind::Script, value.to_string());
    };
    let text = |key: &str| map.get(key).filter(|value| !value.is_unit()).map(ToString::to_string);
    let kind = text("code")
        .and_then(|code| ErrorKind::of_code(&code))
        .filter(|kind| kind.scripts_may_throw());
    let mut error = Error::new(
        kind.unwrap_or(ErrorKind::Script),
        text("message").unwrap_or_else(|| value.to_string()),
    );
    // An error of Rhai's that was caught has a line and no code.
    if let (false, Some(line)) = (map.contains_key("code"), text("line")) {
        error.message = format!("{} (line {line})", lower(&error.message));
    }
    error.hint = text("hint");
    error.request = text("request");
    error.status = map
        .get("status")
        .and_then(|status| status.as_int().ok())
        .and_then(|s| u16::try_from(s).ok());
    error
}

/// Adds the place in the file to an error.
pub(crate) fn located(mut error: Error, file: &str, source: &str, position: Position) -> Error {
    let line = position.line().unwrap_or(0);
    error.location = Some(Box::new(Location {
        file: file.to_owned(),
        line: line.max(1),
        column: if line == 0 { 0 } else { position.position().unwrap_or(0) },
        source_line: source.lines().nth(line.max(1) - 1).unwrap_or_default().to_owned(),
    }));
    error
}

pub(super) fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let text = match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    };
    text.trim_end_matches('.').replace('\'', "\"")
}

/// Converts the result of a primitive to Rhai's form.
pub(crate) fn raise<T>(result: Result<T>, position: Position) -> Result<T, Box<EvalAltResult>> {
    result.map_err(|error| thrown(&error, position))
}
