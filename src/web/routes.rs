//! The routes: which path and method leads where. Who may is asked before ([`super::auth::Gated`]).

use std::{convert::Infallible, sync::Arc};

use warp::{
    Filter,
    http::{
        HeaderValue, Method, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    path::FullPath,
    reply::Response,
};

use super::{
    answer::blocking,
    assets::{self, Asset},
    auth::Access,
    core::Core,
    events::{Hub, listen},
    metrics, openapi,
    problem::Problem,
    request::{Asked, READING},
    runs, schedule, scripts, status,
};

/// All routes: the API and the dashboard's files.
pub(crate) fn routes(
    core: Arc<dyn Core>,
    hub: Arc<Hub>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let asked = warp::method()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::ext::optional::<Access>())
        .map(|method, query, headers, access| Asked { method, query, headers, access });
    let core = warp::any().map(move || core.clone());
    let hub = warp::any().map(move || hub.clone());

    let script = warp::path!("api" / String)
        .and(warp::post())
        .and(core.clone())
        .and(asked)
        .and(warp::body::stream())
        .then(|name, core, asked, body| answer(scripts::run(core, asked, name, body)));
    let runs =
        warp::path!("api" / "runs").and(core.clone()).and(asked).then(|core, asked: Asked| {
            answer(async move { asked.only(READING).map(|()| runs::list(core, asked))?.await })
        });
    let run =
        warp::path!("api" / "runs" / String).and(core.clone()).and(hub.clone()).and(asked).then(
            |id, core, hub, asked: Asked| {
                answer(async move {
                    asked.only(&["GET", "HEAD", "DELETE"])?;
                    match asked.method {
                        Method::DELETE => runs::cancel(core, asked, id).await,
                        _ => runs::show(core, hub, id).await,
                    }
                })
            },
        );
    let log = warp::path!("api" / "runs" / String / "log").and(core.clone()).and(asked).then(
        |id, core, asked: Asked| {
            answer(async move { asked.only(READING).map(|()| runs::log(core, asked, id))?.await })
        },
    );
    let all_scripts =
        warp::path!("api" / "scripts").and(core.clone()).and(asked).then(|core, asked: Asked| {
            answer(async move {
                asked.plain()?;
                scripts::list(core).await
            })
        });
    let one_script = warp::path!("api" / "scripts" / String).and(core.clone()).and(asked).then(
        |name, core, asked: Asked| {
            answer(async move {
                asked.plain()?;
                scripts::show(core, name).await
            })
        },
    );
    let schedule =
        warp::path!("api" / "schedule").and(core.clone()).and(asked).then(|core, asked: Asked| {
            answer(async move { asked.only(READING).map(|()| schedule::show(core, asked))?.await })
        });
    let entry = warp::path!("api" / "schedule" / String / String)
        .and(core.clone())
        .and(hub.clone())
        .and(asked)
        .then(|key, action, core, hub, asked: Asked| {
            answer(async move {
                asked.only(&["POST"])?;
                schedule::act(core, hub, asked, key, action).await
            })
        });
    let status =
        warp::path!("api" / "status").and(core.clone()).and(asked).then(|core, asked: Asked| {
            answer(async move { asked.only(READING).map(|()| status::status(core, asked))?.await })
        });
    let events =
        warp::path!("api" / "events").and(hub.clone()).and(asked).then(|hub, asked: Asked| {
            answer(async move {
                asked.only(&["GET"])?;
                listen(&hub, &asked)
            })
        });
    let api = runs.or(run).unify().or(log).unify().or(status).unify().or(events).unify();
    let api =
        api.or(schedule).unify().or(entry).unify().or(all_scripts).unify().or(one_script).unify();

    let health = warp::path!("healthz").and(asked).then(|asked: Asked| {
        answer(async move {
            asked.only(READING)?;
            Ok(status::health())
        })
    });
    let ready = warp::path!("readyz").and(core.clone()).and(asked).then(|core, asked: Asked| {
        answer(async move {
            asked.only(READING)?;
            status::ready(core).await
        })
    });
    let metrics = warp::path!("metrics").and(core.clone()).and(asked).then(|core, asked: Asked| {
        answer(async move {
            asked.only(READING)?;
            metrics::show(core).await
        })
    });
    let document =
        warp::path!("openapi.json").and(core.clone()).and(asked).then(|core, asked: Asked| {
            answer(async move {
                asked.only(READING)?;
                openapi::show(core).await
            })
        });
    let operations = health.or(ready).unify().or(metrics).unify().or(document).unify();

    let rest =
        warp::path::full().and(core).and(asked).then(|path: FullPath, core, asked: Asked| {
            answer(async move { fallback(core, &path, &asked).await })
        });
    script.or(api).unify().or(operations).unify().or(rest).unify()
}

/// What no route is for: the dashboard's files, the wrong method for a script, or nothing.
async fn fallback(
    core: Arc<dyn Core>,
    path: &FullPath,
    asked: &Asked,
) -> Result<Response, Problem> {
    let path = path.as_str();
    let file = if path == "/" { Some(assets::PAGE) } else { path.strip_prefix("/assets/") };
    if let Some(asset) = file.and_then(assets::find) {
        asked.only(READING)?;
        return Ok(asset_answer(asset, asked.headers.get(IF_NONE_MATCH)));
    }
    if let Some(name) = path.strip_prefix("/api/")
        && !name.contains('/')
        && let name = name.to_owned()
        && blocking(move || Ok(core.library()?.load(&name).is_ok())).await?
    {
        return Err(Problem::method(&["POST"]));
    }
    Err(Problem::not_found(format!(
        "there is nothing at \"{}\"",
        crate::text::escape(&crate::text::cut(path, 200))
    ))
    .with_hint("/openapi.json says what there is"))
}

/// A file of the dashboard, or that the browser has it still.
fn asset_answer(asset: &'static Asset, known: Option<&HeaderValue>) -> Response {
    let is_known = known
        .and_then(|known| known.to_str().ok())
        .is_some_and(|known| known.split(',').any(|tag| tag.trim() == asset.etag));
    let mut response =
        if is_known { Response::default() } else { Response::new(asset.bytes.into()) };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(assets::POLICY));
    // Kept, and asked about each time: after an update of the program no page works with old files.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&asset.etag) {
        headers.insert(ETAG, tag);
    }
    response
}

/// The answer, whether it went well or not.
async fn answer(made: impl Future<Output = Result<Response, Problem>>) -> Response {
    made.await.unwrap_or_else(warp::Reply::into_response)
}
