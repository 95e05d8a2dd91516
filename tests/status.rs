//! `status`, and what it shares with `doctor` and `serve`: what is seen before the next backup
//! would see it.

use std::fs;

use serde_json::Value;

use crate::support::{running::Running, site::Site, web::Web};

/// A site with a crontab that starts nothing while a test runs, and these volumes, backed up.
fn backed_up(volumes: &[&str]) -> Site {
    let site = Site::builtin();
    let path = site.path("crontab");
    fs::write(&path, "0 0 1 1 *  backup --create-snapshot\n").unwrap();
    let site = site.with("BKUP_CRONTAB", path.display().to_string());
    for volume in volumes {
        site.create(volume, &[("file", "content")]);
    }
    site.run("backup").ok();
    site
}

/// What `umount` does to a destination.
fn unmount(site: &Site) {
    fs::rename(site.path("backups"), site.path("unmounted")).unwrap();
    fs::create_dir(site.path("backups")).unwrap();
}

/// Takes a volume out of the daemon, past this program.
fn lose(site: &Site, volume: &str) {
    fs::remove_file(site.path("daemon/state").join(format!("{volume}.json"))).unwrap();
    fs::remove_dir_all(site.volume(volume)).unwrap();
}

fn serve(site: &Site) -> Running {
    let mut command = site.command();
    command.arg("serve");
    Running::start(command, &site.path("daemon/convoy.sock"), site.path("serve.log"))
}

/// The subjects that the webhook got, when there are so many.
fn subjects(web: &Web, count: usize) -> Vec<String> {
    let start = std::time::Instant::now();
    while web.requests().len() < count {
        assert!(start.elapsed() < std::time::Duration::from_secs(60), "{:?}", web.requests());
        std::thread::yield_now();
    }
    let subject = |body: &str| {
        serde_json::from_str::<Value>(body).unwrap()["subject"].as_str().unwrap().to_owned()
    };
    web.requests().iter().map(|request| subject(&request.body)).collect()
}

#[test]
fn a_share_that_is_not_mounted_is_seen_before_the_next_backup_and_told_once() {
    let web = Web::start("200 OK", "", "");
    let site =
        backed_up(&["vol1", "vol2"]).with("BKUP_HOST", "db1").with("BKUP_WEBHOOK_URL", web.url());
    site.run("status").ok();
    unmount(&site);
    let lacks = "lacks the newest backup of \"vol2\": is the share mounted?";
    let status = site.run("status").ends(1);
    assert!(status.out.contains(lacks), "{status:?}");
    let problems = site.run("status --json").ends(1);
    assert!(problems.out.contains("lacks the newest backup of"), "{problems:?}");
    let doctor = site.run("doctor").ends(1);
    assert!(doctor.out.contains("lacks the newest backup of \"vol2\""), "{doctor:?}");

    let mut running = serve(&site);
    assert!(subjects(&web, 1)[0].contains("are not as they should be"), "{:?}", web.requests());
    assert!(web.requests()[0].body.contains("is the share mounted?"), "{:?}", web.requests());
    fs::remove_dir(site.path("backups")).unwrap();
    fs::rename(site.path("unmounted"), site.path("backups")).unwrap();
    running.signal("HUP");
    assert!(subjects(&web, 2)[1].contains("is well again"), "{:?}", web.requests());
    site.run("status").ok();
    assert_eq!(running.terminate().code(), Some(0));
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn a_destination_that_nothing_uses_any_more_is_not_missed() {
    let site = backed_up(&["vol1"]);
    unmount(&site);
    let other = site.path("other");
    fs::create_dir(&other).unwrap();
    let site = site.with("BKUP_BACKUP_URL", format!("vfs://{}", other.display()));
    site.run("status").ok();
}

#[test]
fn a_volume_that_is_gone_is_told_once_and_not_missed_once_somebody_knows() {
    let web = Web::start("200 OK", "", "");
    let site = backed_up(&["vol1", "vol2"])
        .with("BKUP_HOST", "db1")
        .with("BKUP_WEBHOOK_URL", web.url())
        .with("BKUP_REMIND_AFTER", "1s");
    lose(&site, "vol1");
    let status = site.run("status").ends(1);
    assert!(
        status.out.contains("gone from the daemon") && status.out.contains("status --forget vol1"),
        "{status:?}"
    );
    let mut running = serve(&site);
    assert_eq!(subjects(&web, 1), ["[db1] vol1 is gone from the daemon"]);
    site.run("status --forget vol2").fails(2, &["the daemon lists it"]);
    site.run("status --forget vol3")
        .fails(2, &["no volume \"vol3\" is missed", "did you mean \"vol1\"?"]);
    site.run("status --forget vol1 --dry-run").ok();
    site.run("status").ends(1);
    site.run("status --forget vol1").ok();
    site.run("status").ok();
    assert_eq!(running.terminate().code(), Some(0));
    assert_eq!(
        site.run("backups --volume vol1 --json").json().as_array().unwrap().len(),
        1,
        "they are kept"
    );
    let mut running = serve(&site);
    assert_eq!(running.terminate().code(), Some(0));
    assert_eq!(web.requests().len(), 1, "{:?}", web.requests());
}

#[test]
fn what_runs_now_and_what_no_line_backs_up_are_said() {
    let site = backed_up(&["vol1"]);
    fs::write(site.path("crontab"), "0 0 1 1 *  backup --volume vol2\n").unwrap();
    let status = site.run("status").ok();
    assert!(status.out.contains("no line of the crontab backs up \"vol1\""), "{status:?}");
    assert_eq!(site.run("status --json").json()["volumes"][0]["scheduled"], false);

    fs::write(site.path("scripts/waits.rhai"), "fn main(args) { sleep(3600); }").unwrap();
    let mut command = site.command();
    command.args(["--scripts-dir", site.path("scripts").to_str().unwrap(), "waits"]);
    let _waiting =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("waits.log"));
    let start = std::time::Instant::now();
    while site.run("status --json").json()["running"][0]["script"] != "waits" {
        assert!(start.elapsed() < std::time::Duration::from_secs(60));
    }
    let status = site.run("status").ok();
    assert!(status.out.contains("waits, running since"), "{status:?}");
}

