//! The default scripts at EBS, where a snapshot is the backup: with Convoy 0.5.2, which lists backups
//! there, and with 0.5.0, which lists none.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    convoy::{Daemon, memory::MemoryDaemon},
    error::Result,
    run_words::RunStatus,
    script::{
        Outcome,
        testing::{host_over, run_default},
    },
};

fn convoys() -> [Arc<MemoryDaemon>; 2] {
    let convoys =
        [MemoryDaemon::ebs(&["vol1", "vol2"]), MemoryDaemon::ebs_without_lists(&["vol1", "vol2"])];
    convoys.map(Arc::new)
}

fn run(daemon: &Arc<MemoryDaemon>, script: &str, line: &str) -> Result<Outcome> {
    run_default(host_over(Arc::clone(daemon) as Arc<dyn Daemon>), script, line)
}

/// Backs up `vol1` three times, and `vol2` once: `snap-1` to `snap-4`.
fn back_up(daemon: &Arc<MemoryDaemon>) {
    for volume in ["vol1", "vol1", "vol1", "vol2"] {
        run(daemon, "backup", &format!("--create-snapshot --volume {volume}")).unwrap();
    }
}

fn field<'a>(items: &'a Value, name: &str) -> Vec<&'a str> {
    items.as_array().unwrap().iter().map(|item| item[name].as_str().unwrap()).collect()
}

#[test]
fn backups_lists_each_once() {
    for daemon in convoys() {
        back_up(&daemon);
        let listed = run(&daemon, "backups", "").unwrap().result;
        // By the names of snapshots, and those of one volume say nothing of another's.
        let (urls, volumes) = (field(&listed, "BackupURL"), field(&listed, "VolumeName"));
        let mut listed_as: Vec<_> = urls.into_iter().zip(volumes).collect();
        listed_as.sort_by_key(|(_, volume)| *volume);
        let each = [("snap-3", "vol1"), ("snap-2", "vol1"), ("snap-1", "vol1"), ("snap-4", "vol2")];
        let each = each.map(|(id, volume)| (format!("ebs://us-east-1/{id}"), volume));
        assert_eq!(listed_as, each.each_ref().map(|(url, volume)| (url.as_str(), *volume)));
        assert!(field(&listed, "CreatedTime").iter().all(|time| !time.is_empty()));
    }
}

#[test]
fn prune_deletes_old_backups_and_convoys_notes_of_them() {
    for line in ["--keep-last 1", "--keep-last 1 --volume vol1"] {
        for daemon in convoys() {
            back_up(&daemon);
            let outcome = run(&daemon, "prune", line).unwrap();
            assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
            assert_eq!(daemon.ebs_snapshots(), ["snap-3", "snap-4"]);
            assert_eq!(daemon.snapshot_names("vol1").len(), 1);
            let deleted = outcome.result.as_array().unwrap().iter();
            assert_eq!(deleted.filter(|item| item["Deleted"] == true).count(), 2);
        }
    }
}

#[test]
fn prune_leaves_alone_what_is_not_complete_and_does_not_count_it() {
    for daemon in convoys() {
        back_up(&daemon);
        daemon.set_ebs_state("snap-3", "error");
        let outcome = run(&daemon, "prune", "--keep-last 1").unwrap();
        assert_eq!(outcome.status(), RunStatus::Done, "{outcome:?}");
        assert_eq!(daemon.ebs_snapshots(), ["snap-2", "snap-3", "snap-4"]);
    }
}

#[test]
fn remove_deletes_the_volume_and_keeps_its_newest_backup() {
    for (line, left) in
        [("--volume vol1", &["snap-3", "snap-4"][..]), ("--volume vol1 --all", &["snap-4"])]
    {
        for daemon in convoys() {
            back_up(&daemon);
            run(&daemon, "remove", line).unwrap();
            assert_eq!(daemon.ebs_snapshots(), left, "{line}");
            let volumes = run(&daemon, "volumes", "").unwrap().result;
            assert_eq!(field(&volumes, "Name"), ["vol2"], "{line}");
            assert_eq!(run(&daemon, "backups", "").unwrap().result.as_array().unwrap().len(), 1);
        }
    }
}

#[test]
fn remove_after_a_prune_that_left_a_note_does_not_stumble_over_it() {
    for daemon in convoys() {
        back_up(&daemon);
        let oldest = crate::convoy::BackupUrl::parse("ebs://us-east-1/snap-1").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(daemon.delete_backup(&oldest, &[])).unwrap();
        let removed = run(&daemon, "remove", "--volume vol1").unwrap().result;
        assert_eq!(removed["Snapshots"].as_array().unwrap().len(), 1);
        assert_eq!(daemon.ebs_snapshots(), ["snap-3", "snap-4"]);
    }
}
