//! Translates between Rhai's errors and this crate's, with the place in the script.

use rhai::{Dynamic, EvalAltResult, Map, ParseError, ParseErrorType, Position};

use super::{
    host::{End, Run},
    primitives,
};
use crate::{
    error::{Error, ErrorKind, Location, Result},
    sync::lock,
};

/// The kinds that a script may throw by their code. Those by which the run itself ends are not
/// among them.
const KINDS: [ErrorKind; 13] = [
    ErrorKind::Usage,
    ErrorKind::Configuration,
    ErrorKind::Script,
    ErrorKind::Limit,
    ErrorKind::Unreachable,
    ErrorKind::Timeout,
    ErrorKind::Protocol,
    ErrorKind::Daemon,
    ErrorKind::NotFound,
    ErrorKind::Guard,
    ErrorKind::Busy,
    ErrorKind::Io,
    ErrorKind::Repository,
];

/// An error as a primitive throws it: a map that the script can catch, or, where the run is over,
/// what nothing catches.
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

/// An error as scripts see it; every key is always there.
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

/// What a script threw: one of our maps, one of its own, or any other value.
pub(crate) fn of_thrown(value: &Dynamic) -> Error {
    let Ok(map) = value.as_map_ref() else {
        return Error::new(ErrorKind::Script, value.to_string());
    };
    let text = |key: &str| map.get(key).filter(|value| !value.is_unit()).map(ToString::to_string);
    let kind = text("code").and_then(|code| KINDS.into_iter().find(|kind| kind.code() == code));
    let mut error = Error::new(
        kind.unwrap_or(ErrorKind::Script),
        text("message").unwrap_or_else(|| value.to_string()),
    );
    // An error of Rhai's own that was caught says where it was, and has no code.
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

/// The error with the place in the file.
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

/// A script that does not parse.
pub(crate) fn of_parsing(error: &ParseError, file: &str, source: &str) -> Error {
    located(parse_error(error.err_type()), file, source, error.position())
}

fn parse_error(kind: &ParseErrorType) -> Error {
    match kind {
        ParseErrorType::ModuleUndefined(name) => unknown_namespace(name),
        ParseErrorType::VariableUndefined(name) => unknown_variable(name),
        ParseErrorType::Reserved(name) => Error::new(
            ErrorKind::Script,
            format!("\"{name}\" is a word that Rhai keeps for itself"),
        )
        .with_hint(format!("choose another name; a map's key can stand in quotes: \"{name}\"")),
        ParseErrorType::ExprTooDeep => {
            Error::new(ErrorKind::Limit, "the expression is nested too deep")
                .with_hint("split it with \"let\"")
        }
        other => Error::new(ErrorKind::Script, lower(&other.to_string())),
    }
}

/// Why a run failed: the innermost error, and the innermost place that is known.
pub(crate) fn of_run(error: Box<EvalAltResult>, run: &Run, file: &str) -> Error {
    let mut error = error;
    let script = file;
    let mut file = file.to_owned();
    let mut place = None;
    loop {
        let position = error.position();
        match *error {
            EvalAltResult::ErrorInFunctionCall(_, source, inner, _) => {
                if !position.is_none() {
                    place = Some((file.clone(), position));
                }
                if !source.is_empty() {
                    file = source;
                }
                error = inner;
            }
            EvalAltResult::ErrorInModule(module, inner, _) => {
                if !position.is_none() {
                    place = Some((file, position));
                }
                file = module;
                error = inner;
            }
            _ => {
                if !position.is_none() {
                    place = Some((file, position));
                }
                break;
            }
        }
    }
    let translated = translate(*error);
    match place {
        Some((file, position)) => {
            let sources = lock(&run.sources);
            located(translated, &file, sources.get(&file).map_or("", String::as_str), position)
        }
        // Rhai does not say where a limit was hit; the file at least is known.
        None if matches!(translated.kind, ErrorKind::Script | ErrorKind::Limit) => {
            translated.context(script)
        }
        None => translated,
    }
}

fn translate(mut error: EvalAltResult) -> Error {
    let script = |message: String| Error::new(ErrorKind::Script, message);
    match &error {
        EvalAltResult::ErrorTerminated(token, _) => token.clone().try_cast::<End>().map_or_else(
            || Error::internal("the script was stopped and nobody said why"),
            End::error,
        ),
        EvalAltResult::ErrorRuntime(value, _) => of_thrown(value),
        EvalAltResult::ErrorParsing(kind, _) => parse_error(kind),
        EvalAltResult::ErrorTooManyOperations(_) => End::TooManyOperations.error(),
        EvalAltResult::ErrorStackOverflow(_) => {
            Error::new(ErrorKind::Limit, "functions call each other too deep")
                .with_hint("look for a function that calls itself without end")
        }
        EvalAltResult::ErrorDataTooLarge(what, _) => {
            Error::new(ErrorKind::Limit, format!("a value grew too large: {}", lower(what)))
        }
        EvalAltResult::ErrorTooManyModules(_) => {
            Error::new(ErrorKind::Limit, "the script imports too many files")
        }
        EvalAltResult::ErrorTooManyVariables(_) => {
            Error::new(ErrorKind::Limit, "the script has too many variables")
        }
        EvalAltResult::ErrorFunctionNotFound(call, _) => unknown_function(call),
        EvalAltResult::ErrorModuleNotFound(name, _) => unknown_namespace(name),
        EvalAltResult::ErrorVariableNotFound(name, _) => unknown_variable(name),
        EvalAltResult::ErrorPropertyNotFound(name, _) => {
            script(format!("there is no \"{name}\" in this map"))
                .with_hint(format!("look first: if \"{name}\" in map {{ .. }}"))
        }
        _ => {
            error.clear_position();
            script(lower(&error.to_string()))
        }
    }
}

/// A call that fits no function, in Rhai's words: `convoy::volume (i64)`.
fn unknown_function(call: &str) -> Error {
    let (name, types) =
        call.split_once(" (").map_or((call, ""), |(name, rest)| (name, rest.trim_end_matches(')')));
    let types =
        if types.is_empty() { "nothing".to_owned() } else { format!("({})", script_types(types)) };
    unknown_call(name.trim(), &types)
}

/// A call of a function that does not exist, or not with these arguments.
pub(crate) fn unknown_call(path: &str, arguments: &str) -> Error {
    let known = primitives::reference();
    let namesakes: Vec<&str> = known
        .iter()
        .filter(|entry| entry.path() == path)
        .map(|entry| entry.signature.as_str())
        .collect();
    if !namesakes.is_empty() {
        return Error::new(
            ErrorKind::Script,
            format!("\"{path}\" can't be called with {arguments}"),
        )
        .with_hint(format!("there is {}", namesakes.join(", and ")));
    }
    let given =
        if arguments.starts_with('(') { format!(" for {arguments}") } else { String::new() };
    let error = Error::new(ErrorKind::Script, format!("there is no function \"{path}\"{given}"));
    let paths: Vec<String> = known.iter().map(primitives::Entry::path).collect();
    if let Some(found) = crate::suggest::nearest(path, paths.iter().map(String::as_str)) {
        return error.with_hint(format!("did you mean \"{found}\"?"));
    }
    match path.rsplit_once("::") {
        Some((namespace, _)) if primitives::NAMESPACES.contains(&namespace) => {
            let mut there: Vec<&str> = known
                .iter()
                .filter(|entry| entry.namespace == namespace)
                .map(|entry| entry.name.as_str())
                .collect();
            there.dedup();
            error.with_hint(format!("{namespace}:: has {}", there.join(", ")))
        }
        Some((import, _)) => {
            error.with_hint(format!("look into the file that is imported as \"{import}\""))
        }
        None => error.with_hint("one of the script's own needs the same number of arguments"),
    }
}

fn unknown_namespace(name: &str) -> Error {
    let name = name.trim_end_matches("::");
    Error::new(ErrorKind::Script, format!("there is no namespace \"{name}\"")).with_hint(
        crate::suggest::did_you_mean_or(
            name,
            primitives::NAMESPACES,
            &format!("there are {}; others need an import", primitives::NAMESPACES.join(", ")),
        ),
    )
}

fn unknown_variable(name: &str) -> Error {
    Error::new(ErrorKind::Script, format!("there is no variable \"{name}\""))
        .with_hint("a function sees its own variables and parameters only; a constant of the script's is global::NAME")
}

/// Rhai's names of types as a script's author knows them.
pub(crate) fn script_types(text: &str) -> String {
    let names = [
        ("&str | ImmutableString | String", "string"),
        ("ImmutableString", "string"),
        ("&str", "string"),
        ("i64", "int"),
        ("f64", "float"),
    ];
    let mut text = text.to_owned();
    for (from, to) in names {
        text = text.replace(from, to);
    }
    text
}

fn lower(text: &str) -> String {
    let mut letters = text.chars();
    let text = match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    };
    text.trim_end_matches('.').replace('\'', "\"")
}

/// The result of a primitive as Rhai wants it.
pub(crate) fn raise<T>(result: Result<T>, position: Position) -> Result<T, Box<EvalAltResult>> {
    result.map_err(|error| thrown(&error, position))
}
