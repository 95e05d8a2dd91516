//! A daemon that is not there, dead, slow, or talks nonsense: what the operator is told, and that
//! nothing is repeated blindly.

use std::{
    fs,
    os::unix::net::UnixListener,
    process::{Command, Stdio},
};

use crate::support::{
    faulty::{Answer, Faulty},
    site::{Ran, Site},
};

const VOLUME: &str = r#"{"Name": "vol1", "Driver": "vfs", "MountPoint": "", "CreatedTime": "Mon Nov 23 07:00:48 +0000 2026",
    "DriverInfo": {"Size": "0"}, "Snapshots": {}}"#;

/// A site whose daemon is this socket.
fn at(socket: &std::path::Path) -> Site {
    Site::bare().with("BKUP_CONVOY", format!("unix://{}", socket.display()))
}

#[test]
fn a_socket_that_is_not_there_is_an_error_and_never_an_empty_backup() {
    let site = Site::bare();
    let socket = site.path("nobody.sock");
    let site = site.with("BKUP_CONVOY", format!("unix://{}", socket.display()));
    site.run("backup --timeout 1s").ends(1);
    assert!(site.run("volumes --json --timeout 1s").ends(1).out.contains("\"error\""));
    assert!(site.run("doctor").ends(1).out.contains("nobody.sock"));
    fs::create_dir(&socket).unwrap();
    assert!(site.run("doctor").ends(1).out.contains("is not a socket"));
}

#[test]
fn a_socket_nobody_listens_on_is_said_so() {
    let site = Site::bare();
    let socket = site.path("dead.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let site = site.with("BKUP_CONVOY", format!("unix://{}", socket.display()));
    site.run("volumes --timeout 1s").ends(1);
    let told = site.run("doctor").ends(1).out;
    assert!(told.contains("nobody listens") && told.contains("start Convoy"), "{told}");
}

#[test]
fn answers_that_are_not_convoys_are_named_and_shown() {
    for (answer, words) in [
        (Answer::Html, ["GET /volumes/list", "html"]),
        (Answer::HalfJson, ["GET /volumes/list", "makes no sense"]),
        (Answer::json("[1, 2]"), ["GET /volumes/list", "[1, 2]"]),
        (Answer::Text(500, "out of order\n".into()), ["GET /volumes/list", "500: out of order"]),
        (
            Answer::Text(400, "it is what it is\n".into()),
            ["GET /volumes/list", "400: it is what it is"],
        ),
        (Answer::Huge { bytes: 5 << 30, announced: true }, ["GET /volumes/list", "MiB"]),
        (Answer::Huge { bytes: 5 << 30, announced: false }, ["GET /volumes/list", "MiB"]),
    ] {
        let site = Site::bare();
        let daemon =
            Faulty::start_at(&site.path("convoy.sock")).answer("GET /v1/volumes/list", answer);
        at(daemon.socket()).run("volumes").fails(1, &words);
    }
}

#[test]
fn a_daemon_that_never_answers_is_given_up_at_the_deadline() {
    let site = Site::bare();
    let daemon =
        Faulty::start_at(&site.path("convoy.sock")).answer("GET /v1/volumes/list", Answer::Never);
    at(daemon.socket()).run("volumes --timeout 1s").fails(1, &["time is up"]);
}

#[test]
fn ctrl_c_ends_a_run_whose_daemon_does_not_answer() {
    let site = Site::bare();
    let daemon =
        Faulty::start_at(&site.path("convoy.sock")).answer("GET /v1/volumes/list", Answer::Never);
    let site = at(daemon.socket());
    let child = site
        .command()
        .arg("volumes")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.wait_for_requests(1);
    assert!(
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success()
    );
    Ran::of("volumes".into(), child.wait_with_output().unwrap()).fails(1, &["cancelled"]);
}

#[test]
fn a_read_is_tried_again_and_a_write_is_not() {
    let site = Site::bare();
    let daemon = Faulty::start_at(&site.path("convoy.sock"))
        .answer("GET /v1/volumes/list", Answer::CloseAtOnce)
        .answer("GET /v1/volumes/list", Answer::json(format!("{{\"vol1\": {VOLUME}}}")))
        .answer("GET /v1/volumes/", Answer::json(VOLUME))
        .answer(
            "GET /v1/snapshots/",
            Answer::Text(400, "cannot find volume for snapshot x\n".into()),
        )
        .answer("POST /v1/snapshots/create", Answer::CloseAtOnce);
    at(daemon.socket()).run("snapshot").fails(1, &["POST /snapshots/create", "vol1"]);
    let lines: Vec<_> = daemon.requests().iter().map(|request| request.line()).collect();
    assert_eq!(lines.iter().filter(|line| *line == "GET /v1/volumes/list").count(), 2, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), 1, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "GET /v1/snapshots/", "a look at what happened: {lines:?}");
}

#[test]
fn an_empty_list_that_the_driver_contradicts_is_an_error() {
    let site = Site::bare();
    let daemon = Faulty::start_at(&site.path("convoy.sock"))
        .answer("GET /v1/volumes/list", Answer::json("{}"))
        .answer("GET /v1/volumes/list?driver=1", Answer::json(r#"{"vol1": {"Driver": "vfs"}}"#));
    at(daemon.socket()).run("backup").fails(1, &["lists no volumes"]);
}

#[test]
fn what_a_daemon_calls_things_cannot_write_to_the_terminal() {
    let site = Site::bare();
    let odd = VOLUME.replace("\"Driver\": \"vfs\"", "\"Driver\": \"\\u001b[31mred\\u0007\"");
    let daemon = Faulty::start_at(&site.path("convoy.sock"))
        .answer("GET /v1/volumes/list", Answer::json(format!("{{\"vol1\": {odd}}}")));
    let ran = at(daemon.socket()).run("volumes").ok();
    assert!(
        ran.out.contains("vol1") && !ran.out.contains('\u{1b}') && !ran.out.contains('\u{7}'),
        "{ran:?}"
    );
}
