//! Files that can't be read are left out of a backup, which is partial then: it is kept and named, and counts
//! for nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use serde_json::Value;

use crate::support::{
    site::Site,
    way::{Way, both_ways},
};

both_ways! {
    a_file_that_can_not_be_read_is_named_and_the_rest_is_backed_up
    a_partial_snapshot_replaces_no_whole_one
}

const BACKUP: &str = "backup --create-snapshot";

fn site(way: Way) -> Site {
    let site = Site::builtin().limited();
    let path = site.path("crontab");
    fs::write(&path, "0 0 1 1 *  backup --create-snapshot\n").unwrap();
    let site = way.of(site.with("BKUP_CRONTAB", path.display().to_string()));
    site.create("vol1", &[("open", "open"), ("dir/secret", "secret"), ("dir/other", "other")]);
    site
}

/// Makes a file or a folder one that only another user may read, or lets everybody read it.
fn readable(path: &Path, is_readable: bool) {
    if rustix::process::geteuid().is_root() {
        chown(path, Some(if is_readable { 0 } else { 12_345 }), None).unwrap();
    }
    let mode = if is_readable { 0o755 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn a_file_that_can_not_be_read_is_named_and_the_rest_is_backed_up(way: Way) {
    let site = site(way);
    site.run(BACKUP).ok();
    let whole = site.backups("vol1").remove(0);
    let secret = site.volume("vol1").join("dir/secret");
    readable(&secret, false);
    site.create("vol2", &[("file", "file")]);
    let ran = site.run(BACKUP).ends(3);
    for words in [
        "vol1",
        "the backup is partial: it lacks 1 file or folder",
        "\"dir/secret\": Permission denied",
    ] {
        assert!(ran.err.contains(words), "{ran:#?}");
    }
    assert!(ran.err.contains("see why these files") && !ran.err.contains("remove"), "{ran:#?}");

    let listed = site.run("backups --volume vol1").ok();
    assert!(listed.out.contains("partial: it lacks 1 file or folder"), "{listed:#?}");
    let json = site.run("backups --volume vol1 --json").json();
    assert_eq!(json[0]["LackingFiles"], "1");
    assert!(json[0]["Lacking"].as_str().unwrap().contains("dir/secret"), "{json}");
    let status = site.run("status --json").ends(1).out;
    let status: Value = serde_json::from_str(&status).unwrap();
    let vol1 = &status["volumes"][0];
    assert_eq!(
        (&vol1["name"], &vol1["last_backup"]["url"]),
        (&"vol1".into(), &whole.as_str().into())
    );
    assert_eq!(vol1["bad_backups"][0]["partial"], true, "{status}");
    site.run("status --accept vol1").ends(2);

    // Nothing takes the place of the whole one, however many follow.
    site.run(BACKUP).ends(3);
    site.run("prune --keep-last 1").ok();
    assert!(site.backups("vol1").contains(&whole));

    let partial = site.backups("vol1").remove(0);
    let restored = site.run(&format!("restore --volume back --backupurl {partial}")).ok();
    assert!(restored.err.contains("is partial, so an older backup may have more"), "{restored:#?}");
    assert_eq!(fs::read(site.volume("back").join("dir/other")).unwrap(), b"other");
    assert!(!site.volume("back").join("dir/secret").exists());

    readable(&secret, true);
    site.run(BACKUP).ok();
    site.run("status --json").ok();
    site.run("prune --keep-last 1").ok();
    // One of the partial ones, which are planned among themselves, and the newest whole one.
    assert_eq!(site.backups("vol1").len(), 2);

    // The volume's own folder is not one of its files.
    readable(&site.volume("vol1"), false);
    let failed = site.run(BACKUP).ends(3);
    assert!(
        failed.err.contains("could not be read completely: \".\": Permission denied"),
        "{failed:#?}"
    );
    readable(&site.volume("vol1"), true);
    assert_eq!(site.backups("vol1").len(), 2);
}

fn a_partial_snapshot_replaces_no_whole_one(way: Way) {
    let site = site(way);
    site.run("snapshot --volume vol1").ok();
    let folder = site.volume("vol1").join("dir");
    readable(&folder, false);
    let ran = site.run("snapshot --volume vol1").ends(3);
    assert!(ran.err.contains("the snapshot is partial"), "{ran:#?}");
    assert_eq!(site.snapshots("vol1").len(), 2);
    let backed_up = site.run("backup --volume vol1").ends(3);
    assert!(backed_up.err.contains("the backup is partial"), "{backed_up:#?}");
    assert_eq!(site.snapshots("vol1").len(), 2, "nothing older is deleted");
    readable(&folder, true);
}
