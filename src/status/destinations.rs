//! Whether each destination holds the newest backup of every volume, and whether it is whole.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    coverage::Coverage,
    failures::{is_at_work, running},
    known::{DestinationLook, DestinationVerdict},
    newest::Search,
};
use crate::{
    convoy::{
        Destination,
        guards::{Guards, Observation},
    },
    error::{Error, ErrorKind},
    run_words::RunStatus,
    runs::{
        Store,
        record::{BadBackup, BadReason, GoodBackup, RunRecord, VolumeRecord},
    },
    script::Effect,
};

/// What looks at destinations found.
#[derive(Default)]
pub(super) struct DestinationLooks {
    pub(super) destinations: Vec<DestinationLook>,
    /// By volume: why its newest backup can't be looked at, though others at the destination can.
    pub(super) unclear: BTreeMap<String, String>,
    /// The URLs of backups that are not there, while a run goes on that may delete them.
    pub(super) may_be_deleted: BTreeSet<String>,
}

/// Looks at each volume's newest backup at each destination. So a share that is not mounted, or a
/// backup that can't be restored any more, is noticed before the next backup.
///
/// What the look finds goes into the records, and into the store if that can be written.
pub(super) async fn look_at_destinations(
    guards: &Guards,
    store: &Store,
    records: &mut BTreeMap<String, VolumeRecord>,
    coverage: &Coverage,
    now: Timestamp,
) -> DestinationLooks {
    let mut looks = DestinationLooks::default();
    for destination in coverage.destinations() {
        let mut search = Search::new(destination, records, now);
        if search.volumes().next().is_none() {
            continue;
        }
        let searched = search.run(guards).await;
        let may_be_deleted = leave_out_deleted(guards, store, &mut search);
        let verdict = match searched {
            // Whether its share is mounted shows when the run has ended.
            Ok(()) if !search.is_there && !may_be_deleted.is_empty() => DestinationVerdict::Busy,
            Err(error) => at_fault(destination, store, error),
            Ok(()) if !search.is_there => lacking(destination, records, &mut search),
            Ok(()) => DestinationVerdict::Well,
        };
        if matches!(verdict, DestinationVerdict::Well) {
            let gone = search.absent.drain(..).map(|(volume, url)| {
                (volume, url, "it is not at its destination any more".to_owned())
            });
            search.broken.extend(gone);
            let unclear = search.unclear.iter().map(|(volume, error)| {
                (volume.clone(), format!("its newest backup can't be looked at: {error}"))
            });
            looks.unclear.extend(unclear);
        }
        looks.may_be_deleted.extend(may_be_deleted);
        learn(guards, store, records, &search, now);
        let is_broken = |name: &&String| {
            records.get(*name).is_some_and(|record| record.newest_broken().is_some())
        };
        let is_in_doubt = |name: &&String| {
            records.get(*name).is_some_and(|record| record.newest_in_doubt().is_some())
        };
        looks.destinations.push(DestinationLook {
            destination: destination.to_string(),
            volumes: search.volumes().count(),
            doubtful: search.volumes().filter(is_in_doubt).cloned().collect(),
            broken: search.volumes().filter(is_broken).cloned().collect(),
            unclear: search.unclear.keys().cloned().collect(),
            verdict,
        });
    }
    looks
}

/// Leaves out absences that a run explains: one that deletes goes on, or has ended meanwhile.
/// Returns the URLs that the one that goes on may have deleted.
fn leave_out_deleted(guards: &Guards, store: &Store, search: &mut Search) -> Vec<String> {
    if search.absent.is_empty() {
        return Vec::new();
    }
    // What a run deleted is in the store once the run has ended: so first the runs, then the store.
    if running(store).iter().any(may_delete) {
        return search.absent.drain(..).map(|(_, url)| url).collect();
    }
    if let Ok(records) = store.volumes() {
        let daemon = guards.identity();
        let known = records.iter().filter(|record| record.daemon == daemon);
        let known: BTreeSet<_> = known
            .flat_map(|record| record.good_backups.iter().map(|good| (&record.name, &good.url)))
            .collect();
        search.absent.retain(|(volume, url)| known.contains(&(volume, url)));
    }
    Vec::new()
}

