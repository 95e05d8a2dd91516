use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request,
    header::{COOKIE, HeaderValue, RETRY_AFTER, SET_COOKIE, VARY},
    http::request::Parts,
    service::{Service as _, service_fn},
};
use jiff::{Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{
    origin::{KnownHosts, RequestOrigin},
    role::Role,
    *,
};
use crate::{
    clock::FixedClock,
    config::Config,
    web::{problem::Problem, server::Peer},
};

const FULL: &str = "full-full-full-full";
const READ: &str = "read-read-read-read";

/// A gate with both tokens and further settings.
fn gate(settings: &[(&str, &str)]) -> Gate {
    let given = [
        ("HOME", "/home/me"),
        ("BKUP_HOST", "db1"),
        ("BKUP_API_TOKEN", FULL),
        ("BKUP_API_READ_TOKEN", READ),
    ];
    let environment =
        given.iter().chain(settings).map(|(name, value)| ((*name).into(), (*value).into()));
    let (config, _) = Config::from_environment(environment, &[]).unwrap();
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    Gate::new(&config, Arc::new(FixedClock::new(now, TimeZone::UTC))).unwrap()
}

/// The head of a request from 10.0.0.LAST.
fn from(last: u8, method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut parts = request.body(()).unwrap().into_parts().0;
    parts.extensions.insert(Peer(([10, 0, 0, last], 4_321).into()));
    parts
}

fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
    from(1, method, uri, headers)
}

fn status(result: Result<Access, Problem>) -> u16 {
    result.map_or_else(|problem| problem.status().as_u16(), |_| 200)
}

/// The cookies of a browser that has signed in, at each of the ports that tests name.
fn cookie(gate: &Gate, token: &str) -> String {
    let cookie = |host| {
        let (_, cookies) =
            gate.sign_in(&head("POST", "/session", &[("host", host)]), token).unwrap();
        cookies[0].to_str().unwrap().split(';').next().unwrap().to_owned()
    };
    ["localhost", "localhost:443", "localhost:3000"].map(cookie).join("; ")
}

#[test]
fn a_token_in_the_header_decides_whatever_the_host_and_the_origin() {
    let gate = gate(&[]);
    let anywhere = [("host", "evil.example.com"), ("origin", "https://evil.example.com")];
    for (value, role) in [
        (format!("Bearer {FULL}"), Role::Full),
        (format!("bearer  {FULL} "), Role::Full),
        (format!("Bearer {READ}"), Role::Read),
    ] {
        let headers = [&anywhere[..], &[("authorization", &value)]].concat();
        assert_eq!(
            gate.check(&head("POST", "/api/backup", &headers)).unwrap(),
            Access { role, credential: Credential::Token }
        );
    }
    for value in ["Bearer wrong", "Bearer ", "Bearer", &format!("Basic {FULL}"), FULL] {
        assert_eq!(
            status(gate.check(&head("GET", "/api/runs", &[("authorization", value)]))),
            401,
            "{value}"
        );
    }
    assert_eq!(status(gate.check(&head("GET", "/api/runs", &[]))), 401);
}

#[test]
fn a_wrong_token_is_not_made_good_by_a_session() {
    let gate = gate(&[]);
    let cookie = cookie(&gate, FULL);
    let both = |authorization| {
        let headers =
            [("authorization", authorization), ("cookie", cookie.as_str()), ("host", "127.0.0.1")];
        status(gate.check(&head("GET", "/api/runs", &headers)))
    };
    assert_eq!(both("Bearer wrong"), 401);
    // Another scheme belongs to a reverse proxy.
    assert_eq!(both("Basic bWU6aHVudGVy"), 200);
}

