//! What a route is asked, but for its path and body.

use warp::http::{HeaderMap, Method};

use super::{auth::Access, problem::Problem, query::Query};

/// What a request asks, but for its path and body.
pub(super) struct Asked {
    /// Its method.
    pub(super) method: Method,
    /// Its query, as it was sent.
    pub(super) query: String,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Who asks; nobody where the route is open to all.
    pub(super) access: Option<Access>,
}

impl Asked {
    /// Lets only these methods pass.
    pub(super) fn only(&self, allowed: &[&str]) -> Result<(), Problem> {
        if allowed.contains(&self.method.as_str()) { Ok(()) } else { Err(Problem::method(allowed)) }
    }

    /// Lets only the full role pass.
    pub(super) fn require_full(&self) -> Result<(), Problem> {
        self.access
            .map_or_else(|| Err(Problem::unauthorized("no token was shown")), Access::require_full)
    }

    /// Lets only a reading request pass, without a query.
    pub(super) fn plain(&self) -> Result<(), Problem> {
        self.only(READING)?;
        Query::read(&self.query, &[]).map(drop)
    }
}

/// The methods of what is only read.
pub(super) const READING: &[&str] = &["GET", "HEAD"];
