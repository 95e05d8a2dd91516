//! What a connection may take.

use std::time::Duration;

use crate::config::Api;

/// What a connection may take.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// So many connections at a time.
    pub(crate) connections: usize,
    /// For TLS' handshake.
    pub(crate) handshake: Duration,
    /// For a request's head, and from the connection to the first byte of it.
    pub(crate) head: Duration,
    /// For a request's body, from the head on; [`super::body::read`] gives up earlier, and says so.
    pub(crate) body: Duration,
    /// Between two requests. Longer than a reverse proxy keeps an idle connection, or it sends into
    /// one that is just being closed.
    pub(crate) idle: Duration,
    /// For a client that takes nothing of its answer.
    pub(crate) stall: Duration,
    /// A request's head, in bytes.
    pub(crate) head_bytes: usize,
    /// Between two polls for connections that take too long.
    pub(crate) poll_interval: Duration,
    /// For requests that are under way when the server ends.
    pub(crate) shutdown: Duration,
}

impl Limits {
    /// As configured; requests that are under way at the end have 5 seconds.
    pub(crate) fn of(api: &Api) -> Self {
        Self {
            connections: api.max_connections,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(15),
            body: Duration::from_mins(1),
            idle: Duration::from_secs(90),
            stall: Duration::from_mins(1),
            head_bytes: 32 * 1024,
            poll_interval: Duration::from_secs(1),
            shutdown: Duration::from_secs(5),
        }
    }
}
