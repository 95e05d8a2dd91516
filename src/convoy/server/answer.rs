//! An answer as Convoy writes it, and what our server adds to it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

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
}

impl Answer {
    pub(super) fn text(body: String) -> Self {
        Self { status: 200, body, hint: None, kind: None }
    }

    /// An error as plain text with a newline, as Go's `http.Error` writes it.
    pub(super) fn error(status: u16, message: &str) -> Self {
        Self { status, body: format!("{message}\n"), hint: None, kind: None }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let empty = self.body.is_empty();
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
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
