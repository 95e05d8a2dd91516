//! The queue to the syslog server, and the thread that sends from it. Whatever state the server is
//! in, a thread that logs only puts a message into the queue.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use log::Level;

use super::{
    connection::Connection,
    format::Format,
    server::{Server, unreachable},
};
use crate::{
    error::{Error, Result},
    logging::line::{Line, short},
    sync::lock,
    units::format_duration,
};

/// The most messages that wait.
const QUEUE_CAPACITY: usize = 2_000;

/// The first and the longest pause between attempts to reach a server that is down.
const RECONNECT_PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// The age at which a UDP connection resolves the name again: nothing else shows that a server
/// moved.
const UDP_LIFETIME: Duration = Duration::from_secs(300);

/// The pause between datagrams while catching up. At full speed, a server that has just started
/// loses half of them.
const DATAGRAM_GAP: Duration = Duration::from_millis(1);

/// The queue to the thread that sends. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    format: Format,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<String>,
    /// The messages that were dropped or lost since that was last logged.
    dropped: u64,
    /// The process ends: messages that wait are tried once more, without pauses.
    ending: bool,
    /// The thread has ended.
    ended: bool,
}

impl Sender {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(server: Server, host: &str) -> Result<Self> {
        let sender = Self { format: Format::new(&server, host), shared: Arc::default() };
        let mut thread = SenderThread {
            server,
            format: sender.format.clone(),
            shared: Arc::clone(&sender.shared),
            connection: None,
            opened: Instant::now(),
            catching_up: false,
        };
        std::thread::Builder::new()
            .name("syslog".to_owned())
            .spawn(move || thread.work())
            .map_err(|error| {
                Error::io("cannot start the thread that sends to the syslog server", &error)
            })?;
        Ok(sender)
    }

    /// Queues a line, without waiting. If the queue is full, the line is dropped and counted.
    pub(crate) fn send(&self, line: &Line) {
        let message = self.format.message(line);
        let mut queue = self.shared.lock();
        if queue.waiting.len() < QUEUE_CAPACITY && !queue.ended {
            queue.waiting.push_back(message);
            self.shared.changed.notify_all();
        } else {
            queue.dropped += 1;
        }
    }

    /// Sends the messages that wait, at the end of the process, within `timeout`.
    pub(crate) fn end(&self, timeout: Duration) {
        let mut queue = self.shared.lock();
        queue.ending = true;
        self.shared.changed.notify_all();
        drop(self.shared.changed.wait_timeout_while(queue, timeout, |queue| !queue.ended));
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    /// Waits for a message; `None` if the process ends and no message waits.
    fn next(&self) -> Option<String> {
        let queue = self.lock();
        let mut queue = self
            .changed
            .wait_while(queue, |queue| queue.waiting.is_empty() && !queue.ending)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.waiting.pop_front()
    }

    /// Waits for `time`, or until the process ends, and returns whether it ends.
    fn pause(&self, time: Duration) -> bool {
        let queue = self.lock();
        let (queue, _) = self
            .changed
            .wait_timeout_while(queue, time, |queue| !queue.ending)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        queue.ending
    }
}

/// The thread that sends.
struct SenderThread {
    server: Server,
    format: Format,
    shared: Arc<Shared>,
    connection: Option<Connection>,
    opened: Instant,
    /// The server was down, and messages from that time still wait.
    catching_up: bool,
}

impl SenderThread {
    fn work(&mut self) {
        while let Some(message) = self.shared.next() {
            if let Err(error) = self.deliver(&message)
                && !self.retry_until_sent(&message, &error)
            {
                break;
            }
            self.pause_between_datagrams();
            self.report_dropped();
        }
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }

    /// Sends a message, over a new connection if the old one is broken.
    fn deliver(&mut self, message: &str) -> io::Result<()> {
        if matches!(self.server, Server::Udp(..)) && self.opened.elapsed() > UDP_LIFETIME {
            // If the name can't be resolved, the old address is kept.
            if let Ok(connection) = Connection::open(&self.server) {
                self.connection = Some(connection);
            }
            self.opened = Instant::now();
        }
        let is_new = self.connection.is_none();
        if let Some(connection) = &mut self.connection
            && connection.send(message).is_ok()
        {
            return Ok(());
        }
        self.connection = None;
        let mut connection = Connection::open(&self.server)?;
        connection.send(message)?;
        if !is_new {
            if matches!(self.server, Server::Udp(..)) {
                // The refusal is of the datagram before this one.
                self.shared.lock().dropped += 1;
            }
            connection.confirm()?;
        }
        self.opened = Instant::now();
        self.connection = Some(connection);
        Ok(())
    }

