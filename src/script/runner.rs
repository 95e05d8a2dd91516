//! Runs a script. There is no other way to run one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use rhai::{CallFnOptions, Dynamic, Scope};

use super::{
    arguments::Arguments, engine, errors, host::Host, library::Script, outcome::Outcome,
    resolver::Resolver, running::RunningScript, sizes, threads,
};
use crate::{
    error::{Error, ErrorKind, Result},
    scope,
};

/// The deepest nesting of a result. Its readers may have a small stack.
const MAX_DEPTH: usize = 64;

/// Runs a script to its end, and blocks until then. On a thread for scripts (`threads`) the script
/// runs on that thread; otherwise it runs on a thread for scripts.
///
/// # Errors
/// - What the script threw and did not catch, with its place.
/// - [`ErrorKind::Cancelled`] or `DeadlineExceeded` if the host ended the run.
/// - `Limit` if the script reached a limit.
///
/// What the script did before the error is not undone.
pub(crate) fn run(script: &Script, arguments: &Arguments, host: Arc<Host>) -> Result<Outcome> {
    let run = Arc::new(RunningScript::new(host, &script.name));
    if threads::is_deep() {
        return catch_unwind(AssertUnwindSafe(|| call_main(script, arguments, &run)))
            .unwrap_or_else(|_| {
                Err(Error::internal(format!("the script \"{}\" broke the program", script.name)))
            });
    }
    let (script, arguments, log_scope) = (script.clone(), arguments.clone(), scope::current());
    let done =
        threads::run(move || scope::within(log_scope, || call_main(&script, &arguments, &run)))?;
    done.blocking_recv().map_err(|_| Error::internal("the script's thread is gone"))??
}

fn call_main(script: &Script, arguments: &Arguments, run: &Arc<RunningScript>) -> Result<Outcome> {
    if let Some(end) = run.end() {
        return Err(end.error());
    }
    run.remember_source(&script.file, &script.source);
    let engine = engine::for_run(run, Resolver::new(script.folder.clone(), run));
    let main_takes_arguments =
        script.ast.iter_functions().any(|f| f.name == "main" && f.params.len() == 1);
    let mut given = Vec::new();
    if main_takes_arguments {
        given.push(
            rhai::serde::to_dynamic(arguments.values())
                .map_err(|error| Error::internal(error.to_string()))?,
        );
    }
    let mut result: Dynamic = engine
        .call_fn_with_options(
            CallFnOptions::new().eval_ast(true),
            &mut Scope::new(),
            &script.ast,
            "main",
            given,
        )
        .map_err(|error| errors::of_run(error, run, &script.file))?;
    let no_json = |what: &str| {
        Error::new(
            ErrorKind::Script,
            format!("what the script returned can't be written as JSON: {what}"),
        )
        .with_hint("return maps, arrays, strings, numbers and booleans only")
    };
    if let Some(kind) = not_json(&result, 0) {
        return Err(no_json(&format!("there is a {kind} in it")));
    }
    sizes::remove_numbers(&mut result);
    let result = serde_json::to_value(&result).map_err(|error| no_json(&error.to_string()))?;
    Ok(Outcome { result, failures: run.failures() })
}

/// The first part of the value that JSON can't represent (Rhai would write the name of its type
/// instead), or that is nested too deep to read.
fn not_json(value: &Dynamic, depth: usize) -> Option<&'static str> {
    if depth > MAX_DEPTH {
        return Some("value nested too deep");
    }
    if let Ok(array) = value.as_array_ref() {
        return array.iter().find_map(|element| not_json(element, depth + 1));
    }
    if let Ok(map) = value.as_map_ref() {
        return map.values().find_map(|element| not_json(element, depth + 1));
    }
    match value.type_name() {
        "()" | "bool" | "char" | "i64" | "f64" | "string" => None,
        "Fn" => Some("function"),
        other => Some(other),
    }
}
