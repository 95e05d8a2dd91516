//! healthchecks: pings at `/start`, success, `/fail` and `/log`.

use super::{
    content::{Content, Event, digest, first_bytes},
    format::{Format, Request, with_path},
};

/// The longest text that healthchecks keeps, in bytes.
const LONGEST_TEXT: usize = 9_000;

pub(super) const FORMAT: Format = Format { title: "healthchecks", counts_runs: true, request };

fn request(url: &str, content: &Content<'_>) -> Request {
    let text = match content.event {
        Event::Started => "",
        _ => first_bytes(content.text, LONGEST_TEXT),
    };
    Request::text(ping(url, content.event, content.run_id), text)
}

/// `URL/start`, `URL`, `URL/fail` or `URL/log`, with the run's id as a UUID, so that healthchecks
/// can tell two runs at a time apart.
pub(super) fn ping(url: &str, event: Event, run_id: Option<&str>) -> String {
    let signal = match event {
        Event::Started => "/start",
        event if event.is_good() => "",
        event if event.is_bad() => "/fail",
        _ => "/log",
    };
    let url = with_path(url, signal);
    let Some(run) = run_id else { return url };
    let hash = digest(run);
    // RFC 9562: version 8 (custom), and the usual variant.
    let uuid = format!(
        "{}-{}-8{}-8{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[13..16],
        &hash[17..20],
        &hash[20..32]
    );
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}rid={uuid}")
}
