//! The scripts of examples/scripts/ do what their README says.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    site::Site,
    smtp::{Manners, Smtp},
    web::Web,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/scripts");

/// Each script, with arguments for a site that has the volume `db-main`.
const SCRIPTS: [(&str, &str); 6] = [
    ("nightly", "--prefix db-"),
    ("quiesce", "--volume db-main --pause 0s"),
    ("restore-drill", ""),
    ("second-copy", "--to vfs://COPIES"),
    ("size-alarm", ""),
    ("weekly-report", "--to ops@example.com"),
];

/// A site with the example scripts, the volumes `db-main` and `web`, and a folder for a second
/// destination.
fn site() -> Site {
    let site = Site::builtin().with("BKUP_SCRIPTS_DIR", FOLDER);
    for volume in ["db-main", "web"] {
        site.create(volume, &[("file", volume)]);
    }
    fs::create_dir(site.path("copies")).unwrap();
    site
}

fn arguments(site: &Site, words: &str) -> String {
    words.replace("COPIES", &site.path("copies").display().to_string())
}

fn with_email(site: Site, smtp: &Smtp) -> Site {
    site.with("BKUP_EMAIL_ENABLED", "true")
        .with("BKUP_EMAIL_FROM", "backups@example.com")
        .with("BKUP_EMAIL_TO", "admin@example.com")
        .with("BKUP_EMAIL_SMTP_HOST", "127.0.0.1")
        .with("BKUP_EMAIL_SMTP_PORT", smtp.port().to_string())
        .with("BKUP_EMAIL_SMTP_SECURITY", "none")
}

fn names(site: &Site) -> Vec<String> {
    let volumes = site.run("volumes --json").json();
    volumes.as_array().unwrap().iter().map(|v| v["Name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_example_passes_the_check_and_is_in_the_readme_with_a_crontab_line() {
    let site = site();
    site.run("scripts check").ok();
    let mut files: Vec<String> = fs::read_dir(FOLDER)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".rhai").map(str::to_owned)
        })
        .collect();
    files.sort();
    assert_eq!(files, SCRIPTS.map(|(name, _)| name));

    let readme = fs::read_to_string(format!("{FOLDER}/README.md")).unwrap();
    let lines = readme.split("```crontab\n").nth(1).unwrap().split("```").next().unwrap();
    for name in files {
        assert!(readme.contains(&format!("[{name}.rhai]({name}.rhai)")), "{name}");
        assert!(
            lines.lines().any(|line| line.split_whitespace().any(|word| word == name)),
            "{name}"
        );
    }
    fs::write(site.path("mine"), lines.replace("/etc/convoy-backups/scripts", FOLDER)).unwrap();
    let ran = site.run("crontab check mine").ok();
    assert!(!ran.err.contains("warning:"), "{ran:?}");
}

#[test]
fn a_dry_run_of_an_example_changes_nothing() {
    let (smtp, web) = (Smtp::start(Manners::default()), Web::start("200 OK", "", ""));
    let site = with_email(site(), &smtp).with("BKUP_WEBHOOK_URL", web.url());
    site.run("backup").ok();
    site.run("backup --create-snapshot").ok();
    let state = || (site.run("volumes --json").ok().out, site.run("backups --json").ok().out);
    let before = state();
    for (name, words) in SCRIPTS {
        site.run(&format!("{name} {} --dry-run", arguments(&site, words))).ok();
    }
    assert_eq!(state(), before);
    assert_eq!(fs::read_dir(site.path("copies")).unwrap().count(), 0);
    assert!(smtp.messages().is_empty());
    assert!(web.requests().is_empty());
}

#[test]
fn nightly_backs_up_the_volumes_of_a_prefix_alone() {
    let site = site();
    let backups = site.run("nightly --prefix db- --json").json();
    assert_eq!(backups.as_array().unwrap().len(), 1, "{backups}");
    assert_eq!(site.backups("db-main").len(), 1);
    assert!(site.backups("web").is_empty());
    site.run("nightly --prefix dp-").fails(1, &["no volume's name begins with \"dp-\""]);
}

