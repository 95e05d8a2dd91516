//! An answer as Convoy writes it, and what our server adds to it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Response, StatusCode,
    body::{Body, Frame},
    header::{CONTENT_TYPE, HeaderValue},
};
use tokio::sync::mpsc;

use crate::{
    convoy::{HINT, KIND},
    error::ErrorKind,
};

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: String,
    /// What to do about an error. It goes into a header, because Convoy's answers have no place for
    /// it.
    pub(super) hint: Option<String>,
    /// An error's kind. It goes into a header, because Convoy's words tell only part of it.
    pub(super) kind: Option<ErrorKind>,
    /// What comes piece by piece, in place of a body.
    pub(super) pieces: Option<mpsc::Receiver<Bytes>>,
}

/// The body of an answer.
pub(super) type AnswerBody = Either<Full<Bytes>, Pieces>;

/// A body that comes piece by piece.
pub(super) struct Pieces(mpsc::Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

impl Answer {
    pub(super) fn text(body: String) -> Self {
        Self { status: 200, body, hint: None, kind: None, pieces: None }
    }

    /// An error as plain text with a newline, as Go's `http.Error` writes it.
    pub(super) fn error(status: u16, message: &str) -> Self {
        Self { status, body: format!("{message}\n"), hint: None, kind: None, pieces: None }
    }

    /// What comes piece by piece.
    pub(super) fn pieces(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self { pieces: Some(pieces), ..Self::text(String::new()) }
    }

    pub(super) fn into_response(self) -> Response<AnswerBody> {
        if let Some(pieces) = self.pieces {
            let mut response = Response::new(Either::Right(Pieces(pieces)));
            let binary = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(CONTENT_TYPE, binary);
            return response;
        }
        let empty = self.body.is_empty();
        let mut response = Response::new(Either::Left(Full::new(Bytes::from(self.body))));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        if let Some(hint) = self.hint.and_then(|hint| HeaderValue::from_bytes(hint.as_bytes()).ok())
        {
            response.headers_mut().insert(HINT, hint);
        }
        if let Some(kind) = self.kind {
            response.headers_mut().insert(KIND, HeaderValue::from_static(kind.code()));
        }
        if !empty {
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        }
        response
    }
}
