//! Sends one request and reads its whole answer, over a connection of its own.

use std::{io, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Body as _, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

use super::{
    call::Call,
    failure::{Failure, MAX_ANSWER_LENGTH},
};
use crate::convoy::{HINT, KIND};

/// What the daemon answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// The hint for an error. Only our server sends it.
    pub(crate) hint: Option<String>,
    /// The kind of an error. Only our server sends it.
    pub(crate) kind: Option<String>,
}

/// Sends `call` to `socket` and reads the whole answer within the call's deadline.
pub(super) async fn exchange(
    socket: &Path,
    call: &Call,
    connect: Duration,
) -> Result<Answer, Failure> {
    let stream = match timeout(connect.min(call.deadline), UnixStream::connect(socket)).await {
        Ok(connected) => connected.map_err(Failure::NotConnected)?,
        Err(_) => return Err(Failure::ConnectDeadline),
    };
    timeout(call.deadline, converse(stream, call)).await.unwrap_or(Err(Failure::Deadline))
}

async fn converse(stream: UnixStream, call: &Call) -> Result<Answer, Failure> {
    let body = call.body.as_ref().map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let request = Request::builder()
        .method(&call.method)
        .uri(format!("/v1{}", call.route))
        .header(header::HOST, "localhost")
        .header(header::USER_AGENT, "Convoy-Client/1")
        .header(header::CONTENT_TYPE, "application/json")
        // Go reads a body only if its length is announced; otherwise it answers `EOF`.
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::CONNECTION, "close")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| Failure::NotConnected(io::Error::other(error)))?;

    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // This future drives both the connection and the request. When the deadline drops the future,
    // the socket closes too.
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let (hint, kind) = (header(HINT), header(KIND));
        let mut incoming = response.into_body();
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
        Ok(Answer { status, body, hint, kind })
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
