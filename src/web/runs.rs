//! The routes of runs: lists, one run, its log, and cancelling it.

use serde_json::{Map, json};
use warp::{
    http::{
        HeaderValue, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    reply::Response,
};

use super::{
    answer::{blocking, json_answer},
    auth::Credential,
    problem::Problem,
    query::Query,
    request::ApiRequest,
    run_answer::shown,
};
use crate::{
    clock::{Clock as _, SystemClock},
    error::{Error, ErrorKind},
    run_words::RunStatus,
    runs::record::{Cancelling, Filter, RunRecord},
    time_words::{self, Day},
};

/// How many runs a list has by default, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;
/// How many lines of a log an answer has by default, and at most.
const LINES: usize = 1_000;
const MOST_LINES: usize = 10_000;
/// The longest id of a run, in bytes.
const LONGEST_ID: usize = 64;

/// GET /api/runs
pub(super) async fn list(request: ApiRequest) -> Result<Response, Problem> {
    let query = Query::read(
        &request.query,
        &["script", "status", "since", "volume", "changing", "limit", "before"],
    )?;
    let limit = query.parse::<usize>("limit", "a number")?.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Query::wrong("limit", &limit.to_string(), "a number from 1 to 500"));
    }
    let status = match query.get("status") {
        Some(word) => {
            let all: Vec<_> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
            Some(RunStatus::parse(word).ok_or_else(|| {
                Query::wrong("status", word, &format!("one of {}", all.join(", ")))
            })?)
        }
        None => None,
    };
    let parse = |text: &str| {
        let since = time_words::parse(text, &SystemClock.now_local(), Day::Begin);
        since.map_err(|error| with_field(error.context("since"), "since"))
    };
    let filter = Filter {
        script: query.get("script").map(str::to_owned),
        status,
        since: query.get("since").map(parse).transpose()?,
        volume: query.get("volume").map(str::to_owned),
        without_read_only: query.flag("changing")?,
        before: query.get("before").map(str::to_owned),
        // One more run shows whether there is a next page.
        limit: Some(limit + 1),
    };
    let core = request.core;
    let mut runs = blocking(move || core.store().list(&filter)).await?;
    let has_more = runs.len() > limit;
    runs.truncate(limit);
    let next = runs.last().filter(|_| has_more).map(|last| {
        let path = "/api/runs?";
        let mut next = form_urlencoded::Serializer::for_suffix(path.to_owned(), path.len());
        for name in ["script", "status", "since", "volume", "changing", "limit"] {
            query.get(name).iter().for_each(|value| {
                next.append_pair(name, value);
            });
        }
        next.append_pair("before", &last.id).finish()
    });
    Ok(json_answer(&json!({ "runs": runs.iter().map(shown).collect::<Vec<_>>(), "next": next })))
}

fn with_field(error: Error, field: &str) -> Problem {
    Problem::from(error).with_field(field)
}

/// Refuses a text that can't be a run's id, before the store is read.
fn check_id(id: &str) -> Result<(), Problem> {
    let is_id = (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_id {
        return Ok(());
    }
    Err(Problem::not_found(format!(
        "there is no run \"{}\"",
        crate::text::escape(&crate::text::cut(id, LONGEST_ID))
    ))
    .with_hint(
        "a run's id is like 20261123T074200.123456-1a2b-0; GET /api/runs lists those there are",
    ))
}

/// Makes the error of a run that does not exist 404, not 400.
fn missing(error: Error) -> Problem {
    match error.kind {
        ErrorKind::Usage | ErrorKind::NotFound => {
            Problem::not_found(error.message).with_hint("GET /api/runs lists those there are")
        }
        _ => Problem::from(error),
    }
}

/// The run that the path names.
async fn find(request: &ApiRequest) -> Result<RunRecord, Problem> {
    let (core, id) = (request.core.clone(), request.path_value());
    check_id(&id)?;
    let find = move || {
        core.store().get(&id).or_else(|_| {
            // A run that only reads is written late, so the store may not have it yet.
            core.write_now(&id);
            core.store().get(&id)
        })
    };
    blocking(move || Ok(find())).await?.map_err(missing)
}

/// GET /api/runs/ID
pub(super) async fn show(request: ApiRequest) -> Result<Response, Problem> {
    let run = find(&request).await?;
    let (core, id) = (request.core, run.id.clone());
    let output = blocking(move || core.store().output(&id)).await?;
    let mut shown = shown(&run);
    if let Some(members) = shown.as_object_mut() {
        let progress = request.hub.progress_of(&run.id).filter(|_| run.status.is_open());
        let progress = progress.and_then(|progress| serde_json::to_value(progress).ok());
        members.extend(Map::from_iter([
            ("result".to_owned(), output.result.unwrap_or_default()),
            ("plan".to_owned(), output.plan.unwrap_or_default()),
            ("deleted".to_owned(), serde_json::to_value(output.deleted).unwrap_or_default()),
            ("progress".to_owned(), progress.unwrap_or_default()),
        ]));
    }
    Ok(json_answer(&shown))
}

/// GET /api/runs/ID/log
pub(super) async fn log(request: ApiRequest) -> Result<Response, Problem> {
    let query = Query::read(&request.query, &["after", "limit", "tail"])?;
    let after = query.parse::<u64>("after", "a line's number")?.unwrap_or(0);
    let number = |name| match query.parse::<usize>(name, "a number")? {
        Some(number) if !(1..=MOST_LINES).contains(&number) => {
            Err(Query::wrong(name, &number.to_string(), "a number from 1 to 10000"))
        }
        number => Ok(number),
    };
    let (limit, tail) = (number("limit")?, number("tail")?);
    let run = find(&request).await?;
    let core = request.core;
    let lines = move || match tail {
        Some(tail) => {
            let mut lines = core.store().last_lines(&run.id, tail)?;
            lines.retain(|line| line.number > after);
            lines.truncate(limit.unwrap_or(tail));
            Ok(lines)
        }
        None => core.store().lines(&run.id, after, limit.unwrap_or(LINES)),
    };
    let lines = blocking(lines).await?;
    let wants_text = request
        .headers
        .get(ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/plain"));
    if !wants_text {
        return Ok(json_answer(&json!({ "lines": lines, "ended": !run.status.is_open() })));
    }
    let line = |line: &crate::runs::record::Line| {
        let text = crate::text::escape(&line.text).into_owned();
        format!(
            "{} {:<5} {}: {text}\n",
            line.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            line.level,
            line.target
        )
    };
    let mut response = Response::new(lines.iter().map(line).collect::<String>().into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// DELETE /api/runs/ID
pub(super) async fn cancel(request: ApiRequest) -> Result<Response, Problem> {
    let run = find(&request).await?;
    let (core, id) = (request.core, run.id.clone());
    let by = match request.access.map(|access| access.credential) {
        Some(Credential::Session) => "somebody at the dashboard",
        _ => "a request over HTTP",
    };
    let cancelling =
        blocking(move || core.store().request_cancel(&id, by, SystemClock.now())).await?;
    match cancelling {
        Cancelling::Asked => {
            let mut response = json_answer(&json!({ "id": run.id, "cancelling": true }));
            *response.status_mut() = StatusCode::ACCEPTED;
            Ok(response)
        }
        Cancelling::Ended(status) => {
            Err(Problem::busy(format!("the run has ended already: {}", status.as_str()))
                .with_run(run.id))
        }
    }
}