#[test]
fn a_session_counts_at_names_of_ours_only() {
    let gate = gate(&[("BKUP_API_HOSTS", "backups.example.com,nas")]);
    let cookie = cookie(&gate, FULL);
    let at =
        |host: &str| gate.check(&head("GET", "/api/runs", &[("cookie", &cookie), ("host", host)]));
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for host in [
        "localhost",
        "localhost:3000",
        "x.localhost",
        "127.0.0.1:3000",
        "10.1.2.3",
        "[::1]:3000",
        "Backups.Example.COM:443",
        "backups.example.com.",
        "nas",
        &machine,
    ] {
        assert_eq!(status(at(host)), 200, "{host}");
    }
    for host in [
        "evil.example.com",
        "evil.example.com:3000",
        "backups.example.com.evil.com",
        "xlocalhost",
        "1.2.3.4.5",
        "a@nas",
        "",
        "a b",
    ] {
        assert_eq!(status(at(host)), 421, "{host}");
    }
    let hint =
        at("new.example.com:3000").unwrap_err().to_json()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("BKUP_API_HOSTS=new.example.com"), "{hint}");
    for headers in [
        &[("cookie", cookie.as_str())][..],
        &[("cookie", &cookie), ("host", "nas"), ("host", "evil.com")],
    ] {
        assert_eq!(status(gate.check(&head("GET", "/api/runs", headers))), 421, "{headers:?}");
    }
    let absolute =
        head("GET", "http://evil.example.com/api/runs", &[("cookie", &cookie), ("host", "nas")]);
    assert_eq!(status(gate.check(&absolute)), 421);
    let bent = head("POST", "/session", &[("host", "evil.example.com")]);
    assert_eq!(gate.sign_in(&bent, FULL).unwrap_err().status(), 421);
}

#[test]
fn another_page_can_not_make_a_browser_change_anything() {
    let gate =
        gate(&[("BKUP_API_HOSTS", "nas"), ("BKUP_API_ALLOW_ORIGIN", "https://tools.example.com")]);
    let cookie = cookie(&gate, FULL);
    let asked = |method: &str, headers: &[(&str, &str)]| {
        let headers = [&[("cookie", cookie.as_str()), ("host", "nas:3000")][..], headers].concat();
        status(gate.check(&head(method, "/api/remove", &headers)))
    };
    for headers in [
        &[("sec-fetch-site", "same-origin")][..],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "same-origin"), ("origin", "https://proxied.example.com")],
        &[("origin", "http://nas:3000")],
        &[("origin", "https://NAS:3000")],
    ] {
        assert_eq!(asked("POST", headers), 200, "{headers:?}");
    }
    for headers in [
        &[][..],
        &[("origin", "null")],
        &[("origin", "")],
        &[("origin", "http://nas")],
        &[("origin", "http://nas:8080")],
        &[("origin", "http://evil.example.com")],
        &[("origin", "http://nas:3000.evil.example.com")],
        &[("origin", "ftp://nas:3000")],
        &[("origin", "https://tools.example.com")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://nas:3000")],
        &[("referer", "http://nas:3000/")],
    ] {
        for method in ["POST", "DELETE", "PUT"] {
            assert_eq!(asked(method, headers), 403, "{method} {headers:?}");
        }
    }
    assert_eq!(asked("GET", &[("sec-fetch-site", "cross-site")]), 200, "looking changes nothing");
    let foreign =
        head("POST", "/session", &[("host", "nas"), ("origin", "http://evil.example.com")]);
    assert_eq!(gate.sign_in(&foreign, FULL).unwrap_err().status(), 403);
}

#[test]
fn behind_tls_the_page_must_have_come_by_tls() {
    let known_hosts = |secure| KnownHosts::new(&[], secure);
    let parts = |origin| head("POST", "/api/backup", &[("host", "localhost"), ("origin", origin)]);
    assert_eq!(known_hosts(true).origin_of(&parts("https://localhost")), RequestOrigin::OwnPage);
    assert_eq!(known_hosts(true).origin_of(&parts("http://localhost")), RequestOrigin::OtherPage);
    assert_eq!(known_hosts(false).origin_of(&parts("http://localhost:80")), RequestOrigin::OwnPage);
    assert_eq!(
        known_hosts(false).origin_of(&parts("https://localhost:443")),
        RequestOrigin::OwnPage
    );
}

