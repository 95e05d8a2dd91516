//! Turns this program's errors into HTTP answers: `application/problem+json` (RFC 9457).

use hyper::{
    HeaderMap, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::{Map, Value, json};

use crate::{
    diagnostic,
    error::{Error, ErrorKind},
    script::Failure,
};

/// An answer that says what was wrong, where, and what to do next.
///
/// A problem is a `warp` reply, a `warp` rejection and, by [`Problem::into_response`], an answer
/// with any other type of body.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    /// Further members of the body, in order: `detail` and the rest.
    members: Map<String, Value>,
    headers: HeaderMap,
}

/// The status and the title of each kind of error. The title is the same in all cases.
///
/// `not_found` is 422: the daemon does not have something that the request names. 404 would say
/// that the *route* does not exist.
fn meaning(kind: ErrorKind) -> (u16, &'static str) {
    match kind {
        ErrorKind::Usage => (400, "The request is wrong"),
        ErrorKind::Busy => (409, "Something else is at work"),
        ErrorKind::Cancelled => (409, "The run was cancelled"),
        ErrorKind::Daemon => (422, "The volume daemon refused"),
        ErrorKind::Guard => (422, "A guard stopped it"),
        ErrorKind::NotFound => (422, "The volume daemon does not have it"),
        ErrorKind::Denied => (422, "The daemon's key or user may not do it"),
        ErrorKind::Unreachable => (502, "The volume daemon can't be reached"),
        ErrorKind::Protocol => (502, "The volume daemon's answer is not understood"),
        ErrorKind::Repository => (502, "A repository can't be read or written"),
        ErrorKind::Timeout => (504, "The volume daemon did not answer in time"),
        ErrorKind::DeadlineExceeded => (504, "The run took too long"),
        ErrorKind::Script => (500, "The script failed"),
        ErrorKind::Limit => (500, "The script went beyond a limit"),
        ErrorKind::Configuration => (500, "The configuration is wrong"),
        ErrorKind::Io => (500, "A file could not be read or written"),
        ErrorKind::Internal => (500, "This is a defect of the program"),
    }
}

impl Problem {
    fn new(
        (status, title): (u16, &'static str),
        code: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut members = Map::new();
        members.insert("detail".into(), Value::String(detail.into()));
        Self(Box::new(Parts { status, code, title, members, headers: HeaderMap::new() }))
    }

    fn of_kind(kind: ErrorKind, detail: impl Into<String>) -> Self {
        Self::new(meaning(kind), kind.code(), detail)
    }

    /// 400: the request is wrong, and nothing was done.
    pub(crate) fn usage(detail: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Usage, detail)
    }

