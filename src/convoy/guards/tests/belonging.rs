//! Guard 2, where hosts share a destination: what can't be told to be this host's is left alone.

use super::*;
use crate::convoy::guards::Prunable;

const ANY_HOST: Even = Even { the_newest: false, of_any_host: true };

/// Backs up a snapshot that another program took, as the Node version and Convoy's own commands do:
/// nothing in the backup tells the host.
async fn back_up_unmarked(bench: &Bench, snapshot: &str) -> BackupUrl {
    bench.daemon.create_snapshot(&name("vol1"), &name(snapshot)).await.unwrap();
    let url = bench.daemon.create_backup(&name(snapshot), &vfs()).await.unwrap();
    bench.daemon.delete_snapshot(&name(snapshot)).await.unwrap();
    url
}

async fn prunable(guards: &Guards, all_hosts: bool) -> Prunable {
    guards.prunable(&vfs(), &name("vol1"), all_hosts).await.unwrap()
}

fn counts(prunable: &Prunable) -> (Vec<usize>, usize) {
    let volumes = prunable.volumes.iter().map(Vec::len).collect();
    (volumes, prunable.left.iter().map(|left| left.backups.len()).sum())
}

#[tokio::test]
async fn guard_2_a_backup_that_may_be_another_hosts_is_left_alone() {
    let here = bench(&["vol1"]);
    let there = here.another_host(&["vol1"]);
    back_up_unmarked(&here, "snap-a1").await;
    let theirs = back_up_unmarked(&there, "snap-b1").await;
    back_up_unmarked(&here, "snap-a2").await;
    back_up_unmarked(&here, "snap-a3").await;

    let unknowing = here.knowing_nothing();
    let found = prunable(&unknowing, false).await;
    assert_eq!(counts(&found), (vec![], 4), "{found:?}");
    let error = unknowing.delete_backup(&theirs, Even::default()).await.unwrap_err();
    assert!(error.message.contains("may be another host's"), "{error}");
    assert!(error.hint.unwrap().contains("of_any_host"));
    // For all hosts, too: it may be the only one of its volume.
    assert_eq!(counts(&prunable(&unknowing, true).await), (vec![], 4));
    assert!(unknowing.delete_backup(&theirs, ANY_HOST).await.is_err());
    assert_eq!(here.daemon.backup_names().len(), 4);

    // What earlier runs made is known, also without a snapshot.
    let found = prunable(&here.another_run(), false).await;
    assert_eq!(counts(&found), (vec![3], 1), "{found:?}");
    assert!(found.volumes[0].iter().all(|backup| !backup.url().unwrap().same_backup(&theirs)));
    let both = Even { the_newest: true, of_any_host: true };
    here.knowing_nothing().delete_backup(&theirs, both).await.unwrap();
}

#[tokio::test]
async fn guard_2_one_host_prunes_for_all_when_told_and_each_volumes_newest_stays() {
    let here = bench(&["vol1"]);
    let there = here.another_host(&["vol1"]);
    let ours = here.back_up("vol1", &vfs()).await.unwrap();
    let old = there.back_up("vol1", &vfs()).await.unwrap();
    let newest = there.back_up("vol1", &vfs()).await.unwrap();
    let run = here.another_run();
    assert_eq!(counts(&prunable(&run, false).await), (vec![1], 2));
    assert_eq!(counts(&prunable(&run, true).await), (vec![2, 1], 0));
    assert!(run.delete_backup(&old, Even::default()).await.is_err());
    run.delete_backup(&old, ANY_HOST).await.unwrap();
    for url in [&ours, &newest] {
        assert!(run.delete_backup(url, ANY_HOST).await.is_err());
    }
    assert_eq!(here.daemon.backup_names(), [ours.backup(), newest.backup()]);
}

#[tokio::test]
async fn guard_2_the_backups_of_a_volume_that_is_gone_are_this_hosts_if_its_runs_made_them() {
    let here = bench(&["vol1"]);
    let there = here.another_host(&["vol1"]);
    let old = here.back_up("vol1", &vfs()).await.unwrap();
    here.back_up("vol1", &vfs()).await.unwrap();
    there.back_up("vol1", &vfs()).await.unwrap();
    here.guards.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
    let run = here.another_run();
    assert_eq!(counts(&prunable(&run, false).await), (vec![2], 1));
    run.delete_backup(&old, Even::default()).await.unwrap();

    // Another volume gets the name.
    here.daemon.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
    here.back_up("vol1", &vfs()).await.unwrap();
    assert_eq!(counts(&prunable(&here.another_run(), false).await), (vec![1, 1], 1));
    // A host with a new data folder does not know of the volume that is gone.
    let unknowing = here.knowing_nothing();
    unknowing.create_backup(&snapshot_of(&here).await, &vfs()).await.unwrap();
    assert_eq!(counts(&prunable(&unknowing, false).await), (vec![2], 2));
}

