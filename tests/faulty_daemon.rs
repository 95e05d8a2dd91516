//! The faulty daemon does what it is told to: the tests that rely on it rely on this.

use std::{
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
};

use crate::support::{
    faulty::{Answer, Faulty},
    socket::{self, RawAnswer},
};

fn ask(daemon: &Faulty, path: &str) -> std::io::Result<RawAnswer> {
    socket::send(daemon.socket(), "GET", path, &[("User-Agent", "Convoy-Client/1")], "{\"a\":1}")
}

/// All that comes back, as bytes.
fn bytes(socket: &Path, path: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn it_answers_in_the_order_given_and_writes_down_what_it_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer("GET /one", Answer::json("{}"))
        .answer("GET /one", Answer::Text(500, "no".into()))
        .answer("GET /html", Answer::Html)
        .answer("GET /empty", Answer::Empty)
        .answer("GET /half-json", Answer::HalfJson);
    assert_eq!(ask(&daemon, "/one").unwrap().body, "{}");
    for _ in 0..2 {
        assert_eq!(ask(&daemon, "/one").unwrap().status, 500);
    }
    assert!(ask(&daemon, "/html").unwrap().body.contains("<html>"));
    assert_eq!(
        ask(&daemon, "/empty").unwrap(),
        RawAnswer { status: 200, content_type: None, body: String::new() }
    );
    let half = ask(&daemon, "/half-json").unwrap().body;
    assert!(serde_json::from_str::<serde_json::Value>(&half).unwrap_err().is_eof());
    assert_eq!(ask(&daemon, "/nope").unwrap().body, "Handler not found: GET /nope");
    let requests = daemon.requests();
    assert_eq!(requests.len(), 7);
    assert_eq!((requests[0].line().as_str(), requests[0].body.as_str()), ("GET /one", "{\"a\":1}"));
    assert_eq!(requests[0].headers["user-agent"], "Convoy-Client/1");
}

#[test]
fn it_breaks_off_where_it_shall() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer("GET /closed", Answer::CloseAtOnce)
        .answer("GET /half", Answer::HalfBody("12345678".into()))
        .answer("GET /raw", Answer::Raw(b"hello".to_vec()))
        .answer("GET /chunks", Answer::Huge { bytes: 100_000, announced: false })
        .answer("GET /huge", Answer::Huge { bytes: 5 << 30, announced: true });
    assert_eq!(bytes(daemon.socket(), "/closed"), "");
    let half = bytes(daemon.socket(), "/half");
    assert!(half.contains("Content-Length: 8\r\n") && half.ends_with("\r\n\r\n1234"), "{half}");
    assert_eq!(bytes(daemon.socket(), "/raw"), "hello");
    assert_eq!(ask(&daemon, "/chunks").unwrap().body.len(), 100_000);
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.write_all(b"GET /huge HTTP/1.1\r\n\r\n").unwrap();
    let mut beginning = [0; 100];
    stream.read_exact(&mut beginning).unwrap();
    assert!(String::from_utf8_lossy(&beginning).contains("Content-Length: 5368709120\r\n"));
}

#[test]
fn it_keeps_waiting_until_it_is_told_or_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Faulty::start(folder.path())
        .answer("GET /never", Answer::Never)
        .answer("GET /later", Answer::WhenReleased(Box::new(Answer::json("{}"))));
    let mut never = UnixStream::connect(daemon.socket()).unwrap();
    never.write_all(b"GET /never HTTP/1.1\r\n\r\n").unwrap();
    let socket = daemon.socket().to_owned();
    let later = std::thread::spawn(move || socket::send(&socket, "GET", "/later", &[], ""));
    daemon.wait_for_requests(2);
    assert!(!later.is_finished());
    never.set_nonblocking(true).unwrap();
    assert_eq!(never.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    daemon.release();
    assert_eq!(later.join().unwrap().unwrap().body, "{}");
    drop(daemon);
    never.set_nonblocking(false).unwrap();
    assert_eq!(never.read(&mut [0]).unwrap(), 0);
}
