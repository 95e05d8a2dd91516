//! EBS, where a snapshot is the backup.

use super::*;
use crate::convoy::guards::Observation;

fn ebs() -> Destination {
    Destination::parse("ebs://us-east-1/").unwrap()
}

fn guards(daemon: &Arc<MemoryDaemon>) -> Guards {
    Guards { poll_interval: Duration::ZERO, ..Guards::new(daemon.clone(), None, clock()) }
}

async fn back_up(guards: &Guards, volume: &str) -> BackupUrl {
    let snapshot = guards.create_snapshot(&name(volume)).await.unwrap();
    guards.create_backup(&name(&snapshot.name), &ebs()).await.unwrap()
}

async fn urls(guards: &Guards, volume: Option<&Name>) -> Vec<String> {
    let listed = guards.backups(&ebs(), volume).await.unwrap();
    listed.iter().map(|backup| backup.url().unwrap().to_string()).collect()
}

/// Convoy 0.5.0 lists no backups, 0.5.1 and later do.
fn convoys(volumes: &[&str]) -> [Arc<MemoryDaemon>; 2] {
    [MemoryDaemon::ebs(volumes), MemoryDaemon::ebs_without_lists(volumes)].map(Arc::new)
}

#[tokio::test]
async fn at_ebs_every_backup_is_listed_once_with_its_time_and_state() {
    for daemon in convoys(&["vol1", "vol2"]) {
        let guards = guards(&daemon);
        for volume in ["vol1", "vol1", "vol2"] {
            back_up(&guards, volume).await;
        }
        assert_eq!(urls(&guards, None).await.len(), 3);
        let vol1 = name("vol1");
        assert_eq!(
            urls(&guards, Some(&vol1)).await,
            ["ebs://us-east-1/snap-2", "ebs://us-east-1/snap-1"]
        );
        for backup in guards.backups(&ebs(), Some(&vol1)).await.unwrap() {
            assert!(backup.created().is_some(), "{backup:?}");
            let field = |name| backup.field(name);
            assert_eq!(
                [field("VolumeName"), field("DriverName"), field("State")],
                ["vol1", "ebs", "completed"]
            );
        }
    }
}

#[tokio::test]
async fn at_ebs_a_volume_that_convoy_does_not_know_has_no_backups() {
    for daemon in convoys(&["vol1"]) {
        back_up(&guards(&daemon), "vol1").await;
        assert_eq!(urls(&guards(&daemon), Some(&name("typo"))).await, [""; 0]);
    }
}

#[tokio::test]
async fn at_ebs_a_deletion_asks_for_the_list_of_its_volume_once_the_volume_is_known() {
    for daemon in convoys(&["vol1", "vol2"]) {
        let made = guards(&daemon);
        let first = back_up(&made, "vol1").await;
        let second = back_up(&made, "vol1").await;
        back_up(&made, "vol1").await;
        back_up(&made, "vol2").await;
        let lists_of_all = || daemon.calls().iter().filter(|call| *call == "backups").count();
        // The run that made it knows its volume.
        made.delete_backup(&first, Even::default()).await.unwrap();
        assert_eq!(lists_of_all(), 0);
        // Another run knows it from a list.
        let other = guards(&daemon);
        other.backups(&ebs(), None).await.unwrap();
        other.delete_backup(&second, Even::default()).await.unwrap();
        assert_eq!(lists_of_all(), 1);
    }
}

#[tokio::test]
async fn guard_3_at_ebs_a_volumes_list_that_lacks_the_backup_just_made_stops_deletions() {
    for daemon in convoys(&["vol1", "vol2"]) {
        let guards = guards(&daemon);
        let first = back_up(&guards, "vol1").await;
        back_up(&guards, "vol1").await;
        let lost = back_up(&guards, "vol1").await;
        daemon.delete_backup(&lost, &[]).await.unwrap();
        // The list of another volume says nothing of it.
        guards.backups(&ebs(), Some(&name("vol2"))).await.unwrap();
        guards.may_delete("it", None).unwrap();
        let error = guards.delete_backup(&first, Even::default()).await.unwrap_err();
        assert!(error.message.contains("the list of backups lacks"), "{error}");
    }
}

#[tokio::test]
async fn guard_2_at_ebs_a_newer_backup_that_ended_in_an_error_does_not_count() {
    for daemon in convoys(&["vol1"]) {
        let (first, second) = {
            let guards = guards(&daemon);
            (back_up(&guards, "vol1").await, back_up(&guards, "vol1").await)
        };
        daemon.set_ebs_state(second.backup(), "error");
        let guards = guards(&daemon);
        let listed = guards.backups(&ebs(), Some(&name("vol1"))).await.unwrap();
        assert_eq!((listed[0].is_complete(), listed[1].is_complete()), (false, true));
        let error = guards.delete_backup(&first, Even::default()).await.unwrap_err();
        assert!(error.message.contains("newest good backup"), "{error}");
    }
}

#[tokio::test]
async fn guard_1_at_ebs_a_list_does_not_prove_a_backup_complete() {
    for daemon in convoys(&["vol1"]) {
        let guards = guards(&daemon);
        let snapshot = guards.create_snapshot(&name("vol1")).await.unwrap();
        daemon.set_ebs_state("snap-1", "pending");
        daemon.fault("backup", Fault::Fails(timeout()));
        let error = guards.create_backup(&name(&snapshot.name), &ebs()).await.unwrap_err();
        assert!(error.message.contains("neither inspected nor listed"), "{error}");
    }
}

#[tokio::test]
async fn what_is_known_of_an_ebs_backup_names_its_volume_and_the_time_of_its_snapshot() {
    let daemon = Arc::new(MemoryDaemon::ebs(&["vol1"]));
    let made = guards(&daemon);
    let first = back_up(&made, "vol1").await;
    back_up(&made, "vol1").await;
    let inspected = guards(&daemon);
    inspected.delete_backup(&first, Even::default()).await.unwrap();
    for guards in [made, inspected] {
        let good = guards.observed().into_iter().find_map(|observation| match observation {
            Observation::BackupGood { volume, snapshot_time, .. } => Some((volume, snapshot_time)),
            _ => None,
        });
        let (volume, snapshot_time) = good.unwrap();
        assert!(volume == "vol1" && snapshot_time.is_some(), "{volume} {snapshot_time:?}");
    }
}

#[tokio::test]
async fn a_snapshot_that_convoy_calls_removed_while_amazon_refuses_to_answer_is_not_forgotten() {
    for daemon in convoys(&["vol1"]) {
        let guards = guards(&daemon);
        let snapshot = guards.create_snapshot(&name("vol1")).await.unwrap();
        daemon.refuse_looks_at_snapshots(1);
        let error = guards.delete_snapshot(&name(&snapshot.name)).await.unwrap_err();
        assert!(error.message.contains("at EBS it is a backup"), "{error}");
        assert_eq!(daemon.snapshot_names("vol1"), [snapshot.name]);
    }
}
