//! Backing up a volume as it is, of which no snapshot stays: all guards hold for it.

use super::*;
use crate::convoy::Extent;

/// A bench whose daemon backs up volumes without a snapshot that stays.
fn direct(volumes: &[&str]) -> Bench {
    let bench = bench(volumes);
    bench.daemon.back_up_volumes();
    bench
}

fn files(count: u64) -> Extent {
    Extent { files: Some(count), bytes: Some(count * 5_000), mounts: None }
}

#[tokio::test]
async fn a_volume_is_backed_up_without_a_snapshot_and_then_older_backups_may_go() {
    let bench = direct(&["vol1"]);
    let first = bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    let refused = bench.guards.delete_backup(&first, Even::default()).await.unwrap_err();
    assert!(refused.message.contains("newest good"), "{refused}");
    let second = bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    assert!(bench.daemon.snapshot_names("vol1").is_empty());
    bench.guards.delete_backup(&first, Even::default()).await.unwrap();
    bench.guards.delete_backup(&second, Even::default()).await.unwrap_err();
    assert_eq!(bench.daemon.backup_names().len(), 1);
}

#[tokio::test]
async fn a_daemon_that_needs_a_snapshot_gets_one() {
    let bench = bench(&["vol1"]);
    bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    assert_eq!(bench.daemon.snapshot_names("vol1").len(), 1);
}

#[tokio::test]
async fn guard_8_a_backup_that_timed_out_is_looked_for_and_not_made_again() {
    let bench = direct(&["vol1"]);
    bench.daemon.fault("back_up", Fault::HappensThenTimesOut);
    bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    bench.daemon.fault("back_up", Fault::Fails(timeout()));
    bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap_err();
    assert_eq!(bench.daemon.backup_names().len(), 1);
}

#[tokio::test]
async fn guard_1_a_backup_that_failed_lets_nothing_older_go() {
    let bench = direct(&["vol1"]);
    let first = bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    for fault in [Fault::Fails(denied()), Fault::AnswersSuccessOnly] {
        bench.daemon.fault("back_up", fault);
        bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap_err();
        let refused = bench.guards.delete_backup(&first, Even::default()).await.unwrap_err();
        assert!(refused.message.contains("did not prove good"), "{refused}");
    }
}

#[tokio::test]
async fn guard_7_a_backup_after_the_clock_was_set_back_is_the_newest() {
    let bench = direct(&["vol1"]);
    let at_time = |time| Guards::new(bench.daemon.clone(), None, at(time));
    let later = at_time("2026-01-01T09:00:00Z");
    later.back_up(&name("vol1"), &vfs()).await.unwrap();
    // An hour that the clocks are allowed to differ by is not in the future.
    let back = at_time("2026-01-01T08:58:00Z").back_up(&name("vol1"), &vfs()).await.unwrap();
    let listed = later.backups(&vfs(), Some(&name("vol1"))).await.unwrap();
    assert!(listed[0].url().unwrap().same_backup(&back), "{listed:?}");
}

#[tokio::test]
async fn guard_10_a_first_backup_is_compared_with_the_snapshots_before_it() {
    let bench = direct(&["vol1"]);
    bench.daemon.holds("vol1", files(100));
    bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    bench.daemon.holds("vol1", files(0));
    let run = bench.knowing_nothing();
    let doubted = run.back_up(&name("vol1"), &vfs()).await.unwrap();
    assert!(run.doubt(&doubted).unwrap().contains("has none now"));
    bench.daemon.holds("vol1", files(90));
    let run = bench.knowing_nothing();
    let good = run.back_up(&name("vol1"), &vfs()).await.unwrap();
    assert_eq!(run.doubt(&good), None);
}

#[tokio::test]
async fn guard_10_a_snapshot_that_is_older_than_the_last_good_backup_puts_none_in_doubt() {
    for remembers in [true, false] {
        let bench = direct(&["vol1"]);
        let run = || if remembers { bench.another_run() } else { bench.knowing_nothing() };
        bench.daemon.holds("vol1", files(100));
        bench.guards.create_snapshot(&name("vol1")).await.unwrap();
        // It becomes smaller little by little, and nothing of that is in doubt.
        for left in [60, 30, 15, 8, 5] {
            bench.daemon.holds("vol1", files(left));
            let run = run();
            let good = run.back_up(&name("vol1"), &vfs()).await.unwrap();
            assert_eq!(run.doubt(&good), None, "{left} {remembers}");
        }
        bench.daemon.holds("vol1", files(0));
        let run = run();
        let doubted = run.back_up(&name("vol1"), &vfs()).await.unwrap();
        assert!(run.doubt(&doubted).unwrap().contains("it had 5 files"), "{remembers}");
    }
}

