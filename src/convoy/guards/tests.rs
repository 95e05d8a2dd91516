//! Each guard, with a test in which, without it, data would be lost.

use std::path::Path;

use super::*;
use crate::convoy::{
    Backup, NewVolume, Snapshot,
    memory::{Fault, MemoryDaemon},
};

struct Bench {
    daemon: Arc<MemoryDaemon>,
    guards: Guards,
    folder: tempfile::TempDir,
}

fn bench(volumes: &[&str]) -> Bench {
    let daemon = Arc::new(MemoryDaemon::with_volumes(volumes));
    let folder = tempfile::tempdir().unwrap();
    let guards = Guards {
        look_every: Duration::ZERO,
        ..Guards::new(daemon.clone(), Some(locks(folder.path())), clock())
    };
    Bench { daemon, guards, folder }
}

fn locks(folder: &Path) -> Locks {
    Locks::new(folder, Duration::ZERO, "a test")
}

/// Where the daemon in memory has its clock.
fn clock() -> Arc<dyn Clock> {
    at("2026-01-01T00:00:00Z")
}

fn at(time: &str) -> Arc<dyn Clock> {
    Arc::new(crate::clock::FixedClock::new(time.parse().unwrap(), jiff::tz::TimeZone::UTC))
}

fn vfs() -> Destination {
    Destination::parse("vfs:///backups").unwrap()
}

fn s3() -> Destination {
    Destination::parse("s3://bucket@us-east-1/host1").unwrap()
}

fn name(text: &str) -> Name {
    Name::volume(text).unwrap()
}

fn timeout() -> Error {
    Error::new(ErrorKind::Timeout, "no answer")
}

fn denied() -> Error {
    Error::new(ErrorKind::Daemon, "AccessDenied").with_status(400)
}

impl Bench {
    /// Snapshot and backup, as a script would.
    async fn back_up(&self, volume: &str, destination: &Destination) -> Result<BackupUrl> {
        let snapshot = self.guards.create_snapshot(&name(volume)).await?;
        self.guards.create_backup(&name(&snapshot.name), destination).await
    }

    /// Another run over the same daemon.
    fn another_run(&self) -> Guards {
        Guards::new(self.daemon.clone(), Some(locks(self.folder.path())), clock())
    }
}

#[tokio::test]
async fn guard_1_a_backup_that_is_only_said_to_be_done_lets_nothing_older_go() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    let old_snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    bench.daemon.fault("create_backup", Fault::AnswersSuccessOnly);
    let error = bench.back_up("vol1", &vfs()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Guard);
    assert!(error.message.contains("can't be inspected"), "{error}");

    let refused = bench.guards.delete_backup(&old, true).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Guard);
    assert!(bench.guards.delete_snapshot(&name(&old_snapshot)).await.is_err());
    assert!(bench.guards.delete_volume(&name("vol1"), None, true).await.is_err());
    assert_eq!(bench.daemon.backup_names(), [old.backup()]);
    assert!(bench.daemon.snapshot_names("vol1").contains(&old_snapshot));

    // Once one proves good, the older may go.
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.guards.delete_backup(&old, false).await.unwrap();
}

