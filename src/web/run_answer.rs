//! Answers about a run: its record, that it was started, and its result.

use std::collections::HashMap;

use serde_json::{Value, json};
use warp::{
    http::{HeaderMap, HeaderValue, StatusCode, header::LOCATION},
    reply::Response,
};

use super::{
    answer::json_answer,
    core::{AnswerAt, Core, RunHandle},
    problem::Problem,
};
use crate::{
    error::{Error, ErrorKind},
    run_words::RunStatus,
    runs::{FinishedRun, record::RunRecord},
};

/// The header that names the run.
pub(super) const RUN_ID: &str = "run-id";

/// A run as JSON: the record, and the arguments as the words of a command line.
pub(super) fn shown(run: &RunRecord) -> Value {
    let mut shown = serde_json::to_value(run).unwrap_or_default();
    shown["words"] = run.words().into();
    shown
}
/// The problem of a run that could not be started.
pub(super) fn not_started(core: &dyn Core, error: Error) -> Problem {
    match error.kind {
        ErrorKind::Cancelled if core.is_ending() => Problem::shutting_down(),
        _ => Problem::from(error),
    }
}

/// The answer about a run that was started: its result once it has ended, or at once that it was
/// started if the client does not wait.
pub(super) async fn reply(
    core: &dyn Core,
    handle: RunHandle,
    answer_at: AnswerAt,
) -> Result<Response, Problem> {
    let RunHandle { id, is_waiting, finished } = handle;
    if answer_at == AnswerAt::Start {
        let mut response = accepted(started(&id, is_waiting), &id);
        response
            .headers_mut()
            .insert("preference-applied", HeaderValue::from_static("respond-async"));
        return Ok(response);
    }
    match finished.await {
        Ok(finished) => Ok(of_run(answer(finished, core.is_ending()), &id)),
        Err(_) => Err(Problem::from(Error::internal("the run broke off")).with_run(id)),
    }
}

/// The JSON of a run that goes on.
pub(super) fn started(id: &str, is_waiting: bool) -> Value {
    let status = if is_waiting { RunStatus::Waiting } else { RunStatus::Running };
    json!({ "run": id, "status": status })
}

/// 202: the run was started.
pub(super) fn accepted(body: Value, id: &str) -> Response {
    let mut response = json_answer(&body);
    *response.status_mut() = StatusCode::ACCEPTED;
    of_run(response, id)
}

/// When the client wants its answer, by the header `Prefer` (RFC 7240).
pub(super) fn answer_at(headers: &HeaderMap) -> AnswerAt {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let names = preferences
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next());
    match names.map(str::trim).any(|name| name.eq_ignore_ascii_case("respond-async")) {
        true => AnswerAt::Start,
        false => AnswerAt::End,
    }
}

/// The result of a run: the script's own JSON if all went well, else a problem.
fn answer(finished: FinishedRun, is_ending: bool) -> Response {
    let plan = finished.plan.as_ref().and_then(|plan| serde_json::to_value(plan).ok());
    match finished.result {
        Ok(result) => match Problem::of_failures(&finished.id, &finished.failures, &result) {
            Some(problem) => warp::Reply::into_response(problem),
            None => match plan {
                Some(plan) => {
                    json_answer(&json!({ "dry_run": true, "plan": plan, "result": result }))
                }
                None => json_answer(&result),
            },
        },
        Err(error) if error.kind == ErrorKind::Cancelled && is_ending => {
            warp::Reply::into_response(Problem::cut_off().with_run(finished.id))
        }
        Err(error) => warp::Reply::into_response(Problem::from(error).with_run(finished.id)),
    }
}

/// Adds the headers that name the run.
fn of_run(mut response: Response, id: &str) -> Response {
    let headers: HashMap<&'static str, String> =
        HashMap::from([(RUN_ID, id.to_owned()), (LOCATION.as_str(), format!("/api/runs/{id}"))]);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
