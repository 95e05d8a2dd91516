//! Backups on S3 by the built-in daemon, over the real protocol.
//!
//! Each scenario is tried twice: by commands that own the daemon's folder, and by commands that
//! reach the daemon over the socket of the process that owns it, as beside `serve`.

use std::{fs, process::Command};

use crate::support::{
    running::Running,
    s3::{BREAKS_OFF, DONE, KEY_ID, Request, S3},
    site::Site,
    way::{Way, both_ways},
};

fn site(s3: &S3) -> Site {
    on_s3(Site::builtin(), s3)
}

/// The site with its destination in the bucket.
pub(crate) fn on_s3(site: Site, s3: &S3) -> Site {
    site.with("BKUP_BACKUP_URL", "s3://bucket@eu-west-1/host1/")
        .with("BKUP_S3_ENDPOINT", s3.endpoint())
        .with("BKUP_S3_ACCESS_KEY_ID", KEY_ID)
        .with("BKUP_S3_SECRET_ACCESS_KEY", "hunter2")
        .with("BKUP_REPOSITORY_PASSWORD", "secret")
}

both_ways! {
    a_volume_is_backed_up_to_a_bucket_pruned_there_and_restored_on_another_host
    an_upload_that_fails_leaves_no_backup_and_the_older_ones_stay
    a_service_that_is_busy_for_a_moment_is_asked_again
    a_repository_is_made_by_one_host_only
    a_repository_whose_making_was_answered_by_nobody_opens_all_the_same
    a_repository_that_another_host_is_just_making_is_left_to_it
    a_bucket_that_was_emptied_is_not_begun_anew_and_nothing_is_said_to_be_well
    a_list_whose_end_is_out_of_reach_is_not_taken_for_the_whole
    an_object_whose_answer_breaks_off_is_read_again
    a_backup_whose_packs_are_gone_is_not_good
    what_is_wrong_with_a_bucket_is_said_with_what_to_do
}

/// Bytes that neither compress nor repeat, more than a window of reading.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

fn a_volume_is_backed_up_to_a_bucket_pruned_there_and_restored_on_another_host(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a.txt", "first"), ("deep/er/b.txt", "stays")]);
    fs::write(site.volume("vol1").join("large"), noise(9_000_000)).unwrap();
    for round in 0..4 {
        fs::write(site.volume("vol1").join("a.txt"), format!("{round}")).unwrap();
        site.run("backup --volume vol1 --create-snapshot").ok();
    }
    assert!(
        s3.names().iter().all(|name| name.starts_with("host1/repository/")),
        "{:?}",
        s3.names()
    );
    assert_eq!(site.backups("vol1").len(), 4);
    let doctor = site.run("doctor");
    assert!(doctor.out.contains("4 at s3://bucket@eu-west-1/host1/"), "{}", doctor.out);

    site.run("prune --volume vol1 --keep-last 2").ok();
    let backups = site.backups("vol1");
    assert_eq!(backups.len(), 2);

    // Another machine, with nothing but the program, the bucket's address, the key and the
    // password.
    let other = way.of(self::site(&s3));
    other.run_words(&["restore", "--volume", "rescued", "--backupurl", &backups[0]]).ok();
    let compared = Command::new("diff")
        .arg("-r")
        .arg(site.volume("vol1"))
        .arg(other.volume("rescued"))
        .output()
        .unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));

    // On S3 Convoy would delete the backups of "vol10" with the last one of "vol1"; the built-in
    // daemon does not.
    site.create("vol10", &[("c", "c")]);
    site.run("backup --volume vol10").ok();
    site.run("remove --volume vol1 --all").ok();
    assert_eq!(site.backups("vol10").len(), 1);
}

fn an_upload_that_fails_leaves_no_backup_and_the_older_ones_stay(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup").ok();
    let before = site.backups("vol1");
    fs::write(site.volume("vol1").join("a"), "2").unwrap();
    let is_index =
        |request: &Request| request.method == "PUT" && request.object.contains("/index/");
    s3.fault(move |request| is_index(request).then_some((403, "AccessDenied")));
    site.run("backup --create-snapshot").fails(1, &["AccessDenied", "docs/s3.md"]);
    s3.mend();
    assert_eq!(site.backups("vol1"), before);
    site.run("backup --create-snapshot").ok();
    assert_eq!(site.backups("vol1").len(), 2);
}

fn a_service_that_is_busy_for_a_moment_is_asked_again(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    let mut left = 2;
    s3.fault(move |request| {
        let is_next = request.method == "PUT" && left > 0;
        left -= i32::from(is_next);
        is_next.then_some((503, "SlowDown"))
    });
    site.run("backup").ok();
}