/// Whether a run may delete backups now.
fn may_delete(run: &RunRecord) -> bool {
    let deletes = |does: &Effect| matches!(does, Effect::Prune | Effect::Delete);
    run.status == RunStatus::Running && !run.dry_run && run.does.iter().any(deletes)
}

/// The verdict on a destination that can't be looked at.
fn at_fault(destination: &Destination, store: &Store, error: Error) -> DestinationVerdict {
    match error.kind {
        _ if is_at_work(store, &error) => DestinationVerdict::Busy,
        ErrorKind::Timeout => DestinationVerdict::Wrong(error),
        _ => {
            let hint = error.hint.clone().unwrap_or_else(|| is_it_there(destination).into());
            let what = format!("the backups at {destination} can't be looked at");
            DestinationVerdict::Wrong(error.context(what).with_hint(hint))
        }
    }
}

/// The verdict on a destination at which no backup was found.
fn lacking(
    destination: &Destination,
    records: &BTreeMap<String, VolumeRecord>,
    search: &mut Search,
) -> DestinationVerdict {
    let made = |volume: &String, url: &String| {
        let good = records.get(volume)?.good_backups.iter().find(|good| good.url == *url)?;
        Some(good.proven)
    };
    let newest = search.absent.iter().max_by_key(|(volume, url)| made(volume, url));
    if let Some((volume, _)) = newest {
        let what = format!("the destination {destination} lacks the newest backup of \"{volume}\"");
        return DestinationVerdict::Wrong(Error::guard(what).with_hint(is_it_there(destination)));
    }
    match search.unclear.pop_first() {
        Some((volume, error)) => {
            let hint = error.hint.clone().unwrap_or_else(|| is_it_there(destination).into());
            let what =
                format!("the newest backup of \"{volume}\" at {destination} can't be looked at");
            DestinationVerdict::Wrong(error.context(what).with_hint(hint))
        }
        None => DestinationVerdict::Well,
    }
}

fn is_it_there(destination: &Destination) -> &'static str {
    if destination.folder().is_some() {
        "is the share mounted?"
    } else {
        "can the daemon reach it?"
    }
}

/// Moves backups between the good and the bad ones of the records, and writes that into the store.
fn learn(
    guards: &Guards,
    store: &Store,
    records: &mut BTreeMap<String, VolumeRecord>,
    search: &Search,
    now: Timestamp,
) {
    let mut observed = Vec::new();
    for (volume, url, why) in &search.broken {
        let Some(record) = records.get_mut(volume) else { continue };
        let Some(at) = record.good_backups.iter().position(|good| good.url == *url) else {
            continue;
        };
        log::warn!("the backup \"{url}\" can't be restored: {why}");
        let backup = record.good_backups.remove(at);
        observed.push(Observation::BackupBroken {
            volume: volume.clone(),
            url: url.clone(),
            why: why.clone(),
            by_reading: false,
        });
        record.bad_backups.push(BadBackup { backup, reason: BadReason::Broken, why: why.clone() });
        record.bad_backups.sort_by_key(|bad| std::cmp::Reverse(bad.backup.order()));
    }
    for (volume, url) in &search.whole_again {
        let Some(record) = records.get_mut(volume) else { continue };
        let Some(at) = record.bad_backups.iter().position(|bad| bad.backup.url == *url) else {
            continue;
        };
        log::info!("the backup \"{url}\" is whole again");
        let BadBackup { backup, .. } = record.bad_backups.remove(at);
        observed.push(Observation::BackupGood {
            volume: volume.clone(),
            url: url.clone(),
            snapshot_time: backup.snapshot_time,
            bytes: backup.bytes,
            files: None,
            changed_files: None,
            stood: None,
            made: false,
            verified: false,
        });
        record.good_backups.push(backup);
        record.good_backups.sort_by_key(|good| std::cmp::Reverse(GoodBackup::order(good)));
    }
    if observed.is_empty() {
        return;
    }
    if let Err(error) = store.learn(&guards.identity(), &observed, now) {
        log::warn!("which backups can't be restored is not remembered: {error}");
    }
}
