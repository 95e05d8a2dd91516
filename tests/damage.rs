//! Damage at a destination: which backups it breaks, who is told, and that a broken backup counts
//! for nothing.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::support::{
    running::Running,
    site::Site,
    way::{Way, both_ways},
    web::Web,
};

both_ways! {
    every_volumes_newest_backup_is_looked_at_and_a_broken_one_is_no_good_backup
    what_a_restore_found_broken_is_a_problem_of_each_backup_that_needs_it
    a_backup_that_is_gone_alone_is_its_volumes_problem_and_not_the_destinations
    what_is_damaged_fails_a_verify_and_is_no_good_backup_until_it_is_stored_again
    a_damaged_local_snapshot_fails_no_backup_of_its_volume
}

/// A site with a crontab that starts nothing while a test runs.
fn site(way: Way) -> Site {
    let site = Site::builtin();
    let path = site.path("crontab");
    fs::write(&path, "0 0 1 1 *  backup --create-snapshot\n").unwrap();
    way.of(site.with("BKUP_CRONTAB", path.display().to_string()))
}

fn packs(site: &Site) -> BTreeSet<PathBuf> {
    packs_in(&site.path("backups/repository")).into_iter().collect()
}

fn packs_in(repository: &Path) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(repository.join("data")) else { return Vec::new() };
    let files = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    folders.flat_map(|folder| files(folder.unwrap().path())).collect()
}

/// Backs a volume up, and returns the packs that were made.
fn backup(site: &Site, volume: &str) -> Vec<PathBuf> {
    let before = packs(site);
    site.run(&format!("backup --volume {volume} --create-snapshot")).ok();
    packs(site).difference(&before).cloned().collect()
}

/// Bytes that can't be compressed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// Overwrites some bytes in the middle of the largest of these files.
fn flip(files: &[PathBuf]) -> (PathBuf, Vec<u8>) {
    let largest = files.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let whole = fs::read(largest).unwrap();
    let file = File::options().write(true).open(largest).unwrap();
    file.write_all_at(b"damage", whole.len() as u64 / 2).unwrap();
    (largest.clone(), whole)
}

/// Moves files away, or back.
fn move_all(files: &[PathBuf], to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in files {
        fs::rename(file, to.join(file.file_name().unwrap())).unwrap();
    }
}

fn put_back(files: &[PathBuf], from: &Path) {
    for file in files {
        fs::rename(from.join(file.file_name().unwrap()), file).unwrap();
    }
}

fn volume(status: &Value, name: &str) -> Value {
    let volumes = status["volumes"].as_array().unwrap();
    volumes.iter().find(|volume| volume["name"] == name).unwrap().clone()
}

