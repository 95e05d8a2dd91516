//! A daemon that answers late, wrongly, half, or not at all: on a real unix socket, scripted by
//! route, blocking threads only.
//!
//! ```ignore
//! let daemon = Faulty::start(folder.path())
//!     .answer("GET /v1/volumes/list", Answer::json("{}"))
//!     .answer("POST /v1/snapshots/create", Answer::CloseAtOnce);
//! // .. use daemon.socket() ..
//! assert_eq!(daemon.requests()[0].line(), "GET /v1/volumes/list");
//! ```

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
};

/// What the daemon does with a request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This status, with this body as plain text.
    Text(u16, String),
    /// 200 and nothing in it, not even a content type.
    Empty,
    /// 200 and a web page.
    Html,
    /// 200, complete as HTTP, with JSON that ends in the middle.
    HalfJson,
    /// 200, this body announced, the first half of it sent, then the connection closed.
    HalfBody(String),
    /// 200 and so many bytes, made while they are sent; announced, or in chunks without end in
    /// sight.
    Huge { bytes: u64, announced: bool },
    /// These bytes, HTTP or not, then the connection closed.
    Raw(Vec<u8>),
    /// The connection is closed without a word once the request has been read.
    CloseAtOnce,
    /// No answer as long as the daemon lives.
    Never,
    /// The other answer, once [`Faulty::release`] has been called.
    WhenReleased(Box<Answer>),
}

impl Answer {
    /// 200 with this body, which Convoy calls plain text.
    pub fn json(body: impl Into<String>) -> Self {
        Self::Text(200, body.into())
    }
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// With the query, if there was one.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Request {
    /// `GET /v1/volumes/list`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Debug, Default)]
struct State {
    answers: HashMap<String, Vec<Answer>>,
    requests: Vec<Request>,
    /// Open connections, so that they can be closed in the end.
    connections: Vec<UnixStream>,
    released: bool,
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

