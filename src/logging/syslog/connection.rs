//! A connection to a syslog server. Its calls block for some seconds at most (the resolution of a
//! name for as long as the system takes), so they belong on a thread of their own.

use std::{
    io::{self, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    time::Duration,
};

use super::server::Server;

/// The limit to open a connection, and to send a message.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a host to refuse a datagram to a port without a listener. Some hosts never
/// refuse.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(super) enum Connection {
    /// One datagram for each message.
    Udp(UdpSocket),
    /// Frames that begin with their length.
    Tcp(TcpStream),
    /// One datagram a message.
    Datagram(UnixDatagram),
    /// One line for each message.
    Stream(UnixStream),
}

impl Connection {
    /// Connects to the first address of the host that works.
    ///
    /// # Errors
    /// If the name can't be resolved, nothing listens, or it took too long.
    pub(super) fn open(server: &Server) -> io::Result<Self> {
        match server {
            Server::Udp(host, port) => first(host, *port, udp).map(Self::Udp),
            Server::Tcp(host, port) => first(host, *port, tcp).map(Self::Tcp),
            Server::Unix(path) => unix(path),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// If the connection is broken. The server then has no whole message.
    pub(super) fn send(&mut self, message: &str) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Datagram(socket) => socket.send(message.as_bytes()).map(drop),
            Self::Tcp(stream) => {
                still_open(stream)?;
                stream.write_all(format!("{} {message}", message.len()).as_bytes())
            }
            Self::Stream(stream) => stream.write_all(format!("{message}\n").as_bytes()),
        }
    }

    /// Waits [`REFUSAL_TIMEOUT`] for the refusal of the last message. Only UDP needs it: the others
    /// fail when they send.
    ///
    /// # Errors
    /// If the host refused the message.
    pub(super) fn confirm(&mut self) -> io::Result<()> {
        let Self::Udp(socket) = self else { return Ok(()) };
        std::thread::sleep(REFUSAL_TIMEOUT);
        socket.take_error()?.map_or(Ok(()), Err)
    }
}

/// Opens the first address of the host that works; the error is that of the last address.
fn first<T>(host: &str, port: u16, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host.trim_start_matches('[').trim_end_matches(']'), port).to_socket_addrs()? {
        match open(address) {
            Ok(open) => return Ok(open),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    // A connected socket, so that the system reports refusals.
    socket.connect(address)?;
    socket.set_write_timeout(Some(NETWORK_TIMEOUT))?;
    Ok(socket)
}

fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, NETWORK_TIMEOUT)?;
    stream.set_write_timeout(Some(NETWORK_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn unix(path: &Path) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => {
            socket.set_write_timeout(Some(NETWORK_TIMEOUT))?;
            Ok(Connection::Datagram(socket))
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PROTOTYPE.raw_os_error()) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(NETWORK_TIMEOUT))?;
            Ok(Connection::Stream(stream))
        }
        Err(error) => Err(error),
    }
}

/// Fails if the server has closed its side. The next message would be lost without an error.
fn still_open(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false)?;
    match seen {
        Ok(0) => Err(io::ErrorKind::ConnectionAborted.into()),
        // Syslog servers send nothing. What this one sends is left unread.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
