//! Logging to a syslog server. `server` says which, `format` writes a line for it, `connection`
//! transmits messages, and `sender` has the queue and its thread.

mod connection;
mod format;
mod sender;
mod server;

use jiff::Timestamp;
use log::Level;

use self::{connection::Connection, format::Format, server::unreachable};
pub(super) use self::{sender::Sender, server::Server};
use super::line::Line;
use crate::{config::SyslogLog, error::Result};

/// Sends one message past the queue, for `doctor`, and returns what is known of its arrival. It may
/// take some seconds.
///
/// # Errors
/// If the server can't be resolved or reached.
pub(crate) fn try_out(settings: &SyslogLog, host: &str) -> Result<String> {
    let server = Server::of(settings)?;
    let line = Line {
        time: Timestamp::now(),
        level: Level::Info,
        target: "doctor".to_owned(),
        is_script: false,
        run: None,
        message: "this message tries out whether the log arrives".to_owned(),
    };
    let mut connection = Connection::open(&server).map_err(|error| unreachable(&server, &error))?;
    let sent = connection
        .send(&Format::new(&server, host).message(&line))
        .and_then(|()| connection.confirm());
    sent.map_err(|error| unreachable(&server, &error))?;
    Ok(match server {
        Server::Udp(..) => {
            format!("a message was sent to {server}; UDP does not tell whether it arrived")
        }
        Server::Tcp(..) | Server::Unix(_) => format!("{server} took a message"),
    })
}
