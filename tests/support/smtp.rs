//! An SMTP server in the test's own process: the real conversation over a real socket, in plain
//! text, and a few ways to behave badly.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
};

/// How the server behaves.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// It wants this user and password, as AUTH PLAIN sends them (`\0user\0password` in base64).
    pub login: Option<String>,
    /// It refuses these recipients.
    pub refused: Vec<String>,
    /// It takes the message and never answers.
    pub hangs: bool,
    /// It says nothing at all after it took the connection.
    pub mute: bool,
}

/// A message as it came in.
#[derive(Debug, Clone)]
pub struct Received {
    /// From `MAIL FROM`.
    pub from: String,
    /// From `RCPT TO`.
    pub to: Vec<String>,
    /// Headers and body, without the doubled dots.
    pub data: String,
}

impl Received {
    /// A header's value; folded lines are joined.
    pub fn header(&self, name: &str) -> String {
        let head = self.data.split("\r\n\r\n").next().unwrap().replace("\r\n ", " ");
        let found = head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no {name} in {head}"))
    }
}

#[derive(Debug, Default)]
struct State {
    messages: Vec<Received>,
    connections: Vec<TcpStream>,
    stopping: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The server; it stops when dropped.
#[derive(Debug)]
pub struct Smtp {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Smtp {
    /// One on any free port of the loopback.
    pub fn start(manners: Manners) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), manners)
    }

    /// One on this socket: a port that was free, and was tried in vain before.
    pub fn on(listener: TcpListener, manners: Manners) -> Self {
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared, &manners)
        });
        Self { port, shared, acceptor: Some(acceptor) }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The messages so far.
    pub fn messages(&self) -> Vec<Received> {
        self.shared.lock().messages.clone()
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        state
            .connections
            .drain(..)
            .for_each(|connection| drop(connection.shutdown(Shutdown::Both)));
        drop(state);
        self.shared.changed.notify_all();
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.acceptor.take().into_iter().for_each(|acceptor| drop(acceptor.join()));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, manners: &Manners) {
    for connection in listener.incoming().flatten() {
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        state.connections.push(connection.try_clone().unwrap());
        drop(state);
        let (shared, manners) = (shared.clone(), manners.clone());
        std::thread::spawn(move || drop(converse(connection, &shared, &manners)));
    }
}

fn hang(shared: &Shared) {
    drop(shared.changed.wait_while(shared.lock(), |state| !state.stopping).unwrap());
}

fn converse(connection: TcpStream, shared: &Shared, manners: &Manners) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes());
    if manners.mute {
        hang(shared);
        return Ok(());
    }
    say("220 test ESMTP")?;
    let (mut from, mut to, mut known) = (String::new(), Vec::new(), manners.login.is_none());
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let command = std::mem::take(&mut line).trim_end().to_owned();
        let address = || command.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let verb = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say("250-test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN")?,
            "AUTH" if command.split(' ').nth(2) == manners.login.as_deref() => {
                known = true;
                say("235 welcome")?;
            }
            "AUTH" => say("535 5.7.8 wrong user or password")?,
            "MAIL" if !known => say("530 5.7.0 who are you?")?,
            "MAIL" => {
                from = address();
                say("250 ok")?;
            }
            "RCPT" if manners.refused.contains(&address()) => say("550 5.1.1 no such user here")?,
            "RCPT" => {
                to.push(address());
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                let mut data = String::new();
                while reader.read_line(&mut line)? > 0 && line != ".\r\n" {
                    data.push_str(line.strip_prefix('.').unwrap_or(&line));
                    line.clear();
                }
                line.clear();
                if manners.hangs {
                    hang(shared);
                    return Ok(());
                }
                shared.lock().messages.push(Received {
                    from: from.clone(),
                    to: std::mem::take(&mut to),
                    data,
                });
                say("250 ok")?;
            }
            "QUIT" => {
                say("221 bye")?;
                return Ok(());
            }
            _ => say("502 what?")?,
        }
    }
    Ok(())
}