fn a_repository_is_made_by_one_host_only(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup").ok();
    let made = |request: &&Request| request.method == "PUT" && request.object.ends_with("/config");
    let requests = s3.requests();
    let made: Vec<_> = requests.iter().filter(made).collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].headers["if-none-match"], "*");

    // A service without conditional writes.
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    s3.fault(|request| {
        request.headers.contains_key("if-none-match").then_some((501, "NotImplemented"))
    });
    site.run("backup").ok();
    assert_eq!(site.backups("vol1").len(), 1);
}

fn a_repository_whose_making_was_answered_by_nobody_opens_all_the_same(way: Way) {
    for status in [500, 400] {
        let s3 = S3::start();
        let site = way.of(self::site(&s3));
        site.create("vol1", &[("a", "1")]);
        s3.fault(move |request| {
            (request.method == "PUT" && request.object.ends_with("/config"))
                .then_some((status, DONE))
        });
        site.run("backup").ok();
        s3.mend();
        assert_eq!(way.of(self::site(&s3)).backups("vol1").len(), 1);
    }
}

fn a_repository_that_another_host_is_just_making_is_left_to_it(way: Way) {
    let s3 = S3::start();
    let other = way.of(self::site(&s3));
    other.create("vol1", &[("a", "1")]);
    other.run("backup").ok();
    let site = way.of(self::site(&s3));
    site.create("vol2", &[("a", "1")]);
    s3.remove(|name| !name.contains("/keys/"));
    site.run("backup").fails(75, &["another host seems to be making the repository"]);
    assert_eq!(s3.names().len(), 1, "{:?}", s3.names());
}

fn a_bucket_that_was_emptied_is_not_begun_anew_and_nothing_is_said_to_be_well(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backups").ok();
    site.run("snapshot").ok();
    site.run("backup").ok();
    let url = site.backups("vol1").remove(0);
    s3.remove(|_| true);
    let what = [
        "the backups that were made in \"s3://bucket@eu-west-1/host1/\" are not there",
        "right bucket",
    ];
    for line in
        ["backup --create-snapshot", "backups", "prune --keep-last 1", "remove --volume vol1 --all"]
    {
        site.run(line).fails(1, &what);
    }
    site.run_words(&["restore", "--volume", "new", "--backupurl", &url]).fails(1, &what);
    assert_eq!(s3.names(), Vec::<String>::new());
    assert_eq!(site.snapshots("vol1").len(), 1, "no snapshot goes, either");
}

fn a_list_whose_end_is_out_of_reach_is_not_taken_for_the_whole(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    for _ in 0..4 {
        site.run("backup --create-snapshot").ok();
    }
    s3.know_no_tokens();
    site.run("backups").fails(1, &["no end that can be reached", "ListObjectsV2"]);
}

fn an_object_whose_answer_breaks_off_is_read_again(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[]);
    fs::write(site.volume("vol1").join("large"), noise(9_000_000)).unwrap();
    site.run("backup").ok();
    let url = site.backups("vol1").remove(0);
    let mut left = 2;
    s3.fault(move |request| {
        let is_next = left > 0 && request.object.contains("/data/") && request.method == "GET";
        left -= i32::from(is_next);
        is_next.then_some((0, BREAKS_OFF))
    });
    site.run_words(&["restore", "--volume", "new", "--backupurl", &url]).ok();
    assert_eq!(fs::read(site.volume("new").join("large")).unwrap(), noise(9_000_000));
}

#[test]
fn each_command_lists_the_backups_in_a_bucket_and_reads_none_of_them_again() {
    let s3 = S3::start();
    let site = site(&s3);
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    let before = s3.requests().len();
    assert_eq!(site.backups("vol1").len(), 1);
    let asked = s3.requests().split_off(before);
    let reads = |folder: &str| asked.iter().filter(|it| it.object.contains(folder)).count();
    assert_eq!((reads("/snapshots/"), reads("/index/"), reads("/data/")), (0, 0, 0), "{asked:?}");
    // Another machine has to read it, once.
    let other = self::site(&s3);
    let before = s3.requests().len();
    assert_eq!(other.backups("vol1").len() + other.backups("vol1").len(), 2);
    let asked = s3.requests().split_off(before);
    assert_eq!(asked.iter().filter(|it| it.object.contains("/snapshots/")).count(), 1);
}

