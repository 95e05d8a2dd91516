//! Guards 1 and 2, where inspecting a backup does not look at its data, as with Convoy.

use super::{super::group::Whose, *};
use crate::convoy::{
    guards::{Depth, KnownBackup, KnownBackups, Observation, Protection, Seen},
    memory_look::MemoryLook,
};

struct DataBench {
    bench: Bench,
    look: Arc<MemoryLook>,
}

/// A daemon that inspects descriptions only, and this look at the data.
fn data_bench(look: MemoryLook) -> DataBench {
    let (bench, look) = (bench(&["vol1"]), Arc::new(look));
    bench.daemon.inspect_descriptions_only();
    let Bench { daemon, guards, folder } = bench;
    let guards = guards.looking_at_data(look.clone());
    DataBench { bench: Bench { daemon, guards, folder }, look }
}

impl DataBench {
    async fn back_up(&self) -> BackupUrl {
        self.bench.back_up("vol1", &vfs()).await.unwrap()
    }

    fn another_run(&self) -> Guards {
        self.bench.another_run().looking_at_data(self.look.clone())
    }

    /// What another run refuses to delete of these, by why.
    async fn refusals(&self, urls: &[&BackupUrl]) -> Vec<String> {
        let mut refusals = Vec::new();
        for url in urls {
            let error = self.another_run().delete_backup(url, Even::default()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Guard);
            refusals.push(error.message);
        }
        refusals
    }
}

fn broken() -> Seen {
    Seen::Broken("its file is empty".into())
}

fn whole() -> Seen {
    Seen::Whole { bytes: None }
}

fn not_seen() -> Seen {
    Seen::Hidden("access denied".into())
}

/// What the daemon in memory knows, and that an earlier run saw the data of this backup.
#[derive(Debug)]
struct Saw(Arc<MemoryDaemon>, BackupUrl);

impl KnownBackups for Saw {
    fn of_volume(&self, daemon: &str, volume: &str) -> Result<Vec<KnownBackup>> {
        let mut known = self.0.of_volume(daemon, volume)?;
        known.iter_mut().for_each(|known| known.verified |= known.url == self.1.to_string());
        Ok(known)
    }

    fn sources(&self, _daemon: &str) -> Result<crate::convoy::guards::KnownSources> {
        Ok(crate::convoy::guards::KnownSources::default())
    }
}

#[tokio::test]
async fn guard_1_a_backup_without_data_is_not_good_and_lets_nothing_older_go() {
    let bench = data_bench(MemoryLook::default());
    let old = bench.back_up().await;
    bench.look.finds(&next_backup(&bench.bench), broken());
    let error = bench.bench.back_up("vol1", &vfs()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Guard);
    assert!(error.message.contains("is done, but its file is empty"), "{error}");
    assert!(bench.bench.guards.delete_backup(&old, Even::default()).await.is_err());
    let observed = bench.bench.guards.observed();
    let broken = observed.iter().filter(|it| matches!(it, Observation::BackupBroken { .. }));
    assert_eq!(broken.count(), 1, "{observed:?}");
}

#[tokio::test]
async fn guard_1_the_run_knows_whether_it_saw_the_data_of_its_backups() {
    for (seen, verified) in [(whole(), true), (not_seen(), false)] {
        let bench = data_bench(MemoryLook::default());
        bench.look.finds(&next_backup(&bench.bench), seen);
        let url = bench.back_up().await;
        assert_eq!(bench.bench.guards.is_verified(&url), verified);
        let observed = bench.bench.guards.observed();
        let is_so = |it: &Observation| matches!(it, Observation::BackupGood { verified: is, .. } if *is == verified);
        assert!(observed.iter().any(is_so), "{observed:?}");
        let listed = bench.bench.guards.backups(&vfs(), None).await.unwrap();
        let listed = bench.bench.guards.with_verified(listed).await.unwrap();
        assert_eq!(listed[0].is_verified(), Some(verified));
    }
}

