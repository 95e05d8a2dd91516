//! The main job, as an operator does it: against the built-in daemon, by commands that own its
//! folder and by commands that reach it over the socket of the owner; and against Convoy where
//! `CONVOY_BIN` is set.

use std::{fs, path::Path, process::Command};

use crate::support::{
    site::{Ran, Site},
    way::{Way, both_ways},
};

both_ways! {
    a_volume_is_snapshotted_backed_up_changed_pruned_and_restored
    every_volume_is_backed_up_and_one_that_fails_does_not_stop_the_others
    a_backup_that_fails_leaves_the_older_backups_and_snapshots
    remove_keeps_the_newest_backup_and_with_all_keeps_nothing
    a_volume_that_comes_back_under_its_name_keeps_its_own_backups_apart
    a_volume_without_a_backup_is_removed_only_with_all
    a_mounted_volume_is_not_removed_and_its_backups_stay
    a_dry_run_writes_nothing_and_tells_what_would_be_done_in_order
    a_restore_never_touches_what_is_there
    a_volume_that_is_forgotten_leaves_its_files_and_its_backups
    two_hosts_that_share_a_destination_remove_only_their_own_backups
    two_hosts_that_share_a_destination_prune_and_remove_what_is_their_own
    one_host_prunes_for_all_hosts_when_told_and_each_ones_newest_stays
    a_new_data_folder_makes_nothing_safe_until_one_more_backup_is_made
    a_volume_whose_files_are_gone_keeps_the_backups_that_have_them
}

/// Whether two folders hold the same files with the same content.
#[track_caller]
fn same(one: &Path, other: &Path) {
    let compared = Command::new("diff").arg("-r").arg(one).arg(other).output().unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn a_volume_is_snapshotted_backed_up_changed_pruned_and_restored(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("a.txt", "first"), ("deep/er/b.txt", "stays")]);

    let snapshots = site.run("snapshot --volume vol1 --json").json();
    assert_eq!(snapshots[0]["VolumeName"], "vol1", "{snapshots}");
    let first = site.run("backup --volume vol1 --json").json();
    let first_url = first[0]["URL"].as_str().unwrap().to_owned();
    copy(&site.volume("vol1"), &site.path("as-it-was"));

    fs::write(site.volume("vol1").join("a.txt"), "second").unwrap();
    site.run("backup --volume vol1 --create-snapshot").ok();
    let backups = site.backups("vol1");
    assert_eq!(backups.len(), 2);
    assert_eq!(backups[1], first_url, "the newest is listed first");
    assert!(
        !site.snapshots("vol1").contains(&snapshots[0]["Name"].as_str().unwrap().to_owned()),
        "older snapshots go once the backup is good"
    );

    site.run_words(&["restore", "--volume", "old", "--backupurl", &first_url]).ok();
    same(&site.path("as-it-was"), &site.volume("old"));
    site.run_words(&["restore", "--volume", "new", "--backupurl", &backups[0]]).ok();
    same(&site.volume("vol1"), &site.volume("new"));

    let plan = site.run("prune --volume vol1 --keep-last 1 --json").json();
    assert_eq!(plan.as_array().unwrap().len(), 2, "{plan}");
    assert_eq!(site.backups("vol1"), backups[..1]);
    site.run_words(&["restore", "--volume", "gone", "--backupurl", &first_url])
        .fails(1, &["error:", "hint:"]);
}

fn every_volume_is_backed_up_and_one_that_fails_does_not_stop_the_others(way: Way) {
    let site = way.of(Site::new());
    for volume in ["vol1", "vol2", "vol3"] {
        site.create(volume, &[("file", volume)]);
    }
    site.run("backup").ok();
    fs::remove_dir_all(site.volume("vol2")).unwrap();
    let ran = site.run("backup --create-snapshot --json").fails(3, &["vol2"]);
    let result: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let bad: Vec<_> =
        result.as_array().unwrap().iter().filter(|element| element["Error"].is_string()).collect();
    assert_eq!(bad.len(), 1, "{result}");
    assert_eq!(bad[0]["VolumeName"], "vol2");
    assert_eq!(site.backups("vol1").len(), 2);
    assert_eq!(site.backups("vol2").len(), 1, "the backup from before stays");
    assert_eq!(site.backups("vol3").len(), 2);
}

