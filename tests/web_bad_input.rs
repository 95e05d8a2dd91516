//! Bad input over HTTP gets a clear error and changes nothing; and a `serve` that can't listen says
//! why.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use serde_json::json;

use crate::support::{
    http::{Answer, Client, FULL, Server},
    site::Site,
};

/// A crontab that starts nothing while a test runs.
const YEARLY: &str = "0 0 1 1 *  backup\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn site() -> Site {
    let site = Site::builtin();
    fs::write(site.path("crontab"), YEARLY).unwrap();
    let crontab = site.path("crontab").display().to_string();
    site.with("BKUP_CRONTAB", crontab)
}

/// The status of what is answered to these bytes: `HEAD` stands for what every request has.
fn raw(client: &Client, bytes: &str) -> Answer {
    let head = format!("Host: localhost\r\nAuthorization: Bearer {FULL}\r\nConnection: close\r\n");
    Answer::read(client.raw(bytes.replace("HEAD", &head).as_bytes())).unwrap()
}

/// Nothing was run, and all is well.
#[track_caller]
fn is_untouched(client: &Client) {
    let runs = client.get("/api/runs").is(200).json();
    assert_eq!(runs["runs"], json!([]));
    client.with_token("").get("/healthz").is(200);
}

#[test]
fn a_wrong_method_is_told_which_there_are() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    for (method, path, allowed) in [
        ("GET", "/api/backup", "POST"),
        ("PUT", "/api/backup", "POST"),
        ("DELETE", "/api/volumes", "POST"),
        ("POST", "/api/runs", "GET, HEAD"),
        ("POST", "/api/runs?script=&limit=5", "GET, HEAD"),
        ("POST", "/api/scripts", "GET, HEAD"),
        ("POST", "/api/schedule", "GET, HEAD"),
        ("POST", "/api/status", "GET, HEAD"),
        ("POST", "/api/events", "GET, HEAD"),
        ("DELETE", "/api/runs", "GET, HEAD"),
        ("PATCH", "/api/runs/20261123T074200.123456-1a2b-0", "GET, HEAD, DELETE"),
        ("POST", "/api/scripts/backup", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("BREW", "/openapi.json", "GET, HEAD"),
    ] {
        let answer = client.ask(method, path, &[], "");
        assert_eq!(answer.header("allow"), allowed, "{method} {path}: {answer:?}");
        answer.problem(405, "method", &[allowed]);
    }
    is_untouched(client);
}

#[test]
fn a_body_that_is_no_json_object_and_no_form_is_refused() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    for kind in [
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "application/json; charset=utf-16",
    ] {
        let answer = client.ask("POST", "/api/backup", &[("Content-Type", kind)], "{}");
        answer.problem(415, "media_type", &["application/json"]);
    }
    client.ask("POST", "/api/backup", &[], "{}").problem(415, "media_type", &["no Content-Type"]);
    let gzip = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    client.ask("POST", "/api/backup", &gzip, "x").problem(415, "media_type", &[]);
    let deep = format!("{{\"volume\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, words) in [
        ("{", "EOF"),
        ("{\"volume\": }", "column 12"),
        ("[]", "an object"),
        ("\"vol1\"", "an object"),
        ("{} {}", "trailing"),
        ("{\"volume\": \"vol1\", \"volume\": \"vol2\"}", "twice"),
        (deep.as_str(), "recursion limit"),
    ] {
        let answer =
            client.ask("POST", "/api/backup", &[("Content-Type", "application/json")], body);
        answer.problem(400, "usage", &[words]);
    }
    is_untouched(client);
}

