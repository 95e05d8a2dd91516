//! What is deleted, and what is not: mounts, and what a failure leaves.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use serde_json::json;

use crate::support::{
    running::Running,
    site::Site,
    socket::send,
    way::{Way, both_ways},
};

both_ways! {
    a_volume_with_a_mount_inside_is_refused_by_name_before_anything_of_it_is_deleted
    a_volume_that_is_a_mount_point_is_refused_before_its_backups_are_deleted
    a_volume_that_changed_since_its_newest_backup_is_removed_only_after_a_new_one
    an_unchanged_volume_is_removed_whatever_the_times_of_its_files_say
}

/// A volume with two backups and a snapshot, and a folder of somebody else's with files.
fn with_backups() -> (Site, PathBuf) {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content"), ("shared/own", "hidden by the mount")]);
    for _ in 0..2 {
        site.run("backup --volume vol1 --create-snapshot").ok();
    }
    site.run("snapshot --volume vol1").ok();
    let important = site.path("important");
    fs::create_dir(&important).unwrap();
    for file in 0..20 {
        fs::write(important.join(file.to_string()), "not the volume's").unwrap();
    }
    (site, important)
}

fn files(folder: &PathBuf) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn a_volume_with_a_mount_inside_is_refused_by_name_before_anything_of_it_is_deleted(way: Way) {
    let (site, important) = with_backups();
    let shared = site.volume("vol1").join("shared");
    let site = way.of(site.mounting(important.clone(), shared.clone()));
    let named = format!("something is mounted in the volume \"vol1\", at \"{}\"", shared.display());
    for line in [
        "remove --volume vol1",
        "remove --volume vol1 --all",
        "remove --volume vol1 --all --dry-run",
    ] {
        site.run(line).fails(1, &[&named, "nothing of it was deleted", "hint: unmount it first"]);
    }
    let own = "fn main(args) { convoy::delete_volume(\"vol1\", #{ without_backup: true }) }";
    site.run_script(own, "").fails(1, &[&named]);
    assert_eq!((site.backups("vol1").len(), site.snapshots("vol1").len()), (2, 1));
    assert_eq!(files(&important), 20);
    assert!(site.volume("vol1").join("file").exists());

    // A volume that is only forgotten keeps its files, and what is mounted there.
    site.run_script("fn main(args) { convoy::forget_volume(\"vol1\") }", "").ok();
    assert_eq!(files(&important), 20);
    assert!(site.volume("vol1").join("file").exists());
}

fn a_volume_that_is_a_mount_point_is_refused_before_its_backups_are_deleted(way: Way) {
    let (site, important) = with_backups();
    let volume = site.volume("vol1");
    let site = way.of(site.mounting(important.clone(), volume.clone()));
    let named = format!("at \"{}\"", volume.display());
    site.run("remove --volume vol1 --all").fails(1, &["something is mounted", &named]);
    assert_eq!((site.backups("vol1").len(), files(&important)), (2, 20));
}

fn an_unchanged_volume_is_removed_whatever_the_times_of_its_files_say(way: Way) {
    let site = way.of(Site::builtin());
    site.create("vol1", &[("file", "content")]);
    let file = fs::File::options().write(true).open(site.volume("vol1").join("file")).unwrap();
    let in_years = SystemTime::now() + Duration::from_secs(4 * 365 * 24 * 3600);
    file.set_modified(in_years).unwrap();
    drop(file);
    for _ in 0..3 {
        site.run("backup --volume vol1 --create-snapshot").ok();
    }
    site.run("remove --volume vol1").ok();
    assert_eq!(site.backups("vol1").len(), 1);
}

