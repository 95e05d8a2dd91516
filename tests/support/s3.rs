//! An S3 service with one bucket, `bucket`, in memory: what the protocol says of single objects and
//! of lists, in small pages.
//!
//! It checks what a client signs for each content, and does as a test says: fails, denies, forgets.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// The key's id that it knows.
pub const KEY_ID: &str = "the-keys-id";
/// So many objects are listed at a time.
const PAGE: usize = 3;

/// What is answered in place of the truth: this status, with this code in its words.
pub type Fault = Box<dyn FnMut(&Request) -> Option<(u16, &'static str)> + Send>;

/// The code of a fault where what was asked is done all the same, and the answer is lost.
pub const DONE: &str = "Done";
/// The code of a fault where the answer breaks off in its middle.
pub const BREAKS_OFF: &str = "BreaksOff";

/// A request, as far as it matters.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// The object's name; empty for the bucket.
    pub object: String,
    pub query: BTreeMap<String, String>,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, Timestamp)>,
    requests: Vec<Request>,
    fault: Option<Fault>,
    connections: Vec<TcpStream>,
    knows_no_tokens: bool,
    is_over: bool,
}

/// The service; it ends when dropped.
pub struct S3 {
    address: String,
    state: Arc<Mutex<State>>,
    acceptor: Option<JoinHandle<()>>,
}

impl S3 {
    /// A service that listens on this machine alone.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut state = shared.lock().unwrap();
                if state.is_over {
                    return;
                }
                state.connections.push(stream.try_clone().unwrap());
                drop(state);
                let shared = shared.clone();
                std::thread::spawn(move || converse(stream, &shared));
            }
        });
        Self { address, state, acceptor: Some(acceptor) }
    }

    /// Its address: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The names of its objects.
    pub fn names(&self) -> Vec<String> {
        self.state().objects.keys().cloned().collect()
    }

    /// Writes an object.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        self.state().objects.insert(name.to_owned(), (content, Timestamp::UNIX_EPOCH));
    }

    /// Removes the objects of these names.
    pub fn remove(&self, which: impl Fn(&str) -> bool) {
        self.state().objects.retain(|name, _| !which(name));
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// From now on, what this says (status and code) is answered in place of the truth.
    pub fn fault(
        &self,
        fault: impl FnMut(&Request) -> Option<(u16, &'static str)> + Send + 'static,
    ) {
        self.state().fault = Some(Box::new(fault));
    }

    /// From now on, the ends of lists can't be reached.
    pub fn know_no_tokens(&self) {
        self.state().knows_no_tokens = true;
    }

    /// All is well again.
    pub fn mend(&self) {
        self.state().fault = None;
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let mut state = self.state();
        state.is_over = true;
        state
            .connections
            .drain(..)
            .for_each(|connection| _ = connection.shutdown(std::net::Shutdown::Both));
        drop(state);
        _ = TcpStream::connect(&self.address);
        _ = self.acceptor.take().map(JoinHandle::join);
    }
}

fn converse(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        let is_head = request.method == "HEAD";
        let (status, headers, body) = answer(&mut state.lock().unwrap(), request);
        let breaks_off = status == 0;
        let status = if breaks_off { 200 } else { status };
        let mut text = format!("HTTP/1.1 {status} .\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let body = if is_head { &[][..] } else { &body };
        if breaks_off {
            _ = stream
                .write_all(text.as_bytes())
                .and_then(|()| stream.write_all(&body[..body.len() / 2]));
            return;
        }
        if stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = format!("{path}/");
    let object =
        path.strip_prefix("/bucket/").map(|object| object.trim_end_matches('/').to_owned());
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    // Of another bucket there is nothing.
    Some(Request { method, object: object.unwrap_or_else(|| "/".into()), query, headers, body })
}

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn refused(status: u16, code: &str) -> Answer {
    (
        status,
        vec![],
        format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>").into_bytes(),
    )
}

fn answer(state: &mut State, request: Request) -> Answer {
    state.requests.push(request.clone());
    match state.fault.as_mut().and_then(|fault| fault(&request)) {
        None => {}
        Some((status, DONE)) => {
            truth(state, request);
            return refused(status, "InternalError");
        }
        Some((_, BREAKS_OFF)) => {
            let (_, headers, body) = truth(state, request);
            return (0, headers, body);
        }
        Some((status, code)) => return refused(status, code),
    }
    truth(state, request)
}

fn truth(state: &mut State, request: Request) -> Answer {
    let signed = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
    if !signed.starts_with(&format!("AWS4-HMAC-SHA256 Credential={KEY_ID}/")) {
        return refused(403, "InvalidAccessKeyId");
    }
    let digest: String =
        Sha256::digest(&request.body).iter().map(|byte| format!("{byte:02x}")).collect();
    if request.headers.get("x-amz-content-sha256") != Some(&digest) {
        return refused(400, "XAmzContentSHA256Mismatch");
    }
    if request.object == "/" {
        return refused(404, "NoSuchBucket");
    }
    let found = state.objects.get(&request.object);
    let modified = |time: &Timestamp| {
        ("Last-Modified", time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    };
    match (request.method.as_str(), found) {
        ("GET", _) if request.object.is_empty() => list(state, &request),
        ("GET" | "HEAD", None) => refused(404, "NoSuchKey"),
        ("GET" | "HEAD", Some((content, time))) => match request.headers.get("range") {
            None => (200, vec![modified(time)], content.clone()),
            Some(range) => {
                let (from, to) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
                let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                match content.get(from..content.len().min(to + 1)) {
                    Some(part) if !part.is_empty() => {
                        let range =
                            format!("bytes {from}-{}/{}", from + part.len() - 1, content.len());
                        (206, vec![modified(time), ("Content-Range", range)], part.to_vec())
                    }
                    _ => refused(416, "InvalidRange"),
                }
            }
        },
        ("PUT", Some(_)) if request.headers.contains_key("if-none-match") => {
            refused(412, "PreconditionFailed")
        }
        ("PUT", _) => {
            state.objects.insert(request.object, (request.body, Timestamp::now()));
            (200, vec![], Vec::new())
        }
        ("DELETE", _) => {
            state.objects.remove(&request.object);
            (204, vec![], Vec::new())
        }
        _ => refused(405, "MethodNotAllowed"),
    }
}

fn list(state: &State, request: &Request) -> Answer {
    let of = |name: &str| request.query.get(name).cloned().unwrap_or_default();
    let (prefix, behind) = (of("prefix"), of("continuation-token"));
    let mut all =
        state.objects.iter().filter(|(name, _)| name.starts_with(&prefix) && **name > behind);
    let page: Vec<_> = all.by_ref().take(PAGE).collect();
    let next = page.last().filter(|_| all.next().is_some()).map(|(name, _)| *name);
    let mut text = "<?xml version=\"1.0\"?><ListBucketResult>".to_owned();
    for (name, (content, time)) in &page {
        text += &format!(
            "<Contents><Key>{name}</Key><Size>{}</Size><LastModified>{time:.3}</LastModified></Contents>",
            content.len()
        );
    }
    text += &format!("<IsTruncated>{}</IsTruncated>", next.is_some());
    // The first version of lists has no tokens.
    if let Some(next) = next.filter(|_| !state.knows_no_tokens) {
        text += &format!("<NextContinuationToken>{next}</NextContinuationToken>");
    }
    (
        200,
        vec![("Content-Type", "application/xml".into())],
        (text + "</ListBucketResult>").into_bytes(),
    )
}