#[test]
fn a_session_that_began_over_tls_stays_there_whoever_has_the_certificate() {
    let begun = |gate: &Gate, headers: &[(&str, &str)]| {
        let (_, cookies) = gate.sign_in(&head("POST", "/session", headers), FULL).unwrap();
        cookies[0].to_str().unwrap().to_owned()
    };
    let gate = gate(&[("BKUP_API_HOSTS", "nas")]);
    for (origin, secure) in [("http://nas:3000", false), ("https://nas:3000", true)] {
        let cookie = begun(
            &gate,
            &[("host", "nas:3000"), ("origin", origin), ("sec-fetch-site", "same-origin")],
        );
        assert_eq!(
            (cookie.starts_with("__Host-"), cookie.ends_with("; Secure")),
            (secure, secure),
            "{cookie}"
        );
        let sent = cookie.split(';').next().unwrap();
        let at = |host| {
            status(gate.check(&head("GET", "/api/runs", &[("cookie", sent), ("host", host)])))
        };
        assert_eq!(
            (at("nas:3000"), at("nas:3001")),
            (200, 401),
            "another port may be another instance"
        );
    }
    assert!(!begun(&gate, &[("host", "nas:3000")]).contains("Secure"));
}

#[test]
fn too_many_wrong_tokens_lock_their_address_out_and_nobody_else() {
    let gate = gate(&[]);
    let cookie = cookie(&gate, FULL);
    let shown = |last, token: &str| {
        gate.check(&from(
            last,
            "GET",
            "/api/runs",
            &[("authorization", &format!("Bearer {token}"))],
        ))
    };
    for number in 0..20 {
        assert_eq!(status(shown(1, &format!("wrong-{number}"))), 401);
    }
    let problem = shown(1, FULL).unwrap_err();
    assert_eq!(problem.status(), 429);
    let response: hyper::Response<String> = problem.into_response();
    assert_eq!(response.headers()[RETRY_AFTER], "3");
    assert_eq!(status(shown(2, FULL)), 200);
    let signed_in = head("GET", "/api/runs", &[("cookie", &cookie), ("host", "localhost")]);
    assert_eq!(status(gate.check(&signed_in)), 200, "who is signed in stays so");
    let again = head("POST", "/session", &[("host", "localhost")]);
    assert_eq!(gate.sign_in(&again, FULL).unwrap_err().status(), 429);
}

#[test]
fn only_the_full_role_may_change_things() {
    let access = |role| Access { role, credential: Credential::Token };
    assert!(access(Role::Full).require_full().is_ok());
    assert_eq!(access(Role::Read).require_full().unwrap_err().status(), 403);
}

