//! One HTTP request over a unix socket, and its whole answer, over a connection of its own.

use std::{fmt, io, os::unix::fs::FileTypeExt as _, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Body as _, client::conn::http1, header::HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

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

/// Sends `request` to `socket` and reads the whole answer in time.
pub(crate) async fn exchange(
    socket: &Path,
    request: Request<Full<Bytes>>,
    times: Times,
) -> Result<Answer, Failure> {
    let Times { connect, deadline } = times;
    let stream = match timeout(connect.min(deadline), UnixStream::connect(socket)).await {
        Ok(connected) => connected.map_err(Failure::NotConnected)?,
        Err(_) => return Err(Failure::ConnectDeadline),
    };
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
