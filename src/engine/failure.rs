//! Why the engine did not do what was asked, for people.

use std::{io, path::Path};

use hyper::StatusCode;
use serde::Deserialize;

use crate::{
    error::{Error, ErrorKind},
    unix_http::{Answer, Failure, is_another_file},
};

/// How many characters an error shows of the engine's words.
const WORDS: usize = 300;

/// The body of an answer that refuses.
#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// The error for an answer that is not the one that was asked for.
pub(super) fn refused(answer: &Answer) -> Error {
    let words = match serde_json::from_slice::<Refusal>(&answer.body) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    let words: String = words.trim().chars().take(WORDS).collect();
    let (kind, hint) = match answer.status.as_u16() {
        404 => (ErrorKind::NotFound, None),
        403 => (
            ErrorKind::Daemon,
            Some(
                "a proxy before the engine's socket allows too little: docs/docker.md has the calls that are needed",
            ),
        ),
        409 => (ErrorKind::Daemon, Some("a container uses it: remove that container first")),
        _ => (ErrorKind::Daemon, Some("look into the engine's log")),
    };
    let error = Error::new(kind, format!("Docker refused: {words}"));
    let error = error.with_status(answer.status.as_u16());
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The error for a socket behind which something else answers.
pub(super) fn no_engine(socket: &Path) -> Error {
    let message = format!("what answers on \"{}\" is no Docker engine", socket.display());
    Error::new(ErrorKind::Protocol, message)
        .with_hint("set BKUP_DOCKER to unix:///path/of/its/socket, or to off")
}

/// The error for an engine whose API is older than what is asked of it.
pub(super) fn too_old(socket: &Path, version: &str) -> Error {
    let message = format!(
        "the engine at \"{}\" has version {version} of Docker's API, which is too old",
        socket.display()
    );
    Error::new(ErrorKind::Protocol, message)
        .with_hint("version 1.24 (Docker 1.12) is the least: update Docker")
}

/// The error for a socket behind which something, such as a proxy, says that it can't or may not answer.
pub(super) fn no_answer(socket: &Path, status: StatusCode) -> Error {
    let message = format!("what answers on \"{}\" says \"{status}\"", socket.display());
    Error::new(ErrorKind::Daemon, message).with_status(status.as_u16()).with_hint(
        "is it a proxy before Docker's socket? docs/docker.md has the calls that it must let through; or set BKUP_DOCKER",
    )
}

/// The error for an answer that can't be read.
pub(super) fn no_sense(socket: &Path, why: &str) -> Error {
    let message =
        format!("the engine at \"{}\" answered what makes no sense: {why}", socket.display());
    Error::new(ErrorKind::Protocol, message)
        .with_hint("is this really Docker's socket? BKUP_DOCKER says which one is used")
}

/// The error for an answer that is not waited for any more.
pub(super) fn given_up() -> Error {
    Error::new(ErrorKind::Cancelled, "the run ended before Docker answered")
}

/// The error for a request without an answer.
pub(super) fn error_of(failure: &Failure, socket: &Path) -> Error {
    let shown = socket.display();
    let restart = "Docker hangs: look into its log, restart it";
    let (kind, message, hint) = match failure {
        Failure::NotConnected(error) => {
            let (message, hint) = not_connected(error, socket);
            (ErrorKind::Unreachable, message, hint)
        }
        Failure::ConnectDeadline => (
            ErrorKind::Unreachable,
            format!("Docker accepts no connection on \"{shown}\""),
            restart,
        ),
        Failure::Deadline => {
            (ErrorKind::Timeout, format!("Docker gave no answer on \"{shown}\" in time"), restart)
        }
        Failure::Broken(why) => (
            ErrorKind::Timeout,
            format!("the connection to Docker broke before the whole answer was there ({why})"),
            "is Docker being restarted? try again",
        ),
        Failure::NotHttp(_) => return no_engine(socket),
        Failure::TooLarge => return no_sense(socket, "it is too long"),
    };
    Error::new(kind, message).with_hint(hint)
}

fn not_connected(error: &io::Error, socket: &Path) -> (String, &'static str) {
    let shown = socket.display();
    match error.kind() {
        _ if is_another_file(socket) => (
            format!("\"{shown}\" is not a socket"),
            "set BKUP_DOCKER to unix:///path/of/the/socket; Docker makes an empty folder of a file that is mounted and not there",
        ),
        io::ErrorKind::NotFound => (
            format!("there is no socket \"{shown}\""),
            "start Docker, or set BKUP_DOCKER; in a container, mount the socket: -v /var/run/docker.sock:/var/run/docker.sock",
        ),
        io::ErrorKind::ConnectionRefused => {
            (format!("nobody listens on the socket \"{shown}\""), "start Docker")
        }
        io::ErrorKind::PermissionDenied => (
            format!("no permission to use the socket \"{shown}\""),
            "run as root, or as a user in the group docker",
        ),
        _ => (format!("cannot connect to \"{shown}\": {error}"), "does Docker run?"),
    }
}
