//! The program's own commands, and processes that share a root.

use std::{fs, process::Command};

use crate::support::{
    running::{Running, binary},
    site::Site,
};

#[test]
fn the_demo_holds_and_leaves_what_it_made_to_be_looked_at() {
    let site = Site::bare();
    let ran = site.run("demo --folder demo").ok();
    assert!(ran.out.contains("Every step held."), "{ran:?}");
    assert!(site.path("demo/daemon/volumes/demo-restored/documents/new.txt").exists());
    assert!(site.path("demo/backups/repository/config").exists());
    site.run("demo --folder demo").fails(2, &["not empty"]);
    site.run("demo --dry-run").fails(2, &["has no dry run"]);
    let json = site.run("demo --folder again --json").json();
    assert_eq!(json["steps"].as_array().unwrap().len(), 7, "{json}");
}

#[test]
fn every_script_has_a_help_made_from_its_parameters() {
    let site = Site::builtin();
    for name in [
        "snapshot", "backup", "backups", "volumes", "create", "restore", "remove", "prune",
        "verify",
    ] {
        let help = site.run(&format!("{name} --help")).ok().out;
        assert!(help.contains(&format!("Usage: convoy-backups {name}")), "{help}");
    }
    let help = site.run("backup --help").ok().out;
    assert!(
        help.contains("--create-snapshot") && help.contains("and no snapshot of before"),
        "{help}"
    );
    let all = site.run("--help").ok().out;
    assert!(all.contains("prune") && all.contains("doctor") && all.contains("75 busy"), "{all}");
    assert_eq!(site.run("help").ok().out, all);
    assert_eq!(site.run("help backup").ok().out, help);
    assert_eq!(site.run("help scripts list").ok().out, site.run("scripts list --help").ok().out);
    site.run("help backp").fails(2, &["no script named \"backp\"", "did you mean \"backup\"?"]);
    let none = site.run("").ends(2);
    assert!(none.err.contains("restore") && none.err.contains("prune"), "{none:?}");
    assert!(site.run("--version").ok().out.starts_with("convoy-backups "));
}

#[test]
fn completions_know_the_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Site::builtin().run(&format!("completions {shell}")).ok().out;
        assert!(script.contains("create-snapshot") && script.contains("doctor"), "{shell}");
    }
}

#[test]
fn scripts_are_listed_shown_checked_and_begun() {
    let site = Site::builtin().with("BKUP_SCRIPTS_DIR", "scripts");
    let list = site.run("scripts list").ok().out;
    assert!(list.contains("prune") && list.contains("built in"), "{list}");
    assert!(site.run("scripts show backup").ok().out.contains("fn main(args)"));
    site.run("scripts check").ok();
    site.run("scripts new nightly").ok();
    site.run("scripts new nightly").fails(1, &["nightly.rhai"]);
    site.run("scripts check scripts/nightly.rhai").ok();
    site.create("vol1", &[("file", "content")]);
    assert_eq!(site.run("nightly --volume vol1 --json").json()[0]["VolumeName"], "vol1");
    assert!(site.run("nightly --help").ok().out.contains("--volume"));

    fs::write(site.path("scripts/broken.rhai"), "fn main(args) { ").unwrap();
    site.run("scripts check").fails(1, &["broken.rhai:1:"]);
    site.run("volumes").ok();
    fs::write(site.path("scripts/volumes.rhai"), "fn main(args) { [\"mine\"] }").unwrap();
    assert_eq!(site.run("volumes --json").json(), serde_json::json!(["mine"]));
    assert!(site.run("scripts list").ok().out.contains("overrides"));
    site.run("scripts show nope").fails(2, &["no script named \"nope\""]);
    let definitions = site.run("scripts definitions").ok().out;
    assert!(
        definitions.contains("create_backup") && !definitions.contains("op <"),
        "{definitions}"
    );

    fs::create_dir_all(site.path("scripts/lib")).unwrap();
    fs::write(site.path("scripts/lib/volumes.rhai"), "fn each(name, f) { \"mine\" }").unwrap();
    fs::remove_file(site.path("scripts/broken.rhai")).unwrap();
    for command in ["scripts list", "scripts check"] {
        let said = site.run(command).ok().out;
        assert!(said.contains("shadows the built-in library \"lib/volumes\""), "{said}");
    }
    assert_eq!(site.run("snapshot --volume vol1 --json").json()[0]["VolumeName"], "vol1");
}

#[test]
fn an_empty_result_is_told_in_the_words_of_its_script() {
    let site = Site::builtin().with("BKUP_SCRIPTS_DIR", "scripts");
    fs::create_dir_all(site.path("scripts")).unwrap();
    for (name, declared) in [("silent", ""), ("well", "const IF_EMPTY = \"all is well\";\n")] {
        let text = format!("{declared}fn main() {{ [] }}");
        fs::write(site.path(&format!("scripts/{name}.rhai")), text).unwrap();
    }
    for (line, told) in [
        ("volumes", "there are no volumes\n"),
        (
            "snapshot",
            "no snapshot was taken: there are no volumes, or none of which one is cheap\n",
        ),
        ("backup", "there are no volumes\n"),
        ("backups", "there are no backups\n"),
        ("prune --keep-last 1", "there are no backups\n"),
        ("silent", "nothing was found\n"),
        ("well", "all is well\n"),
    ] {
        assert_eq!(site.run(line).ok().out, told, "{line}");
    }
}

