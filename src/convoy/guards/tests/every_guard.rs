//! What holds for all guards: dry runs, EBS, and runs that only read.

use super::*;
use crate::convoy::guards::Deletable;

#[tokio::test]
async fn guard_9_a_dry_run_passes_the_same_guards_and_writes_nothing() {
    let bench = bench(&["vol1"]);
    let real = bench.back_up("vol1", &vfs()).await.unwrap();
    let writes = bench.daemon.writes();
    let later = || at("2026-01-01T00:10:00Z");
    let dry = Arc::new(crate::convoy::dry_run::DryRun::new(bench.daemon.clone(), later()));
    let guards = Guards::new(dry.clone(), None, later());
    assert!(guards.delete_backup(&real, Even::default()).await.is_err());
    let snapshot = guards.create_snapshot(&name("vol1")).await.unwrap();
    guards.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    guards.delete_backup(&real, Even::default()).await.unwrap();
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
            .delete_backup(&second_url, Even::default())
            .await
            .unwrap_err()
            .message
            .contains("newest good backup")
    );
    // Convoy would only forget the snapshot. The AWS snapshot would cost money without appearing in
    // any list.
    assert!(
        guards
            .delete_snapshot(&name(&first.name))
            .await
            .unwrap_err()
            .message
            .contains("at EBS it is a backup")
    );
    guards.delete_backup(&first_url, Even::default()).await.unwrap();
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
        ("delete a backup", guards.delete_backup(&url, THE_NEWEST).await),
        ("give back space", guards.give_back(&vfs()).await.map(drop)),
    ];
    for (what, result) in refused {
        let error = result.unwrap_err();
        assert!(error.kind == ErrorKind::Script && error.message.contains(what), "{what}: {error}");
    }
    assert_eq!(bench.daemon.writes().len(), before);
    assert_eq!(guards.backups(&vfs(), Some(vol1)).await.unwrap().len(), 1);

    // A script that declares "backup" may replace snapshots, one that declares "snapshot" not even
    // those.
    let guards =
        |deletable| Guards::new(bench.daemon.clone(), None, clock()).deleting_only(deletable);
    let backing_up = guards(Deletable::Snapshots);
    for result in [
        backing_up.delete_volume(vol1, None, true).await,
        backing_up.forget_volume(vol1).await,
        backing_up.delete_backup(&url, THE_NEWEST).await,
        guards(Deletable::Nothing).delete_snapshot(&snapshot).await,
    ] {
        let error = result.unwrap_err();
        assert!(error.message.contains("DOES names no deletion"), "{error}");
    }
    assert_eq!(bench.daemon.writes().len(), before);
}
