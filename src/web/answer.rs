//! What answers are made with: JSON, and work that blocks.

use serde::Serialize;
use warp::{
    http::{HeaderValue, header::CONTENT_TYPE},
    reply::Response,
};

use super::problem::Problem;
use crate::{
    blocking,
    error::{Error, ErrorKind, Result},
};

/// A JSON answer.
pub(super) fn json_answer<T: Serialize + ?Sized>(value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(text.into());
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => Problem::from(Error::internal(error.to_string())).into_response(),
    }
}

/// Does what blocks on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Problem> {
    blocking::try_run("the answer", ErrorKind::Internal, work).await.map_err(Problem::from)
}
