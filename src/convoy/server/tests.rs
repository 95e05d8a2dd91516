//! The server over a daemon in memory: its own answers, and its behaviour.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream as BlockingStream,
    path::PathBuf,
    sync::Mutex,
};

use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

use super::*;
use crate::{
    convoy::{
        AsItIs, Backup, BackupUrl, Capabilities, Changes, Destination, DriverInfo, GivenBack, Info,
        Mount, Name, NewVolume, Quiesced, ReadBack, Snapshot, Volume, WasReadBack,
        client::{Client, ClientOptions, Deadlines},
        inside::{
            Compare, Content, Differences, EntryKind, FileEntry, Form, ListFiles, Look, ReadFile,
            Seen,
        },
        memory::{Fault, MemoryDaemon},
        refusal::no_backup,
    },
    error::ErrorKind,
    support::{
        socket::{self as raw, RawAnswer},
        transcripts,
    },
};

fn file(path: &str) -> FileEntry {
    FileEntry {
        path: path.to_owned(),
        kind: EntryKind::File,
        size: 9,
        modified: None,
        mode: 0o640,
        uid: 1,
        gid: 2,
        user: None,
        group: Some("staff".to_owned()),
        target: None,
    }
}

struct Running {
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<()>>,
}

impl Running {
    fn start<D: Plugin + 'static>(daemon: Arc<D>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server =
            Server::bind(&folder.path().join("convoy.sock"), daemon.clone(), daemon).unwrap();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { folder, stop: Some(stop), server }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("convoy.sock")
    }

    fn client(&self) -> Client {
        let (endpoint, deadlines) = (None, Deadlines::default());
        Client::new(ClientOptions { socket: self.socket(), endpoint, deadlines })
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> RawAnswer {
        self.send_with(method, path, &[], body).await
    }

    async fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> RawAnswer {
        tokio::task::block_in_place(|| raw::send(&self.socket(), method, path, headers, body))
            .unwrap()
    }
}

/// Recorded exchanges that the daemon in memory can't answer: it has no drivers, no folders and no
/// mounts. An integration test sends all of them to the built-in daemon.
const BEYOND_MEMORY: [&str; 3] = [
    "create a volume with an unknown driver",
    "delete a mounted volume",
    "back up to a folder that is not there",
];
/// Exchanges whose answers depend on drivers and folders. Only their status and content type are
/// compared.
const DRIVERS_WORDS: [&str; 21] = [
    "info",
    "create a volume, verbose",
    "create a volume without a name",
    "mount, verbose",
    "mount, bare",
    "inspect a mounted volume",
    "snapshot, verbose",
    "inspect a snapshot",
    "list volumes",
    "list volumes, driver's view",
    "list backups of a volume never backed up",
    "list backups",
    "list backups of one volume",
    "inspect a backup",
    "inspect a backup, \\u0026 spelt out",
    "inspect a backup that is not there",
    "restore, verbose",
    "restore from a backup that is not there",
    "delete a backup that is gone",
    "docker: list",
    "docker: mount",
];

