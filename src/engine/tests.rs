//! The engine's client against an engine in memory, and against sockets that misbehave.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    path::Path,
    thread,
};

use serde_json::json;

use super::*;
use crate::{
    error::ErrorKind,
    support::engine::{Contents, FakeEngine},
};

const SOON: Duration = Duration::from_secs(60);

/// A socket that answers every request with these bytes.
fn answering(socket: &Path, bytes: &'static [u8]) {
    let listener = UnixListener::bind(socket).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            _ = stream.read(&mut [0; 4096]);
            _ = stream.write_all(bytes);
        }
    });
}

#[test]
fn volumes_and_containers_are_read_with_their_labels_and_options() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    let labels = json!({ "com.docker.compose.project": "shop" });
    let data = fake.volume("shop_db", &labels, &json!(null));
    let options = json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": ":/data" });
    fake.volume("share", &json!(null), &options);
    fake.volume(&"0123456789abcdef".repeat(4), &json!(null), &json!(null));
    fake.container("shop-db-1", "running", &json!({}), &["shop_db"]);

    let engine = Engine::at(&fake.socket);
    let Everything { volumes, containers } = engine.everything(SOON).unwrap();
    let (volumes, containers) = (volumes.known, containers.known);
    let named = |name: &str| volumes.iter().find(|volume| volume.name == name).unwrap();
    assert_eq!(named("shop_db").project(), Some("shop"));
    assert_eq!(named("shop_db").mountpoint, data);
    assert_eq!(named("share").options["type"], "nfs");
    assert!(named("share").labels.is_empty() && !named("share").is_anonymous());
    assert_eq!(volumes.iter().filter(|volume| volume.is_anonymous()).count(), 1);

    assert_eq!(containers[0].name(), "shop-db-1");
    assert!(containers[0].uses("shop_db") && !containers[0].uses("share"));
    assert_eq!(
        fake.with(|contents| contents.requests.clone()),
        ["GET /_ping", "GET /v1.41/volumes", "GET /v1.41/containers/json?all=1"]
    );
}

#[test]
fn a_volume_is_made_with_labels_and_options_and_not_removed_while_a_container_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    let engine = Engine::at(&fake.socket);
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let made = engine.create_volume("vol1", &labels, &BTreeMap::new()).unwrap();
    assert_eq!((made.labels, made.driver.as_str()), (labels, "local"));
    fake.container("one", "exited", &json!({}), &["vol1"]);
    let error = engine.remove_volume("vol1").unwrap_err();
    assert!(error.message.contains("volume is in use") && error.hint.is_some(), "{error}");
    assert_eq!((error.status, error.kind), (Some(409), ErrorKind::Daemon));
    fake.with(|contents| contents.containers.clear());
    engine.remove_volume("vol1").unwrap();
    assert_eq!(engine.remove_volume("vol1").unwrap_err().kind, ErrorKind::NotFound);
}

#[test]
fn what_is_no_engine_is_told_from_an_engine_that_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("file"), "").unwrap();
    drop(UnixListener::bind(path("dead")).unwrap());
    answering(&path("web"), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK");
    answering(&path("noise"), b"220 mail.example.org ESMTP\r\n");
    let closing: &[u8] = b"";
    answering(&path("closing"), closing);
    let odd = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 2\r\n\r\n{}";
    answering(&path("odd"), odd);
    let huge = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: 99999999999\r\n\r\n";
    answering(&path("huge"), huge);
    answering(&path("old"), b"HTTP/1.1 200 OK\r\nApi-Version: 1.12\r\nContent-Length: 2\r\n\r\nOK");
    answering(&path("proxy"), b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    for (name, kind, words) in [
        ("gone", ErrorKind::Unreachable, "there is no socket"),
        ("file", ErrorKind::Unreachable, "is not a socket"),
        ("dead", ErrorKind::Unreachable, "nobody listens"),
        ("web", ErrorKind::Protocol, "is no Docker engine"),
        ("noise", ErrorKind::Protocol, "is no Docker engine"),
        ("closing", ErrorKind::Timeout, "the connection to Docker broke"),
        ("huge", ErrorKind::Protocol, "it is too long"),
        ("old", ErrorKind::Protocol, "has version 1.12 of Docker's API, which is too old"),
        ("proxy", ErrorKind::Daemon, "says \"403 Forbidden\""),
    ] {
        let error = Engine::at(&path(name)).everything(SOON).unwrap_err();
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(error.message.contains(words) && error.hint.is_some(), "{name}: {error}");
    }
    let error = Engine::at(&path("odd")).users_of("vol1").unwrap_err();
    assert!(error.message.contains("makes no sense"), "{error}");
}

#[test]
fn an_item_that_makes_no_sense_hides_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    fake.volume("vol1", &json!(null), &json!(null));
    fake.container("one", "running", &json!({}), &["vol1"]);
    let engine = Engine::at(&fake.socket);
    fake.with(|contents| {
        contents.volumes.get_mut("vol1").unwrap()["CreatedAt"] = json!("0001-01-01 00:00");
        contents.volumes.get_mut("vol1").unwrap()["Mountpoint"] = json!(null);
        contents.volumes.insert("odd".into(), json!({ "Name": "odd", "Driver": 7 }));
        contents.containers[0]["Image"] = json!(null);
        contents.containers[0]["Names"] = json!([1]);
    });
    let Everything { volumes, containers } = engine.everything(SOON).unwrap();
    assert_eq!(volumes.known[0].name, "vol1");
    assert_eq!(volumes.odd[0].name.as_deref(), Some("odd"));
    assert_eq!((containers.known.len(), containers.odd.len()), (0, 1));
    assert!(engine.volume("vol1").unwrap().is_some() && engine.volume("odd").is_err());
    assert_eq!(engine.users_of("vol1").unwrap().len(), 1, "it counts all the same");
    fake.with(|contents| contents.volumes.insert("b".into(), json!("b")));
    assert!(engine.volume("vol2").is_err(), "this may be it");
}

