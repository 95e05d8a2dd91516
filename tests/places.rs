//! Where a volume's files are, and the moment at which they are read.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{
    disk::{Disk, subvolume},
    site::Site,
    way::{Way, both_ways},
};

both_ways! {
    the_operators_commands_take_the_moment_that_is_backed_up
    a_command_that_fails_fails_the_backup_and_nothing_is_left
    a_subvolume_of_btrfs_is_backed_up_from_a_snapshot_that_is_gone_afterwards
}

const BACKUP: &str = "backup --create-snapshot";

fn volume(site: &Site, name: &str) -> Value {
    let volumes = site.run("volumes --json").json();
    let found = volumes.as_array().unwrap().iter().find(|volume| volume["Name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {volumes}")).clone()
}

fn newest_backup(site: &Site, volume: &str) -> Value {
    site.run(&format!("backups --volume {volume} --json")).json()[0].clone()
}

fn restored(site: &Site, volume: &str, file: &str) -> String {
    let url = &site.backups(volume)[0];
    site.run(&format!("restore --volume restored --backupurl {url}")).ok();
    fs::read_to_string(site.volume("restored").join(file)).unwrap()
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

fn the_operators_commands_take_the_moment_that_is_backed_up(way: Way) {
    // The copy differs from the volume, so that the restore tells which of them was read.
    let site = Site::builtin();
    let copy = site.path("copy").display().to_string();
    let take = format!("cp -a $FOLDER {copy} && echo of the copy > {copy}/f && echo {copy}");
    let log = site.path("dropped").display().to_string();
    let drop = format!("echo $VOLUME >> {log} && rm -r \"$MOMENT\"");
    let site = way.of(site.with("BKUP_MOMENT_TAKE", take).with("BKUP_MOMENT_DROP", drop));
    site.create("vol1", &[("f", "of the volume\n")]);
    assert_eq!(volume(&site, "vol1")["DriverInfo"]["Moment"], "command");
    site.run(BACKUP).ok();
    assert_eq!(fs::read_to_string(&log).unwrap(), "vol1\n");
    assert!(!Path::new(&copy).exists());
    assert_eq!(newest_backup(&site, "vol1")["Moment"], "command");
    assert_eq!(restored(&site, "vol1", "f"), "of the copy\n");
}

fn a_command_that_fails_fails_the_backup_and_nothing_is_left(way: Way) {
    let site = Site::builtin();
    let log = site.path("dropped").display().to_string();
    let site = way.of(site
        .with("BKUP_MOMENT_TAKE", "echo no room for the snapshot >&2; exit 5")
        .with("BKUP_MOMENT_DROP", format!("echo $VOLUME >> {log}")));
    site.create("vol1", &[("f", "f")]);
    site.run(BACKUP).fails(1, &["BKUP_MOMENT_TAKE failed", "no room for the snapshot"]);
    assert_eq!(fs::read_to_string(&log).unwrap(), "vol1\n");
    assert_eq!(entries(&site.path("daemon/moments")), 0);
    assert!(site.snapshots("vol1").is_empty() && site.backups("vol1").is_empty());
}

#[test]
fn one_of_the_two_commands_alone_is_refused() {
    let site = Site::builtin().with("BKUP_MOMENT_TAKE", "true");
    site.run("volumes").fails(2, &["BKUP_MOMENT_TAKE is set, but BKUP_MOMENT_DROP is not"]);
}

fn a_subvolume_of_btrfs_is_backed_up_from_a_snapshot_that_is_gone_afterwards(way: Way) {
    let Some(disk) = Disk::new("btrfs", &[]) else { return };
    let site = Site::builtin();
    fs::remove_dir(site.path("daemon")).unwrap();
    fs::create_dir_all(disk.path().join("root/volumes")).unwrap();
    std::os::unix::fs::symlink(disk.path().join("root"), site.path("daemon")).unwrap();
    subvolume(&disk.path().join("root/volumes/vol1"));
    let site = way.of(site);
    site.create("vol1", &[("f", "content")]);
    assert_eq!(volume(&site, "vol1")["DriverInfo"]["Moment"], "btrfs");
    for _ in 0..2 {
        site.run(BACKUP).ok();
    }
    assert_eq!(newest_backup(&site, "vol1")["Moment"], "btrfs");
    assert_eq!(entries(&site.path("daemon/volumes/.staging")), 0);
    assert_eq!(restored(&site, "vol1", "f"), "content");
}
