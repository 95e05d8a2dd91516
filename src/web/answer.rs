//! What handlers use to make an answer: JSON, and a thread for work that blocks.

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

/// Does work that blocks on a thread where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Problem> {
    blocking::try_run("the answer", ErrorKind::Internal, work).await.map_err(Problem::from)
}
