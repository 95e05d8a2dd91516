//! The server over real sockets on the loopback, with short limits.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
};

use http_body_util::{BodyDataStream, BodyExt as _, Full, combinators::BoxBody};
use hyper::{body::Frame, header::CONTENT_TYPE, service::service_fn};
use hyper_util::service::TowerToHyperService;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use warp::Filter as _;

use super::{tls::Tls, *};
use crate::{
    clock::SystemClock,
    config::{Config, TlsFiles},
    web::{
        auth::{Access, Gate, Gated},
        body,
    },
};

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// The semaphores by which a test and the service wait for each other.
struct Hands {
    /// Lets the requests to `/wait` go on.
    go_on: Semaphore,
    /// Counts the requests to `/wait` that have come.
    waiting: Semaphore,
    /// Counts the answers of `/endless` that were given up.
    given_up: Semaphore,
}

/// A test that waits for longer fails.
const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Waits for one permit.
async fn one(of: &Semaphore) {
    tokio::time::timeout(TEST_TIMEOUT, of.acquire())
        .await
        .expect("it does not come")
        .unwrap()
        .forget();
}

/// A body without an end.
struct Endless(Arc<Hands>);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16_384])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.given_up.add_permits(1);
    }
}

async fn answer(request: Request<RequestBody>, hands: Arc<Hands>) -> Answer {
    let text = |text: String| Response::new(Full::new(Bytes::from(text)).boxed());
    let peer = request.extensions().get::<Peer>().copied();
    let (parts, body) = request.into_parts();
    match parts.uri.path() {
        "/peer" => text(peer.unwrap().0.to_string()),
        "/wait" => {
            hands.waiting.add_permits(1);
            one(&hands.go_on).await;
            text("waited".into())
        }
        "/body" => match body::read(&parts.headers, BodyDataStream::new(body), |_| false).await {
            Ok(values) => text(serde_json::to_string(&values).unwrap()),
            Err(problem) => {
                problem.into_response::<String>().map(|body| Full::new(Bytes::from(body)).boxed())
            }
        },
        "/endless" => Response::new(Endless(hands).boxed()),
        _ => text("hello".into()),
    }
}

