//! Guards 4 and 5: work on one backup harms no other backup.

use super::*;

#[tokio::test]
async fn guard_4_on_one_destination_a_deletion_waits_for_a_backup_and_the_other_way_round() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    let other_process = locks(bench.folder.path());

    let backing_up = other_process.acquire(&vfs().key(), Sharing::Shared).await.unwrap();
    assert_eq!(
        bench.guards.delete_backup(&old, Even::default()).await.unwrap_err().kind,
        ErrorKind::Busy
    );
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

    // Another run, possibly in another process. The lock is free, but the daemon may still be
    // working.
    let error = bench.another_run().delete_backup(&old, Even::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy);
    assert!(error.message.contains(&snapshot.name), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
    // The backup appears in the list.
    bench.daemon.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    bench.another_run().delete_backup(&old, Even::default()).await.unwrap();
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

    // The second backup would pass for the first one, and deletions would be allowed while the
    // first goes on.
    let error = bench.another_run().create_backup(&name(&snapshot.name), &vfs()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Busy, "{error}");
    assert!(error.hint.unwrap().contains("--create-snapshot"));
    bench.back_up("vol1", &vfs()).await.unwrap();
    assert_eq!(
        bench.another_run().delete_backup(&old, Even::default()).await.unwrap_err().kind,
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
    run.delete_backup(&old, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_4_a_deletion_whose_end_was_not_seen_keeps_backups_away_for_an_hour() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("delete_backup", Fault::HappensThenTimesOut);
    bench.guards.delete_backup(&old, Even::default()).await.unwrap();
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
            busy(bench.another_run().delete_backup(&old["vol1"], Even::default()).await),
            "{destination}"
        );
        let of_the_longer_name =
            bench.another_run().delete_backup(&old["vol10"], Even::default()).await;
        if by_prefix {
            assert!(busy(of_the_longer_name))
        } else {
            of_the_longer_name.unwrap()
        }
        bench.another_run().delete_backup(&old["other"], Even::default()).await.unwrap();
    }
    for (destination, by_prefix) in [(vfs(), false), (s3(), true)] {
        let bench = bench(&["vol1", "vol10", "other"]);
        let old = bench.back_up("vol10", &destination).await.unwrap();
        bench.back_up("vol10", &destination).await.unwrap();
        bench.daemon.fault("delete_backup", Fault::HappensThenTimesOut);
        bench.guards.delete_backup(&old, Even::default()).await.unwrap();
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

    // If the lock can't be taken, deletions stop, because they could conflict with another host's
    // backup. Backups continue.
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    let error = bench.guards.delete_backup(&old, Even::default()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Io, "{error}");
    assert!(error.hint.unwrap().contains(DESTINATION_LOCK));
    bench.back_up("vol1", &destination).await.unwrap();
    assert_eq!(bench.daemon.backup_names().len(), 3);
    std::fs::remove_dir(&lock).unwrap();
    bench.guards.delete_backup(&old, Even::default()).await.unwrap();
}
