//! Which daemon: decided once. A socket that appears or goes away never makes an empty daemon out
//! of one with volumes, and a run that saved nothing is no success.

use std::fs;

use serde_json::json;

use crate::support::{
    http::Server,
    running::{Running, binary},
    site::Site,
    web::Web,
};

/// What the daemon has that listens on Convoy's socket, as [`Site::unset`] sees it: its root is not
/// in the data folder.
fn convoy(site: &Site) -> Running {
    let mut command = binary();
    let socket = site.path("run/convoy.sock");
    command.args(["daemon", "--root"]).arg(site.path("convoy-root"));
    command.arg("--socket").arg(&socket).env("BKUP_DATA_DIR", site.path("convoy-data"));
    Running::start(command, &socket, site.path("convoy.log"))
}

/// As Convoy does when it is stopped: the socket goes.
fn stop(mut convoy: Running, site: &Site) {
    assert_eq!(convoy.terminate().code(), Some(0), "{}", convoy.log());
    let _ = fs::remove_file(site.path("run/convoy.sock"));
}

/// A site with a crontab that starts nothing while a test runs.
fn unset() -> Site {
    let site = Site::unset();
    fs::write(site.path("crontab"), "0 0 1 1 *  backup --create-snapshot\n").unwrap();
    let crontab = site.path("crontab").display().to_string();
    site.with("BKUP_CRONTAB", crontab)
}

fn backed_up(site: &Site, volume: &str) {
    site.run(&format!("create --volume {volume} --size 1G")).ok();
    site.run("backup --create-snapshot").ok();
}

const CONVOY: &str = "unix:///var/run/convoy/convoy.sock";

#[test]
fn a_convoy_that_is_stopped_is_not_replaced_by_an_empty_daemon() {
    let web = Web::start("200 OK", "", "");
    let site = unset();
    let running = convoy(&site);
    backed_up(&site, "shop");
    site.run("status").ok();
    stop(running, &site);

    let site = site.with("BKUP_WEBHOOK_URL", web.url());
    let settles = ["which daemon?", CONVOY, "there is no", "daemon use convoy", "BKUP_CONVOY"];
    site.run("backup --create-snapshot").fails(2, &settles);
    assert!(web.requests()[0].body.contains("which daemon?"), "{:?}", web.requests());
    let lines = [
        "volumes",
        "backups",
        "create --volume other --size 1G",
        "prune --keep-last 1 --dry-run",
        "healthcheck --daemon",
    ];
    for line in lines {
        site.run(line).fails(2, &settles);
    }
    let status = site.run("status").ends(1).out;
    assert!(status.contains("shop") && status.contains("daemon use builtin"), "{status}");
    assert!(site.run("doctor").ends(1).out.contains("which daemon?"));
    assert!(site.run("config").ok().out.contains("which daemon?"));
    assert!(!site.path("data/daemon").exists(), "no other daemon was begun");

    let running = convoy(&site);
    site.run("backup --create-snapshot").ok();
    stop(running, &site);
    // What is settled is waited for as any daemon that is down.
    site.run("daemon use convoy").ok();
    site.run("doctor").ends(1);
    assert!(site.run("config").ok().out.contains("\"convoy-backups daemon use\" chose"));
}

#[test]
fn a_socket_that_appears_hides_no_volumes_of_the_built_in_daemon() {
    let site = unset();
    backed_up(&site, "shop");
    let _convoy = convoy(&site);
    let settles = ["which daemon?", "builtin:", "is there", "daemon use builtin"];
    for line in ["backup --create-snapshot", "create --volume other --size 1G", "volumes"] {
        site.run(line).fails(2, &settles);
    }
    assert!(site.run("status").ends(1).out.contains("shop"));

    // A setting is obeyed, and settles nothing for the commands without it.
    let set = site.command().args(["volumes", "--json"]).env("BKUP_CONVOY", CONVOY).output();
    assert_eq!(String::from_utf8(set.unwrap().stdout).unwrap().trim(), "[]");
    site.run(&format!("--convoy {CONVOY} create --volume other --size 1G")).ok();
    site.run("backup").fails(2, &settles);

    site.run("daemon use nothing").fails(2, &["is no daemon"]);
    site.run("daemon use builtin").ok();
    site.run("backup").ok();
    let status = site.run("status").ok().out;
    assert!(status.contains("shop") && !status.contains("other"), "{status}");

    // The volumes of the daemon that is not used any more stay known.
    site.run("daemon use convoy").ok();
    site.run("backup").ok();
    let status = site.run("status").ok().out;
    assert!(status.contains("shop at the built-in daemon at"), "{status}");
    assert!(status.contains("nothing uses the built-in daemon at"), "{status}");
    site.run("status --forget shop").ok();
    assert!(!site.run("status").ok().out.contains("shop"));
}

#[test]
fn the_first_start_after_an_upgrade_goes_by_what_earlier_runs_saw() {
    let site = unset();
    let running = convoy(&site);
    backed_up(&site, "shop");
    stop(running, &site);
    // A version without this memory left the store alone.
    fs::remove_file(site.path("data/daemon.json")).unwrap();
    site.run("backup").fails(2, &["which daemon?", CONVOY]);
    site.run("status").ends(1);
}

#[test]
fn dry_runs_reads_and_flags_settle_nothing() {
    let site = unset();
    let other = site.path("other").display().to_string();
    let settles_nothing = |line: &str| {
        site.run(line).ok();
        assert!(!site.path("data/daemon.json").exists(), "{line}");
    };
    settles_nothing("volumes");
    settles_nothing("create --volume shop --size 1G --dry-run");
    settles_nothing(&format!("--convoy builtin:{other} create --volume other --size 1G"));
    let _convoy = convoy(&site);
    settles_nothing("volumes");
    site.run("create --volume shop --size 1G").ok();
    assert!(site.path("data/daemon.json").exists());
}

