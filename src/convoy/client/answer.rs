//! Turns the daemon's answers into values, or into errors with the daemon's words.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};

use super::{advice, failure::IS_IT_CONVOY};
use crate::{
    convoy::{Answered, Backup, BackupUrl, HINT, KIND, Volume, WasReadBack},
    error::{Error, ErrorKind, Result},
    scope,
    unix_http::Answer,
};

/// How many characters an error shows of an answer that makes no sense, and of the daemon's own
/// words.
const SHOWN: usize = 80;
const WORDS: usize = 500;

/// The body of a 200 answer. Any other answer becomes an error.
pub(super) fn accept(answer: Answer) -> Result<Vec<u8>> {
    // Only our server sends these two, with an error.
    let (hint, kind) = (answer.header(HINT), answer.header(KIND));
    let Answer { status, body, .. } = answer;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let words = words(&body);
    // Where the run was not cancelled here, the call was not either.
    let is_cancelled = |kind: &ErrorKind| *kind == ErrorKind::Cancelled && scope::is_ended();
    let kind = kind.as_deref().and_then(ErrorKind::of_code);
    let kind = kind.filter(|kind| is_a_daemons(kind) || is_cancelled(kind));
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
            | ErrorKind::Usage
    )
}

/// Convoy's words for a thing that does not exist; `*` stands for anything. Each driver has its own.
const NOT_FOUND: [&str; 10] = [
    "volume * doesn't exist",
    "No such volume",
    "cannot find volume *",
    "Cannot find volume of snapshot *",
    "snapshot * of volume * doesn't exist",
    "Snapshot * doesn't exists for volume *",
    "cannot find snapshot *",
    "Cannot find snapshot *",
    "cannot find * in objectstore",
    "AWS Error: InvalidSnapshot.NotFound *",
];

/// Whether the daemon says that the named thing does not exist. A denied S3 request has the same
/// words, and a driver's failure to look at a snapshot may have.
fn is_not_found(status: StatusCode, words: &str) -> bool {
    match status {
        StatusCode::NOT_FOUND => words == "Volume not found.",
        StatusCode::BAD_REQUEST => NOT_FOUND.iter().any(|pattern| fits(pattern, words)),
        _ => false,
    }
}

fn fits(pattern: &str, words: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == words };
    let Some(mut words) = words.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return words.ends_with(part);
        }
        match words.split_once(part) {
            Some((_, after)) => words = after,
            None => return false,
        }
    }
    true
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

/// The answer to `GET /backups/read`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Read {
    /// Null if the daemon can't.
    pub(super) read: Option<WasReadBack>,
}

/// The answer to `GET /volumes/forgotten`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Forgotten {
    /// Null if the daemon can't tell.
    pub(super) volumes: Option<BTreeMap<String, Volume>>,
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

/// The URLs of so many new backups, or why there is none.
pub(super) fn backup_urls(body: &[u8], count: usize) -> Result<Vec<Result<BackupUrl>>> {
    let answers: Vec<Answered<String>> = json(body)?;
    if answers.len() != count {
        return Err(senseless(body, &format!("{count} answers were due")));
    }
    let parse = |answer| {
        // What only this process may say, the daemon has said of itself.
        let a_daemons = |error: Error| match is_a_daemons(&error.kind) {
            true => error,
            false => Error { kind: ErrorKind::Daemon, ..error },
        };
        let url: String = Result::from(answer).map_err(a_daemons)?;
        BackupUrl::parse(&url).map_err(|_| senseless(body, "the URL of a backup was due"))
    };
    Ok(answers.into_iter().map(parse).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_of_convoy_is_understood_when_it_says_that_a_thing_is_gone() {
        let is_not_found = |words| is_not_found(StatusCode::BAD_REQUEST, words);
        for words in [
            "volume vol1 doesn't exist",
            "No such volume",
            "cannot find volume vol1",
            "cannot find volume for snapshot s1",
            "Cannot find volume of snapshot s1",
            "snapshot s1 of volume vol1 doesn't exist",
            "Snapshot s1 doesn't exists for volume vol1",
            "cannot find snapshot s1 of volume vol1",
            "cannot find snapshot of volume",
            "Cannot find snapshot s1 for volume vol1",
            "cannot find convoy-objectstore/volumes/vo/l1/vol1/volume.cfg in objectstore",
            "AWS Error: InvalidSnapshot.NotFound The snapshot 'snap-1' does not exist. <nil> 400",
        ] {
            assert!(is_not_found(words), "{words}");
        }
        for words in [
            "Snapshot name s1 already exists",
            "Snapshot s1 already exists for volume vol1",
            "Snapshot snap-1 is at eu-central-1 rather than current region us-east-1. Copy snapshot is needed",
            "VFS path /mnt/backups doesn't exist or is not a directory",
            "Cannot find volume vol-1",
            "Cannot find driver nosuch",
            "cannot find backup_b1.cfg",
            "AWS Error: RequestLimitExceeded Request limit exceeded. <nil> 400",
        ] {
            assert!(!is_not_found(words), "{words}");
        }
    }
}
