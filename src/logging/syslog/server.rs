//! The syslog server that the settings name.

use std::path::PathBuf;

use crate::{
    config::{SyslogLog, SyslogProtocol},
    error::{Error, ErrorKind, Result},
};

/// The default local socket.
const LOCAL_SOCKET: &str = "/dev/log";

/// The address of a syslog server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// A host and a port; one datagram for each message.
    Udp(String, u16),
    /// A host and a port; octet-counted frames (RFC 6587).
    Tcp(String, u16),
    /// The path of a local socket.
    Unix(PathBuf),
}

impl Server {
    /// The server that the settings name. The local socket is `/dev/log` unless they name a path.
    ///
    /// # Errors
    /// A configuration error if the settings name a path but not the local socket.
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

/// The error for a server that does not take messages.
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
