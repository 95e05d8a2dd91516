//! The exit code of `status`, `/api/status`, `/readyz` and the metrics say the same at every moment.

use std::{fs, net::TcpListener};

use serde_json::{Value, json};

use crate::{
    serve::make_old,
    support::{
        faulty::{Answer, Faulty},
        http::Server,
        site::Site,
    },
};

/// A crontab that starts nothing while a test runs.
fn site() -> Site {
    let site = Site::builtin();
    fs::write(site.path("crontab"), "0 0 1 1 *  backup --create-snapshot\n").unwrap();
    let crontab = site.path("crontab").display().to_string();
    site.with("BKUP_CRONTAB", crontab).with("BKUP_MAX_BACKUP_AGE", "1d")
}

/// Whether all of them say that nothing is known to be wrong, and the sentence about it.
#[track_caller]
fn agreed(site: &Site, server: &Server) -> (bool, String) {
    let client = &server.client;
    let ready = client.get("/readyz");
    let report = client.get("/api/status").is(200).json();
    let metrics = client.get("/metrics").is(200).body;
    let healthy = metrics.lines().any(|line| line == "convoy_backups_healthy 1");
    let command = site.run("status --json");
    let ok = report["ok"] == true;
    let all = [ready.status == 200, healthy, command.code == 0];
    assert_eq!(all, [ok; 3], "{}\n{}\n{}", ready.body, report, command.out);
    let sentence = report["sentence"].as_str().unwrap().to_owned();
    let typed: Value = serde_json::from_str(&command.out).unwrap();
    assert_eq!(typed["sentence"], sentence.as_str());
    (ok, sentence)
}

#[test]
fn they_agree_while_nothing_is_protected_awaited_saved_and_overdue() {
    let site = site();
    let mut server = Server::start(&site);
    let look = |server: &Server| drop(server.client.get("/api/status?fresh=true").is(200));
    look(&server);
    assert_eq!(agreed(&site, &server), (false, "Something is wrong.".into()));

    server.client.json("/api/create", &json!({ "volume": "vol1", "size": "1G" })).is(200);
    look(&server);
    let (ok, sentence) = agreed(&site, &server);
    assert!(
        ok && sentence.starts_with("1 volume has no backup yet; the first is due"),
        "{sentence}"
    );
    let metrics = server.client.get("/metrics").is(200).body;
    assert!(metrics.contains("convoy_backups_never_backed_up{volume=\"vol1\"} 1"), "{metrics}");

    server
        .client
        .json("/api/backup", &json!({ "volume": "vol1", "create_snapshot": true }))
        .is(200);
    look(&server);
    let saved = "The volume has a good backup that is new enough.";
    assert_eq!(agreed(&site, &server), (true, saved.into()));

    server.client.json("/api/create", &json!({ "volume": "vol2", "size": "1G" })).is(200);
    server.running.terminate();
    make_old(&site, "vol2");
    let server = Server::start(&site);
    look(&server);
    assert_eq!(agreed(&site, &server), (false, "1 of 2 volumes is not safe.".into()));
}

#[test]
fn a_message_whose_first_attempt_is_under_way_is_no_problem_and_one_that_failed_is() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let site = site();
    site.create("vol1", &[("file", "content")]);
    let site = site.with("BKUP_WEBHOOK_URL", url).with("BKUP_WEBHOOK_ON", "always");
    let server = Server::start(&site);
    server
        .client
        .json("/api/backup", &json!({ "volume": "vol1", "create_snapshot": true }))
        .is(200);
    server.client.get("/api/status?fresh=true").is(200);
    let metrics = server.client.get("/metrics").is(200).body;
    assert!(metrics.contains("convoy_backups_outbox_messages 1"), "{metrics}");
    let saved = "The volume has a good backup that is new enough.";
    assert_eq!(agreed(&site, &server), (true, saved.into()));

    // The connection is reset: the attempt has failed.
    let connection = silent.accept().unwrap();
    drop((connection, silent));
    server.until("the attempt did not fail", || {
        server.client.get("/api/status").is(200).json()["ok"] == false
    });
    assert_eq!(agreed(&site, &server), (false, "Something is wrong.".into()));
}

#[test]
fn a_daemon_that_goes_away_is_known_to_all_of_them_once_one_has_seen_it() {
    let site = site();
    let volumes = json!({ "vol1": {
        "Name": "vol1", "Driver": "vfs", "MountPoint": "", "CreatedTime": "", "DriverInfo": {},
        "Snapshots": {}
    } });
    let daemon = Faulty::start_at(&site.path("daemon/convoy.sock"))
        .answer("GET /v1/info", Answer::json(r#"{"General": {"DriverList": ["vfs"]}}"#))
        .answer("GET /v1/volumes/list", Answer::json(volumes.to_string()));
    let socket = daemon.socket().to_owned();
    let site = site.with("BKUP_CONVOY", format!("unix://{}", socket.display()));
    let server = Server::start(&site);
    server.client.get("/api/status?fresh=true").is(200);
    fs::remove_file(&socket).unwrap();
    assert_eq!(agreed(&site, &server), (false, "The daemon does not answer.".into()));
    let ready = server.client.get("/readyz").is(503).json();
    let daemon = ready["checks"].as_array().unwrap().iter().find(|check| check["name"] == "daemon");
    assert_eq!(daemon.unwrap()["ok"], false, "{ready}");
}
