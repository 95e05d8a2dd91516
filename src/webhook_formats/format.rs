//! A format, and the request that it makes.

use serde_json::Value;

use super::content::Content;

/// The format of a webhook's body.
#[derive(Debug)]
pub(crate) struct Format {
    /// The name in lists of channels.
    pub(crate) title: &'static str,
    /// Whether the service is a watchdog: it expects a sign of every run, and takes silence for a
    /// failure.
    pub(crate) counts_runs: bool,
    /// Makes the request from the webhook's address and a message.
    pub(crate) request: fn(&str, &Content<'_>) -> Request,
}

/// A `POST` request, without the headers that all formats share (bearer token, user agent).
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Request {
    pub(super) fn json(url: &str, body: &Value) -> Self {
        Self {
            url: url.to_owned(),
            headers: Vec::new(),
            content_type: "application/json",
            body: body.to_string(),
        }
    }

    pub(super) fn text(url: String, body: &str) -> Self {
        Self {
            url,
            headers: Vec::new(),
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The address with a path appended, before the query.
pub(super) fn with_path(url: &str, path: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, ""), |(base, query)| (base, query));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{path}{mark}{query}", base.trim_end_matches('/'))
}
