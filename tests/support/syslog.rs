//! A syslog server in the test's process: it takes messages by each transport, strictly, and keeps
//! them.

use std::{
    io::{BufRead, BufReader, Read},
    net::{TcpListener, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    time::Duration,
};

use super::site::Site;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server; its threads end with the test's process.
#[derive(Debug)]
pub struct Sink {
    messages: Receiver<String>,
    /// What the program has to be told to reach it: protocol, server, port.
    pub address: (&'static str, String, u16),
}

impl Sink {
    /// One datagram a message.
    pub fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        Self::new(("udp", "localhost".into(), port), move |messages| {
            datagrams(|buffer| socket.recv(buffer), &messages)
        })
    }

    /// Frames with their length in front, one connection after the other.
    pub fn tcp() -> Self {
        Self::tcp_at(0)
    }

    /// The same at this port.
    pub fn tcp_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Self::new(("tcp", "127.0.0.1".into(), port), move |messages| {
            for connection in listener.incoming() {
                frames(BufReader::new(connection.unwrap()), &messages);
            }
        })
    }

    /// A local socket as rsyslog and journald have it.
    pub fn unix(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        Self::new(("unix", path.display().to_string(), 1), move |messages| {
            datagrams(|buffer| socket.recv(buffer), &messages);
        })
    }

    /// A local socket that takes lines.
    pub fn unix_stream(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        Self::new(("unix", path.display().to_string(), 1), move |messages| {
            for connection in listener.incoming() {
                let lines = BufReader::new(connection.unwrap()).lines().map_while(Result::ok);
                lines.for_each(|line| drop(messages.send(line)));
            }
        })
    }

    fn new(
        address: (&'static str, String, u16),
        serve: impl FnOnce(Sender<String>) + Send + 'static,
    ) -> Self {
        let (sender, messages) = channel();
        std::thread::spawn(move || serve(sender));
        Self { messages, address }
    }

    /// The site, logging to this server.
    pub fn of(&self, site: Site) -> Site {
        let (protocol, server, port) = &self.address;
        site.with("BKUP_LOGGER_SYSLOG_ENABLED", "true")
            .with("BKUP_LOGGER_SYSLOG_PROTOCOL", *protocol)
            .with("BKUP_LOGGER_SYSLOG_SERVER", server)
            .with("BKUP_LOGGER_SYSLOG_PORT", port.to_string())
    }

    /// All messages up to the first one with this text.
    pub fn until(&self, text: &str) -> Vec<String> {
        let mut messages = Vec::new();
        while !messages.last().is_some_and(|message: &String| message.contains(text)) {
            let message = self.messages.recv_timeout(PATIENCE);
            messages.push(
                message.unwrap_or_else(|error| panic!("{error}; no {text:?} in {messages:#?}")),
            );
        }
        messages
    }
}

fn datagrams(
    mut receive: impl FnMut(&mut [u8]) -> std::io::Result<usize>,
    messages: &Sender<String>,
) {
    let mut buffer = [0; 65_536];
    while let Ok(length) = receive(&mut buffer) {
        let _ = messages.send(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
}

fn frames(mut connection: impl BufRead, messages: &Sender<String>) {
    loop {
        let mut length = Vec::new();
        connection.read_until(b' ', &mut length).unwrap();
        let Some((b' ', digits)) = length.split_last() else { return };
        let length = std::str::from_utf8(digits).unwrap().parse().unwrap();
        let mut message = Vec::new();
        connection.by_ref().take(length).read_to_end(&mut message).unwrap();
        let _ = messages.send(String::from_utf8(message).unwrap());
    }
}
