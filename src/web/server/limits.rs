//! The limits of connections.

use std::time::Duration;

use crate::config::Api;

/// The limits of connections, their requests and answers.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// How many connections there may be at a time.
    pub(crate) connections: usize,
    /// The time for TLS' handshake.
    pub(crate) handshake: Duration,
    /// The time for a request's head, and from the connection to the head's first byte.
    pub(crate) head: Duration,
    /// The time for a request's body, from the head on. [`super::body::read`] has a shorter limit,
    /// and answers when that has passed.
    pub(crate) body: Duration,
    /// The time between two requests. It must be longer than a reverse proxy keeps an idle
    /// connection, or the proxy sends into a connection that is just being closed.
    pub(crate) idle: Duration,
    /// The time for which a client may receive nothing of its answer.
    pub(crate) stall: Duration,
    /// The largest head of a request, in bytes.
    pub(crate) head_bytes: usize,
    /// The time between two polls for connections that take too long.
    pub(crate) poll_interval: Duration,
    /// The time for requests that are under way when the server ends.
    pub(crate) shutdown: Duration,
}

impl Limits {
    /// The limits by the configuration. Requests that are under way at the end have 5 seconds.
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