#[test]
fn an_engine_that_hangs_is_waited_for_no_longer_than_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    fake.with(|contents| contents.hangs = true);
    let begun = Instant::now();
    let error = Engine::at(&fake.socket).everything(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_container_that_could_not_be_frozen_is_asked_again_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    fake.container("one", "running", &json!({}), &[]);
    let id = format!("{:064x}", 1);
    let (engine, looks) = (Engine::at(&fake.socket), format!("GET /containers/{id}/json"));
    let unable = || Some(("pause", "500 Internal Server Error", "unable to freeze"));
    let hold = || engine.hold_container(&id, How::Pause, SOON, &|| false);
    fake.with(|contents| {
        contents.faults.refused = unable();
        let freezes = Box::new(|contents: &mut Contents| contents.faults.refused = None);
        contents.before.push((looks.clone(), freezes));
    });
    hold().unwrap();
    assert_eq!(fake.acts(), "pause one");
    fake.with(|contents| {
        contents.faults.refused = unable();
        let ends = |contents: &mut Contents| contents.containers[0]["State"] = json!("exited");
        contents.before.push((looks.clone(), Box::new(ends)));
    });
    assert_eq!(hold().unwrap_err().status, Some(500));
}

#[test]
fn a_container_that_mounts_a_folder_by_another_path_is_known_to_write_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(&folder.path().join("docker"));
    let (site, link) = (folder.path().join("site"), folder.path().join("link"));
    std::fs::create_dir(&site).unwrap();
    std::os::unix::fs::symlink(&site, &link).unwrap();
    let mount = |source: &Path| json!([{ "Type": "bind", "Source": source, "RW": true }]);
    fake.container("linked", "running", &json!({}), &[]);
    fake.container("bound", "running", &json!({}), &["of_docker"]);
    fake.container("other", "running", &json!({}), &[]);
    let options = json!({ "type": "none", "o": "bind", "device": link });
    fake.volume("of_docker", &json!(null), &options);
    fake.with(|contents| {
        contents.containers[0]["Mounts"] = mount(&link);
        contents.containers[2]["Mounts"] = mount(&folder.path().join("elsewhere"));
    });
    let (volumes, containers) = Engine::at(&fake.socket).all(SOON).unwrap();
    let real = site.canonicalize().unwrap();
    let site = Written { volume: "site", folder: &site, real: &real };
    let pause = Policies { at_it: HoldPolicy::Pause, above: HoldPolicy::Pause };
    let found = writing(&containers, site, &volumes, pause, &Own::default()).unwrap();
    let names: Vec<_> = found.writers.iter().map(|writer| writer.name.as_str()).collect();
    assert_eq!(names, ["bound", "linked"]);
    assert!(commands(&containers, site, &volumes).unwrap().is_written);
}

#[test]
fn it_is_told_where_the_engine_may_have_lost_events() {
    let folder = tempfile::tempdir().unwrap();
    let fake = FakeEngine::start(folder.path());
    let engine = Engine::at(&fake.socket);
    let begun = jiff::Timestamp::now();
    let happens = |kind, action, count| {
        let happen = |contents: &mut Contents| {
            (0..count).for_each(|_| contents.happened(kind, action, "1", json!({}), "one"));
        };
        fake.with(happen);
    };
    happens("container", "start", 1);
    let ended = jiff::Timestamp::now();
    happens("container", "start", 1);
    let told = || {
        let (events, may_lack) = engine.events((begun, ended)).unwrap();
        (events.len(), may_lack)
    };
    assert_eq!(told(), (1, false), "the other one was later");
    happens("container", "exec_start: test -e /ready", 254);
    assert_eq!(told(), (1, true));
}
