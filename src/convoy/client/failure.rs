//! Why a call got no answer, and the error that a person sees.

use std::{io, path::Path, time::Duration};

use super::call::Call;
use crate::{
    error::{Error, ErrorKind},
    unix_http::{Failure, MAX_ANSWER_LENGTH, is_another_file},
};

/// The hint for an answer that makes no sense.
pub(super) const IS_IT_CONVOY: &str =
    "is this really Convoy's socket? BKUP_CONVOY says which one is used";

/// The error for `call`, which was sent to `socket`. `connect` is the time that a connection may
/// take.
pub(super) fn error_of(failure: &Failure, call: &Call, socket: &Path, connect: Duration) -> Error {
    match failure {
        Failure::NotConnected(error) => not_connected(error, socket),
        Failure::ConnectDeadline => Error::new(
            ErrorKind::Unreachable,
            format!("no connection to \"{}\" within {} s", socket.display(), connect.as_secs_f64()),
        )
        .with_hint("the daemon hangs: look into its log, restart it"),
        Failure::Deadline => {
            unknown(call, format!("no answer within {} s", call.deadline.as_secs_f64()))
        }
        Failure::Broken(why) => {
            unknown(call, format!("the connection broke before the whole answer was there ({why})"))
        }
        Failure::NotHttp(why) => Error::new(
            ErrorKind::Protocol,
            format!("what answers on \"{}\" does not speak HTTP ({why})", socket.display()),
        )
        .with_hint(IS_IT_CONVOY),
        Failure::TooLarge => Error::new(
            ErrorKind::Protocol,
            format!("the answer is longer than {} MiB", MAX_ANSWER_LENGTH >> 20),
        )
        .with_hint(IS_IT_CONVOY),
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