#[tokio::test]
async fn guard_2_a_newer_backup_without_data_does_not_count() {
    let bench = data_bench(MemoryLook::default());
    let good = bench.back_up().await;
    let empty = bench.back_up().await;
    bench.look.finds(&empty, broken());
    let refusals = bench.refusals(&[&good, &empty]).await;
    assert!(refusals[0].contains("newest good backup"), "{refusals:?}");
    assert!(refusals[1].contains("newer than the newest one"), "{refusals:?}");
    // A volume whose only backup has no data has no backup.
    bench.look.finds(&good, broken());
    let run = bench.another_run();
    let error = run.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap_err();
    assert!(error.message.contains("no good backup of it"), "{error}");
    assert_eq!(bench.bench.daemon.backup_names().len(), 2);
}

#[tokio::test]
async fn guard_2_the_last_verified_backup_stays_until_a_newer_one_is_verified() {
    let bench = data_bench(MemoryLook::default());
    let oldest = bench.back_up().await;
    let verified = bench.back_up().await;
    let unseen = [bench.back_up().await, bench.back_up().await];
    for url in &unseen {
        bench.look.finds(url, not_seen());
    }
    let refusals = bench.refusals(&[&verified, &unseen[1]]).await;
    assert!(refusals[0].contains("newest verified backup"), "{refusals:?}");
    assert!(refusals[1].contains("newest good backup"), "{refusals:?}");
    // What is older than the newest good one and not the last verified one may go.
    bench.another_run().delete_backup(&oldest, Even::default()).await.unwrap();
    bench.another_run().delete_backup(&unseen[0], Even::default()).await.unwrap();
    bench.look.finds(&unseen[1], whole());
    bench.another_run().delete_backup(&verified, Even::default()).await.unwrap();
}

#[tokio::test]
async fn guard_2_the_word_of_an_earlier_run_that_saw_the_data_counts() {
    let bench = data_bench(MemoryLook::without_sight());
    let old = bench.back_up().await;
    let restored = bench.back_up().await;
    let newest = bench.back_up().await;
    let saw = Saw(bench.bench.daemon.clone(), restored.clone());
    let run = bench.another_run().knowing(Arc::new(saw));
    let listed = run.backups(&vfs(), None).await.unwrap();
    let protected = run.protected(&listed, Whose::Own).await.unwrap();
    let protected: Vec<_> = protected.into_iter().map(|stays| (stays.url, stays.why)).collect();
    assert_eq!(
        protected,
        [(newest, Protection::NewestGood), (restored.clone(), Protection::NewestVerified)]
    );
    run.delete_backup(&old, Even::default()).await.unwrap();
    // Data that was seen before gets a quick look.
    let (_, depth) =
        bench.look.looks().into_iter().rfind(|(it, _)| it == restored.backup()).unwrap();
    assert_eq!(depth, Depth::Quick);
}

#[tokio::test]
async fn guard_2_where_no_data_can_be_seen_the_newest_two_stay() {
    let bench = data_bench(MemoryLook::without_sight());
    let oldest = bench.back_up().await;
    let (second, newest) = (bench.back_up().await, bench.back_up().await);
    let refusals = bench.refusals(&[&second, &newest]).await;
    assert!(refusals[0].contains("newest two"), "{refusals:?}");
    bench.another_run().delete_backup(&oldest, Even::default()).await.unwrap();
    // Without any sight, a volume can be deleted as before.
    let run = bench.another_run();
    run.delete_volume(&name("vol1"), Some(&vfs()), false).await.unwrap();
}

#[tokio::test]
async fn guard_9_a_dry_run_looks_at_no_data_of_backups_that_it_did_not_make() {
    let bench = data_bench(MemoryLook::without_sight());
    let dry = crate::convoy::dry_run::DryRun::new(bench.bench.daemon.clone(), clock());
    let run = Guards::new(Arc::new(dry), None, clock()).looking_at_data(bench.look.clone());
    let snapshot = run.create_snapshot(&name("vol1")).await.unwrap();
    let url = run.create_backup(&name(&snapshot.name), &vfs()).await.unwrap();
    assert!(run.is_verified(&url) && bench.look.looks().is_empty());
}