#[tokio::test]
async fn while_files_change_during_backups_the_newest_without_a_change_stays() {
    let bench = direct(&["vol1"]);
    let back_up = async || bench.guards.back_up(&name("vol1"), &vfs()).await.unwrap();
    let (older, untorn) = (back_up().await, back_up().await);
    bench.daemon.change_while_read(3);
    let (torn, newest) = (back_up().await, back_up().await);
    let run = bench.another_run();
    run.delete_backup(&older, Even::default()).await.unwrap();
    run.delete_backup(&torn, Even::default()).await.unwrap();
    let refused = run.delete_backup(&untorn, Even::default()).await.unwrap_err();
    assert!(refused.message.contains("files changed while the newer ones"), "{refused}");
    bench.daemon.change_while_read(0);
    back_up().await;
    let run = bench.another_run();
    run.delete_backup(&untorn, Even::default()).await.unwrap();
    run.delete_backup(&newest, Even::default()).await.unwrap();
}

#[tokio::test]
async fn a_partial_backup_never_counts_as_the_newest_good_one() {
    let bench = direct(&["vol1"]);
    let back_up = async |run: &Guards| run.back_up(&name("vol1"), &vfs()).await.unwrap();
    let (older, whole) = (back_up(&bench.guards).await, back_up(&bench.guards).await);
    bench.daemon.can_not_read(2);
    let run = bench.another_run();
    let partial = back_up(&run).await;
    let why = run.doubt(&partial).unwrap();
    assert_eq!(why, "it lacks 2 files or folders that could not be read");
    let failed = &run.volumes_in_doubt()["vol1"];
    assert!(failed.message.contains("the backup is partial"), "{failed:?}");
    assert!(!failed.hint.as_ref().unwrap().contains("--accept"), "{failed:?}");
    run.delete_backup(&older, Even::default()).await.unwrap_err();

    let run = bench.another_run();
    let listed = run.backups(&vfs(), Some(&name("vol1"))).await.unwrap();
    assert_eq!(listed[0].doubt(), Some(why.as_str()));
    run.delete_backup(&older, Even::default()).await.unwrap();
    let refused = run.delete_backup(&whole, Even::default()).await.unwrap_err();
    assert!(refused.message.contains("newest good backup"), "{refused}");
    bench.daemon.can_not_read(0);
    let run = bench.another_run();
    back_up(&run).await;
    run.delete_backup(&whole, Even::default()).await.unwrap();
    run.delete_backup(&partial, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_1_of_volumes_that_are_backed_up_together_each_is_proven_alone() {
    let bench = direct(&["db", "files", "mail"]);
    let names = ["db", "gone", "files"].map(name);
    let made = bench.guards.back_up_together(&names, &vfs()).await.unwrap();
    assert_eq!(made[0].as_ref().unwrap().volume(), Some("db"));
    assert_eq!(made[1].as_ref().unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(made[2].as_ref().unwrap().volume(), Some("files"));
    let asked = |call: &String| call.starts_with("back_up ");
    let calls: Vec<_> = bench.daemon.calls().into_iter().filter(asked).collect();
    assert_eq!(calls, ["back_up db files"], "the daemon is asked once for all of them");

    // What the daemon says it has made, and has not, does not count.
    let older = made.into_iter().next().unwrap().unwrap();
    bench.daemon.fault("back_up", Fault::AnswersSuccessOnly);
    let made = bench.guards.back_up_together(&["db", "mail"].map(name), &vfs()).await.unwrap();
    assert!(made.iter().all(Result::is_err), "{made:?}");
    let refused = bench.guards.delete_backup(&older, Even::default()).await.unwrap_err();
    assert!(refused.message.contains("did not prove good"), "{refused}");
}

#[tokio::test]
async fn guard_8_backups_that_timed_out_together_are_looked_for_one_by_one() {
    let bench = direct(&["db", "files"]);
    bench.daemon.fault("back_up", Fault::HappensThenTimesOut);
    let made = bench.guards.back_up_together(&["db", "files"].map(name), &vfs()).await.unwrap();
    let volumes: Vec<_> = made.iter().map(|url| url.as_ref().unwrap().volume()).collect();
    assert_eq!(volumes, [Some("db"), Some("files")]);
    assert_eq!(bench.daemon.backup_names().len(), 2);
}
