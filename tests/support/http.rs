//! `serve` with its HTTP API, and a client that shows what came back to the byte.

use std::{
    collections::HashMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{running::Running, site::Site, socket::unchunked};

/// The full token.
pub const FULL: &str = "full-full-full-full";
/// The one for looking only.
pub const READ: &str = "read-read-read-read";
/// A server that hangs shall fail a test, not hang it.
const PATIENCE: Duration = Duration::from_secs(120);

/// `serve`, when it answers.
#[derive(Debug)]
pub struct Server {
    pub running: Running,
    pub client: Client,
}

impl Server {
    /// Starts it with both tokens, and waits until it listens.
    pub fn start(site: &Site) -> Self {
        Self::start_with(site, &[])
    }

    /// The same with these variables.
    pub fn start_with(site: &Site, environment: &[(&str, &str)]) -> Self {
        let sign = site.path("data/serve.running");
        // Where one was killed, it is there still.
        let _ = std::fs::remove_file(&sign);
        let mut command = site.command();
        command.env("BKUP_API_TOKEN", FULL).env("BKUP_API_READ_TOKEN", READ).arg("serve");
        command.envs(environment.iter().copied());
        let running =
            Running::start_until(command, site.path("serve.log"), || address(&sign).is_some());
        Self { running, client: Client { address: address(&sign).unwrap(), token: FULL.into() } }
    }

    /// Waits until this holds; whatever takes long fails.
    #[track_caller]
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "{what}: {}", self.running.log());
            std::thread::yield_now();
        }
    }

    /// The run, once it has ended.
    #[track_caller]
    pub fn ended(&self, id: &str) -> Value {
        let path = format!("/api/runs/{id}");
        self.until("it does not end", || !self.client.get(&path).is(200).json()["ended"].is_null());
        self.client.get(&path).json()
    }
}

/// Where it listens, by the file that it writes.
fn address(sign: &std::path::Path) -> Option<SocketAddr> {
    let text = std::fs::read_to_string(sign).ok()?;
    text.rsplit_once("//")?.1.parse().ok()
}

/// A client; each request has a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    token: String,
}

impl Client {
    /// The same, with another token; none where it is empty.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.into(), ..self.clone() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path, &[], "")
    }

    /// Posts without a body.
    pub fn post(&self, path: &str) -> Answer {
        self.ask("POST", path, &[], "")
    }

    /// Posts JSON.
    pub fn json(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], &body.to_string())
    }

    /// Posts a form.
    pub fn form(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/x-www-form-urlencoded")], body)
    }

    /// Starts a script without waiting for it: its run's id.
    #[track_caller]
    pub fn start(&self, path: &str, body: &Value) -> String {
        let headers = [("Content-Type", "application/json"), ("Prefer", "respond-async")];
        let answer = self.ask("POST", path, &headers, &body.to_string()).is(202);
        answer.json()["run"].as_str().unwrap().to_owned()
    }

    /// One request and its answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        Answer::read(self.send(method, path, headers, body)).unwrap()
    }

    /// Sends a request; the answer is to be read from what comes back.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> TcpStream {
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        if !self.token.is_empty() {
            head += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        self.raw(format!("{head}\r\n{body}").as_bytes())
    }

    /// Sends these bytes.
    pub fn raw(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The server may have answered and closed before it has all.
        let _ = stream.write_all(bytes);
        stream
    }

    /// Listens to events.
    pub fn events(&self, query: &str, headers: &[(&str, &str)]) -> Events {
        Events {
            lines: BufReader::new(self.send("GET", &format!("/api/events{query}"), headers, "")),
            begun: Instant::now(),
        }
        .listening()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    /// Reads it to its end.
    pub fn read(mut stream: TcpStream) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let ended = stream.read_to_end(&mut bytes);
        let _ = stream.shutdown(Shutdown::Both);
        let no_http = || {
            io::Error::other(format!("no HTTP ({ended:?}): {:?}", String::from_utf8_lossy(&bytes)))
        };
        Self::parse(&bytes).ok_or_else(no_http)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let headers: HashMap<_, _> = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let body = match headers.get("transfer-encoding").map(String::as_str) {
            Some("chunked") => unchunked(&bytes[end + 4..])?,
            _ => bytes[end + 4..].to_vec(),
        };
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            headers,
            body: String::from_utf8(body).ok()?,
        })
    }

    /// It has this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }

    /// It is a problem of this status and code, and says all of this.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str, words: &[&str]) -> Value {
        let answer = self.is(status);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:#?}");
        let problem = answer.json();
        assert_eq!(
            (&problem["status"], &problem["code"]),
            (&status.into(), &code.into()),
            "{problem:#}"
        );
        for word in words {
            assert!(answer.body.contains(word), "no {word:?} in {problem:#}");
        }
        problem
    }

    /// Its body.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// A header; nothing where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An event.
#[derive(Debug, Default)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

/// The events as they come.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<TcpStream>,
    begun: Instant,
}

impl Events {
    /// Once the server has begun to tell.
    fn listening(mut self) -> Self {
        while !self.line().starts_with(':') {}
        self
    }

    /// A line; those with the lengths of chunks are among them.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.lines.read_line(&mut line).unwrap() > 0, "the events ended");
        // Something comes every few seconds, whatever happens.
        assert!(self.begun.elapsed() < PATIENCE, "what was waited for did not come");
        line.trim_end().to_owned()
    }

    /// The next event.
    pub fn next(&mut self) -> Event {
        let mut event = Event::default();
        loop {
            let line = self.line();
            match line.split_once(':') {
                Some(("event", name)) => event.name = name.trim().to_owned(),
                Some(("id", id)) => event.id = id.trim().to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data.trim()).unwrap(),
                _ if line.is_empty() && !event.name.is_empty() => return event,
                _ => {}
            }
        }
    }

    /// The next event of this name.
    pub fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next();
            if event.name == name {
                return event;
            }
        }
    }
}
