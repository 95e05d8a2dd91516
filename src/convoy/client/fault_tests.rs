//! The client against a daemon that answers late, wrongly, partly, or not at all.

use std::{path::Path, sync::Mutex};

use super::*;
use crate::error::ErrorKind;
use crate::support::faulty::{Answer, Faulty};

fn at(socket: &Path) -> Client {
    let options =
        ClientOptions { socket: socket.into(), endpoint: None, deadlines: Deadlines::default() };
    Client { wait: Arc::new(|_| Box::pin(std::future::ready(()))), ..Client::new(options) }
}

/// A client that does not sleep between its attempts.
pub(super) fn client(daemon: &Faulty) -> Client {
    at(daemon.socket())
}

/// Shortens all deadlines that begin when the request is sent.
fn hurried(mut client: Client, deadline: Duration) -> Client {
    let all = &mut client.options.deadlines;
    for one in [&mut all.quick_read, &mut all.listing, &mut all.quick_write, &mut all.long_write] {
        *one = deadline;
    }
    client
}

fn vol1() -> Name {
    Name::volume("vol1").unwrap()
}

const LIST: &str = "GET /v1/volumes/list";
const SNAPSHOT: &str = "POST /v1/snapshots/create";
const UMOUNT: &str = "POST /v1/volumes/umount";

#[tokio::test]
async fn senseless_answers_are_shown_and_not_believed() {
    for (answer, shows) in [
        (Answer::Html, "\"<!DOCTYPE html>\\n<html><body>It works!</body></html>\\n\""),
        (Answer::HalfJson, "{\\n\\t\\\"vol1\\\""),
        (Answer::json("[]"), "invalid type: sequence"),
        (Answer::json("null"), "invalid type: null"),
        (Answer::json(r#"{"vol1":"x"}"#), "invalid type: string"),
        (Answer::json("\u{1b}[2J"), "\\u{1b}[2J"),
        (Answer::Empty, "the answer is empty"),
        (Answer::json(" \n"), "the answer is empty"),
        (Answer::json("x".repeat(10_000)), &format!("\"{}..\"", "x".repeat(80))),
        (Answer::Raw(b"+OK POP3 server ready\r\n".to_vec()), "does not speak HTTP"),
        (Answer::Text(404, "<html>nginx</html>".into()), "does not know this request"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Faulty::start(folder.path()).answer(LIST, answer.clone());
        let error = client(&daemon).volumes().await.unwrap_err();
        let shows = shows.replace("\\\"", "\"");
        assert_eq!(error.kind, ErrorKind::Protocol, "{answer:?}: {error}");
        assert!(error.message.contains(&shows), "{answer:?}: {error}");
        assert!(!error.message.contains(char::is_control), "{answer:?}: {error:?}");
        assert_eq!(error.request.as_deref(), Some("GET /volumes/list"));
        assert!(error.hint.is_some());
        assert_eq!(daemon.requests().len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_deletion_that_is_answered_by_a_web_page_did_not_happen() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path()).answer(UMOUNT, Answer::Html);
    let error = client(&daemon).unmount_volume(&vol1()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
}

#[tokio::test]
async fn a_body_of_five_gigabytes_is_not_read() {
    for announced in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let daemon =
            Faulty::start(folder.path()).answer(LIST, Answer::Huge { bytes: 5 << 30, announced });
        let started = Instant::now();
        let error = client(&daemon).volumes().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Protocol, "{error}");
        assert!(error.message.contains("64 MiB"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}

#[tokio::test]
async fn the_daemons_own_words_are_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let long = "word ".repeat(1000);
    let daemon = Faulty::start(folder.path())
        .answer(LIST, Answer::Text(500, "it\n\tdid  not\u{7} work\n".into()))
        .answer(LIST, Answer::Text(503, String::new()))
        .answer(LIST, Answer::Text(400, long))
        .answer(LIST, Answer::Text(404, "not what a volume is missed with\n".into()));
    let client = client(&daemon);
    let error = client.volumes().await.unwrap_err();
    assert_eq!(error.to_string(), "GET /volumes/list: 500: it did not\\u{7} work");
    assert_eq!(error.kind, ErrorKind::Daemon);
    let error = client.volumes().await.unwrap_err();
    assert_eq!(error.to_string(), "GET /volumes/list: 503: the daemon refused and did not say why");
    let error = client.volumes().await.unwrap_err();
    assert_eq!(error.message.chars().count(), 502);
    let error = client.volumes().await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Daemon, Some(404)));
}

#[tokio::test]
async fn a_read_is_tried_again_when_the_connection_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer(LIST, Answer::CloseAtOnce)
        .answer(LIST, Answer::HalfBody("{\"vol1\": {}}".into()))
        .answer(LIST, Answer::Raw(b"HTTP/1.1 200 O".to_vec()))
        .answer(LIST, Answer::json("{}"));
    assert!(client(&daemon).volumes().await.unwrap().is_empty());
    assert_eq!(daemon.requests().len(), 4);
}

#[tokio::test]
async fn a_read_that_always_breaks_ends_as_a_timeout() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path()).answer(LIST, Answer::CloseAtOnce);
    let mut client = client(&daemon);
    client.options.deadlines.restart = Duration::from_millis(700);
    let error = client.volumes().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("the connection broke"), "{error}");
    assert_eq!(daemon.requests().len(), 4, "once, and after 100, 200 and 400 ms");
}

