//! A source that is not there is not empty: a volume whose share is not mounted, or that lost nearly
//! all of its data, keeps its older backups until a person says that the loss was meant.

use std::fs;

use serde_json::Value;

use crate::support::{
    site::{Ran, Site},
    way::{Way, both_ways},
    web::Web,
};

both_ways! {
    an_unmounted_share_is_no_empty_volume
    another_share_in_the_place_of_the_right_one_is_in_doubt_until_that_was_meant
    a_volume_that_was_emptied_keeps_its_backups_until_that_was_meant
    snapshots_of_a_volume_that_lost_its_files_do_not_replace_the_last_one_with_files
    a_volume_that_lost_nearly_all_is_in_doubt_and_one_that_shrinks_is_not
    a_script_of_a_user_deletes_nothing_on_the_word_of_a_backup_in_doubt
    without_the_store_the_cautious_answer_holds
    another_host_does_not_prune_on_the_word_of_a_backup_in_doubt
    a_dry_run_tells_that_the_source_is_in_doubt
    a_volume_in_doubt_is_not_removed_before_its_loss_is_accepted
}

const BACKUP: &str = "backup --create-snapshot";

/// A site with a volume `vol1`. Its files are not there yet.
fn site(way: Way) -> Site {
    let crontab = "0 0 1 1 *  backup --create-snapshot\n";
    let site = Site::builtin();
    let path = site.path("crontab");
    fs::write(&path, crontab).unwrap();
    let site = way.of(site.with("BKUP_CRONTAB", path.display().to_string()));
    site.create("vol1", &[]);
    site
}

/// Makes so many files of 5 kB.
fn fill(site: &Site, folder: &str, files: usize) {
    let folder = site.path(folder);
    fs::create_dir_all(&folder).unwrap();
    for number in 0..files {
        fs::write(folder.join(format!("{number}.txt")), vec![b'x'; 5_000]).unwrap();
    }
}

const VOLUME: &str = "daemon/volumes/vol1";

fn empty(site: &Site) {
    fs::remove_dir_all(site.volume("vol1")).unwrap();
    fs::create_dir(site.volume("vol1")).unwrap();
}

/// A site whose volume has 100 files, which are backed up twice.
fn backed_up(way: Way) -> Site {
    let site = site(way);
    fill(&site, VOLUME, 100);
    site.run(BACKUP).ok();
    site.run(BACKUP).ok();
    site
}

/// The numbers of files in the volume's backups, the newest first.
fn files_in_backups(site: &Site) -> Vec<String> {
    let backups = site.run("backups --volume vol1 --json").json();
    let files = |backup: &Value| backup["FileCount"].as_str().unwrap().to_owned();
    backups.as_array().unwrap().iter().map(files).collect()
}

/// The status is not well, and says this of the volume.
#[track_caller]
fn is_not_safe(site: &Site, words: &[&str]) -> Ran {
    let status = site.run("status").ends(1);
    for word in words {
        assert!(status.out.contains(word), "no {word:?} in {status:#?}");
    }
    status
}

const NONE: &str = "it had 100 files, 488 KiB, and has none now: is its share mounted?";
const ACCEPT: &str = "convoy-backups status --accept vol1";

fn an_unmounted_share_is_no_empty_volume(way: Way) {
    let site = site(way);
    fill(&site, "share", 100);
    let site = site.with_share_at("vol1");
    for _ in 0..3 {
        site.run(BACKUP).ok();
    }
    assert_eq!(files_in_backups(&site), ["100", "100", "100"]);
    site.run("status").ok();

    let site = site.without_share();
    for _ in 0..4 {
        let gone = ["its folder was a mount point of", "and is none now", "is it mounted?", ACCEPT];
        site.run(BACKUP).fails(3, &gone);
        site.run("prune --keep-last 2 --snapshots").ok();
    }
    assert_eq!(files_in_backups(&site), ["0", "0", "0", "0", "100", "100"]);
    is_not_safe(&site, &["its folder was a mount point of", ACCEPT]);
    let doctor = site.run("doctor");
    assert!(doctor.out.contains("may not be all there: vol1"), "{doctor:?}");
    let newest = site.backups("vol1").remove(4);
    site.run_words(&["restore", "--volume", "again", "--backupurl", &newest]).ok();
    assert_eq!(fs::read_dir(site.volume("again")).unwrap().count(), 100);

    // Once the share is mounted again, all is well by itself.
    let site = site.with_share_at("vol1");
    site.run(&format!("{BACKUP} --volume vol1")).ok();
    site.run(&format!("{BACKUP} --volume again")).ok();
    site.run("status").ok();
    site.run("prune --volume vol1 --keep-last 1 --snapshots").ok();
    assert_eq!(files_in_backups(&site), ["100", "0"], "what is in doubt is counted apart");

    // It stays in doubt, which is said, and a person may still accept it.
    let status = site.run("status").ok();
    assert!(status.out.contains("1 backup of \"vol1\" is in doubt"), "{status:?}");
    let in_doubt = site.backups("vol1").remove(1);
    let restored = site.run_words(&["restore", "--volume", "empty", "--backupurl", &in_doubt]).ok();
    assert!(
        restored.err.contains("is in doubt, so look whether all data is there"),
        "{restored:?}"
    );
    site.run("status --accept vol1").ok();
    let status = site.run("status").out;
    assert!(!status.contains("in doubt"), "{status}");
}

