//! `{"text": ..}`: Slack, Mattermost, Rocket.Chat, Discord's `/slack`.

use serde_json::json;

use super::{
    content::Content,
    format::{Format, Request},
};

/// The longest text, in characters: Slack and Mattermost cut or refuse much longer ones.
const LONGEST_TEXT: usize = 3_000;

pub(super) const FORMAT: Format = Format { title: "Slack's form", counts_runs: false, request };

fn request(url: &str, content: &Content<'_>) -> Request {
    match content.body {
        Some(body) => Request::json(url, body),
        None => Request::json(url, &json!({ "text": text(content) })),
    }
}

/// The text with Slack's escapes, so that it can't make links or mention people.
fn text(content: &Content<'_>) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let sign = match content.event {
        event if event.is_bad() => ":red_circle: ",
        event if event.is_good() => ":large_green_circle: ",
        _ => "",
    };
    let text: String = content.text.chars().take(LONGEST_TEXT).collect();
    format!("{sign}*{}*\n{}", escape(content.subject), escape(&text))
}
