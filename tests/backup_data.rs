//! The data of Convoy's backups: Convoy lists and inspects descriptions only, so that a backup
//! whose data is missing looks well there.

use std::{fs, io::Write as _};

use flate2::{Compression, write::GzEncoder};
use jiff::{SignedDuration, Timestamp};

use crate::support::{
    faulty::{Answer, Faulty},
    s3::{KEY_ID, S3},
    site::Site,
};

const NEWEST: &str = "backup-0000000000000003";
const MIDDLE: &str = "backup-0000000000000002";
const OLDEST: &str = "backup-0000000000000001";

/// The time so many minutes ago, as Convoy writes it. What is deleted without a look at the volume
/// needs a backup of the last hour.
fn ago(minutes: i64) -> String {
    let time = Timestamp::now() - SignedDuration::from_mins(minutes);
    time.strftime("%a %b %d %H:%M:%S +0000 %Y").to_string()
}

fn snapshot() -> String {
    let taken = ago(40);
    format!(r#"{{"Name":"s1","VolumeName":"shop","CreatedTime":"{taken}","DriverInfo":{{}}}}"#)
}

fn volume() -> String {
    let (made, snapshot) = (ago(50), snapshot());
    format!(
        r#"{{"Name":"shop","Driver":"vfs","MountPoint":"","CreatedTime":"{made}","DriverInfo":{{}},
        "Snapshots":{{"s1":{snapshot}}}}}"#
    )
}

fn url(destination: &str, backup: &str) -> String {
    format!("{destination}?backup={backup}&volume=shop")
}

fn backup(destination: &str, backup: &str) -> String {
    let number: i64 = backup[backup.len() - 1..].parse().unwrap();
    let (taken, made) = (ago(40), ago(40 - 10 * number));
    format!(
        r#"{{"BackupName":"{backup}","BackupURL":"{}","DriverName":"vfs","VolumeName":"shop","VolumeSize":"0","VolumeCreatedAt":"",
        "SnapshotName":"s1","SnapshotCreatedAt":"{taken}","CreatedTime":"{made}"}}"#,
        url(destination, backup)
    )
}