    /// 401, with the challenge that RFC 6750 wants.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new((401, "A token is needed"), "unauthorized", detail).with_header(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"convoy-backups\""),
        )
    }

    /// 403: the client is known, and may not do this.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new((403, "This is not allowed"), "forbidden", detail)
    }

    /// 404: there is no such script, run, entry or route. Something that the *daemon* does not have
    /// is 422: see [`meaning`].
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new((404, "There is no such thing"), "not_found", detail)
    }

    /// 405; `allowed` are the methods that the route has, such as `["GET", "HEAD"]`.
    pub(crate) fn method(allowed: &[&str]) -> Self {
        let allowed = allowed.join(", ");
        let problem = Self::new(
            (405, "The method is not for this"),
            "method",
            "this method is not for this route",
        )
        .with_hint(format!("it has: {allowed}"));
        match HeaderValue::from_str(&allowed) {
            Ok(allowed) => problem.with_header(ALLOW, allowed),
            Err(_) => problem,
        }
    }

    /// 408: the body did not come in time.
    pub(crate) fn too_slow(detail: impl Into<String>) -> Self {
        Self::new((408, "The request took too long to come in"), "too_slow", detail)
    }

    /// 409: the entry runs already, or the run has already ended.
    pub(crate) fn busy(detail: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Busy, detail)
    }

    /// 413; `most` is the limit in bytes.
    pub(crate) fn too_large(most: usize) -> Self {
        Self::new(
            (413, "The body is too large"),
            "too_large",
            format!("the body is larger than {most} bytes"),
        )
    }

    /// 415: the body is neither JSON nor a form.
    pub(crate) fn media_type(detail: impl Into<String>) -> Self {
        Self::new((415, "The body's type is not understood"), "media_type", detail)
            .with_hint("send \"Content-Type: application/json\" or application/x-www-form-urlencoded, in UTF-8")
    }

    /// 421: the `Host` is not a name of this server.
    pub(crate) fn misdirected(detail: impl Into<String>) -> Self {
        Self::new((421, "The host's name is not known"), "misdirected", detail)
    }

    /// 429; the client may try again after `seconds`.
    pub(crate) fn too_many_requests(detail: impl Into<String>, seconds: u64) -> Self {
        Self::new((429, "Too many failed tries"), "too_many_requests", detail)
            .with_header(RETRY_AFTER, seconds.into())
    }

    fn ending(detail: &str) -> Self {
        let meaning = (503, "The server ends");
        Self::new(meaning, "shutting_down", detail).with_header(RETRY_AFTER, 10.into())
    }

    /// 503: the program is ending and starts no further run.
    pub(crate) fn shutting_down() -> Self {
        Self::ending("the server is ending, and starts nothing new")
            .with_hint("try again when it is back")
    }

    /// 503: the run was cut off, because the program ended first.
    pub(crate) fn cut_off() -> Self {
        Self::ending("the run was cut off: the program ended before it").with_hint(
            "look at what it did until then, and start it again when the program is back",
        )
    }

    /// 503: all connections are in use.
    pub(crate) fn overloaded() -> Self {
        Self::new(
            (503, "There are too many connections"),
            "overloaded",
            "all connections are in use",
        )
        .with_hint("try again later; BKUP_API_MAX_CONNECTIONS says how many there may be")
        .with_header(RETRY_AFTER, 5.into())
    }

    /// The problem of a run that failed on volumes: the status and the words of the first failure,
    /// all `failures`, and the `result`. `None`: there is no failure.
    pub(crate) fn of_failures(run: &str, failures: &[Failure], result: &Value) -> Option<Self> {
        let first = failures.first()?;
        let kind = ErrorKind::of_code(&first.code).unwrap_or(ErrorKind::Internal);
        let detail = match failures.len() - 1 {
            0 => format!("{}: {}", first.volume, first.message),
            more => format!("{}: {} (and {more} more)", first.volume, first.message),
        };
        let mut problem =
            Self::from(Error::new(kind, detail)).with_run(run).with_result(result.clone());
        let failures = failures.iter().map(|failure| {
            json!({ "volume": failure.volume, "code": failure.code, "message": failure.message, "hint": failure.hint })
        });
        problem.0.members.insert("failures".into(), failures.collect());
        Some(problem)
    }

    /// Adds a hint: what to do next.
    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        self.with("hint", hint.into())
    }

    /// Adds the field of the body, or the part of the query, that is wrong.
    #[must_use]
    pub(crate) fn with_field(self, field: impl Into<String>) -> Self {
        self.with("field", field.into())
    }

    /// Adds the id of the run.
    #[must_use]
    pub(crate) fn with_run(self, run: impl Into<String>) -> Self {
        self.with("run", run.into())
    }

    /// Adds the result of a run that failed but returned one.
    #[must_use]
    pub(crate) fn with_result(self, result: Value) -> Self {
        self.with("result", result)
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.members.insert(name.into(), value.into());
        self
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The code of the error, such as `usage`.
    #[cfg(test)]
    pub(crate) fn code(&self) -> &'static str {
        self.0.code
    }

    /// The body.
    pub(crate) fn to_json(&self) -> Value {
        let Parts { status, code, title, members, .. } = &*self.0;
        let mut body = json!({
            "type": format!("urn:convoy-backups:error:{code}"),
            "title": title,
            "status": status.as_u16(),
            "code": code,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(members.clone());
        }
        body
    }

    /// The answer, with any type of body.
    pub(crate) fn into_response<B: From<String>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.to_json().to_string()));
        *response.status_mut() = self.0.status;
        *response.headers_mut() = self.0.headers;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let mut problem = Self::of_kind(error.kind, error.message.clone());
        if let Some(field) = &error.field {
            problem = problem.with_field(field.as_str());
        }
        let json = diagnostic::to_json(&error);
        for name in ["hint", "request", "location"] {
            match json.get(name) {
                None | Some(Value::Null) => {}
                Some(value) => problem = problem.with(name, value.clone()),
            }
        }
        problem
    }
}