#[test]
fn old_snapshots_stay_where_they_shall() {
    let site = Site::new().with("BKUP_DELETE_OLD_SNAPSHOTS", "false");
    site.create("vol1", &[("file", "1")]);
    for _ in 0..3 {
        site.run("snapshot --volume vol1").ok();
    }
    site.run("backup --volume vol1").ok();
    assert_eq!(site.snapshots("vol1").len(), 3);
    let site = site.with("BKUP_DELETE_OLD_SNAPSHOTS", "true");
    site.run("backup --volume vol1").ok();
    assert_eq!(site.snapshots("vol1").len(), 1);
    assert_eq!(site.backups("vol1").len(), 2);
}

fn a_backup_that_fails_leaves_the_older_backups_and_snapshots(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "1")]);
    site.run("snapshot --volume vol1").ok();
    site.run("backup --volume vol1").ok();
    let (snapshots, backups) = (site.snapshots("vol1"), site.backups("vol1"));
    fs::rename(site.path("backups"), site.path("elsewhere")).unwrap();
    site.run("backup --volume vol1 --create-snapshot").fails(1, &["backups"]);
    fs::rename(site.path("elsewhere"), site.path("backups")).unwrap();
    assert!(site.snapshots("vol1").contains(&snapshots[0]));
    assert_eq!(site.backups("vol1"), backups);
}

fn remove_keeps_the_newest_backup_and_with_all_keeps_nothing(way: Way) {
    let site = way.of(Site::new());
    for volume in ["vol1", "vol2"] {
        site.create(volume, &[("file", "content")]);
        site.run(&format!("backup --volume {volume} --create-snapshot")).ok();
        site.run(&format!("backup --volume {volume} --create-snapshot")).ok();
    }
    let newest = site.backups("vol1").remove(0);
    site.run("remove --volume vol1").ok();
    assert_eq!(site.backups("vol1"), std::slice::from_ref(&newest));
    assert!(!site.volume("vol1").exists());
    site.run_words(&["restore", "--volume", "vol1", "--backupurl", &newest]).ok();
    assert_eq!(fs::read_to_string(site.volume("vol1").join("file")).unwrap(), "content");

    site.run("remove --volume vol2 --all").ok();
    let left = site.run("backups --json").json();
    assert!(left.as_array().unwrap().iter().all(|backup| backup["VolumeName"] != "vol2"), "{left}");
    site.run("backups --volume vol2").fails(1, &["no volume \"vol2\""]);
    site.run("prune --volume vol2 --keep-last 1").fails(1, &["no volume \"vol2\""]);
    assert!(!site.volume("vol2").exists());
    site.run("remove --volume vol2 --all").fails(1, &["vol2"]);
}

fn a_volume_that_comes_back_under_its_name_keeps_its_own_backups_apart(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "first")]);
    site.run("backup --volume vol1").ok();
    site.run("remove --volume vol1").ok();
    let first = site.backups("vol1").remove(0);
    site.run_words(&["restore", "--volume", "vol1", "--backupurl", &first]).ok();
    site.run("remove --volume vol1").fails(1, &["no good backup", "--all"]);
    fs::write(site.volume("vol1").join("file"), "second").unwrap();
    site.run("backup --volume vol1").ok();
    assert_eq!(site.backups("vol1").len(), 2);
    site.run("remove --volume vol1 --all").ok();
    assert_eq!(site.backups("vol1"), [first], "the backup of the first volume is not the second's");
}

fn a_volume_without_a_backup_is_removed_only_with_all(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "the only copy")]);
    site.run("remove --volume vol1").fails(1, &["no good backup", "--all"]);
    assert!(site.volume("vol1").join("file").exists());
    site.run("remove --volume vol1 --all").ok();
    assert!(!site.volume("vol1").exists());
}

