//! Explains Rhai's errors in the words of scripts: what was wrong, where, and what may have been
//! meant.

use rhai::{EvalAltResult, ParseError, ParseErrorType};

use super::{
    primitives::NAMESPACES,
    reference::{self, reference},
    running::{End, RunningScript},
    thrown::{located, lower, of_thrown},
    type_names::script_type,
};
use crate::{
    error::{Error, ErrorKind},
    sync::lock,
};

/// The error for a script that does not parse.
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

/// The error for a run that failed: the innermost error, at the innermost known place.
pub(crate) fn of_run(error: Box<EvalAltResult>, run: &RunningScript, file: &str) -> Error {
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
        // Rhai does not say where a limit was reached. At least the file is known.
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

/// The error for a call that matches no function. `call` is in Rhai's words: `convoy::volume
/// (i64)`.
fn unknown_function(call: &str) -> Error {
    let (name, types) =
        call.split_once(" (").map_or((call, ""), |(name, rest)| (name, rest.trim_end_matches(')')));
    let types = if types.is_empty() {
        "nothing".to_owned()
    } else {
        format!("({})", types.split(", ").map(script_type).collect::<Vec<_>>().join(", "))
    };
    unknown_call(name.trim(), &types)
}

/// The error for a call of a function that does not exist, or not with these arguments.
pub(crate) fn unknown_call(path: &str, arguments: &str) -> Error {
    let known = reference();
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
    let paths: Vec<String> = known.iter().map(reference::Entry::path).collect();
    if let Some(found) = crate::suggest::nearest(path, paths.iter().map(String::as_str)) {
        return error.with_hint(format!("did you mean \"{found}\"?"));
    }
    match path.rsplit_once("::") {
        Some((namespace, _)) if NAMESPACES.contains(&namespace) => {
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
            NAMESPACES,
            &format!("there are {}; others need an import", NAMESPACES.join(", ")),
        ),
    )
}

fn unknown_variable(name: &str) -> Error {
    Error::new(ErrorKind::Script, format!("there is no variable \"{name}\""))
        .with_hint("a function sees its own variables and parameters only; a constant of the script's is global::NAME")
}
