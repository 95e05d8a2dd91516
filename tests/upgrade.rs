//! What version 0.1.0 left is taken over: a host that it made (`tests/data/root-0.1.0.md`), opened by
//! this version.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::site::Site;

/// The host of version 0.1.0, at the place where it was.
fn host() -> Site {
    let site = Site::builtin();
    let there = site.path("host");
    fs::create_dir(&there).unwrap();
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/root-0.1.0.tar.gz");
    let unpacked = Command::new("tar")
        .args([
            "--extract",
            "--xattrs",
            "--xattrs-include=user.*",
            "--no-same-owner",
            "-p",
            "--file",
        ])
        .arg(archive)
        .arg("--directory")
        .arg(&there)
        .status()
        .unwrap();
    assert!(unpacked.success());
    site.mounting(there, "/srv".into())
        .with("BKUP_CONVOY", "builtin:/srv/data/daemon")
        .with("BKUP_DATA_DIR", "/srv/data")
        .with("BKUP_BACKUP_URL", "vfs:///srv/backups")
        .with("BKUP_REPOSITORY_PASSWORD", "of-0.1.0")
        .with("BKUP_HOST", "host1")
}

fn volume(site: &Site, name: &str) -> PathBuf {
    site.path("host/data/daemon/volumes").join(name)
}

/// A volume as it was on a day.
fn expected(site: &Site, day: u8, name: &str) -> PathBuf {
    site.path(&format!("host/expected/{day}")).join(name)
}

/// Each file with its kind, mode, links, size, time and target, in order.
fn listed(folder: &Path) -> String {
    let found = Command::new("find")
        .arg(folder)
        .args(["-printf", "%P %y %m %n %s %T@ %l\n"])
        .output()
        .unwrap();
    assert!(found.status.success(), "{found:?}");
    let text = String::from_utf8(found.stdout).unwrap();
    // The size of a folder is the file system's.
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| if line.contains(" d ") { line.rsplit_once(' ').unwrap().0 } else { line })
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Both folders hold the same, bit for bit, with modes, times, hard links and attributes.
#[track_caller]
fn same(one: &Path, other: &Path) {
    let compared =
        Command::new("diff").args(["-r", "--no-dereference"]).args([one, other]).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
    assert_eq!(listed(one), listed(other));
    let pages = |folder: &Path| xattr::get(folder.join("pages.html"), "user.colour").ok().flatten();
    assert_eq!(pages(one), pages(other));
}

#[track_caller]
fn restored(site: &Site, url: &str, name: &str) -> PathBuf {
    site.run_words(&["restore", "--volume", name, "--backupurl", url]).ok();
    volume(site, name)
}

/// The newest snapshot of a volume, which is not backed up. The one before it is.
fn newest_snapshot(site: &Site, volume: &str) -> String {
    let mut snapshots = site.snapshots(volume);
    assert_eq!(snapshots.len(), 2, "{snapshots:?}");
    assert!(snapshots[1].contains("20261103"), "{snapshots:?}");
    snapshots.remove(1)
}

#[test]
fn volumes_snapshots_backups_and_runs_of_0_1_0_are_all_there() {
    let site = host();
    let volumes = site.run("volumes --json").json();
    let names: Vec<_> = volumes.as_array().unwrap().iter().map(|it| it["Name"].clone()).collect();
    assert_eq!(names, ["database", "website"]);
    newest_snapshot(&site, "website");
    for volume in ["website", "database"] {
        assert_eq!(site.backups(volume).len(), 2);
    }
    let runs = site.run("runs list --json").json().to_string();
    for script in ["create", "backup", "snapshot", "prune"] {
        assert!(runs.contains(&format!("\"{script}\"")), "{runs}");
    }
    // The backups are weeks old, which the headline tells; none of them is broken or unknown.
    let status = site.run("status --json");
    let status: Value = serde_json::from_str(&status.out).unwrap();
    assert!(!status.to_string().contains("broken"), "{status}");
    let doctor = site.run("doctor");
    assert!(doctor.code == 0 && !doctor.out.contains("FAILED"), "{doctor:#?}");
}