/// The status, headers and body that a service behind the gate answers. The service answers with
/// what it was given.
async fn through(gate: Gate, request: Parts, body: &'static str) -> (u16, HeaderMap, String) {
    use http_body_util::BodyExt as _;
    let inner = service_fn(|request: Request<Full<Bytes>>| async move {
        let access =
            request.extensions().get::<Access>().map_or("nobody", |access| access.role.as_str());
        Ok(warp::reply::Response::new(access.to_owned().into()))
    });
    let request = Request::from_parts(request, Full::new(Bytes::from_static(body.as_bytes())));
    let response = Gated::new(Arc::new(gate), inner).call(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn only_what_holds_nothing_private_is_open() {
    for (method, uri, expected) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/healthz", 200),
        ("GET", "/assets/app.js", 200),
        ("POST", "/", 401),
        ("DELETE", "/assets/app.js", 401),
        ("GET", "/assets", 401),
        ("GET", "/healthz/", 401),
        ("GET", "//", 401),
        ("GET", "/readyz", 401),
        ("GET", "/metrics", 401),
        ("GET", "/openapi.json", 401),
        ("GET", "/api/runs", 401),
        ("GET", "/nowhere", 401),
        ("OPTIONS", "/api/runs", 401),
    ] {
        let (status, _, body) = through(gate(&[]), head(method, uri, &[]), "").await;
        assert_eq!(status, expected, "{method} {uri}");
        assert!(status != 200 || body == "nobody", "{body}");
    }
}

#[tokio::test]
async fn the_role_read_gets_through_to_what_only_looks() {
    for (method, uri, read) in [
        ("GET", "/api/runs", 200),
        ("POST", "/api/volumes", 200),
        ("DELETE", "/api/runs/x", 403),
        ("POST", "/api/schedule/x/run", 200),
        ("POST", "/api/schedule/x/pause", 403),
        ("POST", "/api/schedule//run", 403),
        ("POST", "/api/schedule/x/y/run", 403),
        ("POST", "/api/", 403),
        ("PUT", "/api/volumes", 403),
        ("POST", "/x", 403),
    ] {
        for (token, expected, role) in [(READ, read, "read"), (FULL, 200, "full")] {
            let shown = head(method, uri, &[("authorization", &format!("Bearer {token}"))]);
            let (status, _, body) = through(gate(&[]), shown, "").await;
            assert_eq!(status, expected, "{method} {uri} {role}");
            assert!(status != 200 || body == role);
        }
    }
}

#[tokio::test]
async fn a_browser_signs_in_is_known_and_signs_out() {
    let local = ("host", "localhost:3000");
    let json = ("content-type", "application/json");
    let sign_in = || head("POST", "/session", &[local, json]);
    let (status, headers, body) =
        through(gate(&[]), sign_in(), r#"{"token": "read-read-read-read"}"#).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, body),
        (200, json!({"role": "read", "host": "db1", "version": env!("CARGO_PKG_VERSION")}))
    );
    let cookie = headers[SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let (status, ..) =
        through(gate(&[]), head("GET", "/session", &[local, (COOKIE.as_str(), &cookie)]), "").await;
    assert_eq!(status, 200);
    let (status, ..) = through(gate(&[]), head("GET", "/session", &[local]), "").await;
    assert_eq!(status, 401);
    let (status, headers, _) = through(gate(&[]), head("DELETE", "/session", &[local]), "").await;
    assert_eq!(status, 204);
    let ended: Vec<_> =
        headers.get_all(SET_COOKIE).iter().map(|ended| ended.to_str().unwrap()).collect();
    assert!(ended.len() == 2 && ended.iter().all(|ended| ended.contains("Max-Age=0")), "{ended:?}");
    let name = cookie.split('=').next().unwrap();
    assert!(
        ended[0].starts_with(&format!("{name}=;"))
            && ended[1].starts_with(&format!("__Host-{name}=;"))
    );
    for (body, expected) in [
        (r#"{"token": "wrong"}"#, 401),
        (r#"{"token": 1}"#, 400),
        (r#"{"token": "a", "more": 1}"#, 400),
        ("{}", 400),
        ("", 400),
        ("[", 400),
    ] {
        let (status, headers, _) = through(gate(&[]), sign_in(), body).await;
        assert_eq!(status, expected, "{body}");
        assert!(!headers.contains_key(SET_COOKIE));
    }
    let (status, ..) = through(gate(&[]), head("PUT", "/session", &[local]), "").await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn pages_from_elsewhere_are_let_in_only_where_configured_and_never_with_the_cookie() {
    let allowed = || gate(&[("BKUP_API_ALLOW_ORIGIN", "https://tools.example.com")]);
    let token = format!("Bearer {FULL}");
    let origin = "https://tools.example.com";
    let preflight = |origin| {
        head(
            "OPTIONS",
            "/api/backup",
            &[("origin", origin), ("access-control-request-method", "POST")],
        )
    };
    let (status, headers, _) = through(allowed(), preflight(origin), "").await;
    assert_eq!((status, headers["access-control-allow-origin"].to_str().unwrap()), (204, origin));
    assert!(headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
    assert!(!headers.contains_key("access-control-allow-credentials"));
    let asks = |origin| head("GET", "/api/runs", &[("origin", origin), ("authorization", &token)]);
    let (status, headers, _) = through(allowed(), asks(origin), "").await;
    assert_eq!(
        (status, &headers["access-control-allow-origin"], &headers[VARY]),
        (200, &HeaderValue::from_static(origin), &HeaderValue::from_static("origin"))
    );
    let (status, headers, _) =
        through(allowed(), head("GET", "/api/runs", &[("origin", origin)]), "").await;
    assert_eq!(
        (status, headers.contains_key("access-control-allow-origin")),
        (401, true),
        "it can read why"
    );
    for (gate, origin) in
        [(gate(&[]), origin), (allowed(), "https://evil.example.com"), (allowed(), "null")]
    {
        let (status, headers, _) = through(gate, preflight(origin), "").await;
        assert_eq!((status, headers.contains_key("access-control-allow-origin")), (401, false));
    }
    let (_, headers, _) = through(gate(&[]), asks(origin), "").await;
    assert!(!headers.contains_key("access-control-allow-origin") && !headers.contains_key(VARY));
}