async fn snapshot_of(bench: &Bench) -> Name {
    name(&bench.guards.create_snapshot(&name("vol1")).await.unwrap().name)
}

#[tokio::test]
async fn guard_2_a_backup_that_only_looks_like_this_hosts_makes_no_deletion_safe() {
    let here = bench(&["vol1"]);
    let old = here.back_up("vol1", &vfs()).await.unwrap();
    let made = here.back_up("vol1", &vfs()).await.unwrap();
    // Another member of the repository writes one with the volume's mark.
    let forged = here.daemon.forge(&made);
    let run = here.another_run();
    let error = run.delete_backup(&made, Even::default()).await.unwrap_err();
    assert!(error.message.contains("a run of this host is known to have made"), "{error}");
    let found = prunable(&run, false).await;
    assert!(found.protected[0].url().unwrap().same_backup(&made), "{found:?}");
    let volume = run.volume(&name("vol1")).await.unwrap();
    let kept = run.safe_copy(Some(&vfs()), &volume).await.unwrap();
    assert!(kept.url().unwrap().same_backup(&made), "{kept:?}");
    run.delete_backup(&old, Even::default()).await.unwrap();

    here.daemon.delete_backup(&made, &[]).await.unwrap();
    let error = run.safe_copy(Some(&vfs()), &volume).await.unwrap_err();
    assert!(error.message.contains("no run of this host is known to have made"), "{error}");
    assert!(error.hint.unwrap().contains("restore that backup once"));
    assert_eq!(here.daemon.backup_names(), [forged.backup()]);
}

#[tokio::test]
async fn guard_2_where_the_store_is_lost_one_more_backup_makes_deletions_safe_again() {
    let here = bench(&["vol1"]);
    let old = here.back_up("vol1", &vfs()).await.unwrap();
    here.back_up("vol1", &vfs()).await.unwrap();
    let unknowing = here.knowing_nothing();
    let found = prunable(&unknowing, false).await;
    assert_eq!(counts(&found), (vec![], 2));
    assert!(found.left[0].why.contains("back the volume up once more"), "{found:?}");
    let error = unknowing.delete_backup(&old, Even::default()).await.unwrap_err();
    assert!(error.message.contains("no run of this host"), "{error}");
    unknowing.create_backup(&snapshot_of(&here).await, &vfs()).await.unwrap();
    assert_eq!(counts(&prunable(&unknowing, false).await), (vec![3], 0));
    unknowing.delete_backup(&old, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_2_what_another_hosts_backup_is_like_says_nothing_of_the_volume_here() {
    let here = bench(&["vol1"]);
    let there = here.another_host(&["vol1"]);
    let old = there.back_up("vol1", &vfs()).await.unwrap();
    there.back_up("vol1", &vfs()).await.unwrap();
    let run = here.another_run();
    run.delete_backup(&old, ANY_HOST).await.unwrap();
    let is_good = |observed: &Observation| matches!(observed, Observation::BackupGood { .. });
    assert!(!run.observed().iter().any(is_good), "{:?}", run.observed());
}

#[tokio::test]
async fn guard_2_an_entry_whose_url_names_two_backups_is_ignored() {
    let here = bench(&["vol1"]);
    let old = here.back_up("vol1", &vfs()).await.unwrap();
    let newest = here.back_up("vol1", &vfs()).await.unwrap();
    let url = format!("vfs:///backups?backup=x1&backup={}&volume=vol1", newest.backup());
    here.daemon.list_also(&old, &url);
    assert_eq!(here.guards.backups(&vfs(), None).await.unwrap().len(), 2);
    here.another_run().delete_backup(&old, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_2_what_pruning_for_all_hosts_plans_of_a_volume_that_is_gone_can_be_deleted() {
    let here = bench(&["vol1"]);
    let old = here.back_up("vol1", &vfs()).await.unwrap();
    let newest = here.back_up("vol1", &vfs()).await.unwrap();
    // The snapshots stay, and tell that the backups are of a volume that this host had.
    here.guards.forget_volume(&name("vol1")).await.unwrap();
    here.daemon.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();

    let unknowing = here.knowing_nothing();
    let found = prunable(&unknowing, false).await;
    assert_eq!(counts(&found), (vec![], 2));
    assert!(found.left[0].is_unknown(), "{found:?}");
    let why = found.left[0].why;
    assert!(why.contains("--all-hosts") && !why.contains("back the volume up"), "{why}");
    let error = unknowing.delete_backup(&old, Even::default()).await.unwrap_err();
    assert!(error.hint.unwrap().contains("--all-hosts"));

    assert_eq!(counts(&prunable(&unknowing, true).await), (vec![2], 0));
    assert!(unknowing.delete_backup(&newest, ANY_HOST).await.is_err());
    unknowing.delete_backup(&old, ANY_HOST).await.unwrap();
    assert_eq!(here.daemon.backup_names(), [newest.backup()]);
}