/// A daemon that answers as Convoy does, with a volume and these backups of its snapshot, newest
/// first. It is asked to make them one after the other.
fn convoy(site: &Site, destination: &str, backups: &[&str]) -> Faulty {
    let listed = backups
        .iter()
        .map(|name| format!(r#""{}":{}"#, url(destination, name), backup(destination, name)));
    let listed = listed.collect::<Vec<_>>().join(",");
    let info = r#"{"General":{"DefaultDriver":"vfs"},"vfs":{"Path":"/nowhere"}}"#;
    let mut daemon = Faulty::start_at(&site.path("convoy.sock"))
        .answer("GET /v1/info", Answer::json(info))
        .answer("GET /v1/volumes/list", Answer::json(format!(r#"{{"shop":{}}}"#, volume())))
        .answer("GET /v1/volumes/", Answer::json(volume()))
        .answer("GET /v1/snapshots/", Answer::json(snapshot()))
        .answer("GET /v1/backups/list", Answer::json(format!("{{{listed}}}")))
        .answer("GET /v1/backups/inspect", Answer::json(backup(destination, backups[0])))
        .answer("DELETE /v1/backups", Answer::Empty)
        .answer("DELETE /v1/snapshots/", Answer::Empty)
        .answer("DELETE /v1/volumes/", Answer::Empty);
    for name in backups.iter().rev() {
        let made = format!(r#"{{"URL":"{}"}}"#, url(destination, name));
        daemon = daemon.answer("POST /v1/backups/create", Answer::json(made));
    }
    daemon
}

/// The path of a backup's data, and of its description, at a destination.
fn paths(backup: &str) -> [String; 2] {
    let folder = "convoy-objectstore/volumes/sh/op/shop";
    [format!("{folder}/BackupFiles/{backup}.bak"), format!("{folder}/backups/backup_{backup}.cfg")]
}

fn description(backup: &str) -> String {
    let [data, _] = paths(backup);
    format!(
        r#"{{"Name":"{backup}","Driver":"","VolumeName":"shop","SnapshotName":"s","SnapshotCreatedAt":"","CreatedTime":"",
        "Blocks":null,"SingleFile":{{"FilePath":"{data}"}}}}"#
    )
}

/// A packed archive, as far as a look tells.
fn packed() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[0; 10_240]).unwrap();
    encoder.finish().unwrap()
}

fn with_convoy(site: Site) -> Site {
    let socket = site.path("convoy.sock").display().to_string();
    site.with("BKUP_CONVOY", format!("unix://{socket}"))
}

/// The names of the backups that the daemon was told to delete.
fn deleted(daemon: &Faulty) -> Vec<String> {
    let requests = daemon.requests();
    let deletions = requests.iter().filter(|request| request.line() == "DELETE /v1/backups");
    let name = |body: &str| body.split("backup=").nth(1).unwrap()[..NEWEST.len()].to_owned();
    deletions.map(|request| name(&request.body)).collect()
}

/// A site with a folder that holds three backups; the newest one lost its data.
fn with_an_empty_newest_backup() -> (Site, Faulty) {
    let site = with_convoy(Site::bare());
    for name in [NEWEST, MIDDLE, OLDEST] {
        let contents = [packed(), description(name).into_bytes()];
        for (path, content) in paths(name).iter().zip(contents) {
            let path = site.path("backups").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    let destination = format!("vfs://{}", site.path("backups").display());
    let daemon = convoy(&site, &destination, &[NEWEST, MIDDLE, OLDEST]);
    for _ in 0..3 {
        let ran = site.run("backup").ok();
        assert!(!ran.out.contains("not verified"), "{ran:?}");
    }
    fs::write(site.path("backups").join(&paths(NEWEST)[0]), "").unwrap();
    (site, daemon)
}

#[test]
fn prune_keeps_the_newest_backup_whose_data_is_there() {
    let (site, daemon) = with_an_empty_newest_backup();
    let ran = site.run("prune --keep-last 1").ok();
    assert_eq!(deleted(&daemon), [OLDEST], "{ran:?}");
    assert!(
        ran.err.contains("can't be restored: its file") && ran.err.contains("is empty"),
        "{ran:?}"
    );
}

#[test]
fn remove_keeps_the_newest_backup_whose_data_is_there() {
    let (site, daemon) = with_an_empty_newest_backup();
    let ran = site.run("remove --volume shop --json").ok();
    assert_eq!(deleted(&daemon), [OLDEST], "{ran:?}");
    assert!(ran.out.contains(MIDDLE), "{ran:?}");
}

#[test]
fn status_says_that_the_data_of_the_newest_backup_is_gone() {
    let (site, _daemon) = with_an_empty_newest_backup();
    let ran = site.run("status").ends(1);
    assert!(ran.out.contains("can't be restored: its file"), "{ran:?}");
}

/// Puts a backup of an archive of this size in bytes into the folder.
fn put(site: &Site, backup: &str, size: usize) {
    // Not packed tightly: real data can't be packed as well as zeros.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(&vec![0; size]).unwrap();
    let contents = [encoder.finish().unwrap(), description(backup).into_bytes()];
    for (path, content) in paths(backup).iter().zip(contents) {
        let path = site.path("backups").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn a_share_that_is_not_mounted_is_no_empty_volume_with_convoy_either() {
    let site = with_convoy(Site::bare());
    for (name, bytes) in [(OLDEST, 5 << 20), (MIDDLE, 5 << 20), (NEWEST, 1024)] {
        put(&site, name, bytes);
    }
    let destination = format!("vfs://{}", site.path("backups").display());
    let daemon = convoy(&site, &destination, &[NEWEST, MIDDLE, OLDEST]);
    site.run("backup").ok();
    site.run("backup").ok();
    let lost = ["it had 5.0 MiB, and has", "is all of it there?", "status --accept shop"];
    site.run("backup").fails(3, &lost);
    site.run("prune --keep-last 1").ok();
    assert_eq!(deleted(&daemon), [OLDEST]);
    let status = site.run("status").ends(1);
    assert!(status.out.contains("it had 5.0 MiB"), "{status:?}");

    site.run("status --accept shop").ok();
    site.run("prune --keep-last 1").ok();
    assert_eq!(deleted(&daemon).last().unwrap(), MIDDLE);
}

#[test]
fn a_backup_that_convoy_made_without_data_has_failed() {
    let s3 = S3::start();
    let destination = "s3://bucket@eu-west-1/host1";
    let site = with_convoy(Site::bare())
        .with("BKUP_BACKUP_URL", destination)
        .with("BKUP_S3_ENDPOINT", s3.endpoint())
        .with("BKUP_S3_ACCESS_KEY_ID", KEY_ID)
        .with("BKUP_S3_SECRET_ACCESS_KEY", "hunter2");
    let [data, cfg] = paths(OLDEST).map(|path| format!("host1/{path}"));
    s3.put(&cfg, description(OLDEST).into_bytes());
    let _daemon = convoy(&site, destination, &[OLDEST]);
    let words = ["is done, but its file", "is missing", "nothing older was deleted"];
    site.run("backup").fails(1, &words);
    s3.put(&data, Vec::new());
    site.run("backup").fails(1, &["is empty"]);
    s3.put(&data, packed());
    let ran = site.run("backup").ok();
    assert!(!ran.out.contains("not verified"), "{ran:?}");

    // A key that may not look proves nothing against the backup, and nothing for it.
    s3.fault(|_| Some((403, "AccessDenied")));
    let ran = site.run("backup -v").ok();
    assert!(ran.out.contains("not verified"), "{ran:?}");
    assert!(ran.err.contains("only their descriptions were read"), "{ran:?}");
    let status = site.run("status");
    assert!(!status.out.contains("not verified"), "an earlier run saw the data: {status:?}");
    let folder = site.path("unseen").display().to_string();
    let unseen = site.with("BKUP_DATA_DIR", folder).with("BKUP_MAX_BACKUP_AGE", "36500d");
    unseen.run("backup").ok();
    let status = unseen.run("status");
    assert!(status.out.contains("newest backup of \"shop\" is not verified"), "{status:?}");
}
