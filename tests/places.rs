//! Where a volume's files are, and the moment at which they are read.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{
    disk::{Disk, Hung, subvolume},
    site::{Ran, Site},
    way::{Way, both_ways},
};

both_ways! {
    the_operators_commands_take_the_moment_that_is_backed_up
    a_command_that_fails_fails_the_backup_and_nothing_is_left
    a_subvolume_of_btrfs_is_backed_up_from_a_snapshot_that_is_gone_afterwards
    on_xfs_and_btrfs_what_was_changed_lately_is_read_as_it_was
    a_folder_of_the_host_is_backed_up_and_restored_beside_it
    a_folder_of_the_host_is_neither_made_nor_removed
    a_folder_that_is_not_there_fails_alone_and_with_words
    a_folder_that_does_not_answer_holds_up_nothing_but_its_own_backups
    a_destination_that_does_not_answer_is_told_and_holds_up_nothing
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

fn on_xfs_and_btrfs_what_was_changed_lately_is_read_as_it_was(way: Way) {
    for kind in ["xfs", "btrfs"] {
        let Some(disk) = Disk::new(kind, &[]) else { continue };
        let website = disk.path().join("website");
        fs::create_dir_all(website.join("dir")).unwrap();
        fs::write(website.join("dir/large"), vec![7; 3_000_000]).unwrap();
        fs::write(website.join("small"), "content").unwrap();
        std::os::unix::fs::symlink("small", website.join("link")).unwrap();
        let site = Site::builtin();
        let site = way.of(site.with("BKUP_FOLDERS", format!("website={}", website.display())));
        assert_eq!(volume(&site, "website")["DriverInfo"]["Moment"], "reflink", "{kind}");
        site.run(BACKUP).ok();
        fs::write(website.join("small"), "changed").unwrap();
        fs::remove_file(website.join("link")).unwrap();
        site.run(BACKUP).ok();
        assert_eq!(newest_backup(&site, "website")["Moment"], "reflink");
        for (url, small, links) in [
            (&site.backups("website")[1], "content", 1),
            (&site.backups("website")[0], "changed", 0),
        ] {
            site.run(&format!("restore --volume {small} --backupurl {url}")).ok();
            let restored = site.volume(small);
            assert_eq!(fs::read_to_string(restored.join("small")).unwrap(), small);
            assert_eq!(fs::read(restored.join("dir/large")).unwrap(), vec![7; 3_000_000]);
            assert_eq!(entries(&restored), 2 + links);
        }
        assert_eq!(entries(&disk.path()), 1, "nothing is left");
    }
}

/// A site with the folder `srv/website` of the host as a volume, which has one file.
fn with_website(way: Way) -> Site {
    let site = Site::builtin();
    let website = site.path("srv/website");
    fs::create_dir_all(&website).unwrap();
    fs::write(website.join("index.html"), "hello").unwrap();
    let folders = format!("website={}", website.display());
    way.of(site.with("BKUP_FOLDERS", folders))
}

fn a_folder_of_the_host_is_backed_up_and_restored_beside_it(way: Way) {
    let site = with_website(way);
    site.create("vol1", &[("f", "f")]);
    let listed = volume(&site, "website");
    assert_eq!(
        (&listed["Driver"], &listed["DriverInfo"]["Moment"]),
        (&"folder".into(), &"live".into())
    );
    assert_eq!(listed["DriverInfo"]["Path"], site.path("srv/website").display().to_string());
    assert!(site.run("volumes").ok().out.contains("DRIVER  MOMENT"));
    site.run(BACKUP).ok();
    assert_eq!(newest_backup(&site, "website")["DriverName"], "folder");
    assert_eq!(newest_backup(&site, "vol1")["DriverName"], "vfs");
    fs::write(site.path("srv/website/index.html"), "broken").unwrap();
    let url = site.backups("website")[0].clone();
    for name in ["website-restored", "website-restored-2"] {
        let restored = site.run(&format!("restore --volume website --backupurl {url}")).ok();
        assert!(restored.err.contains(&format!("as volume \"{name}\"")), "{restored:?}");
        assert!(restored.err.contains(&site.volume(name).display().to_string()), "{restored:?}");
        assert_eq!(fs::read_to_string(site.volume(name).join("index.html")).unwrap(), "hello");
    }
    assert_eq!(fs::read_to_string(site.path("srv/website/index.html")).unwrap(), "broken");
    assert_eq!((entries(&site.path("srv/website")), entries(&site.path("srv"))), (1, 1));
}

fn a_folder_of_the_host_is_neither_made_nor_removed(way: Way) {
    let site = with_website(way);
    site.run(BACKUP).ok();
    site.run("create --volume website --size 1G")
        .fails(1, &["is the host's folder", "choose another name"]);
    site.run("create --volume other --size 1G --driver folder").fails(1, &["BKUP_FOLDERS=other="]);
    for line in ["remove --volume website", "remove --volume website --all"] {
        site.run(line).fails(1, &["is a folder of the host", "take it out of BKUP_FOLDERS"]);
    }
    let forget = "const DOES = [\"delete\"]; fn main() { convoy::forget_volume(\"website\") }";
    site.run_script(forget, "").fails(1, &["is the host's folder"]);
    assert!(site.path("srv/website/index.html").exists());
    assert_eq!(site.backups("website").len(), 1);
    assert_eq!(volume(&site, "website")["Driver"], "folder");
}

fn a_folder_that_is_not_there_fails_alone_and_with_words(way: Way) {
    let site = with_website(way);
    site.create("vol1", &[("f", "f")]);
    fs::rename(site.path("srv"), site.path("elsewhere")).unwrap();
    let ran = site.run(BACKUP);
    ran.fails(3, &["of volume \"website\" is not there", "mount the share"]);
    assert_eq!((site.backups("vol1").len(), site.backups("website").len()), (1, 0));
    assert!(
        volume(&site, "website")["DriverInfo"]["Problem"].as_str().unwrap().contains("not there")
    );
    assert!(site.run("volumes").ok().out.contains("WHAT IS WRONG"));
    let doctor = site.run("doctor").ends(1).out;
    assert!(doctor.contains("of volume \"website\" is not there"), "{doctor}");
    assert!(
        doctor.contains("live: vol1: files that change while they are read may be torn"),
        "{doctor}"
    );
    fs::rename(site.path("elsewhere"), site.path("srv")).unwrap();
    site.run(BACKUP).ok();
    assert_eq!(site.backups("website").len(), 1);
}

fn a_folder_that_does_not_answer_holds_up_nothing_but_its_own_backups(way: Way) {
    let Some(hung) = Hung::new() else { return };
    let site = Site::builtin();
    let mail = site.path("srv/mail");
    fs::create_dir_all(&mail).unwrap();
    fs::write(mail.join("f"), "f").unwrap();
    let folders = format!("website={},mail={}", hung.path().display(), mail.display());
    let site = way.of(site.with("BKUP_FOLDERS", folders));
    site.create("vol1", &[("f", "f")]);
    let says = "of volume \"website\" does not answer";
    let ran = site.run(BACKUP);
    ran.fails(3, &[says, "the server of its share"]);
    assert_eq!((site.backups("vol1").len(), site.backups("mail").len()), (1, 1));
    let told = volume(&site, "website")["DriverInfo"]["Problem"].as_str().unwrap().to_owned();
    assert!(told.ends_with(says), "{told}");
    assert!(volume(&site, "mail")["DriverInfo"]["Problem"].is_null());
    let status = site.run("status").ends(1).out;
    assert!(status.contains(says), "{status}");
    let doctor = site.run("doctor").ends(1).out;
    assert!(doctor.contains(says), "{doctor}");
}

fn a_destination_that_does_not_answer_is_told_and_holds_up_nothing(way: Way) {
    let Some(hung) = Hung::new() else { return };
    let site = way.of(Site::builtin());
    site.create("vol1", &[("f", "f")]);
    site.run(BACKUP).ok();
    let away = format!("vfs://{}", hung.path().display());
    for line in [BACKUP, "backups"] {
        let mut command = site.command();
        command.env("BKUP_BACKUP_URL", &away).args(line.split(' '));
        let ran = Ran::of(line.into(), command.output().unwrap());
        ran.fails(1, &["does not answer", "try again when it answers"]);
    }
    site.run("volumes").ok();
    site.run(BACKUP).ok();
    assert_eq!(site.backups("vol1").len(), 2);
}

#[test]
fn an_unmounted_share_is_no_empty_folder_of_the_host() {
    let site = with_website(Way::Alone);
    let (share, website) = (site.path("share"), site.path("srv/website"));
    fs::create_dir_all(&share).unwrap();
    fs::write(share.join("f"), "f").unwrap();
    let site = site.mounting(share, website);
    site.run(BACKUP).ok();
    let site = site.unmounted();
    site.run(BACKUP).fails(3, &["its folder was a mount point"]);
}

#[test]
fn folders_that_make_no_sense_are_refused_before_anything_is_done() {
    let site = Site::builtin();
    site.create("vol1", &[]);
    for (folders, why) in [
        ("web=/", "is the whole host"),
        ("web=/proc", "is the system's own"),
        ("web=srv", "is not an absolute path"),
        ("web=/srv/../etc", "has \"..\" in it"),
        ("w=/srv", "is not a volume name"),
        ("a1=/srv,a1=/etc", "two folders have the name"),
        ("vol1=/srv", "a volume of this daemon has that name"),
    ] {
        let output = site.command().env("BKUP_FOLDERS", folders).arg("volumes").output().unwrap();
        Ran::of(folders.into(), output).fails(2, &[why, "hint: "]);
    }
}

#[test]
fn two_names_for_one_folder_are_seen_through_a_bind_mount() {
    let site = Site::builtin();
    let [one, other] = ["srv/one", "srv/other"].map(|name| site.path(name));
    for folder in [&one, &other] {
        fs::create_dir_all(folder).unwrap();
    }
    let folders = format!("one={},other={}", one.display(), other.display());
    let site = site.with("BKUP_FOLDERS", folders).mounting(one, other);
    site.run(BACKUP).fails(1, &["is that of \"other\"", "is that of \"one\""]);
}

#[test]
fn a_destination_in_the_volume_is_refused() {
    let site = with_website(Way::Alone);
    let inside = site.path("srv/website/backups");
    fs::create_dir_all(&inside).unwrap();
    let site = site.with("BKUP_BACKUP_URL", format!("vfs://{}", inside.display()));
    site.run(BACKUP).fails(1, &["is in the volume's own folder", "choose a destination outside"]);
    assert_eq!(entries(&inside), 0);
}

#[test]
fn a_destination_that_is_mounted_in_the_volume_is_refused() {
    let site = Site::builtin();
    site.create("vol1", &[("f", "f")]);
    let (backups, inside) = (site.path("backups"), site.volume("vol1").join("backups"));
    fs::create_dir_all(&inside).unwrap();
    let site = site.mounting(backups, inside);
    site.run(BACKUP).fails(1, &["is mounted in the volume, at"]);
}

#[test]
fn a_folder_that_is_a_subvolume_is_snapshotted_beside_it() {
    let Some(disk) = Disk::new("btrfs", &[]) else { return };
    let website = disk.path().join("website");
    subvolume(&website);
    fs::write(website.join("f"), "content").unwrap();
    let site = Site::builtin().with("BKUP_FOLDERS", format!("website={}", website.display()));
    site.run(BACKUP).ok();
    assert_eq!(newest_backup(&site, "website")["Moment"], "btrfs");
    assert_eq!((entries(&disk.path()), entries(&website)), (1, 1));
    let url = &site.backups("website")[0];
    site.run(&format!("restore --volume website --backupurl {url}")).ok();
    assert_eq!(fs::read_to_string(site.volume("website-restored").join("f")).unwrap(), "content");
}

#[test]
fn a_folder_that_leaves_the_configuration_and_comes_back_is_the_same_volume() {
    let site = with_website(Way::Alone);
    site.run(BACKUP).ok();
    let id = volume(&site, "website")["DriverInfo"]["VolumeID"].clone();
    let folders = format!("website={}", site.path("srv/website").display());
    let site = site.without("BKUP_FOLDERS");
    assert!(site.run("volumes --json").json().as_array().unwrap().is_empty());
    assert_eq!(site.backups("website").len(), 1);
    let site = site.with("BKUP_FOLDERS", folders);
    assert_eq!(volume(&site, "website")["DriverInfo"]["VolumeID"], id);
    // Another folder under that name is another volume.
    let site = site.with("BKUP_FOLDERS", "website=/srv/another");
    assert_ne!(volume(&site, "website")["DriverInfo"]["VolumeID"], id);
}