#[test]
fn a_backup_of_what_has_not_changed_takes_few_requests() {
    let s3 = S3::start();
    let site = site(&s3);
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    let before = s3.requests().len();
    site.run("backup --create-snapshot").ok();
    let asked = s3.requests().split_off(before);
    // Lists have more pages here than elsewhere. Three are for restic's lock.
    assert!(asked.len() <= 26, "{}: {asked:?}", asked.len());
}

#[test]
fn a_wrong_region_is_forgotten_when_it_was_corrected() {
    let s3 = S3::start();
    let site = site(&s3);
    site.create("vol1", &[("a", "1")]);
    let mut command = site.command();
    command.args(["daemon", "--root"]).arg(site.path("daemon"));
    let _daemon =
        Running::start(command, &site.path("daemon/convoy.sock"), site.path("daemon.log"));
    s3.fault(|request| {
        let signed = request.headers.get("authorization").map(String::as_str).unwrap_or_default();
        (!signed.contains("/eu-west-1/s3/")).then_some((400, "AuthorizationHeaderMalformed"))
    });
    site.run("--destination s3://bucket@wrong-1/host1 backups").fails(1, &["another region"]);
    site.run("backup").ok();
}

fn a_backup_whose_packs_are_gone_is_not_good(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    site.create("vol1", &[("a", "1")]);
    site.run("backup").ok();
    s3.remove(|name| name.contains("/data/"));
    let url = &site.backups("vol1")[0];
    site.run_words(&["restore", "--volume", "new", "--backupurl", url])
        .fails(1, &["is not good", "is missing", "back up again"]);
    // What is left of a repository is not taken for none.
    s3.remove(|name| name.ends_with("/config"));
    site.run("backup --create-snapshot")
        .fails(1, &["config", "is missing in a repository that has backups"]);
}

fn what_is_wrong_with_a_bucket_is_said_with_what_to_do(way: Way) {
    let s3 = S3::start();
    let site = way.of(self::site(&s3));
    let ran = site
        .run("--destination s3://other@eu-west-1/x backups")
        .fails(1, &["NoSuchBucket", "make the bucket"]);
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    s3.fault(|_| Some((403, "AccessDenied")));
    site.run("backups").fails(1, &["AccessDenied", "policy"]);
    s3.fault(|_| Some((301, "PermanentRedirect")));
    site.run("backups").fails(1, &["another region"]);
}

#[test]
fn settings_that_do_not_open_a_bucket_are_named() {
    let s3 = S3::start();
    let site = site(&s3).with("BKUP_S3_ACCESS_KEY_ID", "another");
    site.run("backups").fails(1, &["InvalidAccessKeyId", "BKUP_S3_ACCESS_KEY_ID"]);
    let site = site.without("BKUP_S3_ACCESS_KEY_ID");
    site.run("backups")
        .fails(2, &["BKUP_S3_SECRET_ACCESS_KEY is set, but BKUP_S3_ACCESS_KEY_ID is not"]);
    let site = site
        .without("BKUP_S3_SECRET_ACCESS_KEY")
        .with("AWS_EC2_METADATA_DISABLED", "true")
        .with("HOME", "/nowhere");
    site.run("backups").fails(2, &["BKUP_S3_ACCESS_KEY_ID"]);
    let nowhere = self::site(&s3).with("BKUP_S3_ENDPOINT", "http://127.0.0.1:1");
    nowhere.run("backups").fails(1, &["refused", "BKUP_S3_ENDPOINT"]);
}

#[test]
fn hosts_that_ask_a_bucket_for_its_time_at_once_do_not_disturb_each_other() {
    let s3 = S3::start();
    let site = site(&s3);
    site.create("vol1", &[("a", "1")]);
    site.run("backup --create-snapshot").ok();
    // Another host's object was there at the first write, and is gone when it is looked at; later, the other
    // removes this host's.
    let (mut writes, mut looks) = (0, 0);
    s3.fault(move |request| {
        let is_clock = request.object.ends_with("/convoy-backups.clock");
        match request.method.as_str() {
            "PUT" if is_clock => {
                writes += 1;
                (writes == 1).then_some((412, "PreconditionFailed"))
            }
            "HEAD" if is_clock => {
                looks += 1;
                (looks <= 2).then_some((404, "NoSuchKey"))
            }
            _ => None,
        }
    });
    site.run("prune --keep-last 1").ok();
    let asked = s3.requests();
    let clock = asked.iter().filter(|it| it.object.ends_with("/convoy-backups.clock"));
    let count = |method| clock.clone().filter(|it| it.method == method).count();
    // A host that only asks whether it may remove anything leaves the others' object alone.
    assert!(count("HEAD") > 2);
    assert!(count("DELETE") < count("PUT"), "{} {}", count("DELETE"), count("PUT"));
}
