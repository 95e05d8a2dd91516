//! The routes for monitoring: the status of the volumes, readiness, and liveness.

use serde_json::{Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    answer::{blocking, json_answer},
    problem::Problem,
    query::Query,
    request::ApiRequest,
};
use crate::{error::Error, status::Report};

/// GET /api/status
pub(super) async fn status(request: ApiRequest) -> Result<Response, Problem> {
    let query = Query::read(&request.query, &["fresh"])?;
    Ok(json_answer(&*request.core.status(query.flag("fresh")?).await))
}

/// GET /healthz: the program runs and answers.
pub(super) async fn health(_: ApiRequest) -> Result<Response, Problem> {
    Ok(json_answer(&json!({ "status": "ok" })))
}

/// GET /readyz: whether the program can do its work and nothing is known to be wrong; if not, why.
pub(super) async fn ready(request: ApiRequest) -> Result<Response, Problem> {
    let core = request.core;
    let daemon = core.daemon().await;
    let for_store = core.clone();
    let store = blocking(move || Ok(for_store.store().volumes().map(drop))).await?;
    let refused = core.schedule().refused;
    let mut status = core.status(false).await;
    // Where something is wrong since the last look, everybody is to know, not this answer alone.
    let is_away = daemon.is_err() && status.daemon_error.is_none();
    if is_away || status.ok && (store.is_err() || !refused.is_empty()) {
        status = core.status(true).await;
    }
    let checks = checks(&status, core.is_ending(), store.err(), &refused);
    let is_ready = checks.iter().all(|check| check["ok"] == Value::Bool(true));
    let mut response = json_answer(&json!({ "ready": is_ready, "checks": checks }));
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// What is looked at, and what is wrong with it. But for the end of the program, all are well if
/// and only if the report says so.
fn checks(status: &Report, is_ending: bool, store: Option<Error>, refused: &[Error]) -> Vec<Value> {
    let check = |name: &str, wrong: Option<String>, well: &str| json!({ "name": name, "ok": wrong.is_none(), "detail": wrong.as_deref().unwrap_or(well) });
    let daemon = status.daemon_error.as_ref().map(|error| {
        error["message"].as_str().unwrap_or("it does not answer as it should").to_owned()
    });
    let store = store.filter(|_| !status.ok).map(|error| error.to_string());
    let crontab = refused
        .first()
        .filter(|_| !status.ok)
        .map(|error| format!("a newer crontab was not taken: {error}"));
    let unsafe_volumes = status.without_fresh_backup();
    let freshness = (!unsafe_volumes.is_empty())
        .then(|| format!("no backup that is new enough: {}", unsafe_volumes.join(", ")));
    let problems = (!status.ok).then(|| match status.problems.first() {
        Some(problem) => problem.clone(),
        None => status.sentence.clone(),
    });
    vec![
        check("program", is_ending.then(|| "it is ending".into()), "well"),
        check("daemon", daemon, "well"),
        check("store", store, "well"),
        check("schedule", crontab, "well"),
        check("freshness", freshness, &status.sentence),
        check("status", problems, "nothing is known to be wrong"),
    ]
}
