//! The default scripts, where inspecting a backup does not look at its data.

use std::sync::Arc;

use serde_json::json;

use super::default_scripts::{again, backed_up};
use crate::{
    convoy::{
        BackupUrl, Destination,
        guards::{Guards, Seen},
        memory::MemoryDaemon,
        memory_look::MemoryLook,
    },
    run_words::RunStatus,
    script::{
        Host, Listener,
        testing::{Heard, run_default},
    },
};

/// A host of another run, whose guards look at the data of backups in this way.
fn looking(daemon: &Arc<MemoryDaemon>, look: MemoryLook) -> Host {
    daemon.inspect_descriptions_only();
    let clock = Arc::new(crate::clock::SystemClock);
    let guards = Guards::new(daemon.clone(), None, clock).knowing(daemon.clone());
    let guards = guards.looking_at_data(Arc::new(look));
    Host { guards: Arc::new(guards), ..again(daemon) }
}

/// A look that finds the newest backup without data.
fn newest_is_empty(daemon: &MemoryDaemon) -> MemoryLook {
    let look = MemoryLook::default();
    let newest = daemon.backup_names().pop().unwrap();
    let at = Destination::parse("vfs:///backups").unwrap();
    let url = BackupUrl::parse(&format!("{at}?backup={newest}&volume=vol1")).unwrap();
    look.finds(&url, Seen::Broken("its file is empty".into()));
    look
}

#[test]
fn prune_keeps_the_newest_backup_with_data_and_does_not_fail() {
    let daemon = backed_up(3);
    let names = daemon.backup_names();
    let host = looking(&daemon, newest_is_empty(&daemon));
    let outcome = run_default(host, "prune", "--keep-last 1").unwrap();
    assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
    assert_eq!(daemon.backup_names(), names[1..]);
    assert_eq!(outcome.result[1]["Reasons"], json!(["the newest good backup"]));
}

#[test]
fn prune_without_sight_of_the_data_keeps_the_newest_two() {
    let daemon = backed_up(4);
    let names = daemon.backup_names();
    let host = looking(&daemon, MemoryLook::without_sight());
    let outcome = run_default(host, "prune", "--volume vol1 --keep-last 1").unwrap();
    assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
    assert_eq!(daemon.backup_names(), names[2..]);
    assert_eq!(outcome.result[1]["Reasons"], json!(["one of the newest two, as none is verified"]));
}

#[test]
fn remove_keeps_the_newest_backup_with_data() {
    let daemon = backed_up(3);
    let before = daemon.backup_names();
    let host = looking(&daemon, newest_is_empty(&daemon));
    let removed = run_default(host, "remove", "--volume vol1").unwrap().result;
    assert_eq!(daemon.backup_names(), before[1..], "{removed}");
    assert!(removed["Kept"].as_str().unwrap().contains(&before[1]), "{removed}");
    assert!(removed["Left"][0].as_str().unwrap().contains(&before[2]), "{removed}");
}

#[test]
fn remove_without_sight_of_the_data_leaves_an_older_backup_too() {
    let daemon = backed_up(3);
    let before = daemon.backup_names();
    let heard = Arc::new(Heard::default());
    let mut host = looking(&daemon, MemoryLook::without_sight());
    host.listener = Arc::clone(&heard) as Arc<dyn Listener>;
    let removed = run_default(host, "remove", "--volume vol1").unwrap().result;
    assert_eq!(daemon.backup_names(), before[1..], "{removed}");
    assert!(removed["Kept"].as_str().unwrap().contains(&before[2]), "{removed}");
    assert!(removed["Left"][0].as_str().unwrap().contains(&before[1]), "{removed}");
    let said = heard.lines.lock().unwrap().join("\n");
    assert!(said.contains("could not be looked at"), "{said}");
}

#[test]
fn a_backup_whose_data_was_not_looked_at_is_not_verified() {
    let daemon = backed_up(1);
    let host = looking(&daemon, MemoryLook::without_sight());
    let listed = run_default(host, "backups", "").unwrap().result;
    assert_eq!(listed[0]["Verified"], "false");
    let listed = run_default(again(&backed_up(1)), "backups", "").unwrap().result;
    assert_eq!(listed[0].get("Verified"), None, "{listed}");
}