#[test]
fn a_backup_that_a_run_which_goes_on_may_have_deleted_is_not_missed_until_the_run_has_ended() {
    let site = backed_up(&["vol1", "vol2"]);
    let deletes = "const DOES = [\"delete\"];\nfn main(args) { sleep(3600); }";
    fs::write(site.path("scripts/deletes.rhai"), deletes).unwrap();
    let mut command = site.command();
    command.args(["--scripts-dir", site.path("scripts").to_str().unwrap(), "deletes"]);
    let mut run =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("deletes.log"));
    let start = std::time::Instant::now();
    while site.run("status --json").json()["running"][0]["script"] != "deletes" {
        assert!(start.elapsed() < std::time::Duration::from_secs(60));
    }
    // What a run deleted is in the store only at its end.
    let snapshots = site.path("backups/repository/snapshots");
    let deleted = fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(deleted).unwrap();
    site.run("status").ok();
    run.terminate();
    let ended = site.run("status").ends(1);
    assert!(ended.out.contains("it is not at its destination any more"), "{ended:?}");
}

#[test]
fn a_volume_that_a_run_which_goes_on_has_removed_is_not_gone() {
    let site = backed_up(&["vol1", "vol2"]);
    let deletes = "const DOES = [\"delete\"];\nfn main(args) { convoy::delete_volume(\"vol2\"); sleep(3600); }";
    fs::write(site.path("scripts/deletes.rhai"), deletes).unwrap();
    let mut command = site.command();
    command.args(["--scripts-dir", site.path("scripts").to_str().unwrap(), "deletes"]);
    let mut run =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("deletes.log"));
    let start = std::time::Instant::now();
    while site.run("volumes --json").json().as_array().unwrap().len() > 1 {
        assert!(start.elapsed() < std::time::Duration::from_secs(60));
    }
    let status = site.run("status").ok();
    assert!(!status.out.contains("gone from the daemon"), "{status:?}");
    run.terminate();
}