#[test]
fn a_backup_of_0_1_0_is_restored_bit_for_bit() {
    let site = host();
    for name in ["website", "database"] {
        for (day, url) in [2, 1].into_iter().zip(site.backups(name)) {
            let folder = restored(&site, &url, &format!("{name}-of-day-{day}"));
            same(&expected(&site, day, name), &folder);
        }
    }
}

#[test]
fn a_snapshot_that_0_1_0_did_not_back_up_is_backed_up() {
    let site = host();
    for name in ["website", "database"] {
        let snapshot = newest_snapshot(&site, name);
        fs::write(volume(&site, name).join("later"), "not in the snapshot").unwrap();
        site.run_script(&format!("fn main(args) {{ convoy::create_backup(\"{snapshot}\") }}"), "")
            .ok();
        let all = site.backups(name);
        assert_eq!(all.len(), 3);
        let folder = restored(&site, &all[0], &format!("{name}-of-day-3"));
        same(&expected(&site, 3, name), &folder);
    }
}

#[test]
fn a_new_backup_is_incremental_to_one_of_0_1_0_and_the_old_ones_stay_whole() {
    let site = host().with("BKUP_LOGGER_CONSOLE_LEVEL", "debug");
    let pages = volume(&site, "website").join("pages.html");
    fs::File::options()
        .append(true)
        .open(&pages)
        .unwrap()
        .set_modified(std::time::SystemTime::now())
        .unwrap();
    let ran = site.run("backup --create-snapshot").ok();
    let line = ran.err.lines().find(|line| line.contains("backup of volume website")).unwrap();
    let written = line.split(" and ").last().unwrap().trim_end_matches(" written");
    let (_, read) = line.rsplit_once("; ").unwrap();
    let read = read.split(' ').next().unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
    assert!(number(read) > 1_000_000, "{line}");
    // With another chunker, all that was read would be written.
    assert!(number(written) < 20_000, "{line}");
    let site = site.without("BKUP_LOGGER_CONSOLE_LEVEL");
    assert!(site.snapshots("website").is_empty(), "the older snapshots go, and none is made");

    let all = site.backups("website");
    for (day, url) in [2, 1].into_iter().zip(&all[1..]) {
        let folder = restored(&site, url, &format!("day-{day}"));
        same(&expected(&site, day, "website"), &folder);
    }
    let folder = restored(&site, &all[0], "now");
    same(&volume(&site, "website"), &folder);
    // 0.1.0 did not say that this volume was removed on purpose.
    site.run("status --forget former").ok();
    site.run("status").ok();
}

#[test]
fn backups_of_0_1_0_are_pruned_and_removed_by_the_rules_of_this_version() {
    let site = host();
    site.run("backup --create-snapshot").ok();
    site.run("prune --keep-last 2").ok();
    for name in ["website", "database"] {
        let all = site.backups(name);
        assert_eq!(all.len(), 2);
        let folder = restored(&site, &all[1], &format!("{name}-of-day-2"));
        same(&expected(&site, 2, name), &folder);
    }
    site.run("remove --volume website").ok();
    assert!(!volume(&site, "website").exists());
    assert_eq!(site.backups("website").len(), 1);
    site.run("remove --volume database --all").ok();
    site.run("backups --volume database").fails(1, &["hint:"]);
}

#[test]
fn a_volume_that_0_1_0_forgot_comes_back_with_its_files_and_snapshots() {
    let site = host();
    site.run("create --volume former --size 1G").ok();
    same(&expected(&site, 3, "former"), &volume(&site, "former"));
    newest_snapshot(&site, "former");
    assert_eq!(site.backups("former").len(), 1);
}

#[test]
fn a_host_of_a_newer_release_is_refused_and_nothing_is_changed() {
    let site = host();
    site.run("volumes").ok();
    let format = site.path("host/data/daemon/format.json");
    fs::write(&format, r#"{ "format": 99, "release": "9.0.0" }"#).unwrap();
    let before = listed(&site.path("host/data/daemon/repository"));
    for command in ["volumes", "backup --create-snapshot", "snapshot", "daemon moved"] {
        site.run(command)
            .fails(2, &["a newer release has changed", "install convoy-backups 9.0.0"]);
    }
    assert_eq!(listed(&site.path("host/data/daemon/repository")), before);
}
