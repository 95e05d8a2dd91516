//! `serve` and `status`: a real process that follows a crontab, is told to end, killed, and started
//! again.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{running::Running, site::Site, web::Web};

/// A crontab that starts nothing while a test runs.
const YEARLY: &str = "0 0 1 1 *  backup --create-snapshot\n";

fn site(crontab: &str) -> Site {
    let site = Site::builtin();
    let path = site.path("crontab");
    fs::write(&path, crontab).unwrap();
    site.with("BKUP_CRONTAB", path.display().to_string())
}

fn told(site: Site, web: &Web) -> Site {
    site.with("BKUP_HOST", "db1").with("BKUP_WEBHOOK_URL", format!("{}/hook", web.url()))
}

/// `serve`, when it follows the crontab and its daemon's socket answers.
fn serve(site: &Site) -> Running {
    let mut command = site.command();
    command.arg("serve");
    Running::start(command, &site.path("daemon/convoy.sock"), site.path("serve.log"))
}

/// Waits until this holds; whatever takes long fails.
#[track_caller]
pub fn until(what: &str, running: &Running, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {}", running.log());
        std::thread::yield_now();
    }
}

/// Makes the daemon believe that a volume was made long ago, and this host that it saw it then.
pub fn make_old(site: &Site, volume: &str) {
    let path: PathBuf = site.path("daemon/state").join(format!("{volume}.json"));
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["created"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, state.to_string()).unwrap();
    // A look remembers the volume.
    site.run("status");
    let store = rusqlite::Connection::open(site.path("data/runs.sqlite")).unwrap();
    for (table, name) in [("volumes", "name"), ("looked_at", "volume")] {
        let sql = format!("UPDATE {table} SET first_seen = 0 WHERE {name} = ?1");
        store.execute(&sql, [volume]).unwrap();
    }
}

fn subjects(web: &Web) -> Vec<String> {
    let subject = |body: String| {
        serde_json::from_str::<Value>(&body).unwrap()["subject"].as_str().unwrap().to_owned()
    };
    web.requests().into_iter().map(|request| subject(request.body)).collect()
}

#[test]
fn a_volume_without_a_fresh_backup_is_told_once_and_again_when_it_is_well() {
    let web = Web::start("200 OK", "", "");
    let site = told(site(YEARLY), &web).with("BKUP_MAX_BACKUP_AGE", "1d");
    site.create("vol1", &[("file", "content")]);
    make_old(&site, "vol1");
    let status = site.run("status").ends(1);
    assert!(
        status.out.contains("1 of 1 volume is not safe")
            && status.out.contains("it has no good backup"),
        "{status:?}"
    );

    let mut running = serve(&site);
    until("nobody was told", &running, || !web.requests().is_empty());
    running.signal("HUP");
    until("the crontab was not read again", &running, || {
        running.log().contains("as it is now: 1 entry")
    });
    site.run("backup --volume vol1").ok();
    running.signal("HUP");
    until("nobody was told that it is well", &running, || web.requests().len() > 1);
    let subjects = subjects(&web);
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(subjects[0].contains("no fresh backup of vol1"), "{subjects:?}");
    assert!(subjects[1].contains("vol1 is well again"), "{subjects:?}");
    assert_eq!(site.run("status --json").json()["volumes"][0]["backup"], "fresh");
    assert_eq!(running.terminate().code(), Some(0), "{}", running.log());
}

#[test]
fn a_crontab_with_errors_is_refused_and_the_one_before_stays_in_force() {
    let web = Web::start("200 OK", "", "");
    let site = told(site(YEARLY), &web);
    let mut running = serve(&site);
    fs::write(site.path("crontab"), "61 * * * *  backup\n* * * * *  bakcup\n").unwrap();
    running.signal("HUP");
    until("nobody was told", &running, || !web.requests().is_empty());
    let body = web.requests()[0].body.clone();
    assert!(body.contains("the crontab has errors") && body.contains("bakcup"), "{body}");
    assert!(running.log().contains("the one before stays in force"), "{}", running.log());
    fs::write(site.path("crontab"), YEARLY).unwrap();
    running.signal("HUP");
    until("nobody was told that it is in order", &running, || web.requests().len() > 1);
    assert_eq!(running.terminate().code(), Some(0));

    fs::write(site.path("crontab"), "61 * * * *  backup\n* * * * *  bakcup\n").unwrap();
    site.run("serve").fails(
        2,
        &["61", "bakcup", "did you mean \"backup\"", "crontab:2:", "nothing was started"],
    );
}

#[test]
fn a_data_folder_has_one_serve() {
    let site = site(YEARLY);
    site.create("vol1", &[("file", "content")]);
    site.run("backup").ok();
    let mut running = serve(&site);
    site.run("serve").fails(75, &["runs already"]);
    assert_eq!(site.run("status --json").json()["serving"], true);
    running.kill();
    let killed = site.run("status").ends(1);
    assert!(killed.out.contains("was killed"), "{killed:?}");
    assert_eq!(serve(&site).terminate().code(), Some(0), "a killed one stands in nobody's way");
    assert_eq!(site.run("status --json").json()["serving"], false);
}

