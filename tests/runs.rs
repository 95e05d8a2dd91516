//! Runs are remembered, found again, followed and ended, whichever process they are in; and a store
//! that is broken stops no backup.

use std::{
    fs,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{
    faulty::{Answer, Faulty},
    site::{Ran, Site},
};

fn list(site: &Site, words: &str) -> Vec<Value> {
    site.run(&format!("runs list --json {words}")).json().as_array().unwrap().clone()
}

fn newest(site: &Site) -> String {
    list(site, "")[0]["id"].as_str().unwrap().to_owned()
}

/// The id of the run that goes on, once it is in the store.
fn running(site: &Site) -> String {
    for _ in 0..1_000 {
        if let Some(run) = list(site, "--status running").first() {
            return run["id"].as_str().unwrap().to_owned();
        }
    }
    panic!("no run goes on");
}

/// A run that hangs on its daemon.
fn hanging(site: &Site) -> (Child, String) {
    let mut command = site.command();
    let child =
        command.arg("volumes").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    (child, running(site))
}

/// A site whose daemon never answers the list of volumes.
fn stuck() -> (Site, Faulty) {
    let site = Site::bare();
    let daemon =
        Faulty::start_at(&site.path("convoy.sock")).answer("GET /v1/volumes/list", Answer::Never);
    let site = site.with("BKUP_CONVOY", format!("unix://{}", daemon.socket().display()));
    (site, daemon)
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn each_run_of_the_command_line_is_listed_with_what_came_of_it() {
    let site = Site::builtin();
    assert!(site.run("runs list").ok().out.contains("there are no runs yet"));
    assert_eq!(list(&site, ""), Vec::<Value>::new());
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("restore --volume vol1 --backupurl vfs:///no?backup=backup-1&volume=vol1").ends(1);
    site.run("snapshot --dry-run").ok();
    let all = list(&site, "");
    let told: Vec<_> = all
        .iter()
        .map(|run| (run["script"].as_str().unwrap(), run["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [("snapshot", "done"), ("restore", "failed"), ("backup", "done"), ("create", "done")]
    );
    assert_eq!(all[2]["volumes_done"], serde_json::json!(["vol1"]));
    assert_eq!(all[2]["bytes"], 7, "the one file's");
    assert!(all[2]["took_seconds"].as_f64().unwrap() > 0.0 && all[2]["ended"].is_string());
    let table = site.run("runs list -n 3").ok().out;
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.contains("backup --volume vol1 --create-snapshot")
            && table.contains("snapshot --dry-run"),
        "{table}"
    );
    assert!(table.contains("cannot restore"), "{table}");
    assert_eq!(list(&site, "--script backup --status done --since 1h --volume vol1").len(), 1);
    assert!(
        list(&site, "--volume vol2").is_empty() && list(&site, "--since 2099-01-01").is_empty()
    );
    site.run("runs list --status don").fails(2, &["don", "done"]);
    site.run("runs list --since soon").fails(2, &["soon", "7d"]);
    site.run("runs list -n 0").ends(2);
}

#[test]
fn a_run_is_shown_with_its_error_its_place_and_its_result() {
    let site = Site::builtin();
    site.create("vol1", &[]);
    let source =
        "fn main(args) {\n    log::info(\"about to\");\n    convoy::volume(\"vol9\");\n}\n";
    site.run_script(source, "").fails(1, &["vol9"]);
    let id = newest(&site);
    let shown = site.run(&format!("runs show {id}")).ok().out;
    for part in
        ["failed", "mine.rhai:3:", "3 |     convoy::volume(\"vol9\");", "^", "hint: ", "SHA-256"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let json = site.run(&format!("runs show {id} --json")).json();
    assert_eq!(json["error"]["location"]["line"], 3, "{json}");
    assert_eq!(json["result"], Value::Null);

    site.run("volumes").ok();
    let id = newest(&site);
    let shown = site.run(&format!("runs show {}", &id[..id.len() - 1])).ok().out;
    assert!(
        shown.contains("SNAPSHOTS") && shown.contains("vol1"),
        "a table of what it returned: {shown}"
    );
    assert_eq!(site.run(&format!("runs show {id} --json")).json()["result"][0]["Name"], "vol1");
    site.run("runs show 2026").fails(2, &["2026"]);
    site.run(&format!("runs show {}x", &id[..id.len() - 1])).fails(2, &["there is no run", &id]);
    site.run("runs show").ends(2);
}

#[test]
fn a_log_has_what_the_script_its_threads_and_the_daemon_said_whatever_the_console_shows() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    let source = r#"fn main(args) {
        log::info("first\nforged");
        parallel([1, 2, 3], 3, |number| log::info(`item ${number}`));
        convoy::create_backup(convoy::create_snapshot("vol1").Name);
        log::debug("kept, too");
        log::error("last");
    }"#;
    let ran = site.run_script(source, "--quiet").ok();
    assert!(!ran.err.contains("first") && ran.err.contains("last"), "{ran:?}");
    let id = newest(&site);
    let log = site.run(&format!("runs log {id}")).ok().out;
    for part in [
        "INFO  mine: first\\nforged\n",
        "item 1",
        "item 2",
        "item 3",
        "ERROR mine: last\n",
        "not encrypted",
    ] {
        assert!(log.contains(part), "no {part:?} in {log}");
    }
    assert!(log.contains("DEBUG mine: kept, too\n") && !log.contains('\u{1b}'), "{log}");
    let json = site.run(&format!("runs log {id} --json")).json();
    let first = json.as_array().unwrap().iter().find(|line| line["target"] == "mine").unwrap();
    assert_eq!(
        (first["level"].as_str(), first["text"].as_str()),
        (Some("info"), Some("first\nforged"))
    );
}

#[test]
fn a_log_is_followed_until_the_run_ends() {
    let site = Site::bare();
    let answer = Answer::WhenReleased(Box::new(Answer::json("[]")));
    let daemon = Faulty::start_at(&site.path("convoy.sock")).answer("GET /v1/volumes/list", answer);
    let site = site.with("BKUP_CONVOY", format!("unix://{}", daemon.socket().display()));
    let source = "fn main(args) { log::info(\"before\"); try { convoy::volumes(); } catch { } log::info(\"after\"); }";
    fs::write(site.path("scripts/mine.rhai"), source).unwrap();
    let mut command = site.command();
    command.args(["--scripts-dir", "scripts", "mine"]).stderr(Stdio::null());
    let mut followed = command.spawn().unwrap();
    let id = running(&site);
    let following = site
        .command()
        .args(["runs", "log", "--follow", &id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let is_there = |_: &i32| site.run(&format!("runs log {id}")).ok().out.contains("before");
    assert!((0..1_000).find(is_there).is_some(), "what it said is in the store before its end");
    daemon.release();
    assert!(followed.wait().unwrap().success());
    let heard = String::from_utf8(following.wait_with_output().unwrap().stdout).unwrap();
    assert!(heard.contains("before") && heard.contains("after"), "{heard}");
}

#[test]
fn a_run_is_cancelled_from_another_process_and_says_by_whom() {
    let (site, _daemon) = stuck();
    let site = site.with("USER", "ann");
    let (child, id) = hanging(&site);
    assert!(site.run(&format!("runs cancel {id} --dry-run")).ok().out.contains("would be asked"));
    let told = site.run(&format!("runs cancel {id}")).ok().out;
    assert!(told.contains("was cancelled"), "{told}");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(words(&ended).contains("the run was cancelled by ann on "), "{ended:?}");
    let run = &list(&site, "")[0];
    assert_eq!(
        (run["status"].as_str(), run["cancel_requested"]["by"].is_string()),
        (Some("cancelled"), true)
    );
    site.run(&format!("runs cancel {id}")).fails(1, &["has ended already: cancelled"]);
    site.run("runs cancel nonsense").fails(2, &["there is no run"]);
}

#[test]
fn a_run_that_was_killed_is_shown_as_interrupted_and_the_next_one_is_not_kept_from_running() {
    let (site, _daemon) = stuck();
    let (mut child, id) = hanging(&site);
    child.kill().unwrap();
    child.wait().unwrap();
    let run = &list(&site, "--status interrupted")[0];
    assert_eq!(run["id"], id.as_str());
    assert!(list(&site, "--status running").is_empty());
    assert!(site.run(&format!("runs show {id}")).ok().out.contains("was gone before its end"));
    site.run(&format!("runs cancel {id}")).fails(1, &["interrupted"]);
    assert_eq!(fs::read_dir(site.path("data/running")).unwrap().count(), 0);
}

/// A site with a volume and a run in its store, whose store then becomes this.
fn with_store(spoil: impl Fn(&Site)) -> Site {
    let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "password");
    site.create("vol1", &[("file", "content")]);
    spoil(&site);
    site
}

/// Moves all there is into the store's own file.
fn raw(site: &Site) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(site.path("data/runs.sqlite")).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    connection
}

fn backs_up_and_warns(site: &Site, words: &[&str]) -> Ran {
    let ran = site.run("backup --volume vol1").fails(0, words);
    assert_eq!(ran.err.matches("is not recorded").count(), 1, "it is said once: {ran:?}");
    let backups = site.path("backups/repository/snapshots");
    assert_eq!(fs::read_dir(backups).unwrap().count(), 1, "the backup was made");
    ran
}

#[test]
fn a_store_that_is_damaged_is_left_alone_and_stops_no_backup() {
    let junk = "this is no database at all. ".repeat(1_000);
    let site = with_store(|site| {
        drop(raw(site));
        fs::write(site.path("data/runs.sqlite"), &junk).unwrap();
    });
    backs_up_and_warns(&site, &["is damaged", "BKUP_DATA_DIR"]);
    assert_eq!(fs::read_to_string(site.path("data/runs.sqlite")).unwrap(), junk);
    site.run("runs list").fails(1, &["is damaged", "hint"]);
}

#[test]
fn a_folder_in_the_stores_place_stops_no_backup() {
    let site = with_store(|site| {
        drop(raw(site));
        fs::remove_file(site.path("data/runs.sqlite")).unwrap();
        fs::create_dir(site.path("data/runs.sqlite")).unwrap();
    });
    backs_up_and_warns(&site, &["is a folder"]);
    site.run("runs list").fails(1, &["is a folder", "move it away"]);
}

#[test]
fn a_store_of_a_newer_version_stops_no_backup() {
    let site = with_store(|site| raw(site).pragma_update(None, "user_version", 99).unwrap());
    backs_up_and_warns(&site, &["version 99", "update this program"]);
    site.run("runs list").fails(2, &["version 99"]);
}

#[test]
fn a_store_that_another_program_locks_stops_no_backup() {
    let site = with_store(|_| ());
    let holder = raw(&site);
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    backs_up_and_warns(&site, &["is locked by another program"]);
}

#[test]
fn a_store_without_room_stops_no_backup() {
    let site = Site::builtin();
    site.create("vol1", &[]);
    // A limit on the size of files is met as a full disk is; the list needs no file, the store's
    // log is longer.
    fs::remove_file(site.path("data/runs.sqlite-wal")).unwrap();
    let line = format!(
        "ulimit -f 1; trap '' XFSZ; exec '{}' volumes --json",
        env!("CARGO_BIN_EXE_convoy-backups")
    );
    let mut command = Command::new("sh");
    command
        .args(["-c", &line])
        .envs(site.command().get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(line.clone(), command.output().unwrap());
    assert!(ran.err.contains("is not recorded"), "{ran:?}");
    ran.json();
}

#[test]
fn a_data_folder_that_cannot_be_written_stops_no_run() {
    let site = Site::builtin().with("BKUP_DATA_DIR", "/proc/no/such/folder");
    let ran = site.run("volumes --json");
    assert!(ran.err.contains("is not recorded") && ran.err.contains("BKUP_DATA_DIR"), "{ran:?}");
    ran.json();
}

#[test]
fn many_commands_at_once_share_a_store_from_its_making_on() {
    let site = Site::bare();
    let daemon = Faulty::start_at(&site.path("convoy.sock"))
        .answer("GET /v1/volumes/list", Answer::json("[]"));
    let site = site.with("BKUP_CONVOY", format!("unix://{}", daemon.socket().display()));
    let children: Vec<_> = (0..12)
        .map(|_| {
            let mut command = site.command();
            command.arg("volumes").stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(!words(&output).contains("not recorded"), "{output:?}");
    }
    assert_eq!(list(&site, "--status failed").len(), 12);
}

#[test]
fn a_script_that_only_reads_is_stopped_where_it_writes() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    let writes = "const READ_ONLY = true;\nfn main() {\n    convoy::create_snapshot(\"vol1\")\n}";
    site.run_script(writes, "")
        .fails(1, &["a script that only reads can't take a snapshot", "READ_ONLY", "mine.rhai:3"]);
    site.run_script(writes, "--dry-run")
        .fails(1, &["a script that only reads can't take a snapshot"]);
    site.run_script("const READ_ONLY = true;\nfn main() { convoy::volumes() }", "").ok();
    assert_eq!(site.snapshots("vol1"), Vec::<String>::new());
    let shown = site.run("scripts show volumes --json").json();
    assert_eq!(shown["read_only"], true);
}
