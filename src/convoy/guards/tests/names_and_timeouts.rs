//! Guards 6, 7 and 8: names that are free, and writes that timed out.

use super::*;

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

    // Another client took the name between the check and the call. That volume must not be deleted.
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
    bench.guards.delete_backup(&url, THE_NEWEST).await.unwrap();
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
