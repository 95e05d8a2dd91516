//! A syslog server, as the settings name it.

use std::path::PathBuf;

use crate::{
    config::{SyslogLog, SyslogProtocol},
    error::{Error, ErrorKind, Result},
};

/// The usual local socket.
const LOCAL_SOCKET: &str = "/dev/log";

/// Where the messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// One datagram a message.
    Udp(String, u16),
    /// Octet-counted frames (RFC 6587).
    Tcp(String, u16),
    /// A local socket.
    Unix(PathBuf),
}

impl Server {
    /// The server that the settings name; with the local socket that is `/dev/log` unless a path is
    /// named.
    ///
    /// # Errors
    /// A configuration error where a path is named, but no local socket is wanted.
    pub(crate) fn of(settings: &SyslogLog) -> Result<Self> {
        let (server, port) = (settings.server.clone(), settings.port);
        let is_path = server.starts_with('/');
        Ok(match settings.protocol {
            SyslogProtocol::Unix => {
                Self::Unix(if is_path { server.into() } else { LOCAL_SOCKET.into() })
            }
            _ if is_path => {
                return Err(Error::configuration(format!(
                    "BKUP_LOGGER_SYSLOG_SERVER: \"{server}\" is no host"
                ))
                .with_hint("set BKUP_LOGGER_SYSLOG_PROTOCOL=unix to log to a local socket"));
            }
            SyslogProtocol::Udp => Self::Udp(server, port),
            SyslogProtocol::Tcp => Self::Tcp(server, port),
        })
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp(host, port) => write!(f, "{host} port {port} (udp)"),
            Self::Tcp(host, port) => write!(f, "{host} port {port} (tcp)"),
            Self::Unix(path) => write!(f, "\"{}\"", path.display()),
        }
    }
}

/// The error where the server does not take messages.
pub(super) fn unreachable(server: &Server, error: &std::io::Error) -> Error {
    let hint = match server {
        Server::Unix(_) => {
            "start the syslog daemon (in a container: mount its socket), or set BKUP_LOGGER_SYSLOG_PROTOCOL"
        }
        _ => {
            "see BKUP_LOGGER_SYSLOG_SERVER, _PORT and _PROTOCOL, and whether the server listens there"
        }
    };
    Error::new(
        ErrorKind::Unreachable,
        format!("the syslog server at {server} can't be reached: {error}"),
    )
    .with_hint(hint)
}