fn a_mounted_volume_is_not_removed_and_its_backups_stay(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "in use")]);
    for _ in 0..2 {
        site.run("backup --volume vol1 --create-snapshot").ok();
    }
    site.run("snapshot --volume vol1").ok();
    let snapshots = site.snapshots("vol1");
    site.run_script("fn main(args) { convoy::mount(\"vol1\") }", "").ok();
    site.run("remove --volume vol1 --all").fails(1, &["mounted at", "nothing of it was deleted"]);
    assert_eq!((site.backups("vol1").len(), site.snapshots("vol1")), (2, snapshots));
    site.run_script("fn main(args) { convoy::unmount(\"vol1\") }", "").ok();
    site.run("remove --volume vol1 --all").ok();
}

#[test]
fn the_lines_of_the_node_version_still_work() {
    let site = Site::new();
    site.run("--create --volume vol1 --size 40G --type ext4").ok();
    fs::write(site.volume("vol1").join("file"), "content").unwrap();
    site.run("--snapshot").ok();
    site.run("--backup --volume vol1 --createSnapshot").ok();
    site.run("--volumes").ok();
    let url = site.backups("vol1").remove(0);
    site.run("--backups").ok();
    site.run_words(&["--restore", "--volume", "vol2", "--backupurl", &url.replace('&', "\\u0026")])
        .ok();
    same(&site.volume("vol1"), &site.volume("vol2"));
    site.run("--remove --volume vol1 --all").ok();
    assert!(!site.volume("vol1").exists());
}

/// What a dry run must leave as it is.
fn state(site: &Site) -> (String, String) {
    (site.run("volumes --json").ok().out, site.run("backups --json").ok().out)
}

fn a_dry_run_writes_nothing_and_tells_what_would_be_done_in_order(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("snapshot --volume vol1").ok();
    let newest = site.backups("vol1").remove(0);
    let before = state(&site);

    let plan = site.run("backup --create-snapshot --dry-run --json").json();
    let steps: Vec<_> = plan["plan"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["operation"].as_str().unwrap())
        .collect();
    // Convoy backs up snapshots only.
    let backed_up = [&["back_up"][..], &["create_snapshot", "create_backup"][..]];
    let is_backed_up = |begin: &&[&str]| steps.starts_with(begin);
    assert!(backed_up.iter().any(is_backed_up) && steps.ends_with(&["delete_snapshot"]), "{plan}");
    let told = site.run("remove --volume vol1 --all --dry-run").ok().out;
    let order: Vec<_> = ["delete the backup", "delete the snapshot", "delete the volume"]
        .map(|words| told.find(words))
        .to_vec();
    assert!(order.is_sorted() && order[0].is_some(), "{told}");
    site.run("prune --keep-last 1 --dry-run").ok();
    site.run_words(&["restore", "--volume", "vol2", "--backupurl", &newest, "--dry-run"]).ok();
    site.run("create --volume vol3 --size 1G --dry-run").ok();
    site.run("snapshot --dry-run").ok();
    // What would fail for real fails in a dry run, too.
    site.run_words(&["restore", "--volume", "vol1", "--backupurl", &newest, "--dry-run"])
        .fails(1, &["in use"]);
    assert_eq!(state(&site), before);
}

fn a_restore_never_touches_what_is_there(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "in use")]);
    site.run("backup --volume vol1").ok();
    let url = site.backups("vol1").remove(0);
    fs::write(site.volume("vol1").join("file"), "newer").unwrap();
    site.run_words(&["restore", "--volume", "vol1", "--backupurl", &url])
        .fails(1, &["\"vol1\" is in use", "another name"]);
    // A folder that a removed volume left behind is somebody's data as well.
    fs::create_dir_all(site.volume("left")).unwrap();
    fs::write(site.volume("left").join("precious"), "data").unwrap();
    site.run_words(&["restore", "--volume", "left", "--backupurl", &url])
        .fails(1, &["\"left\" is in use"]);
    assert_eq!(fs::read_to_string(site.volume("vol1").join("file")).unwrap(), "newer");
    assert_eq!(fs::read_to_string(site.volume("left").join("precious")).unwrap(), "data");
}

