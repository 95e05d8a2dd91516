//! Files that are left out of backups, and volumes of any depth.

use std::fs;

use rustix::fs::{Mode, OFlags};

use crate::support::{
    site::Site,
    way::{Way, both_ways},
};

both_ways! {
    what_is_configured_is_left_out_told_and_not_compared
}

const BACKUP: &str = "backup --create-snapshot";

fn what_is_configured_is_left_out_told_and_not_compared(way: Way) {
    let site = Site::builtin();
    let patterns = site.path("excludes");
    fs::write(&patterns, "# what programs make anew\n*.tmp\n*,v\n\n[vol1]\n/cache\n").unwrap();
    let site = site.with("BKUP_LOGGER_CONSOLE_LEVEL", "info");
    let site = way.of(site.with("BKUP_EXCLUDE_FILE", patterns.display().to_string()));
    site.create("vol1", &[("data", "data"), ("a.tmp", "a"), ("r,v", "r"), ("cache/b", "b")]);
    site.create("vol2", &[("cache/b", "b")]);
    let ran = site.run(BACKUP).ok();
    assert!(
        ran.err.contains("\"vol1\": 3 files or folders are left out, as configured"),
        "{ran:#?}"
    );
    assert!(!ran.err.contains("\"vol2\":"), "{ran:#?}");
    let listed = site.run("backups --volume vol1 --json").json();
    assert_eq!((&listed[0]["ExcludedFiles"], &listed[0]["FileCount"]), (&"3".into(), &"1".into()));
    let url = listed[0]["BackupURL"].as_str().unwrap();
    site.run(&format!("restore --volume back --backupurl {url}")).ok();
    let restored: Vec<_> = fs::read_dir(site.volume("back")).unwrap().collect();
    assert_eq!(restored.len(), 1);
    // What is left out does not keep the volume.
    fs::write(site.volume("vol1").join("cache/c"), "c").unwrap();
    site.run("remove --volume vol1").ok();
}

#[test]
fn a_pattern_that_makes_no_sense_is_refused_with_its_reason() {
    let site = Site::builtin().with("BKUP_EXCLUDE", "*.tmp,[a-");
    let refused = site.run("volumes").ends(2);
    for words in
        ["BKUP_EXCLUDE", "the pattern \"[a-\" has a \"[\" without a \"]\"", "docs/excludes.md"]
    {
        assert!(refused.err.contains(words), "{refused:#?}");
    }
}

#[test]
fn a_volume_of_ten_thousand_levels_is_saved_compared_restored_and_removed() {
    let site = Site::builtin().with_few_descriptors();
    site.create("vol1", &[]);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut deepest = rustix::fs::open(site.volume("vol1"), flags, Mode::empty()).unwrap();
    for level in 0..10_000 {
        rustix::fs::mkdirat(&deepest, "d", Mode::RWXU).unwrap();
        // Beside some of them one that comes after it, when the handle is long gone.
        if level % 150 == 0 {
            rustix::fs::mkdirat(&deepest, "e", Mode::RWXU).unwrap();
        }
        deepest = rustix::fs::openat(&deepest, "d", flags, Mode::empty()).unwrap();
    }
    let file = |flags| {
        let file = rustix::fs::openat(&deepest, "f", flags | OFlags::CREATE, Mode::RWXU).unwrap();
        rustix::io::write(file, b"deep").unwrap();
    };
    file(OFlags::WRONLY);
    site.run("snapshot --volume vol1").ok();
    site.run(BACKUP).ok();
    file(OFlags::WRONLY | OFlags::APPEND);
    let refused = site.run("remove --volume vol1").ends(1);
    assert!(refused.err.contains("d/f\""), "{}", &refused.err[refused.err.len() - 500..]);
    site.run(BACKUP).ok();
    let url = site.backups("vol1").remove(0);
    site.run(&format!("restore --volume back --backupurl {url}")).ok();
    site.run("backup --create-snapshot --volume back").ok();
    let files = site.run("backups --volume back --json").json()[0]["FileCount"].clone();
    assert_eq!(files, "1");
    for volume in ["vol1", "back"] {
        site.run(&format!("remove --volume {volume}")).ok();
        assert!(!site.volume(volume).exists());
    }
}
