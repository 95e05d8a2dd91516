//! The routes of the schedule: entries, their due times, and starting or pausing an entry.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use warp::reply::Response;

use super::{
    answer::{blocking, json_answer},
    core::{Core, Schedule},
    events::EventName,
    problem::Problem,
    query::Query,
    request::ApiRequest,
    run_answer::{accepted, answer_at, not_started, reply, started as started_run},
};
use crate::{
    clock::{Clock as _, SystemClock},
    error::{Error, ErrorKind},
    runs::record::RunRecord,
    schedule::EntryStatus,
};

/// How far ahead due times are listed by default, and at most; in hours.
const HOURS: i64 = 24;
const MOST_HOURS: i64 = 24 * 31;
/// How many due times of an entry are listed at most. The upper bound is every minute of a day, for
/// a crontab of few entries. All entries together list about [`ALL_UPCOMING`].
const UPCOMING: std::ops::RangeInclusive<usize> = 200..=1_500;
const ALL_UPCOMING: usize = 10_000;

/// GET /api/schedule
pub(super) async fn show(request: ApiRequest) -> Result<Response, Problem> {
    let (core, query) = (request.core, Query::read(&request.query, &["hours"])?);
    let hours = query.parse::<i64>("hours", "a number")?.unwrap_or(HOURS);
    if !(0..=MOST_HOURS).contains(&hours) {
        return Err(Query::wrong("hours", &hours.to_string(), "a number from 0 to 744"));
    }
    let last = last_runs(&core).await?;
    let now = SystemClock.now();
    let until = now.checked_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
    // Computing the due times of a thousand lines takes a while, so it must not block.
    let shown = blocking(move || Ok(all(&core.schedule(), &last, now, until))).await?;
    Ok(json_answer(&shown))
}

/// POST /api/schedule/KEY/run
pub(super) async fn run(request: ApiRequest) -> Result<Response, Problem> {
    let (core, key) = (&request.core, request.path_value());
    let query = Query::read(&request.query, &["dry_run"])?;
    if core.is_ending() {
        return Err(Problem::shutting_down());
    }
    if query.flag("dry_run")? {
        let answer_at = answer_at(&request.headers);
        let handle = core.rehearse_entry(&key, answer_at).await;
        let handle = handle.map_err(|error| entry_not_started(&**core, error))?;
        return reply(&**core, handle.ok_or_else(no_such_entry)?, answer_at).await;
    }
    request.require_full()?;
    let started = core.run_entry(&key).await;
    request.hub.publish(EventName::Schedule);
    let started = started.map_err(|error| entry_not_started(&**core, error))?;
    let run = started.ok_or_else(no_such_entry)?;
    let mut entry = shown(core, &key).await?;
    if let (Value::Object(fields), Value::Object(more)) =
        (&mut entry, started_run(&run.run, run.is_waiting))
    {
        fields.extend(more);
    }
    Ok(accepted(entry, &run.run))
}

/// POST /api/schedule/KEY/pause
pub(super) async fn pause(request: ApiRequest) -> Result<Response, Problem> {
    set_paused(request, true).await
}

/// POST /api/schedule/KEY/resume
pub(super) async fn resume(request: ApiRequest) -> Result<Response, Problem> {
    set_paused(request, false).await
}

async fn set_paused(request: ApiRequest, paused: bool) -> Result<Response, Problem> {
    request.require_no_query()?;
    let (core, key) = (&request.core, request.path_value());
    if core.is_ending() {
        return Err(Problem::shutting_down());
    }
    request.require_full()?;
    let found = core.pause_entry(&key, paused).await;
    request.hub.publish(EventName::Schedule);
    if !found? {
        return Err(no_such_entry());
    }
    Ok(json_answer(&shown(core, &key).await?))
}

/// POST /api/schedule/KEY/ACTION, for any other action
pub(super) async fn unknown_action(_: ApiRequest) -> Result<Response, Problem> {
    Err(Problem::not_found("there is no such action").with_hint("there are run, pause and resume"))
}

fn no_such_entry() -> Problem {
    Problem::not_found("the crontab has no such entry").with_hint("GET /api/schedule lists them")
}

/// The problem of an entry that could not be started. If its script is missing or has other
/// parameters by now, that is an error of the configuration, not of the request.
fn entry_not_started(core: &dyn Core, mut error: Error) -> Problem {
    if error.kind == ErrorKind::Usage {
        error.kind = ErrorKind::Configuration;
    }
    not_started(core, error)
}

/// The JSON of an entry as it is now. `{}`: the entry was just removed.
async fn shown(core: &Arc<dyn Core>, key: &str) -> Result<Value, Problem> {
    let last = last_runs(core).await?;
    let now = SystemClock.now();
    let schedule = core.schedule();
    let found = schedule.entries.iter().find(|status| status.entry.key == key);
    Ok(found.map(|status| entry(status, &last, now, now, 0)).unwrap_or_else(|| json!({})))
}

/// The last run of each entry, by the entry's key.
async fn last_runs(core: &Arc<dyn Core>) -> Result<HashMap<String, RunRecord>, Problem> {
    let core = core.clone();
    blocking(move || core.store().last_runs_of_entries()).await
}

fn all(
    schedule: &Schedule,
    last: &HashMap<String, RunRecord>,
    now: Timestamp,
    until: Timestamp,
) -> Value {
    let most =
        (ALL_UPCOMING / schedule.entries.len().max(1)).clamp(*UPCOMING.start(), *UPCOMING.end());
    let refused = schedule.refused.iter().map(|error| {
        json!({ "line": error.location.as_ref().map(|place| place.line), "message": error.to_string(), "hint": error.hint })
    });
    json!({
        "file": schedule.crontab.file,
        "time_zone": SystemClock.now_local().time_zone().iana_name(),
        "refused": refused.collect::<Vec<_>>(),
        "entries": schedule.entries.iter().map(|status| entry(status, last, now, until, most)).collect::<Vec<_>>(),
    })
}

fn entry(
    status: &EntryStatus,
    last: &HashMap<String, RunRecord>,
    now: Timestamp,
    until: Timestamp,
    most: usize,
) -> Value {
    let entry = &status.entry;
    let due = std::iter::successors(entry.next_after(now), |due| entry.next_after(*due));
    let upcoming = due.take_while(|due| *due <= until).take(most);
    let mut described = entry.to_json();
    let now = json!({
        "next": status.next,
        "last": status.last,
        "running": status.running,
        "waiting": status.waiting,
        "paused": status.paused,
        "missed": status.missed,
        "last_run": last.get(&entry.key).map(|run| json!({
            "id": run.id, "status": run.status, "started": run.started,
            "took_seconds": run.took.map(|took| took.as_secs_f64()),
        })),
        "upcoming": upcoming.collect::<Vec<_>>(),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut described, now) {
        fields.extend(more);
    }
    described
}