    /// Tries to send until it succeeds, and logs the failure to the other destinations. False if
    /// the process ends first.
    fn retry_until_sent(&mut self, message: &str, error: &io::Error) -> bool {
        let since = Instant::now();
        log::warn!(
            "{}; its lines wait, and those that find no place are dropped",
            unreachable(&self.server, error)
        );
        let [mut pause, longest] = RECONNECT_PAUSES;
        loop {
            let ending = self.shared.pause(pause);
            let delivered = Connection::open(&self.server).and_then(|mut connection| {
                connection.send(message)?;
                connection.confirm()?;
                self.connection = Some(connection);
                Ok(())
            });
            match delivered {
                Ok(()) => {
                    let took = format_duration(Duration::from_secs(since.elapsed().as_secs()));
                    self.catching_up = true;
                    log::warn!(
                        "the syslog server at {} is reached again, after {took}",
                        self.server
                    );
                    return true;
                }
                Err(_) if ending => return false,
                Err(_) => pause = (pause * 2).min(longest),
            }
        }
    }

    /// Paces the datagrams that waited. With the other transports, the server sets the pace.
    fn pause_between_datagrams(&mut self) {
        if self.catching_up {
            self.catching_up = !self.shared.lock().waiting.is_empty();
            if matches!(self.server, Server::Udp(..)) {
                self.shared.pause(DATAGRAM_GAP);
            }
        }
    }

    /// Logs the number of dropped messages, also to the server, once the queue has room again.
    fn report_dropped(&mut self) {
        let dropped = {
            let mut queue = self.shared.lock();
            if queue.dropped == 0 || queue.waiting.len() > QUEUE_CAPACITY / 2 {
                return;
            }
            std::mem::take(&mut queue.dropped)
        };
        let message =
            format!("dropped {} for the syslog server at {}", lines(dropped), self.server);
        log::warn!("{message}");
        let target = short(module_path!()).to_owned();
        let line = Line {
            time: Timestamp::now(),
            level: Level::Warn,
            target,
            is_script: false,
            run: None,
            message,
        };
        // If the server is down again, the next message finds out.
        let _ =
            self.connection.as_mut().map(|connection| connection.send(&self.format.message(&line)));
    }
}

fn lines(count: u64) -> String {
    crate::text::counted(usize::try_from(count).unwrap_or(usize::MAX), "line", "lines")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn line(number: usize) -> Line {
        let message = format!("line {number}.");
        let target = "backup".to_owned();
        Line {
            time: Timestamp::now(),
            level: Level::Info,
            target,
            is_script: true,
            run: None,
            message,
        }
    }

    #[test]
    fn what_finds_no_place_is_dropped_and_said_when_the_server_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let sender = Sender::start(Server::Unix(path.clone()), "host").unwrap();
        (0..QUEUE_CAPACITY + 500).for_each(|number| sender.send(&line(number)));
        // The thread holds one of them.
        let dropped = sender.shared.lock().dropped;
        assert!((499..=500).contains(&dropped), "{dropped}");

        let server = UnixDatagram::bind(&path).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let receive = || {
            let mut buffer = [0; 1000];
            let length = server.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        // The line that comes next takes the room of the one that the thread took.
        let (mut numbers, mut said): (Vec<usize>, bool) = (Vec::new(), false);
        while numbers.len() < QUEUE_CAPACITY + 500 - usize::try_from(dropped).unwrap() || !said {
            let message = receive();
            if message.contains(&format!("dropped {} for the syslog server", lines(dropped))) {
                said = true;
            } else {
                let number = message.rsplit_once("line ").unwrap().1.trim_end_matches('.');
                numbers.push(number.parse().unwrap());
            }
        }
        assert!(numbers.is_sorted_by(|one, next| one < next), "in order: {numbers:?}");
        assert_eq!(numbers[..QUEUE_CAPACITY], (0..QUEUE_CAPACITY).collect::<Vec<_>>());
        sender.end(Duration::from_secs(30));
        assert!(sender.shared.lock().ended);
    }

    #[test]
    fn the_end_waits_for_no_server_that_is_down() {
        let sender = Sender::start(Server::Unix("/nowhere/at/all".into()), "host").unwrap();
        sender.send(&line(1));
        let start = Instant::now();
        sender.end(Duration::from_secs(30));
        assert!(sender.shared.lock().ended && start.elapsed() < Duration::from_secs(10));
        sender.send(&line(2));
        assert!(sender.shared.lock().waiting.is_empty(), "nobody would send it");
    }
}