#[test]
fn a_backup_url_of_another_volume_or_of_a_deleted_backup_is_refused() {
    let site = Site::new();
    site.create("vol1", &[("file", "1")]);
    site.create("vol2", &[("file", "2")]);
    site.run("backup").ok();
    let url = site.backups("vol1").remove(0);
    let swapped = url.replace("volume=vol1", "volume=vol2");
    let before = state(&site);
    site.run_words(&["restore", "--volume", "new", "--backupurl", &swapped])
        .fails(1, &["cannot restore", "convoy-backups backups"]);
    let unknown = "vfs:///nowhere/at/all?backup=backup-0123456789abcdef&volume=vol1";
    site.run_words(&["restore", "--volume", "new", "--backupurl", unknown])
        .fails(1, &["cannot restore"]);
    assert_eq!(state(&site), before);
}

#[test]
fn a_users_own_script_cannot_get_around_the_guards() {
    let site = Site::new();
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    let url = site.backups("vol1").remove(0);
    let greedy = format!("fn main(args) {{ convoy::delete_backup(\"{url}\") }}");
    site.run_script(&greedy, "").fails(1, &["newest good backup", "mine.rhai:1:"]);
    let careless = "fn main(args) { convoy::delete_volume(\"vol2\") }";
    site.create("vol2", &[("file", "the only copy")]);
    site.run_script(careless, "").fails(1, &["no good backup"]);
    assert_eq!(site.backups("vol1"), [url]);
    assert!(site.volume("vol2").join("file").exists());
}

fn a_volume_that_is_forgotten_leaves_its_files_and_its_backups(way: Way) {
    let site = way.of(Site::new());
    for volume in ["vol1", "vol2"] {
        site.create(volume, &[("file", "content")]);
    }
    site.run("backup --volume vol1").ok();
    let forget =
        "fn main(args) { convoy::forget_volume(\"vol1\"); convoy::driver_volumes().keys() }";
    assert_eq!(site.run_script(forget, "--json").json(), serde_json::json!(["vol2"]));
    assert_eq!(fs::read_to_string(site.volume("vol1").join("file")).unwrap(), "content");
    assert_eq!(site.backups("vol1").len(), 1);
    site.run_script(forget, "").fails(1, &["no volume \"vol1\"", "mine.rhai:1:"]);
}

fn two_hosts_that_share_a_destination_remove_only_their_own_backups(way: Way) {
    let here = way.of(Site::new());
    let there = way
        .of(Site::new())
        .with("BKUP_BACKUP_URL", format!("vfs://{}", here.path("backups").display()));
    here.create("vol1", &[("file", "here")]);
    here.run("backup --volume vol1").ok();
    there.create("vol1", &[("file", "there")]);
    there.run("backup --volume vol1").ok();
    assert_eq!(here.backups("vol1").len(), 2);
    there.run("remove --volume vol1 --all").ok();
    let left = here.backups("vol1");
    assert_eq!(left.len(), 1);
    here.run_words(&["restore", "--volume", "again", "--backupurl", &left[0]]).ok();
    assert_eq!(fs::read_to_string(here.volume("again").join("file")).unwrap(), "here");
}

fn two_hosts_that_share_a_destination_prune_and_remove_what_is_their_own(way: Way) {
    let here = way.of(Site::new());
    let there = way
        .of(Site::new())
        .with("BKUP_BACKUP_URL", format!("vfs://{}", here.path("backups").display()));
    here.create("vol1", &[("file", "here")]);
    here.run("backup --volume vol1").ok();
    let first = here.backups("vol1");
    there.create("vol1", &[("file", "there")]);
    for _ in 0..2 {
        there.run("backup --volume vol1 --create-snapshot").ok();
    }
    let pruned = there.run("prune --keep-last 1").ok();
    assert!(pruned.out.contains("left alone") && pruned.out.contains("--all-hosts"), "{pruned:?}");
    let left = here.backups("vol1");
    assert_eq!((left.len(), &left[1]), (2, &first[0]));
    here.run("remove --volume vol1").ok();
    assert_eq!(here.backups("vol1"), left);
    here.run_words(&["restore", "--volume", "again", "--backupurl", &left[1]]).ok();
    assert_eq!(fs::read_to_string(here.volume("again").join("file")).unwrap(), "here");
}

