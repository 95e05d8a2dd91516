//! The lists by which backups are deleted: one for many deletions, and as safe as one for each.

use super::*;
use crate::convoy::dry_run::DryRun;

/// A run over the daemon that has made so many backups of `vol1`, and their URLs, oldest first.
async fn with_backups(count: usize, at: &Destination) -> (Bench, Vec<BackupUrl>) {
    let bench = bench(&["vol1"]);
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(bench.back_up("vol1", at).await.unwrap());
    }
    (bench, made)
}

fn lists(daemon: &MemoryDaemon) -> usize {
    daemon.calls().iter().filter(|call| call.starts_with("backups ")).count()
}

#[tokio::test]
async fn the_lists_of_a_run_do_not_grow_with_its_deletions() {
    for at in [vfs(), s3()] {
        for even in [Even::default(), THE_NEWEST] {
            let mut counted = Vec::new();
            for count in [3, 12] {
                let (bench, made) = with_backups(count, &at).await;
                let before = lists(&bench.daemon);
                let run = bench.another_run();
                for url in &made[..count - 1] {
                    run.delete_backup(url, even).await.unwrap();
                }
                assert_eq!(bench.daemon.backup_names().len(), 1);
                counted.push(lists(&bench.daemon) - before);
            }
            assert_eq!(counted, [1, 1], "{at} {even:?}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_neither_lists_nor_inspects_for_each_deletion() {
    let mut counted = Vec::new();
    for count in [3, 12] {
        let (bench, made) = with_backups(count, &vfs()).await;
        let before = bench.daemon.calls().len();
        let dry = Arc::new(DryRun::new(bench.daemon.clone(), clock()));
        let run = Guards::new(dry.clone(), None, clock()).knowing(bench.daemon.clone());
        for url in &made[..count - 1] {
            run.delete_backup(url, Even::default()).await.unwrap();
        }
        assert_eq!(dry.plan().len(), count - 1);
        let again = run.delete_backup(&made[0], Even::default()).await.unwrap_err();
        assert_eq!(again.kind, ErrorKind::NotFound);
        counted.push(bench.daemon.calls().len() - before);
    }
    assert_eq!(counted[0], counted[1]);
}

#[tokio::test]
async fn guard_2_a_backup_that_becomes_the_newest_between_two_deletions_stays() {
    for (at, is_of_0_1_0) in [(vfs(), false), (s3(), false), (vfs(), true)] {
        let (bench, made) = with_backups(4, &at).await;
        if is_of_0_1_0 {
            bench.daemon.lock_destinations_as_0_1_0();
        }
        let run = bench.another_run();
        run.delete_backup(&made[0], Even::default()).await.unwrap();
        // Another host deletes the newest one, as by "remove --all".
        bench.daemon.delete_backup(&made[3], &[]).await.unwrap();
        let refused = run.delete_backup(&made[2], Even::default()).await.unwrap_err();
        assert!(refused.message.contains("it is the volume's newest good backup"), "{refused}");
        run.delete_backup(&made[1], Even::default()).await.unwrap();
        assert_eq!(bench.daemon.backup_names(), [made[2].backup()]);
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_read_anew_ends_the_deletions() {
    let (bench, made) = with_backups(4, &vfs()).await;
    let run = bench.another_run();
    run.delete_backup(&made[0], Even::default()).await.unwrap();
    bench.daemon.fault("backup", Fault::Fails(denied()));
    bench.daemon.fault("backups", Fault::Fails(denied()));
    run.delete_backup(&made[1], Even::default()).await.unwrap_err();
    let refused = run.delete_backup(&made[1], Even::default()).await.unwrap_err();
    assert!(refused.message.contains("a list of backups failed"), "{refused}");
    assert_eq!(bench.daemon.backup_names().len(), 3);
}

#[tokio::test]
async fn what_the_run_makes_between_two_deletions_counts() {
    let (bench, made) = with_backups(3, &vfs()).await;
    bench.guards.delete_backup(&made[0], Even::default()).await.unwrap();
    bench.guards.delete_backup(&made[2], Even::default()).await.unwrap_err();
    let newest = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.guards.delete_backup(&made[2], Even::default()).await.unwrap();
    let gone = bench.guards.delete_backup(&made[2], Even::default()).await.unwrap_err();
    assert_eq!(gone.kind, ErrorKind::NotFound);
    assert_eq!(bench.daemon.backup_names(), [made[1].backup(), newest.backup()]);
}

#[tokio::test]
async fn guard_5_counts_what_others_have_deleted_since_the_list() {
    let daemon = MemoryDaemon::with_volumes(&["vol1", "vol10"]).with_driver("devicemapper");
    let bench = Bench { daemon: Arc::new(daemon), ..bench(&[]) };
    let bench = Bench { guards: bench.another_run(), ..bench };
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(bench.back_up("vol1", &s3()).await.unwrap());
    }
    bench.back_up("vol10", &s3()).await.unwrap();
    let run = bench.another_run();
    run.delete_backup(&made[0], THE_NEWEST).await.unwrap();
    bench.daemon.delete_backup(&made[1], &[]).await.unwrap();
    let refused = run.delete_backup(&made[2], THE_NEWEST).await.unwrap_err();
    assert!(refused.message.contains("\"vol10\""), "{refused}");
}
