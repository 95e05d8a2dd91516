//! A host that is taken over can't destroy its past: keys that may neither delete nor overwrite.

use std::{collections::BTreeMap, fs};

use jiff::SignedDuration;

use crate::{
    s3::{noise, on_s3},
    support::{
        running::Running,
        s3::{DONE, Request, S3, WEAK_KEY_ID},
        site::Site,
        way::{Way, both_ways},
    },
};

/// A host whose key may only list, read and create.
fn weak(s3: &S3) -> Site {
    on_s3(Site::builtin(), s3).with("BKUP_S3_ACCESS_KEY_ID", WEAK_KEY_ID)
}

/// A host whose key may do everything.
pub(crate) fn strong(s3: &S3) -> Site {
    on_s3(Site::builtin(), s3)
}

/// What counts of a bucket: the locks of restic are left.
pub(crate) fn backups_in(s3: &S3) -> BTreeMap<String, Vec<u8>> {
    let mut all = s3.contents();
    all.retain(|name, _| !name.contains("/locks/"));
    all
}

both_ways! {
    a_key_that_may_only_create_backs_up_lists_verifies_restores_and_examines
    a_key_that_may_not_delete_says_so_when_it_is_to_prune_and_changes_nothing
    what_is_there_already_is_not_taken_for_ours_if_it_has_another_size
    a_write_whose_answer_was_lost_is_no_failure_where_nothing_is_overwritten
    a_bucket_that_a_thief_has_emptied_is_listed_verified_and_restored_as_it_was
    what_is_looked_at_as_it_was_is_not_written_to
    a_past_backup_makes_no_deletion_safe
    a_time_at_which_there_was_nothing_is_told_with_the_oldest
}

fn a_key_that_may_only_create_backs_up_lists_verifies_restores_and_examines(way: Way) {
    let s3 = S3::start();
    let site = way.of(weak(&s3));
    site.create("vol1", &[("a.txt", "first"), ("deep/b.txt", "stays")]);
    fs::write(site.volume("vol1").join("large"), noise(5_000_000)).unwrap();
    for round in 0..3 {
        fs::write(site.volume("vol1").join("a.txt"), format!("{round}")).unwrap();
        let ran = site.run("backup --create-snapshot").ok();
        assert!(!ran.err.contains("warn") && !ran.err.contains("Denied"), "{}", ran.err);
    }
    for line in ["backups", "verify", "doctor"] {
        let ran = site.run(line);
        assert!(!ran.err.contains("AccessDenied"), "{}", ran.err);
        assert!(!ran.out.contains("AccessDenied") && !ran.out.contains("FAILED"), "{}", ran.out);
    }
    site.run("verify").ok();
    let backups = site.backups("vol1");
    assert_eq!(backups.len(), 3);
    site.run_words(&["restore", "--volume", "new", "--backupurl", &backups[0]]).ok();
    assert_eq!(fs::read(site.volume("new").join("large")).unwrap(), noise(5_000_000));
    assert_eq!(fs::read(site.volume("new").join("a.txt")).unwrap(), b"2");
    // Nothing was overwritten, and only restic's locks were to be removed.
    let refused = |request: &&Request| request.method == "DELETE";
    let requests = s3.requests();
    let refused = requests.iter().filter(refused);
    assert!(
        refused.clone().all(|it| it.object.contains("/locks/")),
        "{:?}",
        Vec::from_iter(refused)
    );
}

fn a_key_that_may_not_delete_says_so_when_it_is_to_prune_and_changes_nothing(way: Way) {
    let s3 = S3::start();
    s3.keep_versions();
    let site = way.of(weak(&s3));
    site.create("vol1", &[("a", "1")]);
    for round in 0..3 {
        fs::write(site.volume("vol1").join("a"), format!("{round}")).unwrap();
        site.run("backup --create-snapshot").ok();
    }
    let before = backups_in(&s3);
    let told = ["s3:DeleteObject", "prune --all-hosts"];
    site.run("prune --volume vol1 --keep-last 1").fails(1, &told);
    site.run("prune --keep-last 1").fails(1, &told);
    // Space of what nothing needs can't be given back, either.
    site.run("prune --keep-last 9").fails(3, &told);
    assert_eq!(backups_in(&s3), before);
    assert_eq!(site.backups("vol1").len(), 3);

    // Another host, with another key.
    let other = way.of(strong(&s3));
    other.run("prune --keep-last 1 --all-hosts").ok();
    assert_eq!(other.backups("vol1").len(), 1);
    s3.set_ahead(SignedDuration::from_hours(25));
    let pruned = other.run("prune --keep-last 1 --all-hosts -v").ok();
    assert!(pruned.err.contains("given back"), "{}", pruned.err);
    assert!(s3.names().iter().all(|name| !name.contains("/locks/")), "{:?}", s3.names());
    // The host with the weak key goes on.
    fs::write(site.volume("vol1").join("a"), "4").unwrap();
    site.run("backup --create-snapshot").ok();
    let url = &site.backups("vol1")[0];
    site.run_words(&["restore", "--volume", "new", "--backupurl", url]).ok();
    assert_eq!(fs::read(site.volume("new").join("a")).unwrap(), b"4");
}