fn one_host_prunes_for_all_hosts_when_told_and_each_ones_newest_stays(way: Way) {
    let here = way.of(Site::new());
    let there = way
        .of(Site::new())
        .with("BKUP_BACKUP_URL", format!("vfs://{}", here.path("backups").display()));
    for site in [&here, &there] {
        site.create("vol1", &[("file", "content")]);
        for _ in 0..2 {
            site.run("backup --volume vol1 --create-snapshot").ok();
        }
    }
    let theirs = here.backups("vol1");
    let delete = format!("fn main(args) {{ convoy::delete_backup(\"{}\") }}", theirs[1]);
    here.run_script(&delete, "").fails(1, &["may be another host's", "of_any_host"]);
    here.run("prune --keep-last 1").ok();
    assert_eq!(here.backups("vol1"), theirs[..3]);
    here.run("prune --keep-last 1 --all-hosts").ok();
    assert_eq!(here.backups("vol1"), [&theirs[..1], &theirs[2..3]].concat());
    // Once its host is gone, too, or its volume: the newest of each stays.
    there.run("remove --volume vol1").ok();
    here.run("prune --keep-last 1 --all-hosts").ok();
    assert_eq!(here.backups("vol1").len(), 2);
}

#[test]
fn a_cloned_host_never_deletes_the_backups_of_its_original() {
    let here = Site::builtin();
    here.create("vol1", &[("file", "content")]);
    here.run("backup --volume vol1 --create-snapshot").ok();
    let clone = Site::builtin()
        .with("BKUP_BACKUP_URL", format!("vfs://{}", here.path("backups").display()));
    for folder in ["daemon", "data"] {
        _ = fs::remove_dir(clone.path(folder));
        copy(&here.path(folder), &clone.path(folder));
    }
    let told = clone.run("backup --volume vol1 --create-snapshot").ok();
    assert!(told.err.contains("was copied or moved"), "{told:?}");
    here.run("backup --volume vol1 --create-snapshot").ok();
    clone.run("backup --volume vol1 --create-snapshot").ok();
    let theirs = here.backups("vol1");
    let pruned = clone.run("prune --keep-last 1").ok();
    assert!(pruned.out.contains("daemon moved"), "{pruned:?}");
    clone.run("remove --volume vol1 --all").ok();
    let left = here.backups("vol1");
    assert_eq!(left, [theirs[1].clone(), theirs[3].clone()]);
    here.run("prune --keep-last 1").ok();
    assert_eq!(here.backups("vol1"), left[..1]);
}

#[test]
fn a_folder_that_was_moved_has_its_backups_again_once_that_is_said() {
    let site = Site::builtin();
    site.create("vol1", &[("file", "content")]);
    site.run("backup --volume vol1").ok();
    copy(&site.path("daemon"), &site.path("moved"));
    let moved = format!("builtin:{}", site.path("moved").display());
    let site = site.with("BKUP_CONVOY", moved);
    let hint = site.run("remove --volume vol1").fails(1, &["surely its own", "daemon moved"]);
    assert!(hint.err.contains("was copied or moved"), "{hint:?}");
    for command in ["status", "doctor"] {
        let told = site.run(command);
        assert!(told.out.contains("was copied or moved"), "{told:?}");
    }
    // The records of the data folder are of the former place.
    let unknown = "delete nothing until there is a new one";
    let settled = site.run("daemon moved").ok();
    assert!(settled.out.contains(unknown), "{settled:?}");
    let again = site.run("daemon moved").ok();
    assert!(again.out.contains("nothing to settle"), "{again:?}");
    let told = site.run("status");
    assert!(!told.out.contains("was copied or moved"), "{told:?}");
    site.run("remove --volume vol1").fails(1, &["no run of this host", "back it up once more"]);
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("prune --keep-last 1").ok();
    assert_eq!(site.backups("vol1").len(), 1);
    let known = site.run("daemon moved").ok();
    assert!(!known.out.contains(unknown), "{known:?}");
}