#[tokio::test]
async fn a_write_is_never_sent_twice() {
    for answer in [
        Answer::CloseAtOnce,
        Answer::HalfBody("{\"Name\": \"snap1\"}".into()),
        Answer::Raw(b"HTTP/1.1 200 O".to_vec()),
        Answer::Text(500, "no".into()),
        Answer::Html,
        Answer::Never,
    ] {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Faulty::start(folder.path()).answer(SNAPSHOT, answer.clone());
        let client = hurried(client(&daemon), Duration::from_millis(200));
        let error =
            client.create_snapshot(&vol1(), &Name::snapshot("snap1").unwrap()).await.unwrap_err();
        let expected = match answer {
            Answer::Text(..) => ErrorKind::Daemon,
            Answer::Html => ErrorKind::Protocol,
            _ => ErrorKind::Timeout,
        };
        assert_eq!(error.kind, expected, "{answer:?}: {error}");
        if error.kind == ErrorKind::Timeout {
            assert!(error.hint.unwrap().contains("unknown"));
        }
        assert_eq!(daemon.requests().len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn a_daemon_that_never_answers_does_not_hold_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let daemon =
        Faulty::start(folder.path()).answer(LIST, Answer::Never).answer(UMOUNT, Answer::Never);
    let client = hurried(client(&daemon), Duration::from_millis(50));
    let error = client.volumes().await.unwrap_err();
    assert_eq!(error.to_string(), "GET /volumes/list: no answer within 0.05 s");
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert_eq!(client.unmount_volume(&vol1()).await.unwrap_err().kind, ErrorKind::Timeout);
    assert_eq!(daemon.requests().len(), 2);
}

#[tokio::test]
async fn a_late_answer_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer(LIST, Answer::WhenReleased(Box::new(Answer::json("{}"))));
    let client = client(&daemon);
    let listing = tokio::spawn(async move { client.volumes().await });
    let daemon = tokio::task::spawn_blocking(move || {
        daemon.wait_for_requests(1);
        daemon.release();
        daemon
    });
    assert!(listing.await.unwrap().unwrap().is_empty());
    drop(daemon.await.unwrap());
}

/// The client's pauses, and the daemon that starts during one of them.
type Seen = Arc<Mutex<(Vec<Duration>, Option<Faulty>)>>;

/// A client for a socket whose daemon starts at the client's third pause.
fn while_the_daemon_starts(socket: &Path, route: &'static str) -> (Client, Seen) {
    let seen = Seen::default();
    let (hook, path) = (Arc::clone(&seen), socket.to_owned());
    let wait: Wait = Arc::new(move |pause| {
        let mut seen = hook.lock().unwrap();
        seen.0.push(pause);
        if seen.0.len() == 3 {
            let _ = std::fs::remove_file(&path);
            let answer = if route == LIST { Answer::json("{}") } else { Answer::Empty };
            seen.1 = Some(Faulty::start_at(&path).answer(route, answer));
        }
        Box::pin(std::future::ready(()))
    });
    (Client { wait, ..at(socket) }, seen)
}

#[tokio::test]
async fn a_daemon_that_restarts_is_waited_for_by_reads_and_by_writes() {
    for dead_socket_is_left in [false, true] {
        for route in [LIST, UMOUNT] {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("convoy.sock");
            if dead_socket_is_left {
                drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
            }
            let (client, seen) = while_the_daemon_starts(&socket, route);
            match route {
                LIST => assert!(client.volumes().await.unwrap().is_empty()),
                _ => client.unmount_volume(&vol1()).await.unwrap(),
            }
            let seen = seen.lock().unwrap();
            assert_eq!(seen.0, [100, 200, 400].map(Duration::from_millis));
            assert_eq!(seen.1.as_ref().unwrap().requests().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_given_up_after_fifteen_seconds_in_all() {
    let folder = tempfile::tempdir().unwrap();
    let waited = Arc::new(Mutex::new(Duration::ZERO));
    let count = Arc::clone(&waited);
    let mut client = at(&folder.path().join("none.sock"));
    client.wait = Arc::new(move |pause| {
        *count.lock().unwrap() += pause;
        Box::pin(std::future::ready(()))
    });
    let error = client.volumes().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.starts_with("there is no socket"), "{error}");
    assert!(error.hint.unwrap().contains("BKUP_CONVOY"));
    assert_eq!(*waited.lock().unwrap(), Duration::from_secs(15));
}

#[tokio::test]
async fn what_no_waiting_helps_with_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let too_long = folder.path().join("x".repeat(200));
    for (path, message) in [
        (file.as_path(), "is not a socket"),
        (folder.path(), "is not a socket"),
        (&too_long, "cannot connect to"),
    ] {
        let mut client = at(path);
        client.wait = Arc::new(|_| panic!("waited"));
        let error = client.volumes().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unreachable);
        assert!(error.message.contains(message), "{error}");
    }
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    assert!(!may_be_restarting(&denied));
    let call = Call { method: Method::GET, route: "/info", body: None, deadline: Duration::ZERO };
    let error = error_of(
        &Failure::NotConnected(denied),
        &call,
        &file.with_file_name("none"),
        Duration::ZERO,
    );
    assert!(error.message.starts_with("no permission"), "{error}");
}
