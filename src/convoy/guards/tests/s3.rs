//! What Convoy does on S3: guard 5, and the lists of guard 3 that end too early.

use super::*;

/// A bench with Convoy's driver of this name.
fn bench_with(driver: &str, volumes: &[&str]) -> Bench {
    let daemon = Arc::new(MemoryDaemon::with_volumes(volumes).with_driver(driver));
    let folder = tempfile::tempdir().unwrap();
    let guards = Guards::new(daemon.clone(), Some(locks(folder.path())), clock());
    Bench { daemon, guards, folder }
}

#[tokio::test]
async fn guard_5_the_last_backup_on_s3_stays_while_another_volume_begins_with_its_name() {
    for driver in ["devicemapper", "a-driver-of-tomorrow"] {
        let bench = bench_with(driver, &["vol1", "vol10"]);
        let short = bench.back_up("vol1", &s3()).await.unwrap();
        let long = bench.back_up("vol10", &s3()).await.unwrap();
        let error = bench.guards.delete_backup(&short, THE_NEWEST).await.unwrap_err();
        assert!(error.message.contains("\"vol10\""), "{error}");
        assert_eq!(bench.daemon.backup_names().len(), 2);
        bench.guards.delete_backup(&long, THE_NEWEST).await.unwrap();
        bench.guards.delete_backup(&short, THE_NEWEST).await.unwrap();
    }
}

#[tokio::test]
async fn guard_5_lets_go_all_but_the_last_beside_another_volume_that_begins_with_its_name() {
    let bench = bench_with("devicemapper", &["vol1", "vol10"]);
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(bench.back_up("vol1", &s3()).await.unwrap());
    }
    bench.back_up("vol10", &s3()).await.unwrap();
    // "remove --all" deletes one after another.
    let run = bench.another_run();
    for url in &made[..3] {
        run.delete_backup(url, THE_NEWEST).await.unwrap();
    }
    let error = run.delete_backup(&made[3], THE_NEWEST).await.unwrap_err();
    assert!(error.message.contains("\"vol10\""), "{error}");
    assert_eq!(bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_5_lets_go_what_convoy_deletes_without_touching_others() {
    // The vfs driver deletes the backup's two files, and short names have folders of their own.
    for (driver, short, long) in
        [("vfs", "vol1", "vol10"), ("devicemapper", "db", "db22"), ("devicemapper", "abc", "abcd")]
    {
        let bench = bench_with(driver, &[short, long]);
        let last = bench.back_up(short, &s3()).await.unwrap();
        bench.back_up(long, &s3()).await.unwrap();
        bench.guards.delete_backup(&last, THE_NEWEST).await.unwrap();
    }
}

#[tokio::test]
async fn guard_3_nothing_is_deleted_by_a_list_that_convoy_has_cut() {
    let bench = bench(&["vol1", "vol2"]);
    let old = bench.back_up("vol1", &s3()).await.unwrap();
    let other = bench.back_up("vol2", &s3()).await.unwrap();
    for volume in ["vol1", "vol2"] {
        bench.back_up(volume, &s3()).await.unwrap();
    }
    bench.daemon.store_backups(&s3(), "vol1", 998);
    for even in [Even::default(), THE_NEWEST] {
        let error = bench.guards.delete_backup(&old, even).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Guard);
        assert!(error.message.contains("has 1000 entries, where Convoy cuts lists"), "{error}");
    }
    // The list of another volume is whole, and so is every list in a folder.
    bench.guards.delete_backup(&other, Even::default()).await.unwrap();
    let in_folder = bench.back_up("vol2", &vfs()).await.unwrap();
    bench.daemon.store_backups(&vfs(), "vol2", 1000);
    bench.guards.delete_backup(&in_folder, THE_NEWEST).await.unwrap();
}