fn what_is_there_already_is_not_taken_for_ours_if_it_has_another_size(way: Way) {
    let s3 = S3::start();
    let site = way.of(weak(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup").ok();
    fs::write(site.volume("vol1").join("a"), "2").unwrap();
    s3.be_first("/data/", b"another's");
    site.run("backup --create-snapshot").fails(1, &["is there already", "9 bytes"]);
    assert_eq!(site.backups("vol1").len(), 1);
}

fn a_write_whose_answer_was_lost_is_no_failure_where_nothing_is_overwritten(way: Way) {
    let s3 = S3::start();
    let site = way.of(weak(&s3));
    site.create("vol1", &[("a", "1")]);
    // The first answer to each write is lost.
    let mut lost = std::collections::HashSet::new();
    s3.fault(move |request| {
        let is_first = request.method == "PUT" && lost.insert(request.object.clone());
        is_first.then_some((500, DONE))
    });
    site.run("backup").ok();
    s3.mend();
    let url = &site.backups("vol1")[0];
    site.run_words(&["restore", "--volume", "new", "--backupurl", url]).ok();
}

#[test]
fn a_service_without_conditions_is_written_to_without_and_asked_for_them_once() {
    for (status, code) in
        [(501, "NotImplemented"), (400, "InvalidArgument"), (400, "NotImplemented")]
    {
        let s3 = S3::start();
        let site = strong(&s3);
        site.create("vol1", &[("a", "1")]);
        s3.fault(move |request| {
            request.headers.contains_key("if-none-match").then_some((status, code))
        });
        site.run("backup").ok();
        let asked = s3.requests();
        let asked = asked.iter().filter(|it| it.headers.contains_key("if-none-match"));
        let objects: Vec<_> = asked.map(|it| it.object.clone()).collect();
        assert!(objects.len() <= 4, "{objects:?}");
        site.run("verify").ok();
    }
}

#[test]
fn a_backup_that_was_killed_is_made_anew_by_a_key_that_may_only_create() {
    let s3 = S3::start();
    let site = weak(&s3);
    site.create("vol1", &[]);
    fs::write(site.volume("vol1").join("large"), noise(60_000_000)).unwrap();
    // Killed in the middle of its packs, and before that in the making of the repository.
    let killed = |site: &Site, until: &'static str| {
        let mut command = site.command();
        command.args(["backup", "--create-snapshot"]);
        let mut run = Running::start_until(command, site.path("run.log"), || {
            s3.names().iter().any(|name| name.contains(until))
        });
        run.kill();
    };
    s3.fault(|request| {
        (request.method == "PUT" && request.object.ends_with("/config"))
            .then_some((503, "SlowDown"))
    });
    killed(&site, "/keys/");
    s3.mend();
    site.run("backup --create-snapshot").fails(75, &["another host seems to be making"]);
    s3.set_behind("/keys/", SignedDuration::from_hours(2));
    killed(&site, "/data/");
    site.run("backup --create-snapshot").ok();
    site.run("verify").ok();
    assert_eq!(s3.names().iter().filter(|name| name.contains("/keys/")).count(), 1);
    let url = &site.backups("vol1")[0];
    site.run_words(&["restore", "--volume", "new", "--backupurl", url]).ok();
    assert!(fs::read(site.volume("new").join("large")).unwrap() == noise(60_000_000));
}

pub(crate) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// A site with two backups of "vol1" in a bucket with versions, of nine and of five hours ago.
fn with_a_past(way: Way, s3: &S3) -> Site {
    s3.keep_versions();
    let site = way.of(strong(s3));
    site.create("vol1", &[("a", "1"), ("deep/b", "stays")]);
    s3.set_ahead(hours(-9));
    site.run("backup --create-snapshot").ok();
    s3.set_ahead(hours(-5));
    fs::write(site.volume("vol1").join("a"), "2").unwrap();
    site.run("backup --create-snapshot").ok();
    site
}

fn a_bucket_that_a_thief_has_emptied_is_listed_verified_and_restored_as_it_was(way: Way) {
    let s3 = S3::start();
    let site = with_a_past(way, &s3);
    let now = site.backups("vol1");
    // Everything is overwritten, and then removed.
    s3.set_ahead(hours(-2));
    s3.overwrite(|_| Some(b"encrypted: pay".to_vec()));
    s3.set_ahead(hours(-1));
    s3.overwrite(|_| None);
    s3.set_ahead(hours(0));
    site.run("backups").fails(1, &["are not there"]);

    for (time, count) in [("8h", 1), ("3h", 2)] {
        let listed = site.run(&format!("backups --volume vol1 --as-of {time} --json")).ok();
        let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
        assert_eq!(listed.as_array().unwrap().len(), count, "{time}");
        site.run(&format!("verify --as-of {time}")).ok();
        // By the URL that the list has, and by one of before with the time beside it.
        let url = listed[0]["BackupURL"].as_str().unwrap();
        assert!(url.contains("&as-of=2"), "{url}");
        let name = format!("of-{time}");
        site.run_words(&["restore", "--volume", &name, "--backupurl", url]).ok();
        let content = fs::read_to_string(site.volume(&name).join("a")).unwrap();
        assert_eq!(content, count.to_string());
        assert_eq!(fs::read(site.volume(&name).join("deep/b")).unwrap(), b"stays");
    }
    let words = ["restore", "--as-of", "3h", "--volume", "new", "--backupurl", &now[1]];
    site.run_words(&words).ok();
    assert_eq!(fs::read(site.volume("new").join("a")).unwrap(), b"1");
    // What was overwritten is no backup any more.
    site.run("backups --as-of 90m").fails(1, &[]);
    site.run("backups --as-of 30m").fails(1, &["there were no backups", "the oldest"]);
    site.run("backups").fails(1, &["are not there"]);
}

fn what_is_looked_at_as_it_was_is_not_written_to(way: Way) {
    let s3 = S3::start();
    let site = with_a_past(way, &s3);
    s3.set_ahead(hours(0));
    let before = s3.contents();
    // At that time there was one backup, or there were two.
    for line in [
        "snapshot --volume vol1 --as-of 3h",
        "backup --create-snapshot --as-of 3h",
        "prune --keep-last 1 --as-of 3h",
        "prune --keep-last 1 --snapshots --as-of 8h",
        "remove --volume vol1 --all --as-of 3h",
        "remove --volume vol1 --as-of 3h",
    ] {
        let ran = site.run(line);
        assert!(ran.code != 0 && ran.err.contains("nothing is written to the past"), "{ran:?}");
    }
    assert!(s3.contents() == before);
    assert_eq!(site.backups("vol1").len(), 2);
    assert!(site.volume("vol1").exists());
}

fn a_past_backup_makes_no_deletion_safe(way: Way) {
    let s3 = S3::start();
    s3.keep_versions();
    let site = way.of(strong(&s3));
    site.create("vol1", &[("a", "1")]);
    s3.set_ahead(hours(-5));
    site.run("backup --create-snapshot").ok();
    // A thief removes everything.
    s3.set_ahead(hours(-1));
    s3.overwrite(|_| None);
    s3.set_ahead(hours(0));
    let before = site.run("volumes --json").ok().out;
    for line in [
        "remove --volume vol1 --as-of 3h",
        "remove --volume vol1 --all --as-of 3h",
        "prune --keep-last 1 --snapshots --as-of 3h",
        "remove --volume vol1 --as-of 3h --dry-run",
    ] {
        let ran = site.run(line);
        assert!(ran.code != 0 && ran.err.contains("nothing is written to the past"), "{ran:?}");
    }
    assert_eq!(fs::read(site.volume("vol1").join("a")).unwrap(), b"1");
    assert_eq!(site.run("volumes --json").ok().out, before);
}

fn a_time_at_which_there_was_nothing_is_told_with_the_oldest(way: Way) {
    let s3 = S3::start();
    let site = with_a_past(way, &s3);
    s3.set_ahead(hours(0));
    let told = site.run("backups --as-of 10h").fails(1, &["there were no backups", "oldest"]);
    assert!(told.err.contains("the oldest that is known there is of 20"), "{}", told.err);
    // A bucket without versions.
    let s3 = S3::start();
    let site = way.of(strong(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup").ok();
    site.run("backups --as-of 0s").fails(1, &["has kept no versions", "put-bucket-versioning"]);
}

#[test]
fn a_time_that_is_none_or_to_come_and_a_folder_as_it_was_are_refused() {
    let site = Site::builtin();
    site.run("backups --as-of 1d").fails(2, &["--as-of", "it is no bucket"]);
    for time in ["someday", "2999-01-01", "-1h", ""] {
        let s3 = S3::start();
        let site = strong(&s3);
        site.run_words(&["backups", "--as-of", time]).fails(2, &["--as-of", "7d"]);
    }
}