fn a_volume_that_changed_since_its_newest_backup_is_removed_only_after_a_new_one(way: Way) {
    let (site, _) = with_backups();
    let site = way.of(site);
    fs::write(site.volume("vol1").join("file"), "changed").unwrap();
    let refused = [
        "\"vol1\" is not deleted: it has changed (\"file\") since its newest good backup",
        "hint: back it up first (remove --backup-first)",
    ];
    site.run("remove --volume vol1").fails(1, &refused);
    site.run("remove --volume vol1 --dry-run").fails(1, &refused);
    site.run_script("fn main(args) { convoy::delete_volume(\"vol1\") }", "").fails(1, &refused);
    site.run("remove --volume vol1 --all --backup-first").fails(2, &["leave one of them out"]);
    assert_eq!((site.backups("vol1").len(), site.snapshots("vol1").len()), (2, 1));
    assert!(site.volume("vol1").join("file").exists());

    site.run("remove --volume vol1 --backup-first --dry-run").ok();
    assert_eq!(site.backups("vol1").len(), 2);
    let removed = site.run("remove --volume vol1 --backup-first --json").json();
    let kept = site.backups("vol1");
    assert_eq!((kept.len(), &removed["Kept"]), (1, &json!(kept[0])));
    assert!(removed["KeptTaken"].as_str().unwrap().ends_with('Z'), "{removed}");
    assert!(removed["KeptAge"].is_string() && !site.volume("vol1").exists(), "{removed}");
    site.run_words(&["restore", "--volume", "vol1", "--backupurl", &kept[0]]).ok();
    assert_eq!(fs::read_to_string(site.volume("vol1").join("file")).unwrap(), "changed");
}

#[test]
fn the_daemon_itself_refuses_to_delete_a_volume_with_a_mount_inside() {
    let (site, important) = with_backups();
    let shared = site.volume("vol1").join("shared");
    let site = site.mounting(important.clone(), shared.clone()).owned();
    let socket = site.path("daemon/convoy.sock");
    let body = json!({ "VolumeName": "vol1" }).to_string();
    let answer = send(&socket, "DELETE", "/v1/volumes/", &[], &body).unwrap();
    assert_eq!(answer.status, 400, "{answer:?}");
    let words = format!("Something is mounted in it, at \"{}\"", shared.display());
    assert!(answer.body.contains(&words), "{answer:?}");
    assert_eq!(files(&important), 20);
    assert!(site.volume("vol1").join("file").exists());
    // Docker's removal only makes the daemon forget the volume.
    let body = json!({ "Name": "vol1" }).to_string();
    let answer = send(&socket, "POST", "/VolumeDriver.Remove", &[], &body).unwrap();
    assert_eq!((answer.status, files(&important)), (200, 20), "{answer:?}");
    assert!(site.volume("vol1").join("file").exists());
}

#[test]
fn a_start_that_cleans_up_leaves_alone_what_is_mounted_there_and_says_so_once() {
    let (mut site, important) = with_backups();
    for staged in ["deleted-vol7-00112233", "restore-vol8-00112233"] {
        let left = site.volume(".staging").join(staged);
        fs::create_dir_all(left.join("shared")).unwrap();
        fs::write(left.join("file"), "x").unwrap();
        site = site.mounting(important.clone(), left.join("shared"));
        for _ in 0..2 {
            let ran = site.run("volumes").ok();
            let named = format!("\"{}\" is a mount point", left.join("shared").display());
            assert_eq!(ran.err.matches(staged).count(), 2, "{ran:#?}");
            assert_eq!(ran.err.lines().filter(|line| line.contains(&named)).count(), 1, "{ran:#?}");
            assert!(!ran.err.contains("it is now"), "{ran:#?}");
        }
        assert_eq!(files(&important), 20);
        site = site.unmounted();
        let told = site.run("volumes").ok();
        assert!(told.err.contains("was not finished") && !left.exists(), "{told:#?}");
    }
}

/// The run's record of what it deleted, with the kinds in order.
fn deleted(site: &Site, script: &str) -> (String, Vec<String>) {
    let runs = site.run(&format!("runs list --script {script} --json")).json();
    let id = runs[0]["id"].as_str().unwrap().to_owned();
    let run = site.run(&format!("runs show {id} --json")).json();
    let all = run["deleted"].as_array().unwrap_or_else(|| panic!("{run}"));
    (id, all.iter().map(|it| it["what"].as_str().unwrap().to_owned()).collect())
}