/// A server that runs.
struct Running {
    address: SocketAddr,
    hands: Arc<Hands>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn api(settings: &[(&str, &str)]) -> Config {
    let given = [
        ("HOME", "/home/me"),
        ("BKUP_API_LISTEN", "127.0.0.1:0"),
        ("BKUP_API_TOKEN", "full-full-full-full"),
    ];
    let environment =
        given.iter().chain(settings).map(|(name, value)| ((*name).into(), (*value).into()));
    Config::from_environment(environment, &[]).unwrap().0
}

/// The limits of production, but polled often.
fn limits() -> Limits {
    Limits { poll_interval: Duration::from_millis(5), ..Limits::of(&api(&[]).api) }
}

async fn start(limits: Limits) -> Running {
    let listener = bind(&api(&[]).api).await.unwrap().unwrap();
    let none = || Semaphore::new(0);
    let hands = Arc::new(Hands { go_on: none(), waiting: none(), given_up: none() });
    let (address, stop, held) = (listener.address(), CancellationToken::new(), hands.clone());
    let service = service_fn(move |request| {
        let hands = held.clone();
        async move { Ok(answer(request, hands).await) }
    });
    let task = tokio::spawn(serve(listener, service, limits, stop.clone()));
    Running { address, hands, stop, task }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection over which `bytes` were sent.
    async fn sent(&self, bytes: &str) -> TcpStream {
        let mut connection = self.connect().await;
        connection.write_all(bytes.as_bytes()).await.unwrap();
        connection
    }

    /// The whole answer to `bytes`, until the connection is closed.
    async fn ask(&self, bytes: &str) -> String {
        rest(self.sent(bytes).await).await
    }
}

/// All bytes that still come. A connection that is reset has ended, too.
async fn rest(mut connection: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let reading = connection.read_to_end(&mut bytes);
    let _ = tokio::time::timeout(TEST_TIMEOUT, reading).await.expect("it is not closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `words` have come.
async fn until(connection: &mut TcpStream, words: &str) -> String {
    let mut text = String::new();
    while !text.contains(words) {
        let mut part = [0; 1_024];
        let length = connection.read(&mut part).await.unwrap();
        assert!(length > 0, "it ended with {text:?}");
        text += &String::from_utf8_lossy(&part[..length]);
    }
    text
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no status in {answer:?}"))
}

const CLOSE: &str = "Host: localhost\r\nConnection: close\r\n\r\n";
const KEEP: &str = "Host: localhost\r\n\r\n";

#[tokio::test]
async fn a_request_knows_its_peer_and_an_answer_has_the_headers_of_every_answer() {
    let server = start(limits()).await;
    let connection = server.sent(&format!("GET /peer HTTP/1.1\r\n{CLOSE}")).await;
    let me = connection.local_addr().unwrap().to_string();
    let answer = rest(connection).await;
    assert!(status(&answer) == 200 && answer.ends_with(&format!("\r\n\r\n{me}")), "{answer}");
    assert!(
        answer.contains("content-security-policy: default-src 'none'")
            && answer.contains("nosniff"),
        "{answer}"
    );
    assert!(!answer.contains("strict-transport-security"), "{answer}");
}

#[tokio::test]
async fn several_requests_go_over_one_connection() {
    let server = start(limits()).await;
    let mut connection = server.connect().await;
    for _ in 0..3 {
        connection.write_all(format!("GET / HTTP/1.1\r\n{KEEP}").as_bytes()).await.unwrap();
        until(&mut connection, "hello").await;
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = bind(&api(&[("BKUP_API_LISTEN", &address)]).api).await.unwrap_err();
    assert!(error.exit_code() == 2 && error.message.contains(&address), "{error}");
    assert!(error.hint.unwrap().contains("BKUP_API_LISTEN"));
    let error = bind(&api(&[("BKUP_API_LISTEN", "192.0.2.1:3000")]).api).await.unwrap_err();
    assert!(error.exit_code() == 2 && error.hint.unwrap().contains("0.0.0.0"));
    assert!(bind(&api(&[("BKUP_API_LISTEN", "off")]).api).await.unwrap().is_none());
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let server = start(limits()).await;
    let line = "x".repeat(1_000_000);
    for head in [
        format!("GET / HTTP/1.1\r\nX: {line}\r\n{CLOSE}"),
        format!("GET /{line} HTTP/1.1\r\n{CLOSE}"),
    ] {
        let (read, mut write) = server.connect().await.into_split();
        let writing = tokio::spawn(async move { write.write_all(head.as_bytes()).await });
        let answer = rest(read).await;
        assert!(matches!(status(&answer), 414 | 431), "{answer}");
        let _ = writing.await.unwrap();
    }
    let many: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    assert_eq!(status(&server.ask(&format!("GET / HTTP/1.1\r\n{many}{CLOSE}")).await), 431);
}

#[tokio::test]
async fn what_is_no_http_is_refused() {
    let server = start(limits()).await;
    for nonsense in [
        "\u{16}\u{3}\u{1}\u{2}\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
    ] {
        assert_eq!(status(&server.ask(nonsense).await), 400, "{nonsense:?}");
    }
    let head = format!("POST /body HTTP/1.1\r\nContent-Type: application/json\r\n{{}}{CLOSE}");
    for (headers, body) in [
        ("Transfer-Encoding: chunked\r\n", "zzz\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2\r\n{}x\r\n0\r\n\r\n"),
        ("Transfer-Encoding: nonsense\r\n", "{}"),
        ("Content-Length: -1\r\n", "{}"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
    ] {
        let answer = server.ask(&format!("{}{body}", head.replace("{}", headers))).await;
        assert_eq!(status(&answer), 400, "{headers} {body}: {answer}");
    }
    let answer = server
        .ask(&format!(
            "{}2\r\n{{}}\r\n0\r\n\r\n",
            head.replace("{}", "Transfer-Encoding: chunked\r\n")
        ))
        .await;
    assert!(status(&answer) == 200 && answer.ends_with("{}"), "{answer}");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_not_read() {
    let server = start(limits()).await;
    let head = format!("POST /body HTTP/1.1\r\nContent-Type: application/json\r\n{{}}{CLOSE}");
    let answer = server.ask(&head.replace("{}", "Content-Length: 1000000000\r\n")).await;
    assert!(status(&answer) == 413 && answer.contains("application/problem+json"), "{answer}");

    let (read, mut write) =
        server.sent(&head.replace("{}", "Transfer-Encoding: chunked\r\n")).await.into_split();
    let writing = tokio::spawn(async move {
        let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
        let mut written = 0;
        while written < 1_000_000_000 && write.write_all(chunk.as_bytes()).await.is_ok() {
            written += chunk.len();
        }
        written
    });
    assert_eq!(status(&rest(read).await), 413);
    let written = writing.await.unwrap();
    assert!(written < 100_000_000, "{written}");
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let limits = Limits { connections: 64, head: Duration::from_hours(1), ..limits() };
    let server = start(limits).await;
    let mut lorises = Vec::new();
    for number in 0..1_000 {
        lorises.push(server.sent(if number % 2 == 0 { "" } else { "GET / HTTP/1.1\r\nX: " }).await);
        if number % 100 == 99 {
            let answer = server.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).await;
            assert!(answer.ends_with("hello"), "{answer}");
        }
    }
}

#[tokio::test]
async fn slow_bodies_keep_nobody_out() {
    let server = start(Limits { connections: 4, ..limits() }).await;
    let head = format!(
        "POST /body HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n{KEEP}"
    );
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(server.sent(&head).await);
    }
    assert!(server.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).await.ends_with("hello"));
}

#[tokio::test]
async fn who_is_being_answered_is_not_cut_off_for_another() {
    let server = start(Limits { connections: 2, ..limits() }).await;
    let wait = format!("GET /wait HTTP/1.1\r\n{CLOSE}");
    let first = server.sent(&wait).await;
    one(&server.hands.waiting).await;
    let _idle = server.connect().await;
    let second = server.sent(&wait).await;
    one(&server.hands.waiting).await;
    let refused = server.ask(&wait).await;
    assert!(
        status(&refused) == 503
            && refused.contains("Retry-After")
            && refused.contains("\"overloaded\""),
        "{refused}"
    );
    server.hands.go_on.add_permits(2);
    for connection in [first, second] {
        assert!(rest(connection).await.ends_with("waited"));
    }
    assert!(server.ask(&format!("GET / HTTP/1.1\r\n{CLOSE}")).await.ends_with("hello"));
}

#[tokio::test]
async fn slow_heads_are_cut_off_and_slow_answers_are_not() {
    let short = Duration::from_millis(50);
    let server = start(Limits { head: short, idle: short, body: short, ..limits() }).await;
    let waiting = server.sent(&format!("GET /wait HTTP/1.1\r\n{CLOSE}")).await;
    one(&server.hands.waiting).await;
    for begun in ["", "GET / HTT", "GET / HTTP/1.1\r\nX: y\r\n"] {
        assert_eq!(rest(server.sent(begun).await).await, "");
    }
    let idle = server.ask(&format!("GET / HTTP/1.1\r\n{KEEP}")).await;
    assert!(idle.ends_with("hello"), "answered, and closed for want of another request: {idle}");
    let body = format!(
        "POST /body HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n{KEEP}"
    );
    assert_eq!(server.ask(&body).await, "");
    server.hands.go_on.add_permits(1);
    assert!(rest(waiting).await.ends_with("waited"), "it waited longer than all limits");
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_off() {
    let server = start(Limits { stall: Duration::from_millis(50), ..limits() }).await;
    let _connection = server.sent(&format!("GET /endless HTTP/1.1\r\n{CLOSE}")).await;
    one(&server.hands.given_up).await;
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_answer() {
    let server = start(limits()).await;
    let mut connection = server.sent(&format!("GET /endless HTTP/1.1\r\n{CLOSE}")).await;
    until(&mut connection, "xxx").await;
    drop(connection);
    one(&server.hands.given_up).await;
}

#[tokio::test]
async fn at_the_end_requests_are_answered_and_idle_connections_closed() {
    let server = start(limits()).await;
    let waiting = server.sent(&format!("GET /wait HTTP/1.1\r\n{KEEP}")).await;
    one(&server.hands.waiting).await;
    let idle = server.connect().await;
    let mut used = server.sent(&format!("GET / HTTP/1.1\r\n{KEEP}")).await;
    until(&mut used, "hello").await;
    server.stop.cancel();
    assert_eq!((rest(idle).await, rest(used).await), (String::new(), String::new()));
    assert!(TcpStream::connect(server.address).await.is_err(), "nothing more is accepted");
    server.hands.go_on.add_permits(1);
    assert!(rest(waiting).await.ends_with("waited"));
    tokio::time::timeout(TEST_TIMEOUT, server.task).await.expect("it does not end").unwrap();
}

#[tokio::test]
async fn the_end_does_not_wait_for_ever() {
    let server = start(Limits { shutdown: Duration::from_millis(50), ..limits() }).await;
    let waiting = server.sent(&format!("GET /wait HTTP/1.1\r\n{KEEP}")).await;
    one(&server.hands.waiting).await;
    server.stop.cancel();
    tokio::time::timeout(TEST_TIMEOUT, server.task).await.expect("it does not end").unwrap();
    assert_eq!(rest(waiting).await, "");
}

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls").join(name)
}

/// Writes a certificate and a key for this name into a folder.
fn files(folder: &Path, name: &str) -> TlsFiles {
    let files =
        TlsFiles { certificate: folder.join("certificate.pem"), key: folder.join("key.pem") };
    std::fs::copy(pem(&format!("{name}-certificate.pem")), &files.certificate).unwrap();
    std::fs::copy(pem(&format!("{name}-key.pem")), &files.key).unwrap();
    files
}

/// A client that trusts this certificate alone.
fn connector(name: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(pem(&format!("{name}-certificate.pem"))).unwrap())
        .unwrap();
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config =
        builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth()).into()
}

#[tokio::test]
async fn tls_is_spoken_where_it_is_configured() {
    let folder = tempfile::tempdir().unwrap();
    let mut api = api(&[]).api;
    api.tls = Some(files(folder.path(), "first"));
    let listener = bind(&api).await.unwrap().unwrap();
    assert!(listener.to_string().starts_with("https://127.0.0.1:"));
    let address = listener.address();
    let service = service_fn(|_: Request<RequestBody>| async {
        Ok(Response::new(Full::new(Bytes::from_static(b"hello"))))
    });
    let limits = Limits { handshake: Duration::from_millis(500), ..limits() };
    tokio::spawn(serve(listener, service, limits, CancellationToken::new()));
    let connect = async |name: &str| {
        let socket = TcpStream::connect(address).await.unwrap();
        connector(name).connect(ServerName::try_from("localhost").unwrap(), socket).await
    };
    let mut connection = connect("first").await.unwrap();
    connection.write_all(format!("GET / HTTP/1.1\r\n{CLOSE}").as_bytes()).await.unwrap();
    assert!(rest(connection).await.ends_with("hello"));
    assert!(connect("second").await.is_err(), "it is another certificate");
    // A client that speaks plain HTTP, and one that sends nothing.
    for bytes in [format!("GET / HTTP/1.1\r\n{CLOSE}"), String::new()] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(bytes.as_bytes()).await.unwrap();
        assert!(!rest(plain).await.contains("hello"));
    }
}

/// Whether a client that trusts only the certificate of this name gets a connection.
async fn is_in_force(tls: &Tls, name: &str) -> bool {
    let (client, server) = tokio::io::duplex(16_384);
    let accepting = tls.acceptor().accept(server);
    let connecting = connector(name).connect(ServerName::try_from("127.0.0.1").unwrap(), client);
    let (_, connected) = tokio::join!(accepting, connecting);
    connected.is_ok()
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::new(&files(folder.path(), "first")).unwrap();
    assert!(is_in_force(&tls, "first").await);
    std::fs::write(folder.path().join("certificate.pem"), "nonsense").unwrap();
    tls.refresh();
    assert!(is_in_force(&tls, "first").await);
    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    tls.refresh();
    assert!(is_in_force(&tls, "first").await);
    files(folder.path(), "second");
    tls.refresh();
    assert!(is_in_force(&tls, "second").await && !is_in_force(&tls, "first").await);
}

#[test]
fn tls_files_that_can_not_be_used_are_errors_that_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let nonsense = folder.path().join("nonsense");
    std::fs::write(&nonsense, "nonsense").unwrap();
    let broken = folder.path().join("broken");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let (certificate, key) = (pem("first-certificate.pem"), pem("first-key.pem"));
    for (certificate, key, why) in [
        (&folder.path().join("missing"), &key, "BKUP_API_TLS_CERTIFICATE: \""),
        (&certificate, &folder.path().join("missing"), "BKUP_API_TLS_KEY: \""),
        (&nonsense, &key, "there is no certificate in"),
        (&key, &certificate, "there is no certificate in"),
        (&broken, &key, "is not PEM"),
        (&certificate, &nonsense, "there is no private key in it"),
        (&certificate, &certificate, "there is no private key in it"),
        (&certificate, &pem("second-key.pem"), "is not that of the certificate"),
    ] {
        let error =
            Tls::new(&TlsFiles { certificate: certificate.clone(), key: key.clone() }).unwrap_err();
        assert!(error.exit_code() == 2 && error.message.contains(why), "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
}

#[tokio::test]
async fn the_whole_way_from_the_socket_through_the_gate_to_a_warp_route() {
    let config = api(&[("BKUP_API_READ_TOKEN", "read-read-read-read")]);
    let listener = bind(&config.api).await.unwrap().unwrap();
    let address = listener.address();
    let gate = Gate::new(&config, Arc::new(SystemClock)).unwrap();
    let route = warp::path!("api" / "backup")
        .and(warp::post())
        .and(warp::ext::get::<Access>())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(async |access: Access, headers, stream| {
            let answer: Result<String, Problem> = async {
                access.require_full()?;
                body::read(&headers, stream, |_| false)
                    .await
                    .map(|values| serde_json::to_string(&values).unwrap_or_default())
            }
            .await;
            match answer {
                Ok(text) => warp::reply::Response::new(text.into()),
                Err(problem) => problem.into_response(),
            }
        });
    let service = Gated::new(Arc::new(gate), TowerToHyperService::new(warp::service(route)));
    tokio::spawn(serve(listener, service, limits(), CancellationToken::new()));
    let ask = async |head: &str, body: &str| {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request =
            format!("{head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        connection.write_all(request.as_bytes()).await.unwrap();
        rest(connection).await
    };
    let post = "POST /api/backup HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded";
    let answer =
        ask(&format!("{post}\r\nAuthorization: Bearer full-full-full-full"), "volume=vol1").await;
    assert!(status(&answer) == 200 && answer.ends_with(r#"{"volume":"vol1"}"#), "{answer}");
    assert!(answer.contains("cache-control: no-store"));
    for (head, expected) in [
        (post.to_owned(), 401),
        (format!("{post}\r\nAuthorization: Bearer read-read-read-read"), 403),
        (
            format!("{post}\r\nAuthorization: Bearer full-full-full-full")
                .replace("/x-www-form-urlencoded", "/xml"),
            415,
        ),
    ] {
        let answer = ask(&head, "volume=vol1").await;
        assert!(
            status(&answer) == expected && answer.contains("application/problem+json"),
            "{head}: {answer}"
        );
    }
    let json = CONTENT_TYPE.as_str();
    let sign_in = format!(
        "POST /session HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n{json}: application/json"
    );
    let answer = ask(&sign_in, r#"{"token":"full-full-full-full"}"#).await;
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next())
        .unwrap();
    let with_cookie = |host: &str, origin: &str| {
        format!("{post}\r\nCookie: {cookie}\r\nOrigin: {origin}")
            .replace("Host: localhost", &format!("Host: {host}"))
    };
    let port = address.port();
    for (host, origin, expected) in [
        ("localhost", "http://localhost", 200),
        ("localhost", "http://evil.example.com", 403),
        ("evil.example.com", "http://evil.example.com", 421),
    ] {
        let (host, origin) = (format!("{host}:{port}"), format!("{origin}:{port}"));
        assert_eq!(
            status(&ask(&with_cookie(&host, &origin), "").await),
            expected,
            "{host} {origin}"
        );
    }
    let elsewhere = with_cookie("localhost:1", "http://localhost:1");
    assert_eq!(status(&ask(&elsewhere, "").await), 401, "the cookie is of another instance");
}

#[test]
fn that_nothing_can_be_accepted_is_said_once_a_minute_with_how_often_it_was_so() {
    let (mut failures, start) = (AcceptFailures::default(), Instant::now());
    let said =
        (0..1_300).filter_map(|tenth| failures.count(start + Duration::from_millis(100 * tenth)));
    assert_eq!(said.collect::<Vec<_>>(), [0, 599, 599]);
}
