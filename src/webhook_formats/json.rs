//! The program's own JSON.

use serde_json::json;

use super::{
    content::Content,
    format::{Format, Request},
};

pub(super) const FORMAT: Format = Format { title: "JSON", counts_runs: false, request };

fn request(url: &str, content: &Content<'_>) -> Request {
    if let Some(body) = content.body {
        return Request::json(url, body);
    }
    Request::json(
        url,
        &json!({
            "event": content.event,
            "host": content.host,
            "time": content.time.to_string(),
            "subject": content.subject,
            "text": content.text,
            "run": content.run,
        }),
    )
}
