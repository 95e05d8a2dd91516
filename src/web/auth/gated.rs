//! The service with the gate in front of the routes: checks each request, signs in and out, and
//! lets pages of other origins use the API only where that is configured.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use http_body_util::BodyDataStream;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::Body,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        HeaderValue, ORIGIN, SET_COOKIE, VARY,
    },
    http::request::Parts,
    service::Service,
};
use serde_json::{Value, json};
use warp::reply::Response;

use super::{
    gate::{Gate, changes_something},
    role::{Access, Role},
};
use crate::web::{answer::json_answer, body, problem::Problem};

/// A service behind the gate.
///
/// A request that passes has an [`super::Access`] in its extensions. Open requests need none:
/// `GET /healthz`, `GET /`, `GET /assets/..`. `/session` is answered here. The role `read` passes
/// with requests that change nothing, and with requests that may be a dry run: `POST /api/NAME` and
/// `POST /api/schedule/KEY/run`. The route checks whether such a request is a dry run
/// ([`super::Access::require_full`]).
#[derive(Debug, Clone)]
pub(crate) struct Gated<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Gated<S> {
    /// Puts a service behind a gate. `inner` is `TowerToHyperService::new(warp::service(routes))`.
    pub(crate) fn new(gate: Arc<Gate>, inner: S) -> Self {
        Self { gate, inner }
    }
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Display,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        // The target is `localhost` or `host:port` alone, without a path.
        if !parts.uri.path().starts_with('/') {
            return Box::pin(async {
                Ok(Problem::usage("the request has no path").into_response())
            });
        }
        let gate = self.gate.clone();
        let origin = gate.allowed_origin(&parts.headers);
        if let Some(origin) = &origin
            && parts.method == Method::OPTIONS
            && parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        {
            let response = preflight(origin);
            return Box::pin(async { Ok(response) });
        }
        if parts.uri.path() == "/session" {
            return Box::pin(async move {
                let response =
                    session(&gate, parts, body).await.unwrap_or_else(Problem::into_response);
                Ok(for_origin(response, origin))
            });
        }
        if !is_open(&parts) {
            match gate.admit(&parts) {
                Ok(access) => _ = parts.extensions.insert(access),
                Err(problem) => {
                    let response = for_origin(problem.into_response(), origin);
                    return Box::pin(async { Ok(response) });
                }
            }
        }
        let answer = self.inner.call(Request::from_parts(parts, body));
        Box::pin(async move { answer.await.map(|response| for_origin(response, origin)) })
    }
}

impl Gate {
    /// Checks a request by [`Gate::check`], and refuses requests that its role may never make.
    fn admit(&self, parts: &Parts) -> Result<Access, Problem> {
        let access = self.check(parts)?;
        if changes_something(&parts.method)
            && !(parts.method == Method::POST && may_look(parts.uri.path()))
        {
            access.require_full()?;
        }
        Ok(access)
    }

    /// The request's `Origin`, if it is a configured one.
    fn allowed_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        self.allow_origins
            .iter()
            .any(|allowed| allowed.as_bytes() == origin.as_bytes())
            .then(|| origin.clone())
    }
}

/// Whether a request needs no token: liveness and the dashboard's files hold nothing private.
fn is_open(parts: &Parts) -> bool {
    let path = parts.uri.path();
    !changes_something(&parts.method)
        && (matches!(path, "/" | "/healthz") || path.starts_with("/assets/"))
}

/// Whether a POST to a path may be a dry run: `/api/NAME` of a script, and `/api/schedule/KEY/run`
/// of an entry.
fn may_look(path: &str) -> bool {
    let is_one = |name: &str| !name.is_empty() && !name.contains('/');
    path.strip_prefix("/api/").is_some_and(|rest| {
        is_one(rest)
            || rest
                .strip_prefix("schedule/")
                .and_then(|rest| rest.strip_suffix("/run"))
                .is_some_and(is_one)
    })
}

/// Answers `/session`: the current session (GET), signing in (POST), signing out (DELETE).
async fn session<B>(gate: &Gate, parts: Parts, body: B) -> Result<Response, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    match parts.method {
        Method::GET | Method::HEAD => Ok(json_answer(&about(gate, gate.check(&parts)?.role))),
        Method::POST => {
            let given = body::read(&parts.headers, BodyDataStream::new(body), |_| false).await?;
            let (Some(Value::String(token)), 1) = (given.get("token"), given.len()) else {
                return Err(Problem::usage("signing in takes a token, and nothing else")
                    .with_field("token")
                    .with_hint("send {\"token\": \"..\"}"));
            };
            let (role, cookies) = gate.sign_in(&parts, token.trim())?;
            let mut response = json_answer(&about(gate, role));
            for cookie in cookies {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Method::DELETE => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            for cookie in gate.sign_out(&parts) {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            Ok(response)
        }
        _ => Err(Problem::method(&["GET", "HEAD", "POST", "DELETE"])),
    }
}

fn about(gate: &Gate, role: Role) -> Value {
    json!({ "role": role.as_str(), "host": gate.host, "version": env!("CARGO_PKG_VERSION") })
}

fn preflight(origin: &HeaderValue) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, DELETE"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, prefer, last-event-id"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    for_origin(response, Some(origin.clone()))
}

/// Lets a page of a configured origin read the answer. Cookies are never allowed: such a page has
/// to send a token.
fn for_origin(mut response: Response, origin: Option<HeaderValue>) -> Response {
    if let Some(origin) = origin {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("location, retry-after, run-id"),
        );
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
    response
}
