//! Turns the daemon's answers into values, or into errors with the daemon's words.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};

use super::{advice, exchange::Answer, failure::IS_IT_CONVOY};
use crate::{
    convoy::{Backup, BackupUrl},
    error::{Error, ErrorKind, Result},
};

/// How many characters an error shows of an answer that makes no sense, and of the daemon's own
/// words.
const SHOWN: usize = 80;
const WORDS: usize = 500;

/// The body of a 200 answer. Any other answer becomes an error.
pub(super) fn accept(answer: Answer) -> Result<Vec<u8>> {
    let Answer { status, body, hint, kind } = answer;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let words = words(&body);
    let kind = kind.as_deref().and_then(ErrorKind::of_code).filter(is_a_daemons);
    let error = if words.starts_with("Handler not found") || is_html(&words) {
        Error::new(
            ErrorKind::Protocol,
            format!("the daemon does not know this request: \"{}\"", shown(&body)),
        )
        .with_hint(IS_IT_CONVOY)
    } else if is_not_found(status, &words) {
        Error::new(ErrorKind::NotFound, words)
    } else if words.is_empty() {
        Error::new(ErrorKind::Daemon, "the daemon refused and did not say why")
            .with_hint("look into the daemon's log")
    } else {
        let hint = hint.or_else(|| advice::about(&words).map(str::to_owned));
        let error = Error::new(kind.unwrap_or(ErrorKind::Daemon), words);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    };
    Err(error.with_status(status.as_u16()))
}

/// Whether a daemon behind a socket can fail with this kind. The other kinds are about this process
/// or about the connection.
fn is_a_daemons(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Busy
            | ErrorKind::Configuration
            | ErrorKind::Io
            | ErrorKind::NotFound
            | ErrorKind::Repository
    )
}

/// Whether the daemon says that the named thing does not exist. A denied S3 request has the same
/// words.
fn is_not_found(status: StatusCode, words: &str) -> bool {
    match status {
        StatusCode::NOT_FOUND => words == "Volume not found.",
        StatusCode::BAD_REQUEST => {
            words.starts_with("cannot find volume for snapshot ")
                || words.starts_with("Cannot find volume of snapshot ")
                || (words.starts_with("volume ") && words.ends_with(" doesn't exist"))
                || (words.starts_with("cannot find ") && words.ends_with(" in objectstore"))
        }
        _ => false,
    }
}

fn is_html(words: &str) -> bool {
    let start: String = words.chars().take(14).collect::<String>().to_ascii_lowercase();
    start.starts_with("<html") || start.starts_with("<!doctype html")
}

/// The value of a 200 answer, which must be JSON.
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| senseless(body, &error.to_string()))
}

/// Checks that a 200 answer is empty. A deletion that is answered by a web page did not happen.
pub(super) fn nothing(body: &[u8]) -> Result<()> {
    if body.trim_ascii().is_empty() { Ok(()) } else { Err(senseless(body, "nothing was due")) }
}

/// The answer to `GET /backups/used`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Used {
    /// Null if the daemon can't tell.
    pub(super) used: Option<bool>,
}

/// The answer to `GET /volumes/mounts`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MountsInside {
    /// Null if the daemon can't tell.
    pub(super) mounts: Option<Vec<String>>,
}

/// The URL of a new backup. The daemon answers `{"URL": ..}` or the bare URL.
pub(super) fn backup_url(body: &[u8]) -> Result<BackupUrl> {
    #[derive(Deserialize)]
    struct Verbose {
        #[serde(rename = "URL")]
        url: String,
    }
    let text = String::from_utf8_lossy(body);
    let url = if text.trim_start().starts_with('{') {
        json::<Verbose>(body)?.url
    } else {
        text.trim().to_owned()
    };
    BackupUrl::parse(&url).map_err(|_| senseless(body, "the URL of a backup was due"))
}

/// The backups of a list: URL -> fields.
pub(super) fn backups(listed: BTreeMap<String, BTreeMap<String, String>>) -> Vec<Backup> {
    let with_url = |(url, mut fields): (String, BTreeMap<String, String>)| {
        fields.entry("BackupURL".into()).or_insert(url);
        Backup::new(fields)
    };
    listed.into_iter().map(with_url).collect()
}

fn senseless(body: &[u8], why: &str) -> Error {
    let message = if body.trim_ascii().is_empty() {
        "the answer is empty".to_owned()
    } else {
        format!("the answer makes no sense: \"{}\" ({why})", shown(body))
    };
    Error::new(ErrorKind::Protocol, message).with_hint(IS_IT_CONVOY)
}

/// The daemon's words on one line: whitespace collapsed, control characters escaped, and the length
/// limited.
fn words(body: &[u8]) -> String {
    // Only the beginning is read, because the rest would be cut off anyway.
    let beginning = &body[..body.len().min(64 << 10)];
    let text = String::from_utf8_lossy(beginning);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&escaped(&line), WORDS)
}

/// The beginning of an answer on one line, control characters escaped.
fn shown(body: &[u8]) -> String {
    let beginning = &body[..body.len().min(SHOWN * 4)];
    cut(&escaped(&String::from_utf8_lossy(beginning)), SHOWN)
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}