#[test]
fn what_a_run_deleted_is_in_its_record_and_in_its_log_however_it_ended() {
    let (site, _) = with_backups();
    let urls = site.backups("vol1");
    let half = format!(
        "const DOES = [\"delete\"]; fn main(args) {{ convoy::delete_backup(\"{}\"); throw \"half way\"; }}",
        urls[1]
    );
    let named = format!("deleted before that: the backup \"{}\"", urls[1]);
    site.run_script(&half, "").fails(1, &["half way", &named]);
    let (id, kinds) = deleted(&site, "mine");
    assert_eq!(kinds, ["backup"]);
    let shown = site.run(&format!("runs show {id}")).ok();
    assert!(shown.out.contains("DELETED") && shown.out.contains(&urls[1]), "{shown:?}");
    let log = site.run(&format!("runs log {id}")).ok();
    let line = format!("deleted the backup \"{}\" of the volume \"vol1\"", urls[1]);
    assert!(log.out.lines().any(|it| it.contains("INFO") && it.contains(&line)), "{log:?}");

    site.run("remove --volume vol1 --all --dry-run").ok();
    assert_eq!(deleted(&site, "remove").1, Vec::<String>::new());
    site.run("remove --volume vol1 --all").ok();
    assert_eq!(deleted(&site, "remove").1, ["backup", "snapshot", "volume"]);
}

/// Starts a script of the user's, with this body.
fn started(site: &Site, body: &str) -> Running {
    let script = format!("const DOES = [\"delete\"]; fn main(args) {{ {body} sleep(3600); }}");
    fs::write(site.path("scripts/goes_on.rhai"), script).unwrap();
    let mut command = site.command();
    command.args(["--scripts-dir", site.path("scripts").to_str().unwrap(), "goes_on"]);
    Running::start_until(command, site.path("goes_on.log"), || true)
}

fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never was so");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_run_deleted_is_on_record_when_it_was_killed_after_it() {
    let (site, _) = with_backups();
    site.create("vol2", &[("file", "content")]);
    site.run("backup --create-snapshot").ok();
    let oldest = site.backups("vol1").pop().unwrap();
    let deletes = format!(
        "convoy::delete_backup(\"{oldest}\"); convoy::delete_volume(\"vol2\"); log::warn(\"all is deleted\");"
    );
    let mut run = started(&site, &deletes);
    until(|| run.log().contains("all is deleted"));
    run.kill();
    let (id, kinds) = deleted(&site, "goes_on");
    let shown = site.run(&format!("runs show {id} --json")).json();
    assert_eq!(
        (kinds, &shown["status"]),
        (vec!["backup".into(), "volume".into()], &json!("interrupted"))
    );
    let status = site.run("status");
    assert!(!status.out.contains("gone from the daemon"), "{status:?}");
}

#[test]
fn a_volume_that_was_removed_is_not_missed_when_its_run_was_ended_before_it_heard_of_it() {
    for signal in ["TERM", "KILL"] {
        let site = Site::builtin();
        site.create("vol1", &[("file", "content")]);
        site.create("vol2", &[]);
        // It takes a while to delete them.
        for file in 0..5_000 {
            fs::write(site.volume("vol2").join(file.to_string()), "").unwrap();
        }
        site.run("backup --create-snapshot").ok();
        let mut run = started(&site, "convoy::delete_volume(\"vol2\");");
        until(|| !site.path("daemon/state/vol2.json").exists());
        run.signal(signal);
        run.wait();
        let status = site.run("status");
        assert!(!status.out.contains("gone from the daemon"), "{signal}: {status:?}");
        assert_eq!(deleted(&site, "goes_on").1, ["volume"], "{signal}");
    }
}