#[test]
fn a_data_folder_that_is_a_file_is_said_whatever_is_to_be_done() {
    let mut site = site(YEARLY);
    fs::write(site.path("file"), "").unwrap();
    for path in ["file", "file/data"] {
        let path = site.path(path).display().to_string();
        site = site.with("BKUP_DATA_DIR", path);
        for command in ["serve", "backup", "status"] {
            let ran = site.run(command).fails(2, &["is not a folder", "hint: set BKUP_DATA_DIR"]);
            assert!(!ran.err.contains("cannot write"), "{ran:?}");
        }
    }
}

#[test]
fn a_serve_that_cannot_start_is_told_and_so_is_its_return() {
    let web = Web::start("200 OK", "", "");
    let site = told(site("# emptied by mistake\n"), &web);
    site.run("serve").fails(2, &["has no line that runs anything", "crontab show --default"]);
    assert!(subjects(&web)[0].contains("serve can't start"), "{:?}", subjects(&web));
    fs::write(site.path("crontab"), YEARLY).unwrap();
    let mut running = serve(&site);
    until("nobody was told", &running, || web.requests().len() > 1);
    assert!(subjects(&web)[1].contains("serve runs again"), "{:?}", subjects(&web));
    assert_eq!(running.terminate().code(), Some(0));
}

#[test]
fn a_run_that_was_killed_is_told_at_the_next_start() {
    let web = Web::start("200 OK", "", "");
    let site = told(site(YEARLY), &web);
    fs::write(
        site.path("scripts/waits.rhai"),
        "fn main(args) { run::progress(\"waiting\"); sleep(3600); }",
    )
    .unwrap();
    let mut command = site.command();
    command.args(["--scripts-dir", site.path("scripts").to_str().unwrap(), "waits"]);
    let mut waiting =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("waits.log"));
    let running_now =
        || site.run("runs list --status running --json").json().as_array().unwrap().len() == 1;
    until("it does not run", &waiting, running_now);
    waiting.kill();
    let running = serve(&site);
    until("nobody was told", &running, || !web.requests().is_empty());
    assert!(subjects(&web)[0].contains("waits"), "{:?}", subjects(&web));
    let body = &web.requests()[0].body;
    assert!(
        body.contains("interrupted") && !body.contains("it took"),
        "nobody knows how long it took: {body}"
    );
    let runs = site.run("runs list --json").json();
    assert!(runs.as_array().unwrap().iter().any(|run| run["status"] == "interrupted"), "{runs}");
}

/// Has `serve` believe at its next start that it was down for long.
fn was_down_for_long(site: &Site) {
    let store = rusqlite::Connection::open(site.path("data/runs.sqlite")).unwrap();
    assert_eq!(store.execute("UPDATE times SET time = 0 WHERE name LIKE 'due %'", []).unwrap(), 1);
}

#[test]
fn a_run_that_the_end_of_serve_cut_off_is_told_once_and_made_up_for() {
    let web = Web::start("200 OK", "", "");
    let site =
        told(site("* * * * *  waits --word 'a b'\n"), &web).with("BKUP_SHUTDOWN_GRACE", "0s");
    let site = site.with("BKUP_SCRIPTS_DIR", "scripts");
    let source = "const PARAMETERS = #{ word: #{ type: \"string\", help: \"any\" }, more: #{ type: \"string\", help: \"any\" } };\n\
        fn main(args) { sleep(3600); }";
    fs::write(site.path("scripts/waits.rhai"), source).unwrap();
    assert_eq!(serve(&site).terminate().code(), Some(0));
    was_down_for_long(&site);

    let goes_on = || {
        site.run("runs list --status running --json").json().as_array().unwrap().first().cloned()
    };
    let mut running = serve(&site);
    until("nothing is made up for", &running, || goes_on().is_some());
    let first = goes_on().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(running.terminate().code(), Some(0), "{}", running.log());
    let log = running.log();
    assert!(
        log.contains(&format!("run {first}: waits --word 'a b'")),
        "as one would type it: {log}"
    );
    let record = site.run(&format!("runs show {first} --json")).json();
    assert_eq!(
        (record["status"].as_str(), record["reason"].as_str()),
        (Some("interrupted"), Some("serve was ended"))
    );
    assert!(site.run(&format!("runs show {first}")).ok().out.contains("serve was ended"));

    let mut running = serve(&site);
    until("it is not made up for", &running, || {
        goes_on().is_some_and(|run| run["id"] != first.as_str())
    });
    assert_eq!(running.terminate().code(), Some(0));
    assert!(running.log().contains("makes up for"), "{}", running.log());
    assert!(!running.log().contains("was interrupted"), "they know already: {}", running.log());
    let about_first = web.requests().iter().filter(|request| request.body.contains(&first)).count();
    assert_eq!(about_first, 1, "{:?}", web.requests());
    assert!(web.requests()[0].body.contains("serve was ended"), "{:?}", web.requests());
}
