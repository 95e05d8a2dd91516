//! What backups in a bucket consist of is locked, and the locks are extended as long as backups need it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    ransomware::{backups_in, hours, strong},
    support::{
        s3::S3,
        site::Site,
        way::{Way, both_ways},
    },
};

/// A host that locks what it writes for 30 days, in a bucket that can.
fn locking(s3: &S3) -> Site {
    s3.keep_versions();
    s3.lock_objects();
    strong(s3).with("BKUP_S3_OBJECT_LOCK", "30d")
}

both_ways! {
    what_backups_consist_of_is_locked_and_nothing_else
    locks_are_extended_when_half_of_them_is_over_and_cost_few_requests
    what_is_pruned_under_locks_is_there_as_it_was_and_gone_from_now
    a_bucket_without_locks_is_told_with_the_command
    a_change_to_governance_extends_the_locks_that_nobody_can_weaken
    locks_are_extended_where_a_service_demands_a_digest_of_the_old_kind
    a_bucket_that_locks_by_itself_is_written_to_with_checksums
    what_a_service_says_of_a_failure_is_told_in_its_words
    a_service_that_takes_locks_and_locks_nothing_is_told
}

/// For how many days each object is locked, by the folder that it is in.
fn locked_days(s3: &S3) -> BTreeMap<String, BTreeSet<i64>> {
    let mut days: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (name, until) in s3.locks() {
        let folder = name.trim_start_matches("host1/repository/").split('/').next().unwrap();
        let left = until.map_or(0, |until| {
            until.duration_since(Timestamp::now()).as_hours().div_euclid(24) + 1
        });
        days.entry(folder.to_owned()).or_default().insert(left);
    }
    days
}

