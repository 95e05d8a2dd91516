//! An S3 service with one bucket, `bucket`, in memory: what the protocol says of single objects and
//! of lists, in small pages.
//!
//! It checks what a client signs for each content, and does as a test says: fails, denies, forgets. Its
//! answers about versions and locks are those that moto 5.2 gave to the same requests.

mod truth;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
};

use jiff::{SignedDuration, Timestamp};

use truth::{Object, Version, truth};

/// The id of the key that may do everything.
pub const KEY_ID: &str = "the-keys-id";
/// The id of the key that may only list, read and create: each of its writes has to say that nothing is
/// there, as the condition key `s3:if-none-match` of a bucket's policy demands it.
pub const WEAK_KEY_ID: &str = "the-weak-keys-id";

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
    objects: BTreeMap<String, Object>,
    is_versioned: bool,
    has_locks: bool,
    /// Whether it locks each object that is written, also without being asked.
    locks_by_default: bool,
    /// Whether it does not know the headers with which a lock is asked for.
    ignores_locks: bool,
    /// Whether it demands `Content-MD5` where locks are made longer.
    demands_md5: bool,
    /// How many versions were made.
    versions: u64,
    /// What another writes before objects with such names.
    first: Option<(&'static str, &'static [u8])>,
    /// By how much its clock is ahead.
    ahead: SignedDuration,
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
        let state = self.state();
        let there = state.objects.iter().filter(|(_, object)| object.content().is_some());
        there.map(|(name, _)| name.clone()).collect()
    }

    /// Writes an object.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        let mut object = Object::default();
        object.0.push(Version::of(Some(content), Timestamp::UNIX_EPOCH));
        self.state().objects.insert(name.to_owned(), object);
    }

    /// Removes the objects of these names, with all their versions.
    pub fn remove(&self, which: impl Fn(&str) -> bool) {
        self.state().objects.retain(|name, _| !which(name));
    }

    /// The objects' contents.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let content = |object: &Object| Some(object.content()?.to_vec());
        let all = state.objects.iter();
        all.filter_map(|(name, object)| Some((name.clone(), content(object)?))).collect()
    }

    /// From now on, it locks objects.
    pub fn lock_objects(&self) {
        self.state().has_locks = true;
    }

    /// From now on, it locks each object that is written, and demands a checksum of each.
    pub fn lock_objects_by_default(&self) {
        self.lock_objects();
        self.state().locks_by_default = true;
    }

    /// From now on, it takes writes that ask for a lock, and locks nothing.
    pub fn ignore_locks(&self) {
        self.state().ignores_locks = true;
    }

    /// From now on, it demands `Content-MD5` where locks are made longer, as services other than Amazon's.
    pub fn demand_md5(&self) {
        self.state().demands_md5 = true;
    }

    /// Until when each object that is there is locked, if it is.
    pub fn locks(&self) -> Vec<(String, Option<Timestamp>)> {
        let state = self.state();
        let there = state.objects.iter().filter(|(_, object)| object.content().is_some());
        there.map(|(name, object)| (name.clone(), object.0.last().unwrap().locked)).collect()
    }

    /// Makes the ends of all locks earlier by this much.
    pub fn set_locks_behind(&self, by: SignedDuration) {
        let mut state = self.state();
        let versions = state.objects.values_mut().flat_map(|object| &mut object.0);
        versions.filter_map(|version| version.locked.as_mut()).for_each(|until| *until -= by);
    }

    /// Writes this in place of each object; `None`: removes it.
    pub fn overwrite(&self, by: impl Fn(&str) -> Option<Vec<u8>>) {
        let names = self.names();
        let mut state = self.state();
        names.into_iter().for_each(|name| {
            let content = by(&name);
            state.write(name, content);
        });
    }

    /// From now on, it keeps the versions of objects.
    pub fn keep_versions(&self) {
        self.state().is_versioned = true;
    }

    /// From now on, its clock is ahead by this much.
    pub fn set_ahead(&self, by: SignedDuration) {
        self.state().ahead = by;
    }

    /// Makes the objects with such names older.
    pub fn set_behind(&self, names: &str, by: SignedDuration) {
        let mut state = self.state();
        let objects = state.objects.iter_mut().filter(|(name, _)| name.contains(names));
        objects.for_each(|(_, object)| object.make_older(by));
    }

    /// From now on, there is this where an object is to be written for the first time: another wrote it
    /// just before.
    pub fn be_first(&self, names: &'static str, content: &'static [u8]) {
        self.state().first = Some((names, content));
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