/// Replaces every `backup-..`, `volume-..` and `snapshot-<16 hex digits>` with the same text.
fn without_random_names(text: &str) -> String {
    let mut result = text.to_owned();
    for what in ["backup-", "volume-", "snapshot-"] {
        let mut from = 0;
        while let Some(found) = result[from..].find(what) {
            from += found + what.len();
            if result.len() >= from + 16
                && result[from..from + 16].bytes().all(|b| b.is_ascii_hexdigit())
            {
                result.replace_range(from..from + 16, "*");
            }
        }
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_answered_alike_wherever_a_daemon_in_memory_can_tell() {
    let server = Running::start(Arc::new(MemoryDaemon::new()));
    let mut made: Vec<(String, String)> = Vec::new();
    let (mut to_the_byte, mut by_status) = (0, 0);
    for exchange in transcripts::exchanges() {
        let name = exchange.name.as_str();
        if BEYOND_MEMORY.contains(&name) || name.starts_with("S3:") || name == "docker: path" {
            continue;
        }
        let mut body = exchange.request.body.map(|body| body.to_string()).unwrap_or_default();
        // Replaces the names that Convoy made up with the ones that this daemon made up, in the
        // same order.
        for (recorded, ours) in &made {
            body = body.replace(recorded.as_str(), ours);
        }
        let headers: Vec<_> =
            exchange.request.headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let answer = server
            .send_with(&exchange.request.method, &exchange.request.path, &headers, &body)
            .await;
        let recorded = exchange.response;
        assert_eq!(
            (answer.status, &answer.content_type),
            (recorded.status, &recorded.content_type),
            "{name}: {answer:?}"
        );
        if name.starts_with("back up, ") {
            let backup = |text: &str| {
                text.split_once("backup=").unwrap().1.split_once('\\').unwrap().0.to_owned()
            };
            made.push((backup(&recorded.body), backup(&answer.body)));
        }
        if DRIVERS_WORDS.contains(&name) {
            by_status += 1;
        } else {
            // Convoy does not tell when a volume was made.
            let body = match answer.body.split_once("\"CreatedAt\"") {
                Some((before, made)) => {
                    format!("{before}{}", made.split_once(",\n\t\t").unwrap().1)
                }
                None => answer.body,
            };
            assert_eq!(without_random_names(&body), without_random_names(&recorded.body), "{name}");
            to_the_byte += 1;
        }
    }
    assert_eq!((to_the_byte, by_status), (39, DRIVERS_WORDS.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_answer_bare_and_under_v1_with_exact_slashes() {
    let server = Running::start(Arc::new(MemoryDaemon::with_volumes(&["vol1"])));
    assert_eq!(
        server.send("GET", "/volumes/list", "").await,
        server.send("GET", "/v1/volumes/list", "").await
    );
    assert_eq!(server.send("GET", "/volumes/", r#"{"VolumeName":"vol1"}"#).await.status, 200);
    for (method, path) in [
        ("GET", "/volumes"),
        ("GET", "/volumes/list/"),
        ("DELETE", "/backups/"),
        ("GET", "/v2/info"),
        ("GET", "/v1"),
        ("GET", "/VolumeDriver.List"),
        ("POST", "/v1/VolumeDriver.List"),
        ("GET", "/nope?a=b"),
    ] {
        let answer = server.send(method, path, "{}").await;
        assert_eq!(
            (answer.status, answer.body),
            (404, format!("Handler not found: {method} {path}"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_and_the_server_understand_each_other() {
    let server = Running::start(Arc::new(MemoryDaemon::new()));
    let client = server.client();
    let vol1 = Name::volume("vol1").unwrap();
    client.create_volume(&NewVolume::named(vol1.clone())).await.unwrap();
    let snapshot = client.create_snapshot(&vol1, &Name::snapshot("snap1").unwrap()).await.unwrap();
    assert_eq!(snapshot.volume_name, "vol1");
    let destination = Destination::parse("vfs:///backups&<x>").unwrap();
    let url = client.create_backup(&Name::snapshot("snap1").unwrap(), &destination).await.unwrap();
    assert_eq!(url.destination(), destination);
    assert_eq!(client.backups(&destination, Some(&vol1)).await.unwrap()[0].url().unwrap(), url);
    assert_eq!(client.backup(&url).await.unwrap().volume(), "vol1");
    let listed = &client.volumes().await.unwrap()["vol1"];
    assert_eq!(listed.snapshots_by_time()[0].name, "snap1");
    assert_eq!(client.driver_volumes().await.unwrap().len(), 1);
    assert_eq!(client.info().await.unwrap().default_driver(), Some("vfs"));
    client.delete_backup(&url, &[]).await.unwrap();
    assert_eq!(client.delete_backup(&url, &[]).await.unwrap_err().kind, ErrorKind::NotFound);
    client.delete_snapshot(&Name::snapshot("snap1").unwrap()).await.unwrap();
    client.delete_volume(&vol1, None, false).await.unwrap();
    assert_eq!(client.volume(&vol1).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(client.unmount_volume(&vol1).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_convoy_has_no_words_for_comes_through_the_socket_too() {
    let daemon = Arc::new(Recorder::default());
    let server = Running::start(daemon.clone());
    let client = server.client();
    let is_used = async |path: &str| {
        client.is_used(&Destination::parse(&format!("s3://bucket@region/{path}")).unwrap()).await
    };
    assert_eq!(is_used("empty").await.unwrap(), Some(false));
    assert_eq!(is_used("full").await.unwrap(), Some(true));
    assert_eq!(is_used("unknown").await.unwrap(), None);
    let error = is_used("locked").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert_eq!(
        (error.message.as_str(), error.hint.as_deref()),
        ("the shop is shut", Some("come back"))
    );

    for (volume, expected) in [
        ("unknown", Changes::Unknown),
        ("same", Changes::Unchanged),
        ("vol1", Changes::Changed { path: "vol1/backup-1".into() }),
    ] {
        let url = BackupUrl::parse("vfs:///backups?backup=backup-1&volume=vol1").unwrap();
        let volume = Name::volume(volume).unwrap();
        assert_eq!(client.changes_since(&volume, &url).await.unwrap(), expected);
    }

    let mounts = async |volume| client.mounts_in_volume(&Name::volume(volume).unwrap()).await;
    assert_eq!(mounts("vol1").await.unwrap(), Some(vec!["/volumes/vol1/a b".to_owned()]));
    assert_eq!(mounts("unknown").await.unwrap(), None);
    let forgotten = client.forgotten_volumes().await.unwrap().unwrap();
    assert_eq!(forgotten.into_keys().collect::<Vec<_>>(), ["left"]);
    let urls = [1, 2, 3, 4].map(|number| {
        let url = format!("vfs:///backups?backup=backup-{number}&volume=vol1");
        BackupUrl::parse(&url).unwrap()
    });
    let inspected = client.inspect_backups(&urls).await.unwrap();
    assert_eq!(inspected.len(), 3, "the rest is asked for later");
    assert!(inspected[0].as_ref().unwrap().url().unwrap().same_backup(&urls[0]));
    let told = inspected[1].as_ref().unwrap_err();
    assert_eq!((told.kind, told.hint.as_deref()), (ErrorKind::Repository, Some("look")));
    assert_eq!(inspected[2].as_ref().unwrap_err().kind, ErrorKind::NotFound);

    let what = ReadBack {
        volume: Some(Name::volume("vol1").unwrap()),
        since: Some(jiff::Timestamp::UNIX_EPOCH),
        most: Some(7),
    };
    let at = Destination::parse("s3://bucket@region/full").unwrap();
    let read = client.read_back(&at, &what).await.unwrap().unwrap();
    let asked = "s3://bucket@region/full Some(\"vol1\") Some(1970-01-01T00:00:00Z) Some(7)";
    assert!(read.is_all && read.all_bytes == 3 && read.damaged == [asked], "{read:?}");

    let expected = Capabilities {
        deletes_by_prefix: false,
        locks_destinations: true,
        lists_all: true,
        inspects_data: true,
        backs_up_volumes: true,
        holds_writers: true,
        keeps_required_backups: true,
    };
    let at = Destination::parse("vfs:///backups").unwrap();
    let of = |volume, snapshot| AsItIs {
        volume: Name::volume(volume).unwrap(),
        snapshot: Name::snapshot(snapshot).unwrap(),
    };
    let volumes = [of("vol1", "snap1"), of("locked", "snap2"), of("vol3", "snap3")];
    let made = client.back_up(&volumes, &at).await.unwrap();
    let told = |url: &BackupUrl| (url.backup().to_owned(), url.volume().map(str::to_owned));
    assert_eq!(told(made[0].as_ref().unwrap()), ("snap1".into(), Some("vol1".into())));
    assert_eq!(told(made[2].as_ref().unwrap()), ("snap3".into(), Some("vol3".into())));
    let failed = made[1].as_ref().unwrap_err();
    assert_eq!((failed.kind, failed.hint.as_deref()), (ErrorKind::Busy, Some("wait")));
    let held = client.quiesce(&[Name::volume("db").unwrap()]).await.unwrap();
    assert_eq!((held.id.as_str(), held.containers.as_slice()), ("7", &["db".to_owned()][..]));
    let given = client.give_back(&at).await.unwrap().unwrap();
    assert_eq!((given.given_back, given.notes.len()), (7, 1));
    let error = client.let_go_on("7").await.unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::Daemon, Some("do less")));
    let error = client.run_in_container("db", "reindex").await.unwrap_err();
    assert!(error.message.contains("no reindex in db"), "{error}");
    for _ in 0..2 {
        assert_eq!(client.capabilities().await.unwrap(), expected);
    }
    assert_eq!(*daemon.seen.lock().unwrap(), ["capabilities"; 2], "asked each time");
    client.delete_volume(&Name::volume("vol1").unwrap(), Some("id1"), false).await.unwrap();
    assert_eq!(daemon.seen.lock().unwrap()[2..], ["delete vol1 false", "if it is id1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_daemon_fails_with_is_told_with_its_status_and_words() {
    let daemon = Arc::new(MemoryDaemon::with_volumes(&["vol1"]));
    let server = Running::start(daemon.clone());
    for (error, status) in [
        (Error::new(ErrorKind::Daemon, "the disk is full").with_status(507), 507),
        (Error::new(ErrorKind::Repository, "the disk is full"), 400),
        (Error::new(ErrorKind::NotFound, "the disk is full").with_status(404), 400),
    ] {
        daemon.fault("volume", Fault::Fails(error));
        let answer = server.send("GET", "/v1/volumes/", r#"{"VolumeName":"vol1"}"#).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, "the disk is full\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_refused() {
    let server = Running::start(Arc::new(MemoryDaemon::new()));
    let body = format!("{{\"Name\":\"{}\"}}", "x".repeat(MAX_REQUEST_BODY));
    let answer = tokio::task::block_in_place(|| {
        raw::send(&server.socket(), "POST", "/v1/volumes/create", &[], &body)
    });
    // The server may close the connection before the client has sent everything. Closing without an
    // answer is not a refusal.
    match answer {
        Ok(answer) => assert_eq!(answer.status, 400),
        Err(error) => assert!(
            matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            ),
            "{error}"
        ),
    }
    assert_eq!(server.send("GET", "/v1/volumes/list", "").await.body, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_takes_its_time_holds_up_no_others() {
    let daemon = Arc::new(Recorder::default());
    let unmount = docker::Call::Unmount.answer(&*daemon, br#"{"Name":"vol1","ID":"c1"}"#);
    let meanwhile = async {
        daemon.begun.notified().await;
        let mount = docker::Call::Mount.answer(&*daemon, br#"{"Name":"vol9","ID":"c1"}"#);
        tokio::time::timeout(std::time::Duration::from_secs(60), mount)
            .await
            .expect("it waits for another volume");
        daemon.go_on.notify_one();
    };
    tokio::join!(unmount, meanwhile);
    assert_eq!(*daemon.seen.lock().unwrap(), ["unmounted vol1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_removes_only_the_reference_and_hears_of_errors() {
    let daemon = Arc::new(Recorder::default());
    let server = Running::start(daemon.clone());
    let create = r#"{"Name":"vol2","Opts":{"size":"1G","driver":"ebs","type":"io1","iops":"7","id":"v-1","vm":"true"}}"#;
    assert_eq!(server.send("POST", "/VolumeDriver.Remove", r#"{"Name":"vol1"}"#).await.body, "{}");
    assert_eq!(server.send("POST", "/VolumeDriver.Create", create).await.body, "{}");
    assert_eq!(
        *daemon.seen.lock().unwrap(),
        [
            "delete vol1 true".to_owned(),
            format!(
                "{:?}",
                NewVolume {
                    driver: Some("ebs".into()),
                    size: Some(1 << 30),
                    volume_type: Some("io1".into()),
                    iops: Some(7),
                    driver_volume_id: Some("v-1".into()),
                    prepare_for_vm: true,
                    ..NewVolume::named(Name::volume("vol2").unwrap())
                }
            ),
        ]
    );
    for (options, words) in [
        (r#"{"size":"1.5g"}"#, "\\\"1.5g\\\" is not a size"),
        (r#"{"iops":"many"}"#, "whole number"),
        (r#"{"vm":"perhaps"}"#, "true or false"),
        (r#"{"backup":"vfs:///x"}"#, "names no backup"),
    ] {
        let body = format!(r#"{{"Name":"vol3","Opts":{options}}}"#);
        let answer = server.send("POST", "/VolumeDriver.Create", &body).await;
        assert!(
            answer.status == 200 && answer.body.contains("\"Err\"") && answer.body.contains(words),
            "{answer:?}"
        );
    }
    let long = format!(r#"{{"Name":"{}"}}"#, "v".repeat(130));
    let answer = server.send("POST", "/VolumeDriver.Create", &long).await;
    assert!(answer.body.contains("It has 130 characters, 128 are the most"), "{answer:?}");
    assert_eq!(server.send("POST", "/VolumeDriver.Get", "").await.body, "{\n\t\"Err\": \"EOF\"\n}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_is_an_empty_object_to_docker() {
    let server = Running::start(Arc::new(MemoryDaemon::new()));
    assert_eq!(server.send("POST", "/VolumeDriver.List", "{}").await.body, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_goes_on_when_its_client_hangs_up_and_the_end_waits_for_it() {
    let daemon = Arc::new(Recorder::default());
    let mut server = Running::start(daemon.clone());
    let request = "POST /v1/volumes/umount HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n{\"VolumeName\":\"vol1\"}";
    let mut client = BlockingStream::connect(server.socket()).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    daemon.begun.notified().await;
    drop(client);
    server.stop();
    while server.socket().exists() {
        tokio::task::yield_now().await;
    }
    assert!(!server.server.is_finished(), "the call is still at work");
    daemon.go_on.notify_one();
    server.server.await.unwrap().unwrap();
    assert_eq!(*daemon.seen.lock().unwrap(), ["unmounted vol1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn work_for_a_run_ends_when_its_client_hangs_up() {
    let daemon = Arc::new(Recorder::default());
    let server = Running::start(daemon.clone());
    let request = "POST /v1/volumes/umount HTTP/1.1\r\nHost: x\r\nConvoy-Backups-Run: run-1\r\nConvoy-Backups-Call: 0a\r\nContent-Length: 21\r\n\r\n{\"VolumeName\":\"vol1\"}";
    let mut client = BlockingStream::connect(server.socket()).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    daemon.begun.notified().await;
    drop(client);
    daemon.ended.notified().await;
    assert_eq!(*daemon.seen.lock().unwrap(), ["cancelled with run-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_is_over_when_its_work_behind_a_socket_has_ended() {
    let daemon = Arc::new(Recorder::default());
    let server = Running::start(daemon.clone());
    let client = server.client();
    let (run, volume) = (scope::Scope::of("run-1"), Name::volume("vol1").unwrap());
    let calling = tokio::spawn(scope::carried_for(Some(run.clone()), async move {
        client.unmount_volume(&volume).await
    }));
    daemon.begun.notified().await;
    assert!(!run.work.wait(Duration::ZERO), "it is at work");
    run.ended.cancel();
    let error = calling.await.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error}");
    assert!(run.work.wait(Duration::ZERO));
    assert_eq!(*daemon.seen.lock().unwrap(), ["cancelled with run-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_flight_is_answered_before_the_end_and_idle_connections_do_not_delay_it() {
    let daemon = Arc::new(Recorder::default());
    let mut server = Running::start(daemon.clone());
    let _idle = BlockingStream::connect(server.socket()).unwrap();
    let socket = server.socket();
    let body = r#"{"VolumeName":"vol1"}"#;
    let request = tokio::task::spawn_blocking(move || {
        raw::send(&socket, "POST", "/volumes/umount", &[], body)
    });
    daemon.begun.notified().await;
    server.stop();
    while server.socket().exists() {
        tokio::task::yield_now().await;
    }
    daemon.go_on.notify_one();
    let answer = request.await.unwrap().unwrap();
    assert_eq!(answer, RawAnswer { status: 200, content_type: None, body: String::new() });
    server.server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_had_connected_when_the_server_ended_is_answered_and_nobody_else_gets_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("convoy.sock");
    let daemon = Arc::new(MemoryDaemon::with_volumes(&["vol1"]));
    let server = Server::bind(&path, daemon.clone(), daemon).unwrap();
    let request = b"GET /v1/volumes/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // No connection has been accepted yet, and one of the clients has sent nothing.
    let mut clients = [(); 2].map(|()| BlockingStream::connect(&path).unwrap());
    clients[0].write_all(request).unwrap();
    let another_name = folder.path().join("the-same");
    std::fs::hard_link(&path, &another_name).unwrap();
    let ended = tokio::spawn(server.run(std::future::ready(())));
    while path.exists() || BlockingStream::connect(&another_name).is_ok() {
        tokio::task::yield_now().await;
    }
    clients[1].write_all(request).unwrap();
    for client in &mut clients {
        let mut answer = String::new();
        tokio::task::block_in_place(|| client.read_to_string(&mut answer)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("vol1"), "{answer}");
    }
    ended.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_several_requests() {
    let server = Running::start(Arc::new(MemoryDaemon::new()));
    let answers = tokio::task::block_in_place(|| {
        let mut stream = BlockingStream::connect(server.socket()).unwrap();
        stream.write_all(b"GET /v1/volumes/list HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    assert!(
        answers.contains("200 OK") && answers.ends_with("Handler not found: GET /v1/nope"),
        "{answers}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_of_a_file_comes_piece_by_piece_with_its_end_or_its_error() {
    let mut running = Running::start(Arc::new(Recorder::default()));
    let client = running.client();
    let read = |path: &str| ReadFile {
        url: "vfs:///b?backup=backup-1&volume=vol1".to_owned(),
        path: path.to_owned(),
        form: Form::Content,
        offset: 0,
        length: None,
    };
    let mut content = client.content(&read("na\u{ef}ve")).await.unwrap().unwrap();
    assert_eq!((content.entry, content.length), (file("na\u{ef}ve"), Some(9)));
    let mut text = Vec::new();
    while let Some(piece) = content.pieces.recv().await {
        text.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(text, b"some text");

    let mut content = client.content(&read("damaged")).await.unwrap().unwrap();
    let mut last = None;
    while let Some(piece) = content.pieces.recv().await {
        last = Some(piece);
    }
    let error = last.unwrap().unwrap_err();
    assert_eq!((error.kind, &*error.message), (ErrorKind::Repository, "a pack is damaged"));

    let error = client.content(&read("")).await.unwrap_err();
    assert_eq!((error.kind, error.hint.as_deref()), (ErrorKind::NotFound, Some("look")));
    let compare =
        Compare { url: String::new(), with: String::new(), path: "abc".to_owned(), most: 1 };
    let seen = client.look(&Look::Compare(compare)).await.unwrap();
    assert_eq!(seen, Some(Seen::Compare(Differences { changed: 3, ..Differences::default() })));
    let list =
        ListFiles { url: String::new(), path: String::new(), below: false, after: None, most: 1 };
    assert_eq!(client.look(&Look::List(list)).await.unwrap(), None);
    running.stop();
}

/// A daemon that records what reaches it. An unmount waits until the test allows it to finish.
#[derive(Debug, Default)]
struct Recorder {
    seen: Mutex<Vec<String>>,
    begun: tokio::sync::Notify,
    go_on: tokio::sync::Notify,
    ended: tokio::sync::Notify,
}

#[async_trait::async_trait]
impl Plugin for Recorder {
    async fn mount_for(&self, name: &Name, _user: &str) -> Result<Mount> {
        self.mount_volume(name, None).await
    }
    async fn unmount_for(&self, name: &Name, _user: &str) -> Result<()> {
        self.unmount_volume(name).await
    }
    async fn remove_for_docker(&self, name: &Name) -> Result<()> {
        self.delete_volume(name, None, true).await
    }
}

#[async_trait::async_trait]
impl Daemon for Recorder {
    fn description(&self) -> String {
        "a recorder".into()
    }
    fn identity(&self) -> String {
        self.description()
    }
    async fn capabilities(&self) -> Result<Capabilities> {
        self.seen.lock().unwrap().push("capabilities".into());
        Ok(Capabilities {
            deletes_by_prefix: false,
            locks_destinations: true,
            lists_all: true,
            inspects_data: true,
            backs_up_volumes: true,
            holds_writers: true,
            keeps_required_backups: true,
        })
    }
    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>> {
        match destination.to_string().as_str() {
            "s3://bucket@region/empty" => Ok(Some(false)),
            "s3://bucket@region/full" => Ok(Some(true)),
            "s3://bucket@region/unknown" => Ok(None),
            _ => Err(Error::new(ErrorKind::Busy, "the shop is shut").with_hint("come back")),
        }
    }
    async fn changes_since(&self, volume: &Name, backup: &BackupUrl) -> Result<Changes> {
        Ok(match volume.as_str() {
            "unknown" => Changes::Unknown,
            "same" => Changes::Unchanged,
            _ => Changes::Changed { path: format!("{volume}/{}", backup.backup()) },
        })
    }
    async fn mounts_in_volume(&self, volume: &Name) -> Result<Option<Vec<String>>> {
        Ok((volume.as_str() != "unknown").then(|| vec![format!("/volumes/{volume}/a b")]))
    }
    async fn info(&self) -> Result<Info> {
        Err(Error::internal("not asked"))
    }
    async fn volumes(&self) -> Result<std::collections::BTreeMap<String, Volume>> {
        Err(Error::internal("not asked"))
    }
    async fn driver_volumes(&self) -> Result<std::collections::BTreeMap<String, DriverInfo>> {
        Err(Error::internal("not asked"))
    }
    async fn forgotten_volumes(
        &self,
    ) -> Result<Option<std::collections::BTreeMap<String, Volume>>> {
        let volume = Volume { name: "left".into(), ..Volume::default() };
        Ok(Some([("left".to_owned(), volume)].into()))
    }
    async fn volume(&self, name: &Name) -> Result<Volume> {
        match name.as_str() {
            "vol1" | "vol9" => Ok(Volume { name: name.to_string(), ..Volume::default() }),
            _ => Err(Error::new(ErrorKind::NotFound, "Volume not found.").with_status(404)),
        }
    }
    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        self.seen.lock().unwrap().push(format!("{volume:?}"));
        Ok(Volume::default())
    }
    async fn mount_volume(&self, _name: &Name, _mount_point: Option<&str>) -> Result<Mount> {
        Err(Error::internal("not asked"))
    }
    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.begun.notify_one();
        let run = scope::current();
        let ended = async {
            match &run {
                Some(run) => run.ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let run =
            |what: &str| run.as_ref().map_or_else(String::new, |run| format!("{what}{}", run.run));
        let seen = tokio::select! {
            () = self.go_on.notified() => format!("unmounted {name}{}", run(" for ")),
            () = ended => format!("cancelled with {}", run("")),
        };
        self.seen.lock().unwrap().push(seen);
        self.ended.notify_one();
        scope::goes_on("a volume was unmounted")
    }
    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        Ok(Quiesced { id: "7".into(), containers: volumes.iter().map(Name::to_string).collect() })
    }
    async fn give_back(&self, _: &Destination) -> Result<Option<GivenBack>> {
        let notes = vec!["a pack is missing".to_owned()];
        Ok(Some(GivenBack { given_back: 7, notes, ..GivenBack::default() }))
    }
    async fn let_go_on(&self, id: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Daemon, format!("{id} went on before")).with_hint("do less"))
    }
    async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        Err(Error::new(ErrorKind::Daemon, format!("no {command} in {container}")))
    }
    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        self.seen.lock().unwrap().push(format!("delete {name} {reference_only}"));
        let is_it = |id: &str| self.seen.lock().unwrap().push(format!("if it is {id}"));
        id.into_iter().for_each(is_it);
        Ok(())
    }
    async fn create_snapshot(&self, _volume: &Name, _name: &Name) -> Result<Snapshot> {
        Err(Error::internal("not asked"))
    }
    async fn snapshot(&self, _name: &Name) -> Result<Snapshot> {
        Err(Error::internal("not asked"))
    }
    async fn delete_snapshot(&self, _name: &Name) -> Result<()> {
        Err(Error::internal("not asked"))
    }
    async fn backups(
        &self,
        _destination: &Destination,
        _volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        Err(Error::internal("not asked"))
    }
    async fn backup(&self, _url: &BackupUrl) -> Result<Backup> {
        Err(Error::internal("not asked"))
    }
    async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        let broken = Error::new(ErrorKind::Repository, "a pack is missing").with_hint("look");
        let good = |url| Ok(Backup::new(std::collections::BTreeMap::new()).with_url(url));
        let all = [good(&urls[0]), Err(broken), Err(no_backup("vol1", "backup-3"))];
        Ok(all.into_iter().take(urls.len()).collect())
    }
    async fn read_back(
        &self,
        destination: &Destination,
        what: &ReadBack,
    ) -> Result<Option<WasReadBack>> {
        let volume = what.volume.as_ref().map(Name::as_str);
        let damaged = vec![format!("{destination} {volume:?} {:?} {:?}", what.since, what.most)];
        let (began, is_all) = (jiff::Timestamp::UNIX_EPOCH, true);
        Ok(Some(WasReadBack { began, packs: 1, bytes: 2, all_bytes: 3, is_all, damaged }))
    }
    async fn look(&self, what: &Look) -> Result<Option<Seen>> {
        let Look::Compare(what) = what else { return Ok(None) };
        let changed = what.path.len() as u64;
        Ok(Some(Seen::Compare(Differences { changed, ..Differences::default() })))
    }
    async fn content(&self, what: &ReadFile) -> Result<Option<Content>> {
        if what.path.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "nothing is there").with_hint("look"));
        }
        let (sender, pieces) = tokio::sync::mpsc::channel(10);
        let damaged = Error::new(ErrorKind::Repository, "a pack is damaged");
        let last = if what.path == "damaged" { Some(Err(damaged)) } else { None };
        let first = [Ok("some ".into()), Ok(bytes::Bytes::new()), Ok("text".into())];
        for piece in first.into_iter().chain(last) {
            sender.send(piece).await.unwrap();
        }
        let entry = file(&what.path);
        Ok(Some(Content { entry, length: Some(9), pieces }))
    }
    async fn create_backup(
        &self,
        _snapshot: &Name,
        _destination: &Destination,
    ) -> Result<BackupUrl> {
        Err(Error::internal("not asked"))
    }
    async fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let made = |AsItIs { volume, snapshot }: &AsItIs| {
            if volume.as_str() == "locked" {
                return Err(Error::new(ErrorKind::Busy, "it is locked").with_hint("wait"));
            }
            let backup = Name::parse("backup", snapshot.as_str())?;
            Ok(BackupUrl::stored(destination, &backup, volume))
        };
        Ok(volumes.iter().map(made).collect())
    }
    async fn delete_backup(&self, _url: &BackupUrl, _required: &[BackupUrl]) -> Result<()> {
        Err(Error::internal("not asked"))
    }
}