#[test]
fn the_examples_that_back_up_to_the_configured_destination_count_for_the_status() {
    let site = site().with("BKUP_CRONTAB", "crontab");
    for (line, counts) in [
        ("nightly --prefix db-", true),
        ("quiesce --volume db-main --pause 0s", true),
        ("second-copy --to vfs:///copies", false),
        ("restore-drill", false),
    ] {
        fs::write(site.path("crontab"), format!("30 2 * * * {line}\n")).unwrap();
        let status: Value = serde_json::from_str(&site.run("status --json").out).unwrap();
        let volumes = status["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|volume| volume["name"] == "db-main").unwrap();
        assert_eq!(volume["scheduled"], counts, "{line}: {volume}");
    }
}

#[test]
fn second_copy_copies_the_newest_backup_once() {
    let site = site();
    let line = arguments(&site, "second-copy --volume web --to vfs://COPIES --json");
    site.run(&line).fails(1, &["\"web\" has no backup yet", "run \"backup\" first"]);
    site.run("backup --volume web").ok();
    let first = site.run(&line).json();
    assert_eq!((&first[0]["VolumeName"], &first[0]["Copied"]), (&json!("web"), &json!(true)));
    let copy = first[0]["URL"].as_str().unwrap();
    assert!(copy.starts_with(&arguments(&site, "vfs://COPIES")), "{copy}");
    let again = site.run(&line).json();
    assert_eq!((&again[0]["URL"], &again[0]["Copied"]), (&json!(copy), &json!(false)));
    site.run_words(&["restore", "--volume", "web2", "--backupurl", copy]).ok();
    assert_eq!(fs::read_to_string(site.volume("web2").join("file")).unwrap(), "web");
}

#[test]
fn size_alarm_tells_of_a_jump_and_of_nothing_else() {
    let smtp = Smtp::start(Manners::default());
    let site = with_email(site(), &smtp);
    site.run("backup").ok();
    let before = site.run("size-alarm --volume web --json").json();
    assert_eq!(before, json!([{"VolumeName": "web", "Change": null}]));
    fs::write(site.volume("web").join("file"), "web".repeat(1000)).unwrap();
    site.run("backup --create-snapshot").ok();
    let after = site.run("size-alarm --json").json();
    assert_eq!(after[0]["Change"], 0, "{after}");
    assert!(after[1]["Change"].as_i64().unwrap() > 50, "{after}");
    let mails = smtp.messages();
    assert_eq!(mails.len(), 1, "{mails:#?}");
    assert!(mails[0].header("Subject").contains("the size of the backups of \"web\" jumped"));
}

#[test]
fn weekly_report_mails_every_volume() {
    let smtp = Smtp::start(Manners::default());
    let site = with_email(site(), &smtp);
    site.run("backup --volume web").ok();
    let result = site.run("weekly-report --to ops@example.com --json").json();
    assert_eq!(result, json!({"Volumes": 2, "Overdue": 1}));
    let mails = smtp.messages();
    assert_eq!((mails.len(), mails[0].to.join("")), (1, "ops@example.com".into()));
    assert_eq!(mails[0].header("Subject"), "backups: 1 of 2 volumes are up to date");
    for line in ["db-main: NO BACKUP", "web: 1 backups, the newest of 2"] {
        assert!(mails[0].data.contains(line), "no {line:?} in {mails:#?}");
    }
}

#[test]
fn restore_drill_restores_a_volume_and_removes_the_copy() {
    let site = site();
    site.run("restore-drill").fails(1, &["there is no backup to restore"]);
    site.run("backup --volume web").ok();
    let result = site.run("restore-drill --json").json();
    assert_eq!(result["VolumeName"], "web");
    assert_eq!(result["BackupURL"], site.backups("web")[0].as_str());
    assert_eq!(names(&site), ["db-main", "web"]);
    // A backup that can't be read to its end fails the drill and leaves nothing either.
    fs::remove_dir_all(site.path("backups")).unwrap();
    fs::create_dir(site.path("backups")).unwrap();
    site.run("restore-drill").ends(1);
    assert_eq!(names(&site), ["db-main", "web"]);
}

#[test]
fn quiesce_tells_the_application_before_and_after_the_snapshot() {
    let web = Web::start("200 OK", "", "");
    let site = site().with("BKUP_WEBHOOK_URL", web.url()).with("BKUP_WEBHOOK_FORMAT", "json");
    let backup = site.run("quiesce --volume web --pause 0s --json").json();
    assert_eq!(backup["URL"], site.backups("web")[0].as_str());
    let events = |from: usize| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let bodies = web.requests().into_iter().skip(from).map(|request| request.body);
        let bodies = bodies.map(|body| serde_json::from_str::<Value>(&body).unwrap());
        bodies.map(|body| (text(&body["event"]), text(&body["volume"]))).collect()
    };
    let both = ["before-snapshot", "after-snapshot"].map(|event| (event.into(), "web".into()));
    assert_eq!(events(0), both);
    fs::remove_dir_all(site.volume("web")).unwrap();
    site.run("quiesce --volume web --pause 0s").ends(1);
    assert_eq!(events(2)[..2], both, "also where the snapshot failed");
}
