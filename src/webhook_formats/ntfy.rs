//! ntfy: the text as the body, title and priority as headers.

use lettre::message::header::{HeaderName, HeaderValue, Headers};

use super::{
    content::{Content, first_bytes},
    format::{Format, Request},
};

/// The longest text that ntfy takes as a message, in bytes; it makes a longer one a file.
const LONGEST_TEXT: usize = 4_000;

pub(super) const FORMAT: Format = Format { title: "ntfy", counts_runs: false, request };

fn request(url: &str, content: &Content<'_>) -> Request {
    let (priority, tag) = match content.event {
        event if event.is_bad() => ("4", "warning"),
        event if event.is_good() => ("3", "white_check_mark"),
        _ => ("3", "information_source"),
    };
    Request::text(url.to_owned(), first_bytes(content.text, LONGEST_TEXT))
        .header("Title", header_value(content.subject))
        .header("Priority", priority)
        .header("Tags", tag)
}

/// A header's value. Text that is not ASCII is encoded as in RFC 2047, which ntfy reads.
fn header_value(text: &str) -> String {
    let value = HeaderValue::new(HeaderName::new_from_ascii_str("Title"), text.to_owned());
    let mut headers = Headers::new();
    headers.insert_raw(value);
    let line = headers.to_string();
    line.trim_start_matches("Title:").replace("\r\n", "").trim().to_owned()
}
