//! One HTTP request over a unix socket, and its answer, whole or piece by piece, over a connection of
//! its own.

use std::{
    fmt, io,
    os::unix::fs::FileTypeExt as _,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1,
    header::HeaderMap,
};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};

/// The longest answer that is read, in bytes. A list of ten thousand volumes has about 10 MiB.
pub(crate) const MAX_ANSWER_LENGTH: usize = 64 << 20;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header; characters that are no UTF-8 are replaced.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}

/// How long an exchange may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Getting a connection.
    pub(crate) connect: Duration,
    /// All of it, until the whole answer has arrived.
    pub(crate) deadline: Duration,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection failed, so nothing was sent.
    NotConnected(io::Error),
    /// The connection was not made in time, so nothing was sent.
    ConnectDeadline,
    /// The connection broke before the whole answer arrived. The request may have been sent.
    Broken(String),
    /// The deadline passed. The request may have been sent.
    Deadline,
    /// The answer is not HTTP.
    NotHttp(String),
    /// The answer is longer than [`MAX_ANSWER_LENGTH`].
    TooLarge,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(error) => write!(f, "no connection: {error}"),
            Self::ConnectDeadline => f.write_str("no connection in time"),
            Self::Broken(why) => write!(f, "the connection broke: {why}"),
            Self::Deadline => f.write_str("no answer in time"),
            Self::NotHttp(why) => write!(f, "not HTTP: {why}"),
            Self::TooLarge => f.write_str("the answer is too long"),
        }
    }
}

/// Whether the socket's path holds something else than a socket.
pub(crate) fn is_another_file(socket: &Path) -> bool {
    std::fs::metadata(socket).is_ok_and(|found| !found.file_type().is_socket())
}

/// Takes the body of an answer while it arrives.
pub(crate) trait Receiver {
    /// Why nothing more is wanted.
    type Stop;

    /// The next piece of the body of an answer with a status of success.
    ///
    /// # Errors
    /// If nothing more is wanted.
    fn piece(&mut self, piece: &[u8]) -> Result<(), Self::Stop>;

    /// Nothing arrived for so long; it is said several times a second.
    ///
    /// # Errors
    /// If nothing more is waited for.
    fn waited(&mut self, silent: Duration) -> Result<(), Self::Stop>;
}

/// How often a [`Receiver`] is told that nothing arrives.
const LOOK: Duration = Duration::from_millis(50);

/// Sends `request` to `socket`, and gives the body of the answer to the receiver. The body of an answer
/// that refuses comes back in the answer, at most [`MAX_ANSWER_LENGTH`] of it.
///
/// # Errors
/// The outer one if there is no whole answer, the inner one if the receiver stopped.
pub(crate) async fn stream<R: Receiver>(
    socket: &Path,
    request: Request<Full<Bytes>>,
    connect: Duration,
    receiver: &mut R,
) -> Result<Result<Answer, R::Stop>, Failure> {
    let stream = connected(socket, connect).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let response = match patiently(sender.send_request(request), receiver).await {
            Ok(response) => response.map_err(broken)?,
            Err(stop) => return Ok(Err(stop)),
        };
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        loop {
            let frame = match patiently(incoming.frame(), receiver).await {
                Ok(frame) => frame,
                Err(stop) => return Ok(Err(stop)),
            };
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if !head.status.is_success() {
                if body.len() + data.len() > MAX_ANSWER_LENGTH {
                    return Err(Failure::TooLarge);
                }
                body.extend_from_slice(&data);
            } else if let Err(stop) = receiver.piece(&data) {
                return Ok(Err(stop));
            }
        }
        Ok(Ok(Answer { status: head.status, headers: head.headers, body }))
    };
    driven(exchange, connection).await
}

/// An answer whose body is read piece by piece, as fast as it is taken.
pub(crate) struct Opened {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Opened {
    /// The next piece of the body; `None` behind the last one.
    ///
    /// # Errors
    /// If the connection breaks.
    pub(crate) async fn piece(&mut self) -> Option<Result<Bytes, Failure>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(data) => return Some(Ok(data)),
                    Err(_) => continue,
                },
                Err(error) => return Some(Err(broken(error))),
            }
        }
    }

    /// The whole answer, with the body, of which nothing was read yet.
    ///
    /// # Errors
    /// If the connection breaks, or if it is longer than [`MAX_ANSWER_LENGTH`].
    pub(crate) async fn whole(mut self) -> Result<Answer, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await {
            let piece = piece?;
            if body.len() + piece.len() > MAX_ANSWER_LENGTH {
                return Err(Failure::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: self.status, headers: std::mem::take(&mut self.headers), body })
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Sends `request` to `socket`, and waits until the answer begins.
pub(crate) async fn open(
    socket: &Path,
    request: Request<Full<Bytes>>,
    times: Times,
) -> Result<Opened, Failure> {
    let Times { connect, deadline } = times;
    let stream = connected(socket, connect.min(deadline)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(async move { _ = connection.await });
    let answered = timeout(deadline, sender.send_request(request)).await;
    match answered {
        Ok(Ok(response)) => {
            let (head, body) = response.into_parts();
            Ok(Opened { status: head.status, headers: head.headers, body, connection })
        }
        Ok(Err(error)) => Err(broken(error)),
        Err(_) => {
            connection.abort();
            Err(Failure::Deadline)
        }
    }
}

/// A connection that is made in time.
async fn connected(socket: &Path, within: Duration) -> Result<UnixStream, Failure> {
    match timeout(within, UnixStream::connect(socket)).await {
        Ok(connected) => connected.map_err(Failure::NotConnected),
        Err(_) => Err(Failure::ConnectDeadline),
    }
}

/// Waits for a future, and tells the receiver for how long.
async fn patiently<F: Future, R: Receiver>(
    future: F,
    receiver: &mut R,
) -> Result<F::Output, R::Stop> {
    let since = Instant::now();
    tokio::pin!(future);
    loop {
        match timeout(LOOK, &mut future).await {
            Ok(done) => return Ok(done),
            Err(_) => receiver.waited(since.elapsed())?,
        }
    }
}

/// Sends `request` to `socket` and reads the whole answer in time.
pub(crate) async fn exchange(
    socket: &Path,
    request: Request<Full<Bytes>>,
    times: Times,
) -> Result<Answer, Failure> {
    let Times { connect, deadline } = times;
    let stream = connected(socket, connect.min(deadline)).await?;
    timeout(deadline, converse(stream, request)).await.unwrap_or(Err(Failure::Deadline))
}

async fn converse(stream: UnixStream, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // This future drives both the connection and the request. When the deadline drops the future,
    // the socket closes too.
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, mut incoming) = response.into_parts();
        if incoming.size_hint().lower() > MAX_ANSWER_LENGTH as u64 {
            return Err(Failure::TooLarge);
        }
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                if body.len() + data.len() > MAX_ANSWER_LENGTH {
                    return Err(Failure::TooLarge);
                }
                body.extend_from_slice(&data);
            }
        }
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    driven(exchange, connection).await
}

/// An exchange, while its connection is driven.
async fn driven<T>(exchange: impl Future<Output = T>, connection: impl Future) -> T {
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection can end before the exchange does, because the last bytes arrived together
        // with its end. The answer can then be read.
        _ = &mut connection => exchange.await,
    }
}

fn broken(error: hyper::Error) -> Failure {
    if error.is_parse() {
        Failure::NotHttp(error.to_string())
    } else {
        Failure::Broken(error.to_string())
    }
}