#[tokio::test]
async fn guard_1_a_backup_that_failed_lets_nothing_older_go() {
    let bench = bench(&["vol1", "vol2"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("create_backup", Fault::Fails(denied()));
    assert_eq!(bench.back_up("vol1", &vfs()).await.unwrap_err().message, "AccessDenied");
    assert!(bench.guards.delete_backup(&old, false).await.is_err());
    // Other volumes are not held up by it.
    let other = bench.back_up("vol2", &vfs()).await.unwrap();
    bench.back_up("vol2", &vfs()).await.unwrap();
    bench.guards.delete_backup(&other, false).await.unwrap();
}

#[tokio::test]
async fn guard_2_the_newest_good_backup_stays_unless_the_call_says_otherwise() {
    let bench = bench(&["vol1"]);
    let first = bench.back_up("vol1", &vfs()).await.unwrap();
    let second = bench.back_up("vol1", &vfs()).await.unwrap();
    let run = bench.another_run();
    let error = run.delete_backup(&second, false).await.unwrap_err();
    assert!(error.message.contains("newest good backup"), "{error}");
    run.delete_backup(&first, false).await.unwrap();
    assert!(run.delete_backup(&second, false).await.is_err());
    assert_eq!(bench.daemon.backup_names(), [second.backup()]);
    run.delete_backup(&second, true).await.unwrap();
    assert!(bench.daemon.backup_names().is_empty());
}

#[tokio::test]
async fn guard_2_a_newer_backup_that_is_broken_does_not_count() {
    let bench = bench(&["vol1"]);
    let good = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let run = bench.another_run();
    bench.daemon.fault("backup", Fault::Fails(denied()));
    let error = run.delete_backup(&good, false).await.unwrap_err();
    assert!(error.message.contains("newest good backup"), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_2_while_the_newest_cannot_be_inspected_it_is_not_deleted_either() {
    let bench = bench(&["vol1"]);
    let oldest = bench.back_up("vol1", &s3()).await.unwrap();
    bench.back_up("vol1", &s3()).await.unwrap();
    let newest = bench.back_up("vol1", &s3()).await.unwrap();
    let network = Error::new(ErrorKind::Daemon, "AWS Error: RequestError send request failed")
        .with_status(400);
    bench.daemon.fault("backup", Fault::Fails(network));
    let error = bench.another_run().delete_backup(&newest, false).await.unwrap_err();
    assert!(error.message.contains("newer than the newest one that can be inspected"), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 3);
    bench.another_run().delete_backup(&oldest, false).await.unwrap();
}

#[tokio::test]
async fn guard_2_the_backup_of_a_volume_that_had_the_same_name_does_not_count() {
    let bench = bench(&["vol1"]);
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.guards.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
    bench.daemon.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
    let error =
        bench.another_run().delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
    assert!(error.message.contains("no good backup of it"), "{error}");
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.guards.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
}

#[tokio::test]
async fn guard_2_the_backup_of_another_hosts_volume_of_the_same_name_does_not_count() {
    let bench = bench(&["vol1"]);
    let other = Arc::new(bench.daemon.another_host(&["vol1"]));
    let there = Bench {
        guards: Guards::new(other.clone(), None, clock()),
        daemon: other,
        folder: tempfile::tempdir().unwrap(),
    };
    let ours = bench.back_up("vol1", &vfs()).await.unwrap();
    let theirs = there.back_up("vol1", &vfs()).await.unwrap();
    // Neither is the newest of the other's, in either order of time, and whoever asks.
    for url in [&ours, &theirs] {
        for run in [bench.another_run(), there.another_run()] {
            let error = run.delete_backup(url, false).await.unwrap_err();
            assert!(error.message.contains("newest good backup"), "{error}");
        }
    }
    let by_volume = bench.guards.backups_by_volume(&vfs(), &name("vol1")).await.unwrap();
    assert_eq!(by_volume.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);

    // An older one of ours goes once there is a newer one of ours, and then the volume.
    bench.back_up("vol1", &vfs()).await.unwrap();
    for snapshot in bench.daemon.snapshot_names("vol1").iter().take(1) {
        bench.guards.delete_snapshot(&name(snapshot)).await.unwrap();
    }
    bench.another_run().delete_backup(&ours, false).await.unwrap();
    assert_eq!(bench.daemon.backup_names().len(), 2);
    bench.another_run().delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
    // Theirs is not safe by ours.
    there.guards.delete_backup(&theirs, true).await.unwrap();
    let error =
        there.another_run().delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
    assert!(error.message.contains("no good backup of it"), "{error}");
}

#[tokio::test]
async fn guard_2_where_no_snapshot_is_left_to_tell_a_backup_is_not_taken_for_the_volumes_own() {
    let bench = bench(&["vol1"]);
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    bench.guards.delete_snapshot(&name(&snapshot)).await.unwrap();
    let error =
        bench.another_run().delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
    assert!(error.message.contains("surely its own"), "{error}");
    let hint = error.hint.unwrap();
    assert!(hint.contains("--all") && hint.contains("backups --volume vol1"), "{hint}");
    bench.another_run().delete_volume(&name("vol1"), Some(&vfs()), true).await.unwrap();
}

#[tokio::test]
async fn guard_2_the_snapshots_of_a_volume_that_was_forgotten_do_not_go_with_the_one_that_got_its_name()
 {
    let bench = bench(&["vol1"]);
    let former = bench.guards.create_snapshot(&name("vol1")).await.unwrap().name;
    bench.guards.forget_volume(&name("vol1")).await.unwrap();
    bench.guards.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    assert_eq!(bench.daemon.snapshot_names("vol1").len(), 2);
    let error = bench.guards.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
    assert!(error.message.contains(&former) && error.message.contains("older than it"), "{error}");
    bench.guards.delete_volume(&name("vol1"), Some(&vfs()), true).await.unwrap();
}

#[tokio::test]
async fn guard_2_a_volume_without_a_good_backup_is_not_deleted() {
    let bench = bench(&["vol1"]);
    for destination in [None, Some(&vfs())] {
        let error =
            bench.guards.delete_volume(&name("vol1"), destination, false).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Guard, "{error}");
    }
    assert!(bench.daemon.writes().is_empty());
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.guards.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
}

#[tokio::test]
async fn guard_3_a_list_that_fails_stops_every_deletion_of_the_run() {
    let bench = bench(&["vol1", "vol2"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("backups", Fault::Fails(denied()));
    assert!(bench.guards.backups(&vfs(), None).await.is_err());
    let error = bench.guards.delete_backup(&old, false).await.unwrap_err();
    assert!(error.message.contains("AccessDenied"), "{error}");
    assert!(bench.guards.delete_volume(&name("vol2"), None, true).await.is_err());
    assert_eq!(bench.daemon.backup_names().len(), 2);
    bench.another_run().delete_backup(&old, false).await.unwrap();
}

#[tokio::test]
async fn guard_3_a_list_that_lacks_the_backup_just_made_stops_every_deletion_of_the_run() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("backups", Fault::AnswersSuccessOnly);
    assert!(bench.guards.backups(&vfs(), None).await.unwrap().is_empty());
    let error = bench.guards.delete_backup(&old, true).await.unwrap_err();
    assert!(error.message.contains("lacks"), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_3_an_empty_list_of_volumes_is_not_believed_where_the_driver_has_some() {
    let bench = bench(&["vol1"]);
    bench.daemon.fault("volumes", Fault::AnswersSuccessOnly);
    let error = bench.guards.volumes().await.unwrap_err();
    assert!(error.message.contains("lists no volumes"), "{error}");
    assert!(bench.guards.delete_volume(&name("vol1"), None, true).await.is_err());
    assert!(bench.guards.volumes().await.is_ok());
}

#[tokio::test]
async fn guard_3_never_backed_up_is_believed_only_where_the_whole_destination_says_so() {
    let bench = bench(&["vol1"]);
    assert_eq!(bench.guards.backups(&vfs(), Some(&name("vol1"))).await.unwrap(), []);
    let denied_in_the_same_words =
        Error::new(ErrorKind::NotFound, "cannot find vo/l1/vol1/volume.cfg in objectstore")
            .with_status(400);
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("backups", Fault::Fails(denied_in_the_same_words));
    assert!(bench.guards.backups(&vfs(), Some(&name("vol1"))).await.is_err());
    assert!(bench.guards.delete_volume(&name("vol1"), None, true).await.is_err());
}

#[tokio::test]
async fn guard_4_on_one_destination_a_deletion_waits_for_a_backup_and_the_other_way_round() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    let other_process = locks(bench.folder.path());

    let backing_up = other_process.acquire(&vfs().key(), Sharing::Shared).await.unwrap();
    assert_eq!(bench.guards.delete_backup(&old, false).await.unwrap_err().kind, ErrorKind::Busy);
    bench.guards.create_backup(&name(&snapshot), &vfs()).await.unwrap();
    drop(backing_up);
    let deleting = other_process.acquire(&vfs().key(), Sharing::Exclusive).await.unwrap();
    assert_eq!(
        bench.guards.create_backup(&name(&snapshot), &vfs()).await.unwrap_err().kind,
        ErrorKind::Busy
    );
    bench.guards.create_backup(&name(&snapshot), &s3()).await.unwrap();
    drop(deleting);
    assert_eq!(
        bench.daemon.writes().iter().filter(|call| call.starts_with("delete_backup")).count(),
        0
    );
}

#[tokio::test]
async fn guard_4_a_backup_that_was_cut_off_and_may_still_go_on_stops_deletions_until_it_is_seen() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    bench.daemon.fault("create_backup", Fault::Fails(timeout()));
    bench.guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap_err();

    // Another run, in another process perhaps: the lock is free, the daemon may not be.
    let error = bench.another_run().delete_backup(&old, false).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains(&snapshot.name), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
    // Now it appears.
    bench.daemon.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    bench.another_run().delete_backup(&old, false).await.unwrap();
    bench.another_run().create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    assert!(
        std::fs::read_dir(bench.folder.path().join("unfinished")).unwrap().next().is_none(),
        "no note is left"
    );
}

#[tokio::test]
async fn guard_4_while_a_backup_may_still_go_on_its_snapshot_is_not_backed_up_again() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    bench.daemon.fault("create_backup", Fault::Fails(timeout()));
    bench.guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap_err();

    // The second one would be taken for the first one, and deletions let in while that goes on.
    let error = bench.another_run().create_backup(&name(&snapshot.name), &vfs()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(error.hint.unwrap().contains("--create-snapshot"));
    bench.back_up("vol1", &vfs()).await.unwrap();
    assert_eq!(
        bench.another_run().delete_backup(&old, false).await.unwrap_err().kind,
        ErrorKind::Busy
    );
}

#[tokio::test]
async fn guard_4_a_backup_that_never_appeared_is_given_up_after_a_day() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    bench.daemon.fault("create_backup", Fault::Fails(timeout()));
    bench.guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap_err();
    let tomorrow = at("2026-01-02T01:00:00Z");
    let run = Guards::new(bench.daemon.clone(), Some(locks(bench.folder.path())), tomorrow);
    run.delete_backup(&old, false).await.unwrap();
}

#[tokio::test]
async fn guard_4_a_deletion_whose_end_was_not_seen_keeps_backups_away_for_an_hour() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("delete_backup", Fault::HappensThenTimesOut);
    bench.guards.delete_backup(&old, false).await.unwrap();
    assert_eq!(bench.back_up("vol1", &vfs()).await.unwrap_err().kind, ErrorKind::Busy);
    bench.back_up("vol1", &s3()).await.unwrap();
    let later = Guards::new(
        bench.daemon.clone(),
        Some(locks(bench.folder.path())),
        at("2026-01-01T01:00:01Z"),
    );
    let snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    later.create_backup(&name(&snapshot), &vfs()).await.unwrap();
}

#[tokio::test]
async fn guard_4_what_was_cut_off_holds_up_only_its_own_volume_and_on_s3_those_that_share_its_prefix()
 {
    for (destination, by_prefix) in [(vfs(), false), (s3(), true)] {
        let bench = bench(&["vol1", "vol10", "other"]);
        let mut old = BTreeMap::new();
        for volume in ["vol1", "vol10", "other"] {
            old.insert(volume, bench.back_up(volume, &destination).await.unwrap());
            bench.back_up(volume, &destination).await.unwrap();
        }
        bench.daemon.fault("create_backup", Fault::Fails(timeout()));
        bench.back_up("vol1", &destination).await.unwrap_err();
        let busy = |result: Result<()>| result.is_err_and(|error| error.kind == ErrorKind::Busy);
        assert!(
            busy(bench.another_run().delete_backup(&old["vol1"], false).await),
            "{destination}"
        );
        let of_the_longer_name = bench.another_run().delete_backup(&old["vol10"], false).await;
        if by_prefix {
            assert!(busy(of_the_longer_name))
        } else {
            of_the_longer_name.unwrap()
        }
        bench.another_run().delete_backup(&old["other"], false).await.unwrap();
    }
    for (destination, by_prefix) in [(vfs(), false), (s3(), true)] {
        let bench = bench(&["vol1", "vol10", "other"]);
        let old = bench.back_up("vol10", &destination).await.unwrap();
        bench.back_up("vol10", &destination).await.unwrap();
        bench.daemon.fault("delete_backup", Fault::HappensThenTimesOut);
        bench.guards.delete_backup(&old, false).await.unwrap();
        for (volume, held_up) in [("vol10", true), ("vol1", by_prefix), ("other", false)] {
            let made = bench.back_up(volume, &destination).await;
            if held_up {
                assert_eq!(made.unwrap_err().kind, ErrorKind::Busy, "{volume} at {destination}");
            } else {
                made.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn guard_4_the_lock_in_a_destination_is_open_to_the_users_of_other_hosts_and_no_deletion_goes_without_it()
 {
    use std::os::unix::fs::PermissionsExt;
    let (bench, share) = (bench(&["vol1"]), tempfile::tempdir().unwrap());
    std::fs::create_dir(share.path().join("convoy-objectstore")).unwrap();
    let destination = Destination::parse(&format!("vfs://{}", share.path().display())).unwrap();
    let old = bench.back_up("vol1", &destination).await.unwrap();
    bench.back_up("vol1", &destination).await.unwrap();
    let lock = share.path().join(DESTINATION_LOCK);
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o666);

    // One that can't be taken stops deletions, which could get in the way of another host's backup;
    // it does not stop backups.
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    let error = bench.guards.delete_backup(&old, false).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io, "{error}");
    assert!(error.hint.unwrap().contains(DESTINATION_LOCK));
    bench.back_up("vol1", &destination).await.unwrap();
    assert_eq!(bench.daemon.backup_names().len(), 3);
    std::fs::remove_dir(&lock).unwrap();
    bench.guards.delete_backup(&old, false).await.unwrap();
}

#[tokio::test]
async fn guard_5_the_last_backup_on_s3_stays_while_another_volume_begins_with_its_name() {
    let bench = bench(&["vol1", "vol10"]);
    let short = bench.back_up("vol1", &s3()).await.unwrap();
    let long = bench.back_up("vol10", &s3()).await.unwrap();
    let error = bench.guards.delete_backup(&short, true).await.unwrap_err();
    assert!(error.message.contains("\"vol10\""), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
    bench.guards.delete_backup(&long, true).await.unwrap();
    bench.guards.delete_backup(&short, true).await.unwrap();
}

#[tokio::test]
async fn guard_6_a_restore_goes_to_a_name_that_nothing_uses() {
    let bench = bench(&["vol1", "vol2"]);
    let url = bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    for taken in ["vol2", snapshot.as_str()] {
        let error = bench
            .guards
            .create_volume(&NewVolume::from_backup(name(taken), url.clone()))
            .await
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::Guard, "{taken}: {error}");
    }
    assert!(!bench.daemon.writes().iter().any(|call| call.starts_with("create_volume")));
    bench.guards.create_volume(&NewVolume::from_backup(name("vol3"), url)).await.unwrap();
}

#[tokio::test]
async fn guard_6_a_restore_that_fails_leaves_no_volume_that_looks_whole() {
    let bench = bench(&["vol1"]);
    let url = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("create_volume", Fault::HappensThenTimesOut);
    let error = bench
        .guards
        .create_volume(&NewVolume::from_backup(name("vol3"), url.clone()))
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.hint.unwrap().contains("may be incomplete"));

    // Somebody else took the name between the look and the call: that volume is not ours to delete.
    let taken = Error::new(ErrorKind::Daemon, "Volume vol5 already exists ").with_status(400);
    bench.daemon.fault("create_volume", Fault::HappensThenFails(taken));
    bench
        .guards
        .create_volume(&NewVolume::from_backup(name("vol5"), url.clone()))
        .await
        .unwrap_err();
    assert!(bench.daemon.volume(&name("vol5")).await.is_ok());

    bench.daemon.fault("create_volume", Fault::HappensThenFails(denied()));
    let error =
        bench.guards.create_volume(&NewVolume::from_backup(name("vol4"), url)).await.unwrap_err();
    assert!(error.message.contains("was deleted"), "{error}");
    assert!(bench.daemon.volume(&name("vol4")).await.is_err());
}

#[tokio::test]
async fn guard_7_snapshots_get_names_that_never_repeat_and_sort_by_time() {
    let bench = bench(&["vol1"]);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(bench.guards.create_snapshot(&name("vol1")).await.unwrap().name);
    }
    let mut sorted = made.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted, made);
}

#[tokio::test]
async fn guard_8_a_timeout_is_followed_by_a_look_and_never_by_the_same_write() {
    let bench = bench(&["vol1"]);
    bench.daemon.fault("create_snapshot", Fault::HappensThenTimesOut);
    let snapshot: Snapshot = bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    let before = bench.guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    bench.daemon.fault("create_backup", Fault::HappensThenTimesOut);
    let url = bench.guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    assert_eq!(bench.daemon.backup_names(), [before.backup(), url.backup()]);
    bench.daemon.fault("delete_backup", Fault::HappensThenTimesOut);
    bench.guards.delete_backup(&url, true).await.unwrap();
    bench.daemon.fault("delete_snapshot", Fault::HappensThenTimesOut);
    bench.guards.delete_snapshot(&name(&snapshot.name)).await.unwrap();
    bench.daemon.fault("delete_volume", Fault::HappensThenTimesOut);
    bench.guards.delete_volume(&name("vol1"), None, true).await.unwrap();
    assert_eq!(bench.daemon.writes().len(), 6, "{:?}", bench.daemon.writes());
}

#[tokio::test]
async fn guard_8_an_older_backup_of_the_same_snapshot_is_not_taken_for_the_one_that_timed_out() {
    let bench = bench(&["vol1"]);
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    let later = Guards::new(
        bench.daemon.clone(),
        Some(locks(bench.folder.path())),
        at("2026-01-01T12:00:00Z"),
    );
    bench.daemon.fault("create_backup", Fault::Fails(timeout()));
    assert_eq!(
        later.create_backup(&name(&snapshot), &vfs()).await.unwrap_err().kind,
        ErrorKind::Timeout
    );
}

#[tokio::test]
async fn guard_8_at_ebs_a_backup_that_timed_out_is_found_though_its_snapshot_is_older() {
    let daemon = Arc::new(MemoryDaemon::ebs(&["vol1"]));
    let destination = Destination::parse("ebs://us-east-1/").unwrap();
    let snapshot =
        Guards::new(daemon.clone(), None, clock()).create_snapshot(&name("vol1")).await.unwrap();
    let later = Guards::new(daemon.clone(), None, at("2026-01-01T12:00:00Z"));
    daemon.fault("create_backup", Fault::HappensThenTimesOut);
    let url = later.create_backup(&name(&snapshot.name), &destination).await.unwrap();
    assert_eq!(url.backup(), "snap-1");
}

#[tokio::test]
async fn guard_8_what_is_not_there_after_a_timeout_is_an_error_and_not_repeated() {
    let bench = bench(&["vol1"]);
    bench.daemon.fault("create_snapshot", Fault::Fails(timeout()));
    let error = bench.guards.create_snapshot(&name("vol1")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Timeout);
    let snapshot = bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    bench.daemon.fault("create_backup", Fault::Fails(timeout()));
    let error = bench.guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap_err();
    assert!(error.hint.unwrap().contains(&snapshot.name));
    assert_eq!(bench.daemon.writes().len(), 3, "{:?}", bench.daemon.writes());
}

#[tokio::test]
async fn guard_9_a_dry_run_passes_the_same_guards_and_writes_nothing() {
    let bench = bench(&["vol1"]);
    let real = bench.back_up("vol1", &vfs()).await.unwrap();
    let writes = bench.daemon.writes();
    let dry = Arc::new(crate::convoy::dry_run::DryRun::new(bench.daemon.clone(), clock()));
    let guards = Guards::new(dry.clone(), None, clock());
    assert!(guards.delete_backup(&real, false).await.is_err());
    let snapshot = guards.create_snapshot(&name("vol1")).await.unwrap();
    guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    guards.delete_backup(&real, false).await.unwrap();
    assert_eq!(dry.plan().len(), 3);
    assert_eq!(bench.daemon.writes(), writes);
}

#[tokio::test]
async fn at_ebs_the_snapshots_are_the_backups_and_all_guards_hold_for_them() {
    let daemon = Arc::new(MemoryDaemon::ebs(&["vol1", "vol2"]));
    let guards = Guards::new(daemon.clone(), None, clock());
    let destination = Destination::parse("ebs://us-east-1/").unwrap();
    let first = guards.create_snapshot(&name("vol1")).await.unwrap();
    let first_url = guards.create_backup(&name(&first.name), &destination).await.unwrap();
    let second = guards.create_snapshot(&name("vol1")).await.unwrap();
    let second_url = guards.create_backup(&name(&second.name), &destination).await.unwrap();
    guards.create_snapshot(&name("vol2")).await.unwrap();

    let listed = guards.backups(&destination, Some(&name("vol1"))).await.unwrap();
    assert_eq!(
        listed.iter().map(|backup| backup.url().unwrap()).collect::<Vec<_>>(),
        [second_url.clone(), first_url.clone()]
    );
    assert_eq!(guards.backups(&destination, None).await.unwrap().len(), 3);
    assert!(
        guards
            .delete_backup(&second_url, false)
            .await
            .unwrap_err()
            .message
            .contains("newest good backup")
    );
    // Convoy would forget the snapshot, and the AWS snapshot would cost money in no list.
    assert!(
        guards
            .delete_snapshot(&name(&first.name))
            .await
            .unwrap_err()
            .message
            .contains("at EBS it is a backup")
    );
    guards.delete_backup(&first_url, false).await.unwrap();
    guards.delete_snapshot(&name(&first.name)).await.unwrap();
    assert_eq!(guards.backups(&destination, Some(&name("vol1"))).await.unwrap().len(), 1);
}

#[test]
fn an_ebs_backup_that_is_still_pending_is_not_complete() {
    let fields = [("State".to_owned(), "pending".to_owned())];
    assert!(!Backup::new(fields.into()).is_complete());
}

#[tokio::test]
async fn who_said_to_only_read_can_write_nothing() {
    let bench = bench(&["vol1"]);
    let url = bench.back_up("vol1", &vfs()).await.unwrap();
    let before = bench.daemon.writes().len();
    let snapshot = bench
        .daemon
        .volume(&name("vol1"))
        .await
        .unwrap()
        .snapshots
        .unwrap()
        .into_keys()
        .next()
        .unwrap();
    let snapshot = name(&snapshot);
    let guards = Guards::read_only(bench.daemon.clone(), clock());
    let vol1 = &name("vol1");
    let refused = [
        ("mount a volume", guards.mount_volume(vol1, None).await.map(drop)),
        ("unmount a volume", guards.unmount_volume(vol1).await),
        ("create a volume", guards.create_volume(&NewVolume::named(name("vol2"))).await.map(drop)),
        ("delete a volume", guards.delete_volume(vol1, None, true).await),
        ("forget a volume", guards.forget_volume(vol1).await),
        ("take a snapshot", guards.create_snapshot(vol1).await.map(drop)),
        ("delete a snapshot", guards.delete_snapshot(&snapshot).await),
        ("make a backup", guards.create_backup(&snapshot, &vfs()).await.map(drop)),
        ("delete a backup", guards.delete_backup(&url, true).await),
    ];
    for (what, result) in refused {
        let error = result.unwrap_err();
        assert!(error.kind == ErrorKind::Script && error.message.contains(what), "{what}: {error}");
    }
    assert_eq!(bench.daemon.writes().len(), before);
    assert_eq!(guards.backups(&vfs(), Some(vol1)).await.unwrap().len(), 1);
}
