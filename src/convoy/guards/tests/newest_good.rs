//! Guards 1 and 2: the newest good backup of a volume stays.

use super::*;

#[tokio::test]
async fn guard_1_a_backup_that_is_only_said_to_be_done_lets_nothing_older_go() {
    let bench = bench(&["vol1"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    let old_snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    bench.daemon.fault("create_backup", Fault::AnswersSuccessOnly);
    let error = bench.back_up("vol1", &vfs()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Guard);
    assert!(error.message.contains("can't be inspected"), "{error}");

    let refused = bench.guards.delete_backup(&old, THE_NEWEST).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Guard);
    assert!(bench.guards.delete_snapshot(&name(&old_snapshot)).await.is_err());
    assert!(bench.guards.delete_volume(&name("vol1"), None, true).await.is_err());
    assert_eq!(bench.daemon.backup_names(), [old.backup()]);
    assert!(bench.daemon.snapshot_names("vol1").contains(&old_snapshot));

    // Once a newer backup proves good, the older one may be deleted.
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.guards.delete_backup(&old, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_1_a_backup_that_failed_lets_nothing_older_go() {
    let bench = bench(&["vol1", "vol2"]);
    let old = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.fault("create_backup", Fault::Fails(denied()));
    assert_eq!(bench.back_up("vol1", &vfs()).await.unwrap_err().message, "AccessDenied");
    assert!(bench.guards.delete_backup(&old, Even::default()).await.is_err());
    // Other volumes are not affected.
    let other = bench.back_up("vol2", &vfs()).await.unwrap();
    bench.back_up("vol2", &vfs()).await.unwrap();
    bench.guards.delete_backup(&other, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_2_the_newest_good_backup_stays_unless_the_call_says_otherwise() {
    let bench = bench(&["vol1"]);
    let first = bench.back_up("vol1", &vfs()).await.unwrap();
    let second = bench.back_up("vol1", &vfs()).await.unwrap();
    let run = bench.another_run();
    let error = run.delete_backup(&second, Even::default()).await.unwrap_err();
    assert!(error.message.contains("newest good backup"), "{error}");
    run.delete_backup(&first, Even::default()).await.unwrap();
    assert!(run.delete_backup(&second, Even::default()).await.is_err());
    assert_eq!(bench.daemon.backup_names(), [second.backup()]);
    run.delete_backup(&second, THE_NEWEST).await.unwrap();
    assert!(bench.daemon.backup_names().is_empty());
}

#[tokio::test]
async fn guard_2_a_newer_backup_that_is_broken_does_not_count() {
    let bench = bench(&["vol1"]);
    let good = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.back_up("vol1", &vfs()).await.unwrap();
    let run = bench.another_run();
    bench.daemon.fault("backup", Fault::Fails(denied()));
    let error = run.delete_backup(&good, Even::default()).await.unwrap_err();
    assert!(error.message.contains("newest good backup"), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_1_a_backup_whose_inspection_is_refused_is_not_good_though_it_is_listed() {
    for kind in [ErrorKind::Io, ErrorKind::Busy, ErrorKind::Configuration, ErrorKind::Daemon] {
        let bench = bench(&["vol1"]);
        let refusal = Error::new(kind, "the destination can't be read");
        bench.daemon.fault("backup", Fault::Fails(refusal));
        let error = bench.back_up("vol1", &vfs()).await.unwrap_err();
        assert!(error.message.contains("can't be inspected"), "{kind:?}: {error}");
    }
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
    let error = bench.another_run().delete_backup(&newest, Even::default()).await.unwrap_err();
    assert!(error.message.contains("newer than the newest one that can be inspected"), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 3);
    bench.another_run().delete_backup(&oldest, Even::default()).await.unwrap();
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
    let there = bench.another_host(&["vol1"]);
    let ours = bench.back_up("vol1", &vfs()).await.unwrap();
    let theirs = there.back_up("vol1", &vfs()).await.unwrap();
    // A backup is never judged by the other host's backups, in either order of time and from either
    // host.
    for url in [&ours, &theirs] {
        for run in [bench.another_run(), there.another_run()] {
            let any_host = Even { of_any_host: true, ..Even::default() };
            let error = run.delete_backup(url, any_host).await.unwrap_err();
            assert!(error.message.contains("newest good"), "{error}");
        }
    }
    let by_volume = bench.guards.backups_by_volume(&vfs(), &name("vol1")).await.unwrap();
    assert_eq!(by_volume.iter().map(|group| group.backups.len()).collect::<Vec<_>>(), [1, 1]);

    // An older backup of ours can be deleted once there is a newer one of ours, and then the volume
    // can be.
    bench.back_up("vol1", &vfs()).await.unwrap();
    for snapshot in bench.daemon.snapshot_names("vol1").iter().take(1) {
        bench.guards.delete_snapshot(&name(snapshot)).await.unwrap();
    }
    bench.another_run().delete_backup(&ours, Even::default()).await.unwrap();
    assert_eq!(bench.daemon.backup_names().len(), 2);
    bench.another_run().delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
    // Our backup does not make their volume safe to delete.
    there.guards.delete_backup(&theirs, THE_NEWEST).await.unwrap();
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
    let unknowing = bench.knowing_nothing();
    let error = unknowing.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
    assert!(error.message.contains("surely its own"), "{error}");
    let hint = error.hint.unwrap();
    assert!(hint.contains("--all") && hint.contains("backups --volume vol1"), "{hint}");
    bench.knowing_nothing().delete_volume(&name("vol1"), Some(&vfs()), true).await.unwrap();
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
async fn guard_2_where_nothing_tells_of_changes_an_old_backup_makes_no_deletion_safe() {
    let bench = bench(&["vol1"]);
    bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.see_no_changes();
    let taken = bench.guards.backups(&vfs(), None).await.unwrap()[0].taken().unwrap();
    let minutes_later = |minutes| {
        let now = taken + jiff::SignedDuration::from_mins(minutes);
        Guards::new(bench.daemon.clone(), None, at(&now.to_string())).knowing(bench.daemon.clone())
    };
    // Before the backup: a clock was wrong, and nobody knows for how long.
    for minutes in [61, -10] {
        let guards = minutes_later(minutes);
        let error = guards.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
        assert!(error.message.contains("may have changed, which can't be seen"), "{error}");
        assert!(error.hint.unwrap().contains("--backup-first"));
    }
    let soon = minutes_later(59);
    soon.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
}

#[tokio::test]
async fn guard_2_a_backup_that_is_dated_in_the_future_lets_the_really_newest_not_go() {
    let bench = bench(&["vol1"]);
    let mut backups = Vec::new();
    // A moment with a wrong clock, whose snapshot is gone when the next one is named.
    for (time, name_time) in [
        ("2026-01-01T00:01:00Z", "20260101T000100.000000Z"),
        ("2036-01-01T00:00:00Z", "20360101T000000.000000Z"),
        // The name goes on from 2036.
        ("2026-01-01T00:05:00Z", "20360101T000000.000001Z"),
        ("2026-01-01T00:10:00Z", "20260101T001000.000000Z"),
    ] {
        bench.daemon.set_time(time.parse().unwrap());
        let snapshot = name(&format!("vol1-{name_time}-a1b2c3"));
        bench.daemon.create_snapshot(&name("vol1"), &snapshot).await.unwrap();
        backups.push(bench.guards.create_backup(&snapshot, &vfs()).await.unwrap());
    }
    let [first, future, named_ahead, newest] = backups.try_into().unwrap();

    let run = bench.another_run();
    for kept in [&named_ahead, &newest] {
        let error = run.delete_backup(kept, Even::default()).await.unwrap_err();
        assert!(error.message.contains("newest good backup"), "{error}");
    }
    let volume = run.volume(&name("vol1")).await.unwrap();
    let kept = run.safe_copy(Some(&vfs()), &volume).await.unwrap();
    assert!(kept.url().unwrap().same_backup(&newest));
    run.delete_backup(&first, Even::default()).await.unwrap();
    let left = [future.backup(), named_ahead.backup(), newest.backup()];
    assert_eq!(bench.daemon.backup_names(), left);
}