fn status(site: &Site, code: i32) -> Value {
    serde_json::from_str(&site.run("status --json").ends(code).out).unwrap()
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

fn every_volumes_newest_backup_is_looked_at_and_a_broken_one_is_no_good_backup(way: Way) {
    let site = site(way);
    for volume in ["vol1", "vol2"] {
        site.create(volume, &[("file", volume)]);
    }
    for content in ["oldest", "older"] {
        fs::write(site.volume("vol1").join("new"), content).unwrap();
        backup(&site, "vol1");
    }
    let older = site.backups("vol1").remove(0);
    fs::write(site.volume("vol1").join("new"), "new").unwrap();
    let lost = backup(&site, "vol1");
    let newest = site.backups("vol1").remove(0);
    backup(&site, "vol2");
    site.run("status").ok();
    assert!(site.run("doctor").ok().out.contains("looked at those of 2 volumes, all good"));

    let away = site.path("away");
    move_all(&lost, &away);
    for _ in 0..2 {
        let shown = site.run("status").ends(1);
        assert!(shown.out.contains("its newest backup can't be restored: the pack"), "{shown:?}");
        assert!(shown.out.contains("1 of 2 volumes is not safe"), "{shown:?}");
        let told = status(&site, 1);
        assert_eq!(volume(&told, "vol1")["last_backup"]["url"], older.as_str());
        assert_eq!(volume(&told, "vol1")["bad_backups"][0]["url"], newest.as_str());
        assert!(volume(&told, "vol2")["problems"].as_array().unwrap().is_empty(), "{told}");
        let doctor = site.run("doctor").ends(1).out;
        assert!(doctor.contains("these can't be restored: vol1"), "{doctor}");
    }
    let listed = site.run("backups --volume vol1").ok().out;
    assert!(listed.contains("broken: ") && listed.contains("NOTE"), "{listed}");
    let listed = site.run("backups --volume vol1 --json").json();
    assert!(listed[0]["Broken"].is_string() && listed[1]["Broken"].is_null(), "{listed}");
    let pruned = site.run("prune --volume vol1 --keep-last 1").ok().out;
    assert!(pruned.contains("no good one is newer"), "{pruned}");
    assert_eq!(site.backups("vol1"), [newest.clone(), older], "the newest good one stays");

    put_back(&lost, &away);
    site.run("status").ok();
    assert_eq!(volume(&status(&site, 0), "vol1")["last_backup"]["url"], newest.as_str());
    assert!(!site.run("backups").ok().out.contains("broken"));
    site.run("doctor").ok();
}

fn what_a_restore_found_broken_is_a_problem_of_each_backup_that_needs_it(way: Way) {
    let site = site(way);
    site.create("vol1", &[("other", "1")]);
    fs::write(site.volume("vol1").join("file"), noise(300_000)).unwrap();
    site.create("vol2", &[("file", "2")]);
    let packs = backup(&site, "vol1");
    let first = site.backups("vol1").remove(0);
    backup(&site, "vol2");
    fs::write(site.volume("vol1").join("other"), "2").unwrap();
    backup(&site, "vol1");
    let second = site.backups("vol1").remove(0);
    let (damaged, whole) = flip(&packs);
    site.run("status").ok();

    let restore = |url: &str| site.run_words(&["restore", "--volume", "new", "--backupurl", url]);
    restore(&first).fails(1, &["cannot read a piece of \"file\""]);
    let shown = site.run("status").ends(1);
    assert!(
        shown
            .out
            .contains("its newest backup can't be restored: a piece of \"vol1/file\" is damaged"),
        "{shown:?}"
    );
    assert!(volume(&status(&site, 1), "vol1")["last_backup"].is_null());
    restore(&second).fails(1, &["is damaged in the pack"]);
    let listed = site.run("backups --volume vol1 --json").json();
    assert!(listed[0]["Broken"].is_string() && listed[1]["Broken"].is_string(), "{listed}");

    // Nothing is deleted on the word of a damaged backup.
    assert_eq!(site.backups("vol1").len(), 2);
    let pruned = site.run("prune --volume vol1 --keep-last 1 --json").json();
    assert!(pruned.as_array().unwrap().iter().all(|item| item["Keep"] == true), "{pruned}");
    site.run("remove --volume vol1").fails(1, &["no good backup"]);
    assert!(site.volume("vol1").join("other").exists());
    site.run("prune --volume vol2 --keep-last 1").ok();

    // The next backup does not build on the damage: what the volume still has is stored again.
    fs::write(site.volume("vol1").join("other"), "3").unwrap();
    backup(&site, "vol1");
    site.run("status").ok();
    assert_ne!(fs::read(damaged).unwrap(), whole);
    // What a restore found is over when a restore of it succeeds.
    assert!(site.run("backups --volume vol1").ok().out.contains("broken: "));
    restore(&first).ok();
    assert!(!site.run("backups --volume vol1").ok().out.contains("broken: "));
}

fn a_backup_that_is_gone_alone_is_its_volumes_problem_and_not_the_destinations(way: Way) {
    let site = site(way);
    for volume in ["vol1", "vol2"] {
        site.create(volume, &[("file", volume)]);
    }
    backup(&site, "vol1");
    let snapshots = site.path("backups/repository/snapshots");
    let gone = fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    backup(&site, "vol2");
    fs::remove_file(gone).unwrap();
    let shown = site.run("status").ends(1);
    let why = "its newest backup can't be restored: it is not at its destination any more";
    assert!(shown.out.contains(why) && !shown.out.contains("is the share mounted"), "{shown:?}");
    assert!(volume(&status(&site, 1), "vol2")["problems"].as_array().unwrap().is_empty());
    backup(&site, "vol1");
    site.run("status").ok();
}

fn what_is_damaged_fails_a_verify_and_is_no_good_backup_until_it_is_stored_again(way: Way) {
    let site = site(way);
    for (volume, length) in [("vol1", 300_000), ("vol2", 400_000)] {
        site.create(volume, &[("other", volume)]);
        let turn = |byte: u8| if volume == "vol2" { byte.reverse_bits() } else { byte };
        let content: Vec<u8> = noise(length).into_iter().map(turn).collect();
        fs::write(site.volume(volume).join("file"), content).unwrap();
    }
    let packs = backup(&site, "vol1");
    backup(&site, "vol2");
    let read = |line: &str| site.run(&format!("verify {line} --json")).json();
    let all = read("");
    assert!(
        all["Packs"].as_u64().unwrap() >= 4 && all["Bytes"].as_u64().unwrap() > 700_000,
        "{all}"
    );
    let share = read("--share 10");
    assert!(share["Packs"].as_u64() < all["Packs"].as_u64(), "{share}");
    let one = read("--volume vol1");
    assert!((300_000..400_000).contains(&one["Bytes"].as_u64().unwrap()), "{one}");
    site.run("status").ok();

    flip(&packs);
    site.run("verify --volume vol2").ok();
    site.run("status").ok();
    let told = ["1 file of the backups' data can't be read as written: the pack", "back up again"];
    site.run("verify").fails(1, &told);
    let shown = site.run("status").ends(1);
    assert!(shown.out.contains("a piece of \"vol1/file\" is damaged"), "{shown:?}");
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("verify").ok();
    site.run("status").ok();
}

fn a_damaged_local_snapshot_fails_no_backup_of_its_volume(way: Way) {
    let site = site(way);
    site.create("vol1", &[("other", "1")]);
    fs::write(site.volume("vol1").join("file"), noise(300_000)).unwrap();
    assert!(!site.run("doctor").out.contains("local snapshots"));
    for damage in ["a piece", "a pack", "config"] {
        site.run("snapshot --volume vol1").ok();
        let local = site.path("daemon/repository");
        match damage {
            "a piece" => _ = flip(&packs_in(&local)),
            "a pack" => fs::remove_file(&packs_in(&local)[0]).unwrap(),
            _ => fs::remove_file(local.join("config")).unwrap(),
        }
        if damage != "a piece" {
            let told = site.run("doctor");
            assert!(told.out.contains("the folder of local snapshots is damaged"), "{told:?}");
        }
        site.run("backup").ok();
    }
    assert_eq!(site.backups("vol1").len(), 3);
    let url = site.backups("vol1").remove(0);
    site.run_words(&["restore", "--volume", "new", "--backupurl", &url]).ok();
    assert_eq!(fs::read(site.volume("new").join("file")).unwrap(), noise(300_000));
}

#[test]
fn broken_backups_are_told_in_one_message_that_closes_when_all_are_good_again() {
    let web = Web::start("200 OK", "", "");
    let site = site(Way::Alone).with("BKUP_HOST", "db1").with("BKUP_WEBHOOK_URL", web.url());
    let mut lost = Vec::new();
    for volume in ["vol1", "vol2", "vol3"] {
        site.create(volume, &[("file", volume)]);
        let made = backup(&site, volume);
        if volume != "vol3" {
            lost.extend(made);
        }
    }
    let away = site.path("away");
    move_all(&lost, &away);
    let mut command = site.command();
    command.arg("serve");
    let mut running =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("serve.log"));
    assert_eq!(subjects(&web, 1), ["[db1] the newest backups of vol1, vol2 can't be restored"]);
    assert!(web.requests()[0].body.contains("vol2: the pack"), "{:?}", web.requests());
    running.signal("HUP");
    put_back(&lost, &away);
    running.signal("HUP");
    assert_eq!(subjects(&web, 2)[1], "[db1] the newest backups can be restored again");
    assert_eq!(running.terminate().code(), Some(0));
    assert_eq!(web.requests().len(), 2);
}

#[test]
fn a_status_that_cannot_remember_what_it_finds_says_it_all_the_same() {
    let site = site(Way::Alone);
    site.create("vol1", &[("file", "1")]);
    let lost = backup(&site, "vol1");
    move_all(&lost, &site.path("away"));
    let store = site.path("data/runs.sqlite");
    // A store that another process has locked for longer than a status waits.
    let connection = rusqlite::Connection::open(&store).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..2 {
        let shown = site.run("status").ends(1);
        assert!(shown.out.contains("its newest backup can't be restored"), "{shown:?}");
        assert!(shown.err.contains("is not remembered"), "{shown:?}");
    }
}