impl warp::Reply for Problem {
    fn into_response(self) -> warp::reply::Response {
        self.into_response()
    }
}

impl warp::reject::Reject for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_becomes_its_status_with_all_that_it_says() {
        for (kind, status) in [
            (ErrorKind::Usage, 400),
            (ErrorKind::Busy, 409),
            (ErrorKind::Cancelled, 409),
            (ErrorKind::Daemon, 422),
            (ErrorKind::Guard, 422),
            (ErrorKind::NotFound, 422),
            (ErrorKind::Unreachable, 502),
            (ErrorKind::Protocol, 502),
            (ErrorKind::Repository, 502),
            (ErrorKind::Timeout, 504),
            (ErrorKind::DeadlineExceeded, 504),
            (ErrorKind::Script, 500),
            (ErrorKind::Limit, 500),
            (ErrorKind::Configuration, 500),
            (ErrorKind::Io, 500),
            (ErrorKind::Internal, 500),
        ] {
            let problem = Problem::from(Error::new(kind, "x"));
            assert_eq!((problem.status().as_u16(), problem.code()), (status, kind.code()));
        }
        let error = Error::new(ErrorKind::Daemon, "no space")
            .with_hint("make room")
            .with_request("POST /backups/create");
        let body =
            Problem::from(error.with_status(500)).with_run("r1").with_field("volume").to_json();
        assert_eq!(
            body,
            json!({
                "type": "urn:convoy-backups:error:daemon", "title": "The volume daemon refused", "status": 422,
                "code": "daemon", "detail": "no space", "hint": "make room", "request": "POST /backups/create",
                "run": "r1", "field": "volume",
            })
        );
    }

    #[test]
    fn a_run_that_failed_on_volumes_has_the_first_failures_status_and_all_of_them() {
        let failure = |volume: &str, code: &str| Failure {
            volume: volume.into(),
            code: code.into(),
            message: format!("{volume} is full"),
            hint: None,
        };
        let failures = [failure("vol1", "daemon"), failure("vol2", "timeout")];
        let problem = Problem::of_failures("r1", &failures, &json!([1])).unwrap();
        let body = problem.to_json();
        assert_eq!(problem.status(), 422);
        assert_eq!((&body["result"], &body["run"]), (&json!([1]), &json!("r1")));
        assert_eq!(body["detail"], "vol1: vol1 is full (and 1 more)");
        assert_eq!(
            body["failures"][1],
            json!({"volume": "vol2", "code": "timeout", "message": "vol2 is full", "hint": null})
        );
        assert!(Problem::of_failures("r1", &[], &Value::Null).is_none());
    }

    #[test]
    fn an_answer_says_what_the_client_needs_in_headers_too() {
        let response: Response<String> = Problem::method(&["GET", "HEAD"]).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[ALLOW]),
            (405, &HeaderValue::from_static("GET, HEAD"))
        );
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let response: Response<String> = Problem::too_many_requests("x", 7).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (429, &HeaderValue::from(7))
        );
        let response: Response<String> = Problem::unauthorized("x").into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer realm=\"convoy-backups\"");
    }
}