fn what_backups_consist_of_is_locked_and_nothing_else(way: Way) {
    let s3 = S3::start();
    let site = way.of(locking(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    site.run("snapshot").ok();
    site.run("backup").ok();
    let days = locked_days(&s3);
    for kept in ["config", "data", "index", "keys", "snapshots"] {
        assert_eq!(Vec::from_iter(&days[kept]), [&30], "{kept}: {days:?}");
    }
    let writes = s3.requests();
    let writes = writes.iter().filter(|it| it.method == "PUT" && it.object.contains("/locks/"));
    assert!(writes.clone().count() > 0);
    assert!(writes.clone().all(|it| !it.headers.contains_key("x-amz-object-lock-mode")));
    let doctor = site.run("doctor").out;
    assert!(doctor.contains("locked for 30d compliance"), "{doctor}");
}

fn locks_are_extended_when_half_of_them_is_over_and_cost_few_requests(way: Way) {
    let s3 = S3::start();
    let site = way.of(locking(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    let extended = || {
        let requests = s3.requests();
        let puts = requests.iter().filter(|it| it.method == "PUT");
        puts.filter(|it| it.query.contains_key("retention")).count()
    };
    fs::write(site.volume("vol1").join("a"), "2").unwrap();
    site.run("backup --create-snapshot").ok();
    // What was written just now is known to be locked.
    let tried = extended();
    assert_eq!(tried, 1, "the first backup tries it with one object");
    let objects = locked_days(&s3);
    // As seventeen days later.
    make_locks_older(&site, 17);
    s3.set_locks_behind(SignedDuration::from_hours(17 * 24));
    assert_eq!(Vec::from_iter(&locked_days(&s3)["data"]), [&13]);
    site.run("backup --create-snapshot").ok();
    assert!(extended() > tried);
    let days = locked_days(&s3);
    assert!(
        objects.keys().filter(|it| *it != "locks").all(|it| Vec::from_iter(&days[it]) == [&30])
    );
    let before = extended();
    site.run("backup --create-snapshot").ok();
    assert_eq!(extended(), before, "once in half the time");
    // What is not remembered is locked again, as where the host was made anew.
    _ = fs::remove_dir_all(site.path("daemon/locked"));
    site.run("backup --create-snapshot").ok();
    assert!(extended() > before);

    // Who may not extend locks is told so before anything is written.
    _ = fs::remove_dir_all(site.path("daemon/locked"));
    s3.fault(|request| request.query.contains_key("retention").then_some((403, "AccessDenied")));
    let before = backups_in(&s3);
    site.run("backup --create-snapshot").fails(1, &["cannot lock", "s3:PutObjectRetention"]);
    assert!(backups_in(&s3) == before);
}

/// Makes what a host remembers of its locks so many days older.
fn make_locks_older(site: &Site, days: i64) {
    for file in fs::read_dir(site.path("daemon/locked")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut content: serde_json::Value = serde_json::from_str(&text).unwrap();
        let older = |time: &mut serde_json::Value| {
            let was: Timestamp = time.as_str().unwrap().parse().unwrap();
            *time = (was - SignedDuration::from_hours(24 * days)).to_string().into();
        };
        older(&mut content["looked"]);
        content["until"].as_object_mut().unwrap().values_mut().for_each(older);
        fs::write(&path, content.to_string()).unwrap();
    }
}

fn what_is_pruned_under_locks_is_there_as_it_was_and_gone_from_now(way: Way) {
    let s3 = S3::start();
    let site = way.of(locking(&s3));
    site.create("vol1", &[("a", "1")]);
    s3.set_ahead(hours(-9));
    site.run("backup --create-snapshot").ok();
    fs::write(site.volume("vol1").join("a"), "2").unwrap();
    site.run("backup --create-snapshot").ok();
    s3.set_ahead(hours(0));
    site.run("prune --keep-last 1").ok();
    assert_eq!(site.backups("vol1").len(), 1);
    let listed = site.run("backups --as-of 8h --json").ok();
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    let url = listed[1]["BackupURL"].as_str().unwrap();
    site.run_words(&["restore", "--volume", "new", "--backupurl", url]).ok();
    assert_eq!(fs::read(site.volume("new").join("a")).unwrap(), b"1");
}

fn a_bucket_without_locks_is_told_with_the_command(way: Way) {
    let s3 = S3::start();
    s3.keep_versions();
    let site = way.of(strong(&s3).with("BKUP_S3_OBJECT_LOCK", "30d governance"));
    site.create("vol1", &[("a", "1")]);
    site.run("backup").fails(1, &["InvalidRequest", "BKUP_S3_OBJECT_LOCK", "doctor"]);
    assert_eq!(site.run("doctor").ends(1).out.matches("put-object-lock-configuration").count(), 1);
    s3.lock_objects();
    site.run("backup").ok();
    let modes = s3.requests();
    let mut modes = modes.iter().filter_map(|it| it.headers.get("x-amz-object-lock-mode"));
    assert!(modes.all(|mode| mode == "GOVERNANCE"));
    let wrong = site.with("BKUP_S3_OBJECT_LOCK", "for ever");
    wrong.run("backups").fails(2, &["BKUP_S3_OBJECT_LOCK", "3d to 366d"]);
}

fn a_change_to_governance_extends_the_locks_that_nobody_can_weaken(way: Way) {
    let s3 = S3::start();
    let site = locking(&s3);
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    make_locks_older(&site, 17);
    s3.set_locks_behind(SignedDuration::from_hours(17 * 24));
    let site = way.of(site.with("BKUP_S3_OBJECT_LOCK", "30d governance"));
    site.run("backup --create-snapshot").ok();
    let days = locked_days(&s3);
    assert_eq!(Vec::from_iter(&days["data"]), [&30], "{days:?}");
    let modes = s3.requests();
    let modes = modes.iter().filter(|it| it.method == "PUT" && it.object.contains("/snapshots/"));
    let modes: Vec<_> = modes.filter_map(|it| it.headers.get("x-amz-object-lock-mode")).collect();
    assert_eq!(modes, ["COMPLIANCE", "GOVERNANCE"]);
}

fn locks_are_extended_where_a_service_demands_a_digest_of_the_old_kind(way: Way) {
    let s3 = S3::start();
    s3.demand_md5();
    let site = way.of(locking(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    make_locks_older(&site, 17);
    s3.set_locks_behind(SignedDuration::from_hours(17 * 24));
    site.run("backup --create-snapshot").ok();
    assert_eq!(Vec::from_iter(&locked_days(&s3)["data"]), [&30]);
}

fn a_service_that_takes_locks_and_locks_nothing_is_told(way: Way) {
    let s3 = S3::start();
    s3.ignore_locks();
    let site = way.of(locking(&s3));
    site.create("vol1", &[("a", "1")]);
    for _ in 0..2 {
        site.run("backup").fails(1, &["was to be locked, and is not"]);
    }
    assert!(s3.names().iter().all(|name| !name.contains("/snapshots/")));
    // Who may not ask for a lock believes the service.
    s3.fault(|request| {
        let is_asked = request.method == "GET" && request.query.contains_key("retention");
        is_asked.then_some((403, "AccessDenied"))
    });
    site.run("backup").ok();
}

fn a_bucket_that_locks_by_itself_is_written_to_with_checksums(way: Way) {
    for length in ["30d", ""] {
        let s3 = S3::start();
        s3.keep_versions();
        s3.lock_objects_by_default();
        let site = way.of(strong(&s3).with("BKUP_S3_OBJECT_LOCK", length));
        site.create("vol1", &[("a", "1")]);
        for _ in 0..2 {
            let run = site.run("backup --create-snapshot").ok();
            assert!(!run.err.contains("restic can't see"), "{}", run.err);
        }
        site.run("prune --keep-last 1").ok();
        let writes = s3.requests();
        let writes =
            writes.iter().filter(|it| it.method == "PUT" && !it.query.contains_key("retention"));
        let bare = writes.filter(|it| !it.headers.contains_key("x-amz-checksum-sha256")).count();
        // Where no locks are asked for, it is found out by a refusal.
        assert!(bare > 0 || !length.is_empty(), "{bare}");
        assert!(bare == 0 || length.is_empty(), "{bare}");
    }
}

fn what_a_service_says_of_a_failure_is_told_in_its_words(way: Way) {
    let s3 = S3::start();
    let site = way.of(locking(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    s3.fault(|request| (request.method == "PUT").then_some((403, "RequestTimeTooSkewed")));
    let told = site.run("backup --create-snapshot").fails(1, &["RequestTimeTooSkewed", "clock"]);
    assert!(!told.err.contains("s3:PutObjectRetention"), "{}", told.err);
    // The write is what failed, whatever else is forbidden.
    s3.fault(|request| {
        let is_write = request.method == "PUT" && !request.object.contains("/locks/");
        let is_list = request.object.is_empty() && request.query["prefix"].contains("/data/");
        let is_look = request.method == "HEAD" && request.object.contains("/data/");
        (is_write || is_list || is_look).then_some((403, "AccessDenied"))
    });
    fs::write(site.volume("vol1").join("a"), "2").unwrap();
    let told = site.run("backup --create-snapshot").fails(1, &["cannot write", "AccessDenied"]);
    assert!(told.err.contains("s3:PutObjectRetention"), "{}", told.err);
}