#[test]
fn a_script_of_the_users_counts_as_a_backup_where_it_says_so() {
    let site = backed_up(&["vol1"]);
    let scripts = site.path("scripts");
    let line = format!("BKUP_SCRIPTS_DIR={}\n30 3 * * *  mine --volume vol1\n", scripts.display());
    fs::write(site.path("crontab"), line).unwrap();
    let backs_up = "const PARAMETERS = #{ volume: #{ type: \"volume\" } };\nfn main(args) { [] }";
    fs::write(scripts.join("mine.rhai"), backs_up).unwrap();
    let status = site.run("status").ok();
    assert!(status.out.contains("no line of the crontab backs up \"vol1\""), "{status:?}");
    assert_eq!(site.run("status --json").json()["volumes"][0]["scheduled"], false);

    fs::write(scripts.join("mine.rhai"), format!("const DOES = [\"backup\"];\n{backs_up}"))
        .unwrap();
    let status = site.run("status").ok();
    assert!(!status.out.contains("no line of the crontab"), "{status:?}");
    assert_eq!(site.run("status --json").json()["volumes"][0]["scheduled"], true);
}

#[test]
fn what_people_were_told_of_is_shown_in_the_same_words_as_by_notify_list() {
    let web = Web::start("200 OK", "", "");
    let site = backed_up(&["vol1"]).with("BKUP_WEBHOOK_URL", web.url());
    site.run_script("fn main() { notify::problem(\"the copy is late\", \"look\") }", "").ok();
    let (status, list) = (site.run("status").ends(1).out, site.run("notify list").ok().out);
    // Their ages differ by what the second command took.
    for words in [
        "What people were told of, and is not known to be well again:\nSINCE",
        "  the copy is late\n",
    ] {
        assert!(status.contains(words) && list.contains(words), "{status}\n{list}");
    }
    let told = site.run("status --json").ends(1);
    assert!(told.out.contains("the copy is late"), "{told:?}");
}

#[test]
fn plain_backups_are_warned_of_where_they_are_made_and_doctor_says_who_is_told() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    let plain = "not encrypted";
    let made = site.run("backup").ok();
    assert!(made.err.contains(plain), "{made:?}");
    for line in ["status", "backups", "volumes"] {
        let looked = site.run(line).ok();
        assert!(!looked.err.contains(plain) && !looked.out.contains(plain), "{looked:?}");
    }
    let doctor = site.run("doctor").ok().out;
    assert!(
        doctor.contains(plain) && doctor.contains("nobody is told when a backup fails"),
        "{doctor}"
    );
    let doctor = site.with("BKUP_WEBHOOK_URL", "http://127.0.0.1:1/hidden").run("doctor").ok().out;
    assert!(
        doctor.contains("webhook http://127.0.0.1:1") && !doctor.contains("hidden"),
        "{doctor}"
    );
}

#[test]
fn what_failed_is_not_lost_behind_those_who_look() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    let fails = "fn main(args) { run::failed(\"vol1\", #{ code: \"io\", message: \"the disk is gone\" }); }";
    site.run_script(fails, "").ends(3);
    assert!(site.run("status").ends(1).out.contains("the disk is gone"));
    for _ in 0..25 {
        site.run("backups --volume vol1").ok();
        site.run("prune --volume vol1 --keep-last 1 --dry-run").ok();
    }
    assert!(site.run("status").ends(1).out.contains("the disk is gone"));
}

#[test]
fn what_failed_with_a_volume_that_was_removed_since_is_over() {
    let site = backed_up(&["vol1", "vol2"]);
    let nowhere =
        format!("--destination vfs://{} backup --volume vol1", site.path("nowhere").display());
    site.run(&nowhere).fails(1, &["doesn't exist"]);
    assert!(site.run("status").ends(1).out.contains("backup failed"));
    site.run("remove --volume vol1 --all").ok();
    let status = site.run("status");
    assert!(!status.out.contains("backup failed"), "{status:?}");
}

#[test]
fn backups_on_a_share_that_is_not_mounted_are_missed_by_every_command() {
    let site = backed_up(&["vol1"]);
    site.run("snapshot").ok();
    let url = site.backups("vol1").remove(0);
    unmount(&site);
    let what = ["are not there", "is the share mounted?"];
    for line in [
        "backups",
        "prune --keep-last 1",
        "remove --volume vol1",
        "remove --volume vol1 --all --dry-run",
    ] {
        site.run(line).fails(1, &what);
    }
    site.run_words(&["restore", "--volume", "new", "--backupurl", &url]).fails(1, &what);
    assert_eq!(site.snapshots("vol1").len(), 1);
}