#[test]
fn wrong_arguments_name_the_field() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    for (path, body, field, words) in [
        ("/api/backup", json!({ "volum": "vol1" }), "volum", "did you mean"),
        ("/api/backup", json!({ "volume": 5 }), "volume", "not a string"),
        ("/api/backup", json!({ "volume": "../x" }), "volume", "can't be in one"),
        ("/api/backup", json!({ "create_snapshot": "maybe" }), "create_snapshot", "true or false"),
        ("/api/create", json!({ "volume": "vol1" }), "size", "size"),
        ("/api/create", json!({ "volume": "vol1", "size": "1.5g" }), "size", "40G"),
        (
            "/api/restore",
            json!({ "volume": "vol1", "backupurl": "nonsense" }),
            "backupurl",
            "vfs:///",
        ),
        ("/api/prune", json!({ "keep_daily": [7] }), "keep_daily", "whole number"),
    ] {
        let problem = client.json(path, &body).problem(400, "usage", &[words]);
        assert_eq!(problem["field"], field, "{problem}");
    }
    for (body, field) in [
        ("volume=vol1&volume=vol2", "volume"),
        ("Volume=vol1&volume=vol1", "volume"),
        ("volum=x", "volum"),
    ] {
        let problem = client.form("/api/backup", body).problem(400, "usage", &[]);
        assert_eq!(
            problem["field"].as_str().map(str::to_ascii_lowercase).as_deref(),
            Some(field),
            "{problem}"
        );
    }
    for query in ["dryrun=true", "dry_run=true&dry_run=false", "timeout=0s", "timeout=-1h"] {
        client.post(&format!("/api/backup?{query}")).problem(400, "usage", &["\"field\""]);
    }
    is_untouched(client);
}

#[test]
fn a_gigabyte_is_refused_before_it_is_sent_and_while_it_is_sent() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    let announced = raw(
        client,
        &format!("POST /api/backup HTTP/1.1\r\nHEAD{JSON}Content-Length: 1000000000\r\n\r\n"),
    );
    announced.problem(413, "too_large", &["1048576 bytes"]);
    let head = format!(
        "POST /api/backup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {FULL}\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    );
    let mut stream = client.raw(head.as_bytes());
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        (0..16_384).take_while(|_| sender.write_all(chunk.as_bytes()).is_ok()).count()
    });
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(sending.join().unwrap() < 1_000, "it is not taken in to its end");
    is_untouched(client);
}

#[test]
fn what_is_no_http_is_refused() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    let long = "x".repeat(1_000_000);
    let answer = raw(client, &format!("GET /api/runs HTTP/1.1\r\nHEADX-Long: {long}\r\n\r\n"));
    assert_eq!(answer.status, 431, "{answer:?}");
    assert_eq!(raw(client, &format!("GET /{long} HTTP/1.1\r\nHEAD\r\n")).status, 431);
    for (headers, body) in [
        ("Transfer-Encoding: chunked\r\n", "zzz\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n{}"),
        ("Transfer-Encoding: chunked\r\n", "2\r\n{}no line\r\n0\r\n\r\n"),
        ("Transfer-Encoding: gzip, nonsense\r\n", "{}"),
        ("Content-Length: two\r\n", "{}"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
    ] {
        let answer =
            raw(client, &format!("POST /api/backup HTTP/1.1\r\nHEAD{JSON}{headers}\r\n{body}"));
        assert_eq!(answer.status, 400, "{headers} {body}: {answer:?}");
    }
    for nonsense in [
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ] {
        assert_eq!(raw(client, nonsense).status, 400, "{nonsense:?}");
    }
    is_untouched(client);
}

#[test]
fn no_path_leads_out_of_what_is_served() {
    let site = site();
    fs::write(site.path("secret.rhai"), "fn main(args) { \"out\" }").unwrap();
    let scripts = site.path("scripts").display().to_string();
    let site = site.with("BKUP_SCRIPTS_DIR", scripts);
    let Server { client, .. } = &Server::start(&site);
    for path in [
        "/assets/../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/..%5c..%5cetc%5cpasswd",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/app.js%00.html",
        "/../../etc/passwd",
        "//etc/passwd",
        "/api/scripts/../secret",
        "/api/scripts/..%2fsecret",
        "/api/scripts/%2e%2e%2fsecret",
        "/api/scripts/%2Fetc%2Fpasswd",
        "/api/scripts/lib%2Fvolumes",
        "/api/scripts/backup%00",
        "/api/runs/..%2f..%2fapi-token/log",
    ] {
        let answer = client.get(path);
        assert!(
            !answer.body.contains("root:") && !answer.body.contains("out"),
            "{path}: {answer:?}"
        );
        answer.problem(404, "not_found", &["\"hint\""]);
    }
    for path in [
        "/api/../secret",
        "/api/..%2Fsecret",
        "/api/%2e%2e%2fsecret",
        "/api/lib%2Fvolumes",
        "/api/a/b",
        "/api/",
        "/api/Backup",
        "/api/backup%20",
        "/api/backup%00",
        "/api/backp",
        "/api/%ff%fe",
    ] {
        let answer = client.post(path);
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        answer.problem(404, "not_found", &["\"hint\""]);
    }
    client.post("/api/backp").problem(404, "not_found", &["did you mean \\\"backup\\\"?"]);
    is_untouched(client);
}

