//! A request as a route's handler gets it, with the program that answers.

use std::sync::Arc;

use warp::http::{HeaderMap, Method};

use super::{auth::Access, core::Core, events::Hub, problem::Problem, query::Query};

/// The methods of a route that changes nothing.
pub(super) const READ_ONLY: &[&str] = &["GET", "HEAD"];

/// A request without its body.
pub(super) struct ApiRequest {
    pub(super) core: Arc<dyn Core>,
    pub(super) hub: Arc<Hub>,
    pub(super) method: Method,
    /// The whole path, as the client sent it.
    pub(super) path: String,
    /// The parts of the path in place of the route's `{..}`, in their order.
    pub(super) path_values: Vec<String>,
    /// The query as the client sent it.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    /// `None`: the route is open to all.
    pub(super) access: Option<Access>,
}

impl ApiRequest {
    /// The part of the path in place of the route's first `{..}`.
    pub(super) fn path_value(&self) -> String {
        self.path_values.first().cloned().unwrap_or_default()
    }

    /// Lets only the full role pass.
    pub(super) fn require_full(&self) -> Result<(), Problem> {
        self.access
            .map_or_else(|| Err(Problem::unauthorized("no token was shown")), Access::require_full)
    }

    /// Lets only a request without a query pass.
    pub(super) fn require_no_query(&self) -> Result<(), Problem> {
        Query::read(&self.query, &[]).map(drop)
    }
}
