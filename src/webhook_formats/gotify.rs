//! Gotify: `POST <server>/message` with title, message and priority. The token of a Gotify
//! application is given as a bearer token (`BKUP_WEBHOOK_TOKEN`) or as `?token=` in the address.

use serde_json::json;

use super::{
    content::{Content, Event},
    format::{Format, Request, with_path},
};

const MESSAGE_PATH: &str = "/message";
/// The longest text of a message, in characters: people read it on a phone.
const LONGEST_TEXT: usize = 4_000;

pub(super) const FORMAT: Format = Format { title: "Gotify", counts_runs: false, request };

fn request(url: &str, content: &Content<'_>) -> Request {
    if let Some(body) = content.body {
        return Request::json(&address(url), body);
    }
    let text: String = content.text.chars().take(LONGEST_TEXT).collect();
    Request::json(
        &address(url),
        &json!({
            "title": content.subject,
            // Gotify refuses a message without text.
            "message": if text.trim().is_empty() { content.subject } else { &text },
            "priority": priority(content.event),
        }),
    )
}

/// The address for messages. The setting may or may not end with [`MESSAGE_PATH`].
fn address(url: &str) -> String {
    let base = url.split('?').next().unwrap_or(url).trim_end_matches('/');
    with_path(url, if base.ends_with(MESSAGE_PATH) { "" } else { MESSAGE_PATH })
}

/// Gotify's phones ring loudly from 8 on, make a sound from 4 on, and stay quiet below.
fn priority(event: Event) -> u8 {
    match event {
        event if event.is_bad() => 8,
        Event::Succeeded | Event::Started => 2,
        _ => 5,
    }
}
