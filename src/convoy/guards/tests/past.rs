//! A bucket as it was: nothing relies on it, nothing is written, nothing that is seen there counts as of now.

use super::*;

/// The bucket at a time at which the backup of the volume was there.
fn as_it_was() -> Destination {
    Destination::parse("s3://bucket@us-east-1/host1?as-of=2025-12-31T00:00:00Z").unwrap()
}

/// Guards of a run that looks at the bucket as it was, over the same daemon.
fn looking_back(bench: &Bench) -> Guards {
    bench.another_run().looking_at(Some(&as_it_was()))
}

#[tokio::test]
async fn a_run_that_looks_at_the_past_deletes_and_changes_nothing() {
    let bench = bench(&["vol1"]);
    let made = bench.back_up("vol1", &s3()).await.unwrap();
    let snapshot = bench.daemon.volume(&name("vol1")).await.unwrap();
    let snapshot = name(&snapshot.snapshots_by_time()[0].name);
    let before = bench.daemon.writes();
    let (guards, at, vol1) = (looking_back(&bench), as_it_was(), name("vol1"));
    let errors = [
        guards.delete_volume(&vol1, Some(&at), false).await.unwrap_err(),
        guards.delete_volume(&vol1, None, true).await.unwrap_err(),
        guards.forget_volume(&vol1).await.unwrap_err(),
        guards.delete_snapshot(&snapshot).await.unwrap_err(),
        guards.delete_backup(&made, THE_NEWEST).await.unwrap_err(),
        guards.create_snapshot(&vol1).await.unwrap_err(),
        guards.create_backup(&snapshot, &at).await.unwrap_err(),
        guards.back_up(&vol1, &at).await.unwrap_err(),
        guards.back_up(&vol1, &vfs()).await.unwrap_err(),
        guards.mount_volume(&vol1, None).await.unwrap_err(),
        guards.give_back(&at).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.message.contains("nothing is written to the past"), "{error}");
        assert!(error.hint.unwrap().contains("--as-of"));
    }
    assert_eq!(bench.daemon.writes(), before);
    // What takes nothing away is done: a restore makes a volume.
    guards.create_volume(&NewVolume::named(name("new"))).await.unwrap();
}

#[tokio::test]
async fn what_was_in_a_bucket_proves_nothing_where_one_call_names_it_either() {
    let bench = bench(&["vol1"]);
    let made = bench.back_up("vol1", &s3()).await.unwrap();
    let before = bench.daemon.writes();
    let (guards, at, vol1) = (bench.another_run(), as_it_was(), name("vol1"));
    let past = made.at_time_of(&at).unwrap();
    for error in [
        guards.delete_volume(&vol1, Some(&at), false).await.unwrap_err(),
        guards.delete_backup(&past, THE_NEWEST).await.unwrap_err(),
        guards.back_up(&vol1, &at).await.unwrap_err(),
        guards.give_back(&at).await.unwrap_err(),
    ] {
        assert!(error.message.contains("nothing is written to the past"), "{error}");
    }
    assert_eq!(bench.daemon.writes(), before);
}

#[tokio::test]
async fn the_time_holds_for_every_bucket_and_other_places_are_refused() {
    let bench = bench(&["vol1"]);
    let made = bench.back_up("vol1", &s3()).await.unwrap();
    let guards = looking_back(&bench);
    let elsewhere = BackupUrl::parse(&made.to_string().replace("/host1", "/host2")).unwrap();
    let seen = guards.at_its_time(&elsewhere).unwrap();
    assert_eq!(seen.time(), as_it_was().time());
    let other = Destination::parse("s3://other@us-east-1/").unwrap();
    assert_eq!(guards.as_it_was(&other).unwrap().time(), as_it_was().time());
    let url = next_backup(&bench);
    let new = NewVolume::from_backup(name("new"), url.clone());
    for error in [
        guards.backup(&url).await.unwrap_err(),
        guards.backups(&vfs(), None).await.unwrap_err(),
        guards.inspect_backups(std::slice::from_ref(&url)).await.unwrap_err(),
        guards.create_volume(&new).await.unwrap_err(),
    ] {
        assert!(error.message.contains("it is no bucket"), "{error}");
    }
}

#[test]
fn what_is_seen_of_the_past_is_not_remembered_and_what_is_known_says_nothing_of_it() {
    let bench = bench(&["vol1"]);
    let url = BackupUrl::parse("s3://bucket@us-east-1/host1?backup=backup-1&volume=vol1").unwrap();
    let past = url.clone().at_time_of(&as_it_was()).unwrap();
    bench.guards.observe_broken("vol1", &past, "it was broken".into());
    let (volume, text) = ("vol1".to_owned(), past.to_string());
    bench.guards.observe(Observation::BackupRestored { volume, url: text });
    bench.guards.memory().observations.add_backup(
        "vol1",
        &past,
        &Backup::new(BTreeMap::new()),
        (false, true),
    );
    assert_eq!(bench.guards.observed(), []);
    bench.guards.observe_broken("vol1", &url, "it is broken".into());
    assert_eq!(bench.guards.observed().len(), 1);
    let mut known = super::super::by_backup::ByBackup::default();
    known.add_if_new(url.clone(), ());
    assert!(known.contains(&url) && !known.contains(&past));
}