fn a_new_data_folder_makes_nothing_safe_until_one_more_backup_is_made(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[("file", "content")]);
    for _ in 0..2 {
        site.run("backup --volume vol1 --create-snapshot").ok();
    }
    let site = {
        let data = site.path("new-data").display().to_string();
        site.with("BKUP_DATA_DIR", data)
    };
    site.run("remove --volume vol1").fails(1, &["no run of this host", "back it up once more"]);
    let pruned = site.run("prune --keep-last 1").ok();
    assert!(pruned.out.contains("back the volume up once more"), "{pruned:?}");
    assert_eq!(site.backups("vol1").len(), 2);
    // A restore reads the backup, and so does a new one.
    let newest = site.backups("vol1").remove(0);
    site.run_words(&["restore", "--volume", "again", "--backupurl", &newest]).ok();
    site.run("prune --keep-last 1").ok();
    assert_eq!(site.backups("vol1"), [newest]);
    site.run("backup --volume vol1 --create-snapshot").ok();
    site.run("remove --volume vol1").ok();
    assert_eq!(site.backups("vol1").len(), 1);
}

#[test]
fn many_volumes_are_backed_up_at_the_same_time() {
    let site = Site::new();
    for volume in ["vol1", "vol2", "vol3", "vol4"] {
        site.create(volume, &[("file", volume)]);
    }
    let script = r"
        fn main(args) {
            parallel(convoy::volumes(), 4, |volume| {
                let snapshot = convoy::create_snapshot(volume.Name);
                convoy::create_backup(snapshot.Name)
            })
        }";
    let made = site.run_script(script, "--json").json();
    assert_eq!(made.as_array().unwrap().len(), 4, "{made}");
    for volume in ["vol1", "vol2", "vol3", "vol4"] {
        let url = site.backups(volume).remove(0);
        site.run_words(&["restore", "--volume", &format!("{volume}-new"), "--backupurl", &url])
            .ok();
        same(&site.volume(volume), &site.volume(&format!("{volume}-new")));
    }
}

#[test]
fn tables_are_for_people_and_json_is_for_programs() {
    let site = Site::new();
    let empty = site.run("volumes").ok();
    assert!(empty.out.contains("no volumes"), "{empty:?}");
    site.create("vol1", &[("file", "content")]);
    site.run("backup").ok();
    let table = site.run("volumes").ok().out;
    assert!(table.contains("NAME") && table.contains("vol1") && !table.contains('{'), "{table}");
    let volumes = site.run("volumes --json").json();
    assert_eq!(volumes[0]["Name"], "vol1");
    assert!(volumes[0]["DriverInfo"].is_object(), "the daemon's own fields: {volumes}");
    let backups = site.run("backups --json").json();
    assert!(backups[0]["BackupURL"].as_str().unwrap().contains("&volume=vol1"), "{backups}");
    let Ran { out, err, .. } = site.run("volumes --quiet").ok();
    assert_eq!((out.as_str(), err.as_str()), ("", ""));
}

fn a_volume_whose_files_are_gone_keeps_the_backups_that_have_them(way: Way) {
    let site = way.of(Site::new());
    site.create("vol1", &[]);
    for number in 0..40 {
        fs::write(site.volume("vol1").join(number.to_string()), "what counts").unwrap();
    }
    site.run("backup --create-snapshot").ok();
    site.run("backup --create-snapshot").ok();
    fs::remove_dir_all(site.volume("vol1")).unwrap();
    fs::create_dir(site.volume("vol1")).unwrap();
    let gone = ["it had 40 files", "and has none now: is its share mounted?"];
    site.run("backup --create-snapshot").fails(3, &gone);
    // Two jobs in place of one.
    site.run("snapshot").fails(3, &gone);
    site.run("backup").fails(3, &gone);
    site.run("prune --keep-last 1 --snapshots").ok();
    let backups = site.backups("vol1");
    assert_eq!(backups.len(), 3, "{backups:?}");
    site.run_words(&["restore", "--volume", "again", "--backupurl", &backups[2]]).ok();
    assert_eq!(fs::read_dir(site.volume("again")).unwrap().count(), 40);

    site.run("status --accept vol1").ok();
    site.run("backup --create-snapshot --volume vol1").ok();
    site.run("prune --volume vol1 --keep-last 1").ok();
    assert_eq!(site.backups("vol1").len(), 1);
}