#[test]
fn the_packages_own_daemon_on_convoys_socket_is_the_built_in_one() {
    let site = unset();
    backed_up(&site, "shop");
    let mut command = site.command();
    command.args(["daemon", "--root"]).arg(site.path("data/daemon"));
    command.args(["--socket", "/run/convoy/convoy.sock"]);
    let socket = site.path("run/convoy.sock");
    let mut running = Running::start(command, &socket, site.path("daemon.log"));
    site.run("backup").ok();
    assert!(site.run("status").ok().out.contains("shop"));
    running.terminate();
    site.run("backup").ok();
}

#[test]
fn serve_keeps_the_daemon_that_it_began_with() {
    let site = unset();
    backed_up(&site, "shop");
    let server = Server::start(&site);
    let _convoy = convoy(&site);
    server.client.get("/api/status?fresh=true").is(200);
    server.client.get("/readyz").is(200);
    let listed = server.client.json("/api/volumes", &json!({})).is(200);
    assert!(listed.body.contains("shop"), "{listed:?}");
}

#[test]
fn a_serve_that_finds_another_daemon_is_not_ready_until_its_own_is_back() {
    let site = unset();
    let running = convoy(&site);
    backed_up(&site, "shop");
    stop(running, &site);
    let web = Web::start("200 OK", "", "");
    let site = site.with("BKUP_WEBHOOK_URL", web.url());
    let server = Server::start(&site);
    let ready = server.client.get("/readyz").is(503);
    assert!(ready.body.contains("which daemon?"), "{ready:?}");
    server.until("nobody was told", || {
        web.requests().iter().any(|request| request.body.contains("which daemon?"))
    });
    let status = server.client.get("/api/status?fresh=true").is(200).json();
    assert_eq!((&status["ok"], &status["volumes"][0]["name"]), (&json!(false), &json!("shop")));
    assert!(!server.client.json("/api/volumes", &json!({})).body.contains("[]"));
    let running = convoy(&site);
    server.client.get("/api/status?fresh=true").is(200);
    server.client.get("/readyz").is(200);
    // It keeps that one from now on.
    stop(running, &site);
    assert!(!server.client.get("/readyz").is(503).body.contains("which daemon?"));
    assert!(!site.path("data/daemon").exists(), "no other daemon was begun");
}

/// Takes every volume out of the built-in daemon, past this program.
fn lose_all(site: &Site) {
    for folder in ["daemon/state", "daemon/volumes"] {
        fs::remove_dir_all(site.path(folder)).unwrap();
    }
}

#[test]
fn a_run_that_was_to_save_every_volume_and_found_none_has_failed_where_volumes_are_known() {
    let web = Web::start("200 OK", "", "");
    let site = Site::builtin();
    site.run("backup").ok();
    backed_up(&site, "shop");
    lose_all(&site);
    let site = site.with("BKUP_WEBHOOK_URL", web.url());
    let missed = ["nothing was saved", "lists no volume", "\"shop\"", "status --forget shop"];
    site.run("backup").fails(1, &missed);
    assert!(web.requests()[0].body.contains("nothing was saved"), "{:?}", web.requests());
    site.run("snapshot").fails(1, &missed);
    let mine = "const DOES = [\"backup\"];\nfn main(args) { convoy::volumes() }";
    site.run_script(mine, "").fails(1, &missed);
    site.run_script("fn main(args) { convoy::volumes() }", "").ok();
    let record = site.run("runs list --json").json();
    assert!(record.to_string().contains("failed"), "{record}");
    assert!(site.run("status").ends(1).out.contains("gone from the daemon"));
    // However long ago it was seen.
    let store = rusqlite::Connection::open(site.path("data/runs.sqlite")).unwrap();
    store.execute("UPDATE volumes SET last_seen = 0", []).unwrap();
    assert!(site.run("status").ends(1).out.contains("gone from the daemon"));
    site.run("status --forget shop").ok();
    site.run("backup").ok();
}

#[test]
fn where_no_volume_was_ever_known_nothing_is_protected_and_status_is_not_green() {
    let site = Site::builtin();
    let status = site.run("status").ends(1).out;
    assert!(status.contains("nothing is protected yet: the built-in daemon at"), "{status}");
    site.run("backup").ok();
    site.run("status").ends(1);
    backed_up(&site, "shop");
    site.run("status").ok();
    site.run("remove --volume shop --all").ok();
    assert!(site.run("status").ok().out.contains("there are no volumes"));
}

#[test]
fn volumes_of_a_daemon_that_is_not_used_any_more_become_overdue_like_others() {
    let site = Site::builtin().with("BKUP_MAX_BACKUP_AGE", "1d");
    backed_up(&site, "shop");
    let other = format!("builtin:{}", site.path("other").display());
    let site = site.with("BKUP_CONVOY", other);
    site.run("backup").fails(1, &["nothing was saved", "\"shop\" at the built-in daemon at"]);
    backed_up(&site, "wiki");
    site.run("status").ok();
    let store = rusqlite::Connection::open(site.path("data/runs.sqlite")).unwrap();
    let old = "UPDATE backups SET proven = 0, snapshot_time = 0 WHERE volume = 'shop'";
    assert_eq!(store.execute(old, []).unwrap(), 1);
    store.execute("UPDATE volumes SET first_seen = 0, last_seen = 0", []).unwrap();
    let status = site.run("status").ends(1).out;
    assert!(status.contains("shop at the built-in daemon at"), "{status}");
    site.run("status --forget shop").ok();
    site.run("status").ok();
}
