//! Server-sent events: runs that begin, their log lines, their progress and their end; changes of
//! the schedule and of the status.
//!
//! Runs come from the store, so that clients see the runs of every process: [`follow`] polls the
//! store for changes. Progress is known only of the runs of this process
//! ([`super::progress::RunsProgress`]). The [`Hub`] keeps the last events and hands them to the
//! clients. A client that comes back names the event that it saw last. If that event is not kept
//! any more, the client gets a `reset` and has to fetch everything anew.

mod follow;
mod hub;

use warp::{Reply as _, reply::Response};

use super::{problem::Problem, query::Query, request::ApiRequest};
pub(crate) use follow::follow;
pub(crate) use hub::{EventName, Hub};

/// How many clients may listen at a time.
const MOST_LISTENERS: usize = 64;

/// GET /api/events
pub(super) async fn listen(request: ApiRequest) -> Result<Response, Problem> {
    let query = Query::read(&request.query, &["after", "run"])?;
    // A browser that comes back names the last event in a header.
    let last =
        request.headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(query.get("after"));
    // The other connections are kept for requests that end.
    if request.hub.listener_count() >= MOST_LISTENERS {
        return Err(Problem::overloaded());
    }
    let events = request.hub.listen(last, query.get("run").map(str::to_owned));
    Ok(warp::sse::reply(warp::sse::keep_alive().stream(events)).into_response())
}