#[test]
fn a_run_id_that_is_none_is_not_found() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    for id in [
        "nonsense",
        "..",
        "%2e%2e",
        "a%2Fb",
        "%00",
        "'%20OR%201=1--",
        "%25",
        "-",
        &"9".repeat(5_000),
        "20261123T074200.123456-1a2b-0",
    ] {
        for path in [format!("/api/runs/{id}"), format!("/api/runs/{id}/log")] {
            let answer = client.get(&path);
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
        }
        assert_eq!(client.delete(&format!("/api/runs/{id}")).status, 404, "{id}");
    }
    is_untouched(client);
}

#[test]
fn a_thousand_connections_that_dawdle_keep_nobody_out() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    let begun = format!(
        "POST /api/backup HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {FULL}\r\n{JSON}"
    );
    let slow: Vec<TcpStream> = (0..1_000)
        .map(|number| {
            client.raw(match number % 3 {
                0 => b"".as_slice(),
                1 => b"GET / HTTP/1.1\r\nX: ",
                _ => begun.as_bytes(),
            })
        })
        .collect();
    for _ in 0..20 {
        client.with_token("").get("/healthz").is(200);
        client.get("/api/runs").is(200);
    }
    assert_eq!(slow.len(), 1_000);
    drop(slow);
    is_untouched(client);
}

#[test]
fn a_page_from_elsewhere_gets_nothing_done_with_a_browser_that_is_signed_in() {
    let site = site();
    let Server { client, .. } = &Server::start(&site);
    let nobody = client.with_token("");
    let signed_in = nobody.json("/session", &json!({ "token": FULL })).is(200);
    let cookie = signed_in.header("set-cookie").split(';').next().unwrap().to_owned();
    for origin in ["https://evil.example.com", "null", "http://localhost:1"] {
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Origin", origin),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        nobody.ask("POST", "/api/create", &headers, "volume=vol1&size=1G").problem(
            403,
            "forbidden",
            &[],
        );
    }
    let rebound = format!(
        "GET /api/runs HTTP/1.1\r\nHost: evil.example.com\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
    );
    Answer::read(client.raw(rebound.as_bytes())).unwrap().problem(
        421,
        "misdirected",
        &["evil.example.com"],
    );
    let preflight =
        [("Origin", "https://evil.example.com"), ("Access-Control-Request-Method", "POST")];
    let answer = nobody.ask("OPTIONS", "/api/create", &preflight, "");
    assert!(
        answer.status == 401 && answer.header("access-control-allow-origin").is_empty(),
        "{answer:?}"
    );
    is_untouched(client);
}

