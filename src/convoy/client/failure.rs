//! Why a call got no answer, and the error that a person sees.

use std::{fmt, io, os::unix::fs::FileTypeExt as _, path::Path, time::Duration};

use super::call::Call;
use crate::error::{Error, ErrorKind};

/// The hint for an answer that makes no sense.
pub(super) const IS_IT_CONVOY: &str =
    "is this really Convoy's socket? BKUP_CONVOY says which one is used";

/// The longest answer that is read, in bytes. A list of ten thousand volumes has about 10 MiB.
pub(super) const MAX_ANSWER_LENGTH: usize = 64 << 20;

/// Why a call got no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection failed, so nothing was sent.
    NotConnected(io::Error),
    /// The connection was not made in time, so nothing was sent.
    ConnectDeadline,
    /// The connection broke before the whole answer arrived. The request may have been sent.
    Broken(String),
    /// The deadline passed. The request may have been sent.
    Deadline,
    /// The answer is not HTTP.
    NotHttp(String),
    /// The answer is longer than [`MAX_ANSWER_LENGTH`].
    TooLarge,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(error) => write!(f, "no connection: {error}"),
            Self::ConnectDeadline => f.write_str("no connection in time"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Deadline => f.write_str("no answer in time"),
            Self::NotHttp(why) => write!(f, "not HTTP: {why}"),
            Self::TooLarge => f.write_str("the answer is too long"),
        }
    }
}

impl Failure {
    /// The error for `call`, which was sent to `socket`. `connect` is the time that a connection
    /// may take.
    pub(super) fn error(&self, call: &Call, socket: &Path, connect: Duration) -> Error {
        match self {
            Self::NotConnected(error) => not_connected(error, socket),
            Self::ConnectDeadline => Error::new(
                ErrorKind::Unreachable,
                format!(
                    "no connection to \"{}\" within {} s",
                    socket.display(),
                    connect.as_secs_f64()
                ),
            )
            .with_hint("the daemon hangs: look into its log, restart it"),
            Self::Deadline => {
                unknown(call, format!("no answer within {} s", call.deadline.as_secs_f64()))
            }
            Self::Broken(why) => unknown(
                call,
                format!("the connection broke before the whole answer was there ({why})"),
            ),
            Self::NotHttp(why) => Error::new(
                ErrorKind::Protocol,
                format!("what answers on \"{}\" does not speak HTTP ({why})", socket.display()),
            )
            .with_hint(IS_IT_CONVOY),
            Self::TooLarge => Error::new(
                ErrorKind::Protocol,
                format!("the answer is longer than {} MiB", MAX_ANSWER_LENGTH >> 20),
            )
            .with_hint(IS_IT_CONVOY),
        }
    }
}

/// The error for a request that may have been sent: what the daemon did is unknown.
fn unknown(call: &Call, message: String) -> Error {
    Error::new(ErrorKind::Timeout, message).with_hint(if call.is_write() {
        "what the daemon did is unknown, and it may still be at work: look before trying again"
    } else {
        "with devicemapper Convoy answers nothing while it backs up or restores; if it does neither, look into its log"
    })
}

/// The error for a request that was not sent.
fn not_connected(error: &io::Error, socket: &Path) -> Error {
    let shown = socket.display();
    let (message, hint) = match error.kind() {
        _ if is_another_file(socket) => (
            format!("\"{shown}\" is not a socket"),
            "set BKUP_CONVOY to unix:///path/of/the/socket; Docker makes an empty folder of a file that is mounted and not there: start the daemon, then mount its socket's folder",
        ),
        io::ErrorKind::NotFound => (
            format!("there is no socket \"{shown}\""),
            "start the daemon, or set BKUP_CONVOY to unix:///path/of/its/socket; in a container, mount the socket's folder at the same path",
        ),
        io::ErrorKind::ConnectionRefused => (
            format!("nobody listens on the socket \"{shown}\""),
            "the daemon has died and left its socket behind: start it again",
        ),
        io::ErrorKind::PermissionDenied => (
            format!("no permission to use the socket \"{shown}\""),
            "run as the user that the socket belongs to, mostly root (in a container: --user 0:0)",
        ),
        _ => (format!("cannot connect to \"{shown}\": {error}"), "is the daemon running?"),
    };
    Error::new(ErrorKind::Unreachable, message).with_hint(hint)
}

/// Whether the socket's path holds something else than a socket.
pub(super) fn is_another_file(socket: &Path) -> bool {
    std::fs::metadata(socket).is_ok_and(|found| !found.file_type().is_socket())
}

/// Whether this error can mean that the daemon is restarting.
pub(super) fn may_be_restarting(error: &io::Error) -> bool {
    // `WouldBlock`: the queue of connections that wait to be accepted is full.
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::NotFound
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::WouldBlock
            | Kind::Interrupted
    )
}
