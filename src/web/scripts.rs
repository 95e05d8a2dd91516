//! The routes of scripts: the list, one script, and running it.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use warp::{Buf, Stream, reply::Response};

use super::{
    answer::{blocking, json_answer},
    body,
    core::{Call, Core},
    problem::Problem,
    query::Query,
    request::{ApiRequest, READ_ONLY},
    run_answer::{answer_at, not_started, reply},
};
use crate::{
    config::Config,
    convoy::{BackupUrl, Destination},
    diagnostic,
    error::{Error, ErrorKind},
    script::{Arguments, ParameterKind, Script, arguments, describe, library::check_name},
    units::{format_duration, parse_duration},
};

/// The paths below `/api/` that answer GET and are not scripts.
const OTHER_PATHS: &[&str] = &["events", "runs", "schedule", "scripts", "status"];

/// GET /api/scripts
pub(super) async fn list(request: ApiRequest) -> Result<Response, Problem> {
    request.require_no_query()?;
    let core = request.core;
    let described = blocking(move || {
        let library = core.library()?;
        let described = library.list()?.into_iter().map(|listed| match library.load(&listed.name) {
            Ok(script) => describe::script(&script),
            Err(error) => {
                json!({ "name": listed.name, "origin": listed.origin.to_string(), "error": diagnostic::to_json(&error) })
            }
        });
        Ok(described.collect::<Vec<Value>>())
    });
    Ok(json_answer(&json!({ "scripts": described.await? })))
}

/// GET /api/scripts/NAME
pub(super) async fn show(request: ApiRequest) -> Result<Response, Problem> {
    request.require_no_query()?;
    let (core, name) = (request.core.clone(), request.path_value());
    if check_name(&name).is_err() {
        return Err(unknown(&name));
    }
    let shown = blocking(move || {
        let library = core.library()?;
        let Ok((source, origin)) = library.source(&name) else { return Ok(Err(name)) };
        let mut shown = match library.load(&name) {
            Ok(script) => describe::script(&script),
            Err(error) => json!({ "name": name, "error": diagnostic::to_json(&error) }),
        };
        shown["source"] = source.into();
        shown["origin"] = origin.to_string().into();
        Ok(Ok(shown))
    });
    match shown.await? {
        Ok(shown) => Ok(json_answer(&shown)),
        Err(name) => Err(unknown(&name)),
    }
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no script \"{}\"", crate::text::escape(name)))
        .with_hint("GET /api/scripts lists those there are")
}

/// POST /api/NAME
pub(super) async fn run<S, D>(
    request: ApiRequest,
    name: String,
    body: S,
) -> Result<Response, Problem>
where
    S: Stream<Item = Result<D, warp::Error>>,
    D: Buf,
{
    let core = &*request.core;
    let answer_at = answer_at(&request.headers);
    let script = load(&request.core, name).await?;
    let query = Query::read(&request.query, &["dry_run", "timeout"])?;
    let (dry_run, timeout) = (query.flag("dry_run")?, timeout(&query)?);
    let may_write = request.require_full().is_ok();
    if !script.read_only && !dry_run && !may_write {
        return Err(Problem::forbidden(format!(
            "this token may only read, and \"{}\" changes things",
            script.name
        ))
        .with_hint("use the full token, or ?dry_run=true to see what it would do"));
    }
    let given = body::read(&request.headers, body, |name| is_list(&script, name)).await?;
    let arguments = arguments::from_json(&script, &given)?;
    if !may_write {
        within_what_is_configured(core.config(), &script, &arguments, timeout)?;
    }
    if core.is_ending() {
        return Err(Problem::shutting_down());
    }
    let call = Call { script, arguments, dry_run, timeout, answer_at };
    let handle = core.start_run(call).await.map_err(|error| not_started(core, error))?;
    reply(core, handle, answer_at).await
}

/// Loads a script by its name.
async fn load(core: &Arc<dyn Core>, name: String) -> Result<Script, Problem> {
    if check_name(&name).is_err() {
        return Err(unknown(&name));
    }
    let has_files = core.config().scripts_dir.is_some();
    let loading = core.clone();
    let load = move || {
        Result::<_, Error>::Ok(loading.library()?.load(&name).map_err(|error| (name, error)))
    };
    let loaded = if has_files { blocking(load).await? } else { load()? };
    loaded.map_err(|(name, error)| match error.kind {
        // No script has this name, and the path has another route that answers GET.
        ErrorKind::Usage if OTHER_PATHS.contains(&name.as_str()) => Problem::method(READ_ONLY),
        ErrorKind::Usage => with_hint_of(unknown(&name), error.hint),
        _ => error.into(),
    })
}

fn timeout(query: &Query) -> Result<Option<Duration>, Problem> {
    let Some(text) = query.get("timeout") else { return Ok(None) };
    match parse_duration(text) {
        Ok(timeout) if !timeout.is_zero() => Ok(Some(timeout)),
        _ => Err(Query::wrong("timeout", text, "a duration such as 90s or 5h")),
    }
}

/// Keeps the read-only role to the configured destination and time limit: it must neither use this
/// program's keys at other destinations nor occupy the program for longer.
fn within_what_is_configured(
    config: &Config,
    script: &Script,
    arguments: &Arguments,
    timeout: Option<Duration>,
) -> Result<(), Problem> {
    if timeout.is_some_and(|timeout| timeout > config.run_timeout) {
        let most = format_duration(config.run_timeout);
        return Err(Problem::forbidden(format!(
            "this token may only read, and no run of it takes longer than {most}"
        ))
        .with_field("timeout")
        .with_hint("leave the timeout out, or use the full token"));
    }
    let configured = config.backup_url.as_ref().map(Destination::address);
    for parameter in &script.parameters {
        let Some(given) = arguments.get(&parameter.name).and_then(Value::as_str) else { continue };
        let named = match parameter.kind {
            ParameterKind::Destination => Destination::parse(given)?,
            ParameterKind::BackupUrl => BackupUrl::parse(given)?.destination(),
            _ => continue,
        };
        if configured.as_ref() != Some(&named.address()) {
            return Err(Problem::forbidden(
                "this token may only read, and only at the destination that is configured",
            )
            .with_field(&parameter.name)
            .with_hint("name one at BKUP_BACKUP_URL, or use the full token"));
        }
    }
    Ok(())
}

fn with_hint_of(problem: Problem, hint: Option<String>) -> Problem {
    match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

/// Whether the parameter of this name, in any spelling, is a list.
fn is_list(script: &Script, name: &str) -> bool {
    let folded = crate::suggest::fold(name);
    script.parameters.iter().any(|parameter| {
        parameter.kind == ParameterKind::List && crate::suggest::fold(&parameter.name) == folded
    })
}