#[test]
fn config_shows_where_each_value_comes_from() {
    let site = Site::builtin().without("BKUP_BACKUP_URL");
    fs::write(site.path("url"), "vfs:///from/a/file\n").unwrap();
    let site = site.with("BKUP_BACKUP_URL_FILE", "url").with("BKUP_REPOSITORY_PASSWORD", "hush");
    let config = site.run("config --json").json();
    let setting = |name: &str| {
        let all = config["settings"].as_array().unwrap();
        all.iter()
            .find(|setting| setting["name"] == name)
            .unwrap_or_else(|| panic!("no {name} in {config}"))
            .clone()
    };
    assert_eq!(setting("BKUP_BACKUP_URL")["value"], "vfs:///from/a/file");
    assert!(setting("BKUP_BACKUP_URL")["source"].as_str().unwrap().contains("url"));
    assert_eq!(setting("BKUP_RUN_TIMEOUT")["source"], "default");
    assert_ne!(setting("BKUP_REPOSITORY_PASSWORD")["value"], "hush");
    let flagged = site.run("config --json --destination vfs:///by/flag").json();
    assert!(flagged.to_string().contains("vfs:///by/flag"), "flags win");
    assert!(flagged.to_string().contains("flag --destination"), "as it was typed: {flagged}");
    site.run("config --destination nonsense").fails(2, &["--destination"]);
}

#[test]
fn doctor_says_what_to_do() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    let well = site.run("doctor").ok().out;
    assert!(well.contains("1 volume") && well.contains("not encrypted"), "{well}");
    let site = site.with("BKUP_BACKUP_URL", "vfs:///nowhere/at/all");
    let ill = site.run("doctor").ends(1).out;
    assert!(ill.contains("FAILED") && ill.contains("make the folder"), "{ill}");
    let json = site.run("doctor --json").ends(1).out;
    assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap().is_array());
}

#[test]
fn doctor_says_that_the_store_of_runs_is_a_newer_releases_or_damaged() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    let store = rusqlite::Connection::open(site.path("data/runs.sqlite")).unwrap();
    store.pragma_update(None, "user_version", 99).unwrap();
    store.execute("UPDATE needs SET release = '9.9.9'", []).unwrap();
    drop(store);
    let newer = site.run("doctor").ends(1).out;
    assert!(newer.contains("is of version 99") && newer.contains("to 9.9.9 or newer"), "{newer}");
    for part in ["", "-wal", "-shm"] {
        _ = std::fs::remove_file(site.path(&format!("data/runs.sqlite{part}")));
    }
    std::fs::write(site.path("data/runs.sqlite"), "no store at all, but long enough").unwrap();
    let damaged = site.run("doctor").ends(1).out;
    assert!(damaged.contains("runs.sqlite\" is damaged"), "{damaged}");
}

#[test]
fn commands_find_the_daemon_that_owns_their_root_and_take_over_when_it_ends() {
    let site = Site::builtin();
    let socket = site.path("daemon/convoy.sock");
    let mut command = site.command();
    command.args(["daemon", "--root"]).arg(site.path("daemon"));
    let mut daemon = Running::start(command, &socket, site.path("daemon.log"));
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    let mut second = binary();
    second.args(["daemon", "--root"]).arg(site.path("daemon"));
    let refused = second.output().unwrap();
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");

    assert!(daemon.terminate().success(), "{}", daemon.log());
    assert!(!socket.exists());
    assert_eq!(site.backups("vol1").len(), 1);
}

#[test]
fn a_daemon_that_was_killed_leaves_a_root_that_opens_again() {
    let site = Site::builtin();
    let mut command = site.command();
    command.args(["daemon", "--root"]).arg(site.path("daemon"));
    let mut daemon =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("daemon.log"));
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    daemon.kill();
    assert_eq!(site.backups("vol1").len(), 1);
    let url = site.backups("vol1").remove(0);
    site.run_words(&["restore", "--volume", "vol2", "--backupurl", &url]).ok();
    assert_eq!(fs::read_to_string(site.volume("vol2").join("file")).unwrap(), "content");
}

#[test]
fn two_commands_at_the_same_time_share_a_root() {
    let site = Site::builtin();
    for volume in ["vol1", "vol2", "vol3"] {
        site.create(volume, &[("file", volume)]);
    }
    let started: Vec<_> = ["vol1", "vol2", "vol3"]
        .map(|volume| {
            let mut command = site.command();
            command.args(["backup", "--volume", volume]).stdout(std::process::Stdio::null());
            command.stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .into();
    for child in started {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(site.run("backups --json").json().as_array().unwrap().len(), 3);
}

#[test]
fn a_wrong_password_is_said_and_changes_nothing() {
    let site = Site::builtin().with("BKUP_REPOSITORY_PASSWORD", "right");
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    let site = site.with("BKUP_REPOSITORY_PASSWORD", "wrong");
    site.run("backups").fails(1, &["password", "BKUP_REPOSITORY_PASSWORD"]);
    let site = site.with("BKUP_REPOSITORY_PASSWORD", "right");
    assert_eq!(site.backups("vol1").len(), 1);
}

#[test]
fn output_to_a_reader_that_went_away_is_no_failure() {
    let site = Site::builtin();
    let line = format!("'{}' scripts list | head -n 1", env!("CARGO_BIN_EXE_convoy-backups"));
    let output =
        Command::new("sh").args(["-c", &line]).current_dir(site.path("")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