#[test]
fn a_serve_that_cannot_listen_says_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let first = "tests/data/tls/first-certificate.pem";
    let certificate = format!("{}/{first}", env!("CARGO_MANIFEST_DIR"));
    let key = format!("{}/tests/data/tls/second-key.pem", env!("CARGO_MANIFEST_DIR"));
    for (settings, words) in [
        (vec![("BKUP_API_LISTEN", address.as_str())], vec![address.as_str(), "BKUP_API_LISTEN"]),
        (vec![("BKUP_API_LISTEN", "everywhere")], vec!["BKUP_API_LISTEN", "everywhere"]),
        (vec![("BKUP_API_LISTEN", "192.0.2.1:3000")], vec!["192.0.2.1", "0.0.0.0"]),
        (
            vec![("BKUP_API_TOKEN", "short")],
            vec!["BKUP_API_TOKEN", "shorter than 16", "openssl rand"],
        ),
        (vec![("BKUP_API_TOKEN", "with blanks in it, long")], vec!["BKUP_API_TOKEN", "blanks"]),
        (vec![("BKUP_API_TOKEN", FULL), ("BKUP_API_READ_TOKEN", FULL)], vec!["are the same"]),
        (
            vec![("BKUP_API_TOKEN_FILE", "/nowhere/token")],
            vec!["BKUP_API_TOKEN_FILE", "/nowhere/token"],
        ),
        (vec![("BKUP_API_TLS_CERTIFICATE", "/nowhere/c.pem")], vec!["BKUP_API_TLS_KEY"]),
        (
            vec![
                ("BKUP_API_TLS_CERTIFICATE", "/nowhere/c.pem"),
                ("BKUP_API_TLS_KEY", "/nowhere/k.pem"),
            ],
            vec!["/nowhere/c.pem"],
        ),
        (vec![("BKUP_API_TLS_CERTIFICATE", &certificate), ("BKUP_API_TLS_KEY", &key)], vec!["key"]),
        (
            vec![("BKUP_API_TLS_CERTIFICATE", &key), ("BKUP_API_TLS_KEY", &key)],
            vec!["second-key.pem", "certificate"],
        ),
        (vec![("BKUP_API_MAX_CONNECTIONS", "0")], vec!["BKUP_API_MAX_CONNECTIONS"]),
    ] {
        let site = settings.iter().fold(site(), |site, (name, value)| site.with(name, *value));
        let mut words = words;
        words.push("hint:");
        let ran = site.run("serve").fails(2, &words);
        for secret in ["with blanks in it, long", FULL] {
            assert!(!ran.err.contains(secret), "{ran:?}");
        }
    }
    let site = site();
    fs::create_dir(site.path("data")).unwrap();
    fs::write(site.path("data/api-token"), "everybody-can-read-this\n").unwrap();
    let ran = site.run("serve").fails(2, &["api-token", "hint:"]);
    assert!(!ran.err.contains("everybody"), "{ran:?}");
}

#[test]
fn a_token_is_made_where_none_is_set_and_only_its_path_is_told() {
    let site = site();
    let Server { client, running } =
        &Server::start_with(&site, &[("BKUP_API_TOKEN", ""), ("BKUP_API_READ_TOKEN", "")]);
    let path = site.path("data/api-token");
    let token = fs::read_to_string(&path).unwrap().trim().to_owned();
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    client.with_token(&token).get("/api/runs").is(200);
    client.get("/api/runs").problem(401, "unauthorized", &["api-token"]);
    let log = running.log();
    assert!(log.contains(path.to_str().unwrap()) && !log.contains(&token), "{log}");
}

#[test]
fn over_tls_it_is_the_same_for_whoever_trusts_the_certificate() {
    let file = |name: &str| format!("{}/tests/data/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    let certificate = file("first-certificate.pem");
    let site = site()
        .with("BKUP_API_TLS_CERTIFICATE", certificate.as_str())
        .with("BKUP_API_TLS_KEY", file("first-key.pem"));
    let Server { client, .. } = &Server::start(&site);
    let url = |path: &str| format!("https://localhost:{}{path}", client.address.port());
    let token = format!("Authorization: Bearer {FULL}");
    let done = Command::new("curl")
        .args([
            "-sS",
            "-i",
            "--noproxy",
            "*",
            "--cacert",
            &certificate,
            "-H",
            &token,
            &url("/api/runs"),
        ])
        .output()
        .expect("curl is needed: apt-get install curl");
    let answer = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        answer.contains(" 200") && answer.contains("\"runs\":[]"),
        "{answer} {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let distrusted = Command::new("curl")
        .args(["-sS", "--noproxy", "*", "-H", &token, &url("/api/runs")])
        .output()
        .unwrap();
    assert!(!distrusted.status.success());
    // Plain HTTP gets no answer with anything in it.
    let mut plain = client.send("GET", "/api/runs", &[], "");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("runs"));
}