    /// Waits until the state is so, or the daemon stops: true where it is so.
    fn wait_until(&self, so: impl Fn(&State) -> bool) -> bool {
        let state =
            self.changed.wait_while(self.lock(), |state| !state.stopping && !so(state)).unwrap();
        so(&state)
    }
}

/// The daemon; it stops when dropped.
#[derive(Debug)]
pub struct Faulty {
    socket: PathBuf,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Faulty {
    /// A daemon that listens on `convoy.sock` in this folder. What is not scripted is answered as
    /// Convoy answers an unknown route.
    pub fn start(folder: &Path) -> Self {
        Self::start_at(&folder.join("convoy.sock"))
    }

    /// A daemon that listens on this socket.
    pub fn start_at(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let shared = Arc::new(Shared::default());
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self { socket: socket.to_owned(), shared, acceptor: Some(acceptor) }
    }

    /// What `METHOD /path` is answered; given several times, in that order, the last one from then
    /// on.
    #[must_use]
    pub fn answer(self, route: &str, answer: Answer) -> Self {
        self.shared.lock().answers.entry(route.to_owned()).or_default().push(answer);
        self
    }

    /// As [`Faulty::answer`], for requests of this route with this body alone.
    #[must_use]
    pub fn answer_to(self, route: &str, body: &str, answer: Answer) -> Self {
        self.answer(&format!("{route} {body}"), answer)
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// Waits for that many requests to have come in.
    pub fn wait_for_requests(&self, count: usize) {
        assert!(self.shared.wait_until(|state| state.requests.len() >= count));
    }

    /// Lets the answers go that wait for it, now and from now on.
    pub fn release(&self) {
        self.shared.lock().released = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        let connections = {
            let mut state = self.shared.lock();
            state.stopping = true;
            std::mem::take(&mut state.connections)
        };
        self.shared.changed.notify_all();
        for connection in connections {
            let _ = connection.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor, which then sees that it is over.
        let woken = UnixStream::connect(&self.socket);
        let _ = std::fs::remove_file(&self.socket);
        if let Some(acceptor) = self.acceptor.take()
            && woken.is_ok()
        {
            let _ = acceptor.join();
        }
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        let Ok(connection) = connection else { return };
        {
            let mut state = shared.lock();
            if state.stopping {
                return;
            }
            state.connections.push(connection.try_clone().unwrap());
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // An error is a client that hung up.
            let _ = serve(&connection, &shared);
            let _ = connection.shutdown(Shutdown::Both);
        });
    }
}

/// Answers the requests of one connection until one of the two ends it.
fn serve(connection: &UnixStream, shared: &Shared) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    while let Some(request) = read_request(&mut reader)? {
        let line = request.line();
        let last = request
            .headers
            .get("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let answer = {
            let mut state = shared.lock();
            let of_body = format!("{line} {}", request.body);
            state.requests.push(request);
            let key = if state.answers.contains_key(&of_body) { &of_body } else { &line };
            match state.answers.get_mut(key) {
                Some(answers) if answers.len() > 1 => answers.remove(0),
                Some(answers) => answers[0].clone(),
                None => Answer::Text(404, format!("Handler not found: {line}")),
            }
        };
        shared.changed.notify_all();
        if !give(answer, connection, shared)? || last {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads a request with its body, as long as `Content-Length` says; none at the end of the
/// connection.
fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() }))
}

/// Answers; false where the connection is over.
fn give(answer: Answer, mut connection: &UnixStream, shared: &Shared) -> std::io::Result<bool> {
    const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
    let head = |status: u16, more: &str| format!("HTTP/1.1 {status} Whatever\r\n{more}");
    let whole = |status: u16, more: &str, body: &str| {
        format!("{}Content-Length: {}\r\n\r\n{body}", head(status, more), body.len())
    };
    match answer {
        Answer::Text(status, body) => {
            connection.write_all(whole(status, TEXT, &body).as_bytes())?
        }
        Answer::Empty => connection.write_all(whole(200, "", "").as_bytes())?,
        Answer::Html => {
            let page = "<!DOCTYPE html>\n<html><body>It works!</body></html>\n";
            connection.write_all(whole(200, "Content-Type: text/html\r\n", page).as_bytes())?;
        }
        Answer::HalfJson => connection
            .write_all(whole(200, TEXT, "{\n\t\"vol1\": {\n\t\t\"Name\": \"vo").as_bytes())?,
        Answer::HalfBody(body) => {
            let announced = format!("{}Content-Length: {}\r\n\r\n", head(200, TEXT), body.len());
            connection.write_all(announced.as_bytes())?;
            connection.write_all(&body.as_bytes()[..body.len() / 2])?;
            return Ok(false);
        }
        Answer::Huge { bytes, announced } => {
            return huge(connection, &head(200, TEXT), bytes, announced);
        }
        Answer::Raw(bytes) => {
            connection.write_all(&bytes)?;
            return Ok(false);
        }
        Answer::CloseAtOnce => return Ok(false),
        Answer::Never => return Ok(shared.wait_until(|_| false)),
        Answer::WhenReleased(answer) => {
            return Ok(
                shared.wait_until(|state| state.released) && give(*answer, connection, shared)?
            );
        }
    }
    Ok(true)
}

fn huge(
    mut connection: &UnixStream,
    head: &str,
    bytes: u64,
    announced: bool,
) -> std::io::Result<bool> {
    let piece = [b'x'; 64 << 10];
    let length = if announced {
        format!("Content-Length: {bytes}")
    } else {
        "Transfer-Encoding: chunked".into()
    };
    connection.write_all(format!("{head}{length}\r\n\r\n").as_bytes())?;
    let mut left = bytes;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(piece.len()).min(piece.len());
        if !announced {
            connection.write_all(format!("{size:x}\r\n").as_bytes())?;
        }
        connection.write_all(&piece[..size])?;
        if !announced {
            connection.write_all(b"\r\n")?;
        }
        left -= size as u64;
    }
    if !announced {
        connection.write_all(b"0\r\n\r\n")?;
    }
    Ok(true)
}
