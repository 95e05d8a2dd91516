//! Tests that "restore" takes the backup that is meant, and leaves what is there.

use std::sync::Arc;

use serde_json::Value;

use super::default_scripts::{again, backed_up};
use crate::{
    convoy::{Daemon as _, Name, memory::MemoryDaemon},
    error::{Error, ErrorKind, Result},
    script::testing::run_default,
};

fn restore(daemon: &Arc<MemoryDaemon>, line: &str) -> Result<Value> {
    run_default(again(daemon), "restore", line).map(|outcome| outcome.result)
}

/// The names of the new volume and of its backup.
fn restored(daemon: &Arc<MemoryDaemon>, line: &str) -> (String, String) {
    let result = restore(daemon, line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let url = result["Restored"]["BackupURL"].as_str().unwrap();
    let (_, name) = url.split_once("backup=").unwrap();
    (result["Name"].as_str().unwrap().to_owned(), name.split('&').next().unwrap().to_owned())
}

fn refused(daemon: &Arc<MemoryDaemon>, line: &str) -> Error {
    restore(daemon, line).unwrap_err()
}

/// When the backups of `vol1` are of, the oldest first.
fn times(daemon: &Arc<MemoryDaemon>) -> Vec<String> {
    let listed = run_default(again(daemon), "backups", "vol1").unwrap().result;
    let time = |backup: &Value| {
        let time = crate::convoy::ApiTime::parse(backup["SnapshotCreatedAt"].as_str().unwrap());
        time.timestamp().unwrap().to_string()
    };
    listed.as_array().unwrap().iter().rev().map(time).collect()
}

#[test]
fn a_volume_is_restored_from_its_newest_backup_beside_what_is_there() {
    let daemon = backed_up(3);
    let newest = daemon.backup_names().pop().unwrap();
    for name in ["vol1-restored", "vol1-restored-2"] {
        assert_eq!(restored(&daemon, "vol1"), (name.to_owned(), newest.clone()));
    }
    assert_eq!(restored(&daemon, "vol1 --to other").0, "other");
    run_default(again(&daemon), "remove", "vol1").unwrap();
    assert_eq!(restored(&daemon, "vol1"), ("vol1".to_owned(), newest));
}

#[test]
fn a_time_means_the_newest_backup_of_then_or_before() {
    let daemon = backed_up(3);
    let (names, times) = (daemon.backup_names(), times(&daemon));
    for (at, name) in [(&times[0], &names[0]), (&times[1], &names[1])] {
        assert_eq!(restored(&daemon, &format!("vol1 --at {at}")).1, *name);
    }
    assert_eq!(restored(&daemon, "vol1 --at 2026-01-01").1, names[2]);
    let error = refused(&daemon, "vol1 --at 2025-12-31");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains("2025-12-31 23:59 or before; the first one is"), "{error}");
    assert!(error.message.contains("(2026-01-01 00:00)"), "{error}");
}

#[test]
fn a_backup_is_named_by_the_beginning_of_its_id() {
    let daemon = backed_up(3);
    let names = daemon.backup_names();
    let id = names[1].strip_prefix("backup-").unwrap();
    assert_eq!(restored(&daemon, &format!("vol1 --backup {id}")).1, names[1]);
    assert_eq!(restored(&daemon, &format!("vol1 --backup {}", names[1])).1, names[1]);
    let error = refused(&daemon, "vol1 --backup backup");
    assert!(
        error.message.contains("the ids of 3 backups of \"vol1\" begin with \"backup\""),
        "{error}"
    );
    let error = refused(&daemon, "vol1 --backup nonesuch");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.hint.unwrap().contains("the newest is"));
}

#[test]
fn a_partial_backup_is_passed_over_unless_it_is_named() {
    let daemon = backed_up(1);
    let good = daemon.backup_names().pop().unwrap();
    daemon.can_not_read(2);
    run_default(again(&daemon), "backup", "vol1 --create-snapshot").unwrap();
    let partial = daemon.backup_names().pop().unwrap();
    assert_ne!(good, partial);
    assert_eq!(restored(&daemon, "vol1").1, good);
    assert_eq!(restored(&daemon, &format!("vol1 --backup {partial}")).1, partial);
}

#[test]
fn what_can_not_be_meant_is_refused_and_nothing_is_made() {
    let daemon = backed_up(1);
    let url = run_default(again(&daemon), "backups", "--urls").unwrap().result[0].clone();
    let url = url.as_str().unwrap();
    for (line, message) in [
        (String::new(), "no volume was named"),
        ("--volume vol1".to_owned(), "--volume needs --backupurl"),
        ("vol1 --volume vol2".to_owned(), "--volume needs --backupurl"),
        ("vol1 --at now --backup x".to_owned(), "a time and a backup were given"),
        (format!("vol1 --backupurl {url}"), "the backup is chosen already"),
        (format!("--backupurl {url}"), "the new volume has no name"),
    ] {
        let error = refused(&daemon, &line);
        assert_eq!(error.kind, ErrorKind::Usage, "{line}");
        assert!(error.message.contains(message), "{line}: {error}");
    }
    let error = refused(&daemon, "vol7");
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.hint.unwrap().contains("there are backups of vol1"));
    assert_eq!(refused(&daemon, "vol1 --at never").kind, ErrorKind::Usage);
    let volume = futures_util::future::FutureExt::now_or_never(
        daemon.volume(&Name::volume("vol1-restored").unwrap()),
    );
    assert!(volume.unwrap().is_err(), "nothing was made");
}
