//! Guard 10: a source that is not there is not empty.

use super::*;
use crate::convoy::{
    Extent,
    guards::{AcceptedLoss, KnownBackup, KnownBackups, KnownSources, Observation, Seen},
    memory_look::MemoryLook,
};

fn files(count: u64) -> Extent {
    Extent { files: Some(count), bytes: Some(count * 5_000), mounts: None }
}

/// A bench whose volume has a backup of 100 files, and has no files now. Returns the backup.
async fn emptied() -> (Bench, BackupUrl) {
    let bench = bench(&["vol1"]);
    bench.daemon.holds("vol1", files(100));
    let full = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.holds("vol1", files(0));
    (bench, full)
}

#[tokio::test]
async fn guard_10_a_backup_of_a_volume_that_lost_its_files_lets_nothing_older_go() {
    let (bench, full) = emptied().await;
    let full_snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    let doubted = bench.back_up("vol1", &vfs()).await.unwrap();
    let why = bench.guards.doubt(&doubted).unwrap();
    assert_eq!(why, "it had 100 files, 488 KiB, and has none now: is its share mounted?");
    let failed = bench.guards.volumes_in_doubt();
    assert!(failed["vol1"].hint.as_ref().unwrap().contains("status --accept vol1"), "{failed:?}");

    let refused = bench.guards.delete_backup(&full, THE_NEWEST).await.unwrap_err();
    assert!(refused.message.contains(&why), "{refused}");
    bench.guards.delete_snapshot(&name(&full_snapshot)).await.unwrap_err();
    // Another run, which made no backup.
    let run = bench.another_run();
    let refused = run.delete_backup(&full, Even::default()).await.unwrap_err();
    assert!(refused.message.contains("newest good backup"), "{refused}");
    let refused = run.delete_snapshot(&name(&full_snapshot)).await.unwrap_err();
    assert!(refused.message.contains("newer ones are in doubt"), "{refused}");
    run.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
    assert_eq!(bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_10_the_same_volume_is_good_again_by_itself_once_its_files_are_back() {
    let (bench, full) = emptied().await;
    let doubted = bench.back_up("vol1", &vfs()).await.unwrap();
    bench.daemon.holds("vol1", files(90));
    let run = bench.another_run();
    let snapshot = run.create_snapshot(&name("vol1")).await.unwrap();
    let back = run.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    assert!(run.doubt(&back).is_none() && run.volumes_in_doubt().is_empty());
    run.delete_backup(&full, Even::default()).await.unwrap();
    run.delete_backup(&doubted, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_10_the_first_backup_at_another_destination_is_compared_with_the_snapshots() {
    let (bench, _) = emptied().await;
    let doubted = bench.back_up("vol1", &s3()).await.unwrap();
    assert!(bench.guards.doubt(&doubted).unwrap().contains("100 files"));
}

/// What earlier runs know: what the daemon did, and this.
#[derive(Debug)]
struct Remembered {
    daemon: Arc<MemoryDaemon>,
    backups: Vec<KnownBackup>,
    sources: KnownSources,
}

impl KnownBackups for Remembered {
    fn of_volume(&self, daemon: &str, volume: &str) -> Result<Vec<KnownBackup>> {
        Ok([self.daemon.of_volume(daemon, volume)?, self.backups.clone()].concat())
    }

    fn sources(&self, _daemon: &str) -> Result<KnownSources> {
        Ok(self.sources.clone())
    }
}

impl Bench {
    fn remembering(&self, backups: Vec<KnownBackup>, sources: KnownSources) -> Guards {
        let daemon = self.daemon.clone();
        self.another_run().knowing(Arc::new(Remembered { daemon, backups, sources }))
    }
}

#[tokio::test]
async fn guard_10_what_a_person_accepted_is_good() {
    let (bench, full) = emptied().await;
    let doubted = bench.back_up("vol1", &vfs()).await.unwrap();
    let observed = bench.guards.observed().into_iter().find_map(|observation| match observation {
        Observation::SourceInDoubt { volume, source, taken, extent, .. } => {
            Some(AcceptedLoss { volume, source, until: taken, extent })
        }
        _ => None,
    });
    let sources =
        KnownSources { accepted: observed.into_iter().collect(), ..KnownSources::default() };
    let run = bench.remembering(Vec::new(), sources);
    run.delete_backup(&full, Even::default()).await.unwrap();
    assert_eq!(bench.daemon.backup_names(), [doubted.backup()]);
}

#[tokio::test]
async fn guard_10_where_lists_tell_nothing_the_size_of_earlier_backups_does() {
    let bench = bench(&["vol1"]);
    let archive = |bytes| Extent { bytes: Some(bytes), ..Extent::default() };
    bench.daemon.holds("vol1", archive(130));
    let why = "it had 39 KiB, and has 130 B now: is all of it there?";
    let found = doubt_after(&bench, earlier("2026-01-01T00:00:02Z")).await;
    assert_eq!(found.as_deref(), Some(why));
}

#[tokio::test]
async fn guard_10_with_convoy_the_size_of_the_data_tells_that_nearly_all_is_lost() {
    let bench = bench(&["vol1"]);
    bench.daemon.inspect_descriptions_only();
    let full = bench.back_up("vol1", &vfs()).await.unwrap();
    // An older version made it, and knew no size.
    let known =
        KnownBackup { url: full.to_string(), bytes: None, ..earlier("2026-01-01T00:00:03Z") };
    let sized = |bytes| Seen::Whole { bytes: Some(bytes) };
    let look = Arc::new(MemoryLook::default());
    look.finds(&full, sized(5 << 20));
    look.finds(&next_backup(&bench), sized(156));
    let run = bench.remembering(vec![known], KnownSources::default()).looking_at_data(look);
    let snapshot = run.create_snapshot(&name("vol1")).await.unwrap();
    let empty = run.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    let why = "it had 5.0 MiB, and has 156 B now: is all of it there?";
    assert_eq!(run.doubt(&empty).as_deref(), Some(why));
    let refused = run.delete_backup(&full, THE_NEWEST).await.unwrap_err();
    assert!(refused.message.contains(why), "{refused}");
    let observed = run.observed();
    let is_sized =
        |it: &Observation| matches!(it, Observation::BackupGood { bytes: Some(156), .. });
    assert!(observed.iter().any(is_sized), "{observed:?}");
}

/// A volume of Convoy's vfs driver whose folder is seen from here, with 30 files. Returns the folder
/// of all volumes.
fn with_convoys_folder() -> (Bench, tempfile::TempDir) {
    let (bench, folder) = (bench(&["vol1"]), tempfile::tempdir().unwrap());
    bench.daemon.inspect_descriptions_only();
    bench.daemon.keeps_files_in(folder.path());
    std::fs::create_dir(folder.path().join("vol1")).unwrap();
    for number in 0..30 {
        std::fs::write(folder.path().join(format!("vol1/{number}")), "x").unwrap();
    }
    (bench, folder)
}

/// What runs that observed this know of snapshots.
fn extents(observed: &[Observation]) -> KnownSources {
    let extents = observed.iter().filter_map(|observation| match observation {
        Observation::SnapshotMade { snapshot, extent, seen_here: true, .. } => {
            Some((snapshot.clone(), extent.clone()))
        }
        _ => None,
    });
    KnownSources { extents: extents.collect(), ..KnownSources::default() }
}

#[tokio::test]
async fn guard_10_with_convoy_the_volumes_folder_tells_that_its_files_are_gone() {
    let (bench, folder) = with_convoys_folder();
    let full = bench.back_up("vol1", &vfs()).await.unwrap();
    let full_snapshot = bench.daemon.snapshot_names("vol1").remove(0);
    std::fs::remove_dir_all(folder.path().join("vol1")).unwrap();
    std::fs::create_dir(folder.path().join("vol1")).unwrap();

    let run = bench.remembering(Vec::new(), extents(&bench.guards.observed()));
    let taken = run.create_snapshot(&name("vol1")).await.unwrap();
    let why = "it had 30 files, 6 B, and has none now: is its share mounted?";
    assert!(run.volumes_in_doubt()["vol1"].message.contains(why));
    // A later run backs the snapshot up.
    let known = extents(&[bench.guards.observed(), run.observed()].concat());
    let run = bench.remembering(Vec::new(), known);
    let empty = run.create_backup(&name(&taken.name), &vfs()).await.unwrap();
    assert_eq!(run.doubt(&empty).as_deref(), Some(why));
    run.delete_backup(&full, THE_NEWEST).await.unwrap_err();
    let refused = run.delete_snapshot(&name(&full_snapshot)).await.unwrap_err();
    assert!(refused.message.contains(why), "{refused}");
}

#[tokio::test]
async fn guard_10_a_folder_without_the_snapshots_file_may_be_another_one_and_tells_nothing() {
    let (bench, folder) = with_convoys_folder();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    bench.daemon.keeps_files_in(&elsewhere);
    let taken = bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    assert!(taken.extent().is_unknown(), "{taken:?}");
    let observed = bench.guards.observed();
    assert!(extents(&observed).extents.is_empty(), "{observed:?}");
}

/// A backup of 40 kB that an earlier run made of a volume "vol1".
fn earlier(taken: &str) -> KnownBackup {
    KnownBackup {
        url: "vfs:///backups?backup=backup-1a&volume=vol1".into(),
        snapshot_time: Some(taken.parse().unwrap()),
        proven: taken.parse().unwrap(),
        made_here: true,
        restored: false,
        former: false,
        verified: true,
        broken: None,
        doubt: None,
        files: None,
        bytes: Some(40_000),
    }
}

/// Why a new backup of "vol1" is in doubt for a run that knows this backup.
async fn doubt_after(bench: &Bench, earlier: KnownBackup) -> Option<String> {
    let run = bench.remembering(vec![earlier], KnownSources::default());
    let snapshot = run.create_snapshot(&name("vol1")).await.unwrap();
    let made = run.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    assert_eq!(run.doubt(&made).is_some(), run.volumes_in_doubt().contains_key("vol1"));
    run.doubt(&made)
}

#[tokio::test]
async fn guard_10_a_snapshot_that_is_older_than_the_last_sound_backup_puts_no_other_in_doubt() {
    // Names of snapshots of one volume go up within a process, whatever the clocks of other tests say.
    let bench = bench(&["shrinks"]);
    bench.daemon.holds("shrinks", files(100));
    bench.guards.create_snapshot(&name("shrinks")).await.unwrap();
    // It became smaller little by little. Of these backups no snapshot stays.
    let between = [(40, "2026-01-02T00:00:00Z"), (12, "2026-01-02T12:00:00Z")];
    let between = between.map(|(count, taken)| KnownBackup {
        url: format!("vfs:///backups?backup=backup-{count}&volume=shrinks"),
        files: Some(count),
        bytes: Some(count * 5_000),
        ..earlier(taken)
    });
    let run = |known: &[KnownBackup]| {
        let (daemon, backups) = (bench.daemon.clone(), known.to_vec());
        let known = Remembered { daemon, backups, sources: KnownSources::default() };
        let guards = Guards::new(bench.daemon.clone(), None, at("2026-01-03T00:00:00Z"));
        guards.knowing(Arc::new(known))
    };
    bench.daemon.holds("shrinks", files(5));
    let knowing = run(&between);
    let taken = knowing.create_snapshot(&name("shrinks")).await.unwrap();
    assert!(knowing.volumes_in_doubt().is_empty(), "{:?}", knowing.volumes_in_doubt());
    let made = knowing.create_backup(&name(&taken.name), &vfs()).await.unwrap();
    assert_eq!(knowing.doubt(&made), None);
    let in_doubt = async |run: &Guards| {
        let listed = run.volume(&name("shrinks")).await.unwrap();
        listed.snapshots.unwrap()[&taken.name].doubt().map(str::to_owned)
    };
    assert_eq!(in_doubt(&knowing).await, None);
    assert!(in_doubt(&run(&[])).await.unwrap().contains("it had 100 files"));
    // Since the last sound backup it lost all.
    bench.daemon.holds("shrinks", files(0));
    let knowing = run(&between);
    knowing.create_snapshot(&name("shrinks")).await.unwrap();
    let failed = knowing.volumes_in_doubt();
    assert!(failed["shrinks"].message.contains("it had 5 files"), "{failed:?}");
}

#[tokio::test]
async fn guard_10_a_volume_that_was_made_anew_is_not_compared_with_the_former_one() {
    let bench = bench(&["vol1"]);
    bench.daemon.holds("vol1", Extent { bytes: Some(130), ..Extent::default() });
    // The memory does not know yet that it is the former volume's.
    assert_eq!(doubt_after(&bench, earlier("2025-12-31T00:00:00Z")).await, None);
}

#[tokio::test]
async fn guard_10_a_backup_that_the_list_knows_as_another_volumes_is_not_compared() {
    let (bench, full) = emptied().await;
    bench.daemon.delete_volume(&name("vol1"), None, false).await.unwrap();
    bench.daemon.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
    // A clock that was set back: the former volume's backup looks newer than the volume.
    let known = KnownBackup {
        url: full.to_string(),
        files: Some(100),
        bytes: Some(500_000),
        ..earlier("2026-02-01T00:00:00Z")
    };
    assert_eq!(doubt_after(&bench, known).await, None);
}

#[tokio::test]
async fn guard_10_a_look_that_fails_after_a_snapshot_was_taken_fails_no_snapshot() {
    let (bench, _) = emptied().await;
    bench.daemon.fault("volume", Fault::None);
    bench.daemon.fault("volume", Fault::Fails(timeout()));
    bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    assert!(bench.guards.volumes_in_doubt().is_empty());
    // A doubt that is found fails the volume.
    bench.guards.create_snapshot(&name("vol1")).await.unwrap();
    assert!(bench.guards.volumes_in_doubt().contains_key("vol1"));
}

#[tokio::test]
async fn guard_10_another_host_doubts_by_the_numbers_at_the_destination() {
    let (bench, full) = emptied().await;
    bench.back_up("vol1", &vfs()).await.unwrap();
    let other = Arc::new(bench.daemon.another_host(&[]));
    let folder = tempfile::tempdir().unwrap();
    let run =
        Guards::new(other, Some(locks(folder.path())), clock()).knowing(Arc::new(NothingKnown));
    let refused =
        run.delete_backup(&full, Even { of_any_host: true, ..Even::default() }).await.unwrap_err();
    assert!(refused.message.contains("newest good backup"), "{refused}");
}
