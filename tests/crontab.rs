//! The crontab on the command line.

use std::fs;

use crate::support::site::Site;

#[test]
fn a_crontab_is_checked_with_every_error_in_its_place() {
    let site = Site::builtin();
    site.run("crontab check").ok();
    fs::write(site.path("mine"), "0 * * * * snapshot\n61 * * * * snapshot\n0 0 * * * backp\n")
        .unwrap();
    let ran = site
        .run("crontab check mine")
        .fails(2, &["mine:2:1", "\"61\" is not a minute", "mine:3:11", "did you mean"]);
    assert!(ran.err.contains("2 | 61 * * * * snapshot\n  | ^\n"), "{ran:?}");
    let json: serde_json::Value =
        serde_json::from_str(&site.run("crontab check mine --json").ends(2).out).unwrap();
    assert_eq!(json["errors"][1]["location"]["column"], 11);
    assert_eq!(json["entries"][0]["script"], "snapshot");
    fs::write(
        site.path("mine"),
        "0 * * * * root cd /deploy && node create.js --backup --volume vol2 --createSnapshot\n",
    )
    .unwrap();
    site.run("crontab check mine")
        .fails(0, &["warning:", "write \"0 * * * * backup --volume vol2 --createSnapshot\""]);
    assert!(!site.path("data").exists(), "checking makes no folders");
}

#[test]
fn what_is_no_crontab_is_said_to_be_none() {
    let site = Site::builtin();
    fs::create_dir(site.path("folder")).unwrap();
    fs::write(site.path("junk"), b"\x7fELF\0\0\xff").unwrap();
    fs::write(site.path("latin"), b"# caf\xe9\n").unwrap();
    fs::File::create(site.path("large")).unwrap().set_len(1 << 30).unwrap();
    for (file, words) in [
        ("missing", "No such file"),
        ("folder", "is a folder"),
        ("junk", "not text"),
        ("latin", "UTF-8"),
        ("large", "not text"),
    ] {
        site.run(&format!("crontab check {file}")).fails(2, &[file, words]);
        site.run(&format!("crontab check {file} --json")).ends(2);
    }
    let site = site.with("BKUP_CRONTAB", "missing");
    site.run("crontab check").fails(2, &["missing", "crontab show"]);
    site.run("crontab next").fails(2, &["missing"]);
}

#[test]
fn what_is_due_next_is_told_across_a_change_of_the_clocks() {
    let site = Site::builtin().with("TZ", "Europe/Berlin").with("BKUP_CRONTAB", "mine");
    fs::write(site.path("mine"), "30 2 * * * backup --volume vol1\n0 12 * * sun snapshot\n")
        .unwrap();
    let next = site.run("crontab next -n 3 --at 2026-03-28T12:00").ok().out;
    let lines: Vec<_> =
        next.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines[1..],
        [
            "Sun 2026-03-29 03:00 CEST 14h backup --volume vol1 1: 30 2 * * *",
            "Sun 2026-03-29 12:00 CEST 23h snapshot - 2: 0 12 * * sun",
            "Mon 2026-03-30 02:30 CEST 1d 13h backup --volume vol1 1: 30 2 * * *"
        ]
    );
    let json =
        site.run("crontab next -n 1 --script snapshot --at 2026-10-24T12:00:00Z --json").json();
    assert_eq!(
        (json[0]["due"].as_str(), json[0]["local"].as_str()),
        (Some("2026-10-25T11:00:00Z"), Some("2026-10-25T12:00:00+01:00"))
    );
    site.run("crontab next --script snapsot").fails(2, &["did you mean \"snapshot\"?"]);
    site.run("crontab next --at never").fails(2, &["--at: \"never\" is not a time", "yesterday"]);
    fs::write(site.path("mine"), "0 0 30 2 * backup\n").unwrap();
    site.run("crontab next").fails(2, &["never due", "crontab check"]);
}

#[test]
fn a_crontab_that_backs_nothing_up_is_warned_of() {
    let site = Site::builtin();
    fs::write(site.path("mine"), "0 * * * * snapshot\n30 3 * * * backup --dry-run\n").unwrap();
    site.run("crontab check mine")
        .fails(0, &["warning:", "backs anything up", "30 3 * * * backup"]);
    fs::write(site.path("mine"), "0 * * * * snapshot\n30 3 * * * backup\n0 5 * * sun prune\n")
        .unwrap();
    let ran = site
        .run("crontab check mine")
        .fails(2, &["mine:3:13", "needs to know what to keep", "--keep-daily 7"]);
    assert!(!ran.err.contains("backs anything up"), "{ran:?}");
}

#[test]
fn a_line_in_another_zone_shows_its_time_there_too() {
    let site = Site::builtin().with("TZ", "America/New_York").with("BKUP_CRONTAB", "mine");
    fs::write(
        site.path("mine"),
        "30 3 * * * backup\nCRON_TZ=Europe/Berlin\n30 2 * * * backup --volume vol1\n",
    )
    .unwrap();
    let next = site.run("crontab next -n 2 --at 2026-01-10T12:00").ok().out;
    assert!(next.contains("Sat 2026-01-10 20:30 EST (Sun 02:30 CET)"), "{next}");
    assert!(next.contains("Sun 2026-01-11 03:30 EST  "), "{next}");
}

#[test]
fn the_crontab_in_force_is_shown_without_its_secrets() {
    let site = Site::builtin();
    assert!(site.run("crontab show").ok().out.contains("0 * * * *     snapshot"));
    let site = site.with("BKUP_CRONTAB", "mine");
    fs::write(
        site.path("mine"),
        "BKUP_EMAIL_SMTP_PASS=hush-hush\nBKUP_EMAIL_SMTP_PAS=hush-hush\n0 0 * * * backup\n",
    )
    .unwrap();
    let shown = site.run("crontab show").ok().out;
    assert!(
        shown.contains("BKUP_EMAIL_SMTP_PASS=(secret)") && shown.contains("0 0 * * * backup"),
        "{shown}"
    );
    for line in [
        "crontab show",
        "crontab show --json",
        "crontab check -vvv",
        "crontab check --json",
        "crontab next",
    ] {
        let ran = site.run(line);
        assert!(!ran.out.contains("hush-hush") && !ran.err.contains("hush-hush"), "{ran:?}");
    }
}