fn another_share_in_the_place_of_the_right_one_is_in_doubt_until_that_was_meant(way: Way) {
    let site = site(way);
    fill(&site, "share", 100);
    let site = site.with_share_at("vol1");
    site.run(BACKUP).ok();
    site.run(BACKUP).ok();
    let site = site.with_another_share_at("vol1");
    let other = ["its folder was a mount point of", "(ramfs) now", "is it the right one?", ACCEPT];
    site.run(BACKUP).fails(3, &other);
    site.run("prune --keep-last 1 --snapshots").ok();
    assert_eq!(files_in_backups(&site), ["100", "100"]);
    is_not_safe(&site, &["is it the right one?", ACCEPT]);
    site.run("status --accept vol1").ok();
    site.run(BACKUP).ok();
    site.run("status").ok();

    // The right one is another one than what was accepted.
    let site = site.with_share_at("vol1");
    site.run(BACKUP).fails(3, &["is it the right one?"]);
}

fn a_volume_that_was_emptied_keeps_its_backups_until_that_was_meant(way: Way) {
    let site = backed_up(way);
    empty(&site);
    for _ in 0..3 {
        let ran = site.run(&format!("{BACKUP} --json")).fails(3, &[NONE, ACCEPT]);
        let result: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!(result[0]["Doubt"], NONE);
    }
    let plan = site.run("prune --keep-last 1 --json").json();
    let deleted: Vec<_> =
        plan.as_array().unwrap().iter().filter(|item| item["Deleted"] == true).collect();
    assert_eq!(deleted.len(), 1, "only the older one with files goes: {plan}");
    assert_eq!(files_in_backups(&site), ["0", "0", "0", "100"]);
    is_not_safe(&site, &[NONE, ACCEPT]);

    site.run("status --accept vol2").fails(2, &["no backup of \"vol2\" is in doubt", "vol1"]);
    let accepted = site.run("status --accept vol1").ok();
    assert!(accepted.out.contains(NONE), "{accepted:?}");
    site.run("status --accept vol1").fails(2, &["no backup of \"vol1\" is in doubt"]);
    site.run("status").ok();
    site.run("prune --keep-last 1").ok();
    assert_eq!(files_in_backups(&site), ["0"]);
    site.run(BACKUP).ok();
    // What was accepted is enough from then on: a volume may be empty off and on.
    fill(&site, VOLUME, 50);
    site.run(BACKUP).ok();
    empty(&site);
    site.run(BACKUP).ok();
}

fn snapshots_of_a_volume_that_lost_its_files_do_not_replace_the_last_one_with_files(way: Way) {
    let site = site(way);
    fill(&site, VOLUME, 100);
    site.run("snapshot").ok();
    let full = site.snapshots("vol1");
    empty(&site);
    for _ in 0..3 {
        site.run("snapshot").fails(3, &[NONE, ACCEPT]);
    }
    is_not_safe(&site, &[NONE]);
    site.run("prune --keep-last 1 --snapshots").ok();
    assert_eq!(site.snapshots("vol1").len(), 4);
    let delete = format!(
        "const DOES = [\"prune\"]; fn main(args) {{ convoy::delete_snapshot(\"{}\") }}",
        full[0]
    );
    site.run_script(&delete, "").fails(1, &["newer ones are in doubt", NONE, ACCEPT]);
    site.run("status --accept vol1").ok();
    site.run("snapshot").ok();
    site.run_script(&delete, "").ok();
}

fn a_volume_that_lost_nearly_all_is_in_doubt_and_one_that_shrinks_is_not(way: Way) {
    let site = backed_up(way);
    empty(&site);
    fill(&site, VOLUME, 30);
    site.run(BACKUP).ok();
    empty(&site);
    fill(&site, VOLUME, 2);
    let lost = "it had 30 files, 146 KiB, and has 2 files, 9.8 KiB now: is all of it there?";
    site.run(BACKUP).fails(3, &[lost]);
    empty(&site);
    fill(&site, VOLUME, 4);
    site.run(BACKUP).ok();
}

