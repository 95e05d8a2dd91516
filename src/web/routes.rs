//! The routes: the handler of each path and method. The gate ([`super::auth::Gated`]) has already
//! checked what the client may do.
//!
//! A new route is a line in [`ROUTES`], its handler, and its path in `openapi/document.json`, which
//! a test compares with the table.

use std::{convert::Infallible, pin::Pin, sync::Arc};

use warp::{Filter, http::header::IF_NONE_MATCH, path::FullPath, reply::Response};

use super::{
    answer::blocking,
    assets,
    auth::Access,
    core::Core,
    events::{self, Hub},
    metrics, openapi,
    problem::Problem,
    request::{ApiRequest, READ_ONLY},
    runs, schedule, scripts, status,
};

const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const DELETE: &[&str] = &["DELETE"];

/// A path and its handlers.
struct Route {
    methods: &'static [&'static str],
    /// The path as OpenAPI writes it: `{..}` stands for any one part.
    path: &'static str,
    handler: fn(ApiRequest) -> Answer,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response, Problem>> + Send>>;

macro_rules! routes {
    ($($methods:ident $path:literal => $handler:path,)*) => {
        &[$(Route { methods: $methods, path: $path, handler: |request| Box::pin($handler(request)) }),*]
    };
}

/// Every route but `POST /api/NAME`, which runs a script ([`scripts::run`]), the dashboard's files
/// ([`assets`]), and `/session`, which the gate answers.
const ROUTES: &[Route] = routes![
    READ_ONLY  "/api/runs"                     => runs::list,
    READ_ONLY  "/api/runs/{id}"                => runs::show,
    DELETE     "/api/runs/{id}"                => runs::cancel,
    READ_ONLY  "/api/runs/{id}/log"            => runs::log,
    GET        "/api/events"                   => events::listen,
    READ_ONLY  "/api/scripts"                  => scripts::list,
    READ_ONLY  "/api/scripts/{name}"           => scripts::show,
    READ_ONLY  "/api/schedule"                 => schedule::show,
    POST       "/api/schedule/{key}/run"       => schedule::run,
    POST       "/api/schedule/{key}/pause"     => schedule::pause,
    POST       "/api/schedule/{key}/resume"    => schedule::resume,
    POST       "/api/schedule/{key}/{action}"  => schedule::unknown_action,
    READ_ONLY  "/api/status"                   => status::status,
    READ_ONLY  "/healthz"                      => status::health,
    READ_ONLY  "/readyz"                       => status::ready,
    READ_ONLY  "/metrics"                      => metrics::show,
    READ_ONLY  "/openapi.json"                 => openapi::show,
];

impl Route {
    /// The parts of a path in place of this route's `{..}`. `None`: the path does not match. A
    /// slash at the end of the path does not count.
    fn path_values(&self, path: &str) -> Option<Vec<String>> {
        let mut parts = path.strip_suffix('/').unwrap_or(path).split('/');
        let mut values = Vec::new();
        for expected in self.path.split('/') {
            match parts.next()? {
                part if part == expected => {}
                part if expected.starts_with('{') && !part.is_empty() => {
                    values.push(part.to_owned())
                }
                _ => return None,
            }
        }
        parts.next().is_none().then_some(values)
    }
}

/// All routes: the API and the dashboard's files.
pub(crate) fn routes(
    core: Arc<dyn Core>,
    hub: Arc<Hub>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let request = warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Access>())
        .map(move |method, path: FullPath, query, headers, access| ApiRequest {
            core: core.clone(),
            hub: hub.clone(),
            method,
            path: path.as_str().to_owned(),
            path_values: Vec::new(),
            query,
            headers,
            access,
        });
    // Scripts come first: a script may have the name of a path in the table.
    let script = warp::path!("api" / String)
        .and(warp::post())
        .and(request.clone())
        .and(warp::body::stream())
        .then(|name, request, body| answer(scripts::run(request, name, body)));
    let others = request.then(|request| answer(dispatch(request)));
    script.or(others).unify()
}

/// Calls the handler of a request's route.
async fn dispatch(mut request: ApiRequest) -> Result<Response, Problem> {
    let mut allowed: Vec<&str> = Vec::new();
    for route in ROUTES {
        let Some(values) = route.path_values(&request.path) else { continue };
        if route.methods.contains(&request.method.as_str()) {
            request.path_values = values;
            return (route.handler)(request).await;
        }
        for method in route.methods {
            if !allowed.contains(method) {
                allowed.push(method);
            }
        }
    }
    if allowed.is_empty() { fallback(request).await } else { Err(Problem::method(&allowed)) }
}

/// Answers requests that match no route: the dashboard's files, a wrong method for a script, or an
/// unknown path.
async fn fallback(request: ApiRequest) -> Result<Response, Problem> {
    let ApiRequest { core, method, path, headers, .. } = request;
    let file = if path == "/" { Some(assets::PAGE) } else { path.strip_prefix("/assets/") };
    if let Some(asset) = file.and_then(assets::find) {
        return if READ_ONLY.contains(&method.as_str()) {
            Ok(asset.answer(headers.get(IF_NONE_MATCH)))
        } else {
            Err(Problem::method(READ_ONLY))
        };
    }
    if let Some(name) = path.strip_prefix("/api/")
        && !name.contains('/')
        && let name = name.to_owned()
        && blocking(move || Ok(core.library()?.load(&name).is_ok())).await?
    {
        return Err(Problem::method(POST));
    }
    Err(Problem::not_found(format!(
        "there is nothing at \"{}\"",
        crate::text::escape(&crate::text::cut(&path, 200))
    ))
    .with_hint("/openapi.json says what there is"))
}

/// The handler's answer, or its problem as an answer.
async fn answer(made: impl Future<Output = Result<Response, Problem>>) -> Response {
    made.await.unwrap_or_else(warp::Reply::into_response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_route_is_in_the_openapi_document_and_the_reverse() {
        let document = openapi::document(&[]);
        let documented: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().unwrap().keys();
                methods.map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let routed: BTreeSet<(String, String)> = ROUTES
            .iter()
            // This route only answers which actions there are.
            .filter(|route| !route.path.ends_with("{action}"))
            .flat_map(|route| route.methods.iter().map(|method| (route.path, *method)))
            // Every GET has a HEAD in HTTP, so the document does not repeat it.
            .filter(|(_, method)| *method != "HEAD")
            .map(|(path, method)| (path.to_owned(), method.to_owned()))
            .collect();
        assert_eq!(routed, documented);
    }

    #[test]
    fn a_route_takes_its_own_paths_only() {
        let values = |path: &str| {
            let route = Route {
                methods: GET,
                path: "/api/runs/{id}/log",
                handler: |request| Box::pin(runs::log(request)),
            };
            route.path_values(path)
        };
        assert_eq!(values("/api/runs/a-1/log"), Some(vec!["a-1".to_owned()]));
        assert_eq!(values("/api/runs/a-1/log/"), Some(vec!["a-1".to_owned()]));
        for other in
            ["/api/runs/a-1", "/api/runs//log", "/api/runs/a-1/log/x", "//api/runs/a/log", "/", ""]
        {
            assert_eq!(values(other), None, "{other}");
        }
    }
}
