//! The routes for monitoring: the status of the volumes, readiness, and liveness.

use serde_json::{Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    answer::{blocking, json_answer},
    problem::Problem,
    query::Query,
    request::ApiRequest,
};

/// GET /api/status
pub(super) async fn status(request: ApiRequest) -> Result<Response, Problem> {
    let query = Query::read(&request.query, &["fresh"])?;
    Ok(json_answer(&*request.core.status(query.flag("fresh")?).await))
}

/// GET /healthz: the program runs and answers.
pub(super) async fn health(_: ApiRequest) -> Result<Response, Problem> {
    Ok(json_answer(&json!({ "status": "ok" })))
}

/// GET /readyz: whether the program can do its work, and if not, why.
pub(super) async fn ready(request: ApiRequest) -> Result<Response, Problem> {
    let core = request.core;
    let daemon = core.daemon().await;
    let status = core.status(false).await;
    let (for_store, schedule) = (core.clone(), core.schedule());
    let store = blocking(move || Ok(for_store.store().volumes().map(drop))).await?;
    let check = |name: &str, wrong: Option<String>| json!({ "name": name, "ok": wrong.is_none(), "detail": wrong.unwrap_or_else(|| "well".into()) });
    let stale = status.overdue();
    let checks = [
        check("program", core.is_ending().then(|| "it is ending".into())),
        check("daemon", daemon.err().map(|error| error.to_string())),
        check("store", store.err().map(|error| error.to_string())),
        check(
            "schedule",
            schedule.refused.first().map(|error| format!("a newer crontab was not taken: {error}")),
        ),
        check(
            "freshness",
            (!stale.is_empty())
                .then(|| format!("no backup that is new enough: {}", stale.join(", "))),
        ),
    ];
    let is_ready = checks.iter().all(|check| check["ok"] == Value::Bool(true));
    let mut response = json_answer(&json!({ "ready": is_ready, "checks": checks }));
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}
