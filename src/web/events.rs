//! What happens, as server-sent events: runs that begin, what they log, how far they are, how they
//! end.
//!
//! The store is the source, so that clients hear of the runs of every process: [`follow`] polls it
//! for changes. How far a run is comes from this process alone
//! ([`super::progress::RunsProgress`]). The [`Hub`] keeps the last events and hands them to the
//! clients. A client that comes back names the event that it saw last; where that is too long ago,
//! it gets a `reset`, and has to fetch everything anew.

mod follow;
mod hub;

use warp::{Reply as _, reply::Response};

use super::{problem::Problem, query::Query, request::ApiRequest};
pub(crate) use follow::follow;
pub(crate) use hub::{EventName, Hub};

/// So many clients may listen at a time.
const MOST_LISTENERS: usize = 64;

/// GET /api/events
pub(super) async fn listen(request: ApiRequest) -> Result<Response, Problem> {
    let query = Query::read(&request.query, &["after", "run"])?;
    // A browser that comes back says it in the header.
    let last =
        request.headers.get("last-event-id").and_then(|id| id.to_str().ok()).or(query.get("after"));
    // The rest of the connections is for requests that end.
    if request.hub.listener_count() >= MOST_LISTENERS {
        return Err(Problem::overloaded());
    }
    let events = request.hub.listen(last, query.get("run").map(str::to_owned));
    Ok(warp::sse::reply(warp::sse::keep_alive().stream(events)).into_response())
}