fn a_script_of_a_user_deletes_nothing_on_the_word_of_a_backup_in_doubt(way: Way) {
    const SCRIPT: &str = r#"
        const DOES = ["backup", "prune"];
        fn main(args) {
            let made = convoy::create_backup(convoy::create_snapshot("vol1").Name).URL;
            for backup in convoy::backups("vol1") {
                if backup.BackupURL != made { convoy::delete_backup(backup.BackupURL); }
            }
        }"#;
    let site = backed_up(way);
    site.run_script(SCRIPT, "").ok();
    assert_eq!(files_in_backups(&site), ["100"]);
    empty(&site);
    for _ in 0..2 {
        site.run_script(SCRIPT, "").fails(1, &["did not prove good", NONE]);
    }
    assert_eq!(files_in_backups(&site), ["0", "0", "100"]);
    // Nor does a run that made no backup itself.
    let delete = r#"
        const DOES = ["prune"];
        fn main(args) { convoy::delete_backup(convoy::backups("vol1").pop().BackupURL) }"#;
    site.run_script(delete, "").fails(1, &["it is the volume's newest good backup"]);
}

fn without_the_store_the_cautious_answer_holds(way: Way) {
    let site = backed_up(way);
    empty(&site);
    site.run(BACKUP).fails(3, &[NONE]);
    site.run("status --accept vol1").ok();
    fs::remove_dir_all(site.path("data")).unwrap();
    site.run("prune --keep-last 1 --snapshots").ok();
    assert!(files_in_backups(&site).contains(&"100".to_owned()), "{:?}", files_in_backups(&site));
    site.run(BACKUP).fails(3, &[NONE]);
    site.run("status --accept vol1").ok();
    site.run("prune --keep-last 1").ok();
    assert_eq!(files_in_backups(&site), ["0"]);
}

fn another_host_does_not_prune_on_the_word_of_a_backup_in_doubt(way: Way) {
    let site = backed_up(way);
    empty(&site);
    site.run(BACKUP).fails(3, &[NONE]);
    let other = Site::builtin()
        .with("BKUP_BACKUP_URL", format!("vfs://{}", site.path("backups").display()));
    other.run("prune --keep-last 1").ok();
    assert!(files_in_backups(&site).contains(&"100".to_owned()), "{:?}", files_in_backups(&site));
}

fn a_dry_run_tells_that_the_source_is_in_doubt(way: Way) {
    let site = backed_up(way);
    empty(&site);
    site.run("snapshot").ends(3);
    site.run("backup --dry-run").fails(3, &[NONE]);
    assert_eq!(files_in_backups(&site), ["100", "100"]);
}

fn a_volume_in_doubt_is_not_removed_before_its_loss_is_accepted(way: Way) {
    let site = backed_up(way);
    empty(&site);
    site.run(BACKUP).ends(3);
    site.run("remove --volume vol1").fails(1, &["has changed since its newest good backup"]);
    site.run("remove --volume vol1 --backup-first").fails(1, &[NONE]);
    assert!(files_in_backups(&site).contains(&"100".to_owned()), "{:?}", files_in_backups(&site));
    site.run("status --accept vol1").ok();
    site.run("remove --volume vol1").ok();
}

#[test]
fn a_volume_in_doubt_is_told_and_told_to_be_well_again() {
    let web = Web::start("200 OK", "", "");
    let site = backed_up(Way::Alone).with("BKUP_HOST", "db1").with("BKUP_WEBHOOK_URL", web.url());
    let subjects = || -> Vec<String> {
        let subject = |body: &str| {
            serde_json::from_str::<Value>(body).unwrap()["subject"].as_str().unwrap().to_owned()
        };
        web.requests().iter().map(|request| subject(&request.body)).collect()
    };
    empty(&site);
    site.run(BACKUP).ends(3);
    site.run(BACKUP).ends(3);
    assert_eq!(subjects().len(), 1, "{:?}", subjects());
    assert!(web.requests()[0].body.contains("has none now"), "{:?}", web.requests());
    fill(&site, VOLUME, 40);
    site.run(BACKUP).ok();
    assert!(subjects()[1].contains("well again"), "{:?}", subjects());

    empty(&site);
    site.run(BACKUP).ends(3);
    site.run("status --accept vol1").ok();
    assert!(subjects()[3].contains("vol1 is well again"), "{:?}", subjects());
}
