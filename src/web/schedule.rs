//! The schedule: its entries, when they are due, and starting or pausing one.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use warp::{http::StatusCode, reply::Response};

use super::{
    core::{Core, EntryAction, Schedule},
    events::{Hub, Name},
    problem::Problem,
    query::Query,
    routes::{Asked, blocking, json_answer},
};
use crate::{
    clock::{Clock as _, SystemClock},
    runs::record::RunRecord,
    schedule::EntryStatus,
};

/// How far ahead due times are listed where the client does not say, in hours, and how far at most.
const HOURS: i64 = 24;
const MOST_HOURS: i64 = 24 * 31;
/// So many due times of an entry at most.
const UPCOMING: usize = 200;

/// GET /api/schedule
pub(super) async fn show(core: Arc<dyn Core>, asked: Asked) -> Result<Response, Problem> {
    let query = Query::read(&asked.query, &["hours"])?;
    let hours = query.parse::<i64>("hours", "a number")?.unwrap_or(HOURS);
    if !(0..=MOST_HOURS).contains(&hours) {
        return Err(Query::wrong("hours", &hours.to_string(), "a number from 0 to 744"));
    }
    let last = last_runs(&core).await?;
    let now = SystemClock.now();
    let until = now.checked_add(SignedDuration::from_hours(hours)).unwrap_or(Timestamp::MAX);
    // A thousand lines have many due times.
    let shown = blocking(move || Ok(all(&core.schedule(), &last, now, until))).await?;
    Ok(json_answer(&shown))
}

/// POST /api/schedule/KEY/ACTION
pub(super) async fn act(core: Arc<dyn Core>, hub: Arc<Hub>, key: String, action: String) -> Result<Response, Problem> {
    let wanted = match action.as_str() {
        "run" => EntryAction::Run,
        "pause" => EntryAction::Pause,
        "resume" => EntryAction::Resume,
        _ => return Err(Problem::not_found("there is no such action").with_hint("there are run, pause and resume")),
    };
    if core.is_ending() {
        return Err(Problem::shutting_down());
    }
    let acted = core.act_on(&key, wanted).await;
    hub.tell(Name::Schedule);
    if !acted.map_err(Problem::from)? {
        return Err(Problem::not_found("the crontab has no such entry").with_hint("GET /api/schedule lists them"));
    }
    let last = last_runs(&core).await?;
    let schedule = core.schedule();
    let now = SystemClock.now();
    let shown =
        schedule.entries.iter().find(|status| status.entry.key == key).map(|status| entry(status, &last, now, now));
    let mut response = json_answer(&shown.unwrap_or_default());
    if wanted == EntryAction::Run {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

/// The last run of each entry, by the entry's key.
async fn last_runs(core: &Arc<dyn Core>) -> Result<HashMap<String, RunRecord>, Problem> {
    let core = core.clone();
    blocking(move || core.store().last_runs_of_entries()).await
}

fn all(schedule: &Schedule, last: &HashMap<String, RunRecord>, now: Timestamp, until: Timestamp) -> Value {
    let refused = schedule.refused.iter().map(|error| {
        json!({ "line": error.location.as_ref().map(|place| place.line), "message": error.to_string(), "hint": error.hint })
    });
    json!({
        "file": schedule.crontab.file,
        "time_zone": SystemClock.now_local().time_zone().iana_name(),
        "refused": refused.collect::<Vec<_>>(),
        "entries": schedule.entries.iter().map(|status| entry(status, last, now, until)).collect::<Vec<_>>(),
    })
}

fn entry(status: &EntryStatus, last: &HashMap<String, RunRecord>, now: Timestamp, until: Timestamp) -> Value {
    let entry = &status.entry;
    let due = std::iter::successors(entry.next_after(now), |due| entry.next_after(*due));
    let upcoming = due.take_while(|due| *due <= until).take(UPCOMING);
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
