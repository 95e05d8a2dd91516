//! The state of each volume. The daemon lists the volumes, the store knows what runs observed, and
//! the destination is asked if the store's records do not show that a volume is safe.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    coverage::Coverage,
    destinations::{DestinationLooks, look_at_destinations},
    failures::last_failure,
    freshness::{Allowed, Newest, State, Verdict, judge},
    known::Known,
    volume::{BackupSize, BadBackup, GoodBackup, VolumeStatus, summary},
};
use crate::{
    clock::Clock,
    config::Config,
    convoy::{Backup, Daemon, Name, Volume, guards::Guards},
    error::{Error, ErrorKind, Result},
    runs::{
        Store,
        record::{BadReason, VolumeRecord},
    },
};

/// The most sizes of a volume's backups that are shown.
const SIZES_SHOWN: usize = 30;
/// How many listed backups of a volume are inspected until one is good.
const MOST_LISTED_INSPECTED: usize = 5;
/// How long a volume that the daemon no longer lists is reported as gone, since it was last seen.
const GONE_REPORTED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Guards that only read.
pub(super) fn guards(daemon: &Arc<dyn Daemon>, clock: &Arc<dyn Clock>) -> Guards {
    Guards::read_only(daemon.clone(), clock.clone())
}

/// The store's records of this daemon's volumes by name, removed volumes included.
///
/// # Errors
/// If the store can't be read.
pub(super) fn records(store: &Store, daemon: &str) -> Result<BTreeMap<String, VolumeRecord>> {
    let records = store.volumes()?.into_iter().filter(|record| record.daemon == daemon);
    Ok(records.map(|record| (record.name.clone(), record)).collect())
}

/// The state of a daemon's volumes, and of the destinations of their backups.
pub(super) async fn volumes(
    guards: &Guards,
    store: &Store,
    coverage: &Coverage,
    now: Timestamp,
) -> Known {
    let (mut records, store_error) = match records(store, &guards.identity()) {
        Ok(records) => (records, None),
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    records.retain(|_, record| record.removed.is_none());
    let (listed, unreachable) = match guards.volumes().await {
        Ok(listed) => (listed, None),
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    let is_listed = unreachable.is_none();
    // A volume may be missing from the list by accident; all of them at once, surely.
    let is_missed = |record: &&VolumeRecord| {
        listed.is_empty() || now.duration_since(record.last_seen) < GONE_REPORTED_FOR
    };
    let missed = records.values().filter(is_missed).map(|record| &record.name);
    let names: BTreeSet<&String> = listed.keys().chain(missed).collect();
    let names: BTreeSet<String> = names.into_iter().cloned().collect();
    records.retain(|name, _| names.contains(name));
    let looks = if is_listed {
        look_at_destinations(guards, store, &mut records, coverage, now).await
    } else {
        DestinationLooks::default()
    };
    let DestinationLooks { destinations, unclear } = looks;
    let is_silent = |error: &Error| error.kind == ErrorKind::Timeout;
    let hangs = destinations.iter().filter_map(|look| look.problem()).any(is_silent);
    let guards = (!hangs).then_some(guards);
    let look = VolumeLook { guards, store, coverage, is_listed, unclear, now };
    let mut volumes = Vec::new();
    for name in &names {
        volumes.push(look.status(name, listed.get(name), records.get(name)).await);
    }
    Known { volumes, destinations, unreachable, store_error }
}

/// The state of these volumes by what the store knows of them: their daemon was not asked.
pub(super) async fn unseen_volumes(
    records: &BTreeMap<String, VolumeRecord>,
    store: &Store,
    coverage: &Coverage,
    now: Timestamp,
) -> Vec<VolumeStatus> {
    let unclear = BTreeMap::new();
    let look = VolumeLook { guards: None, store, coverage, is_listed: false, unclear, now };
    let mut volumes = Vec::new();
    for (name, record) in records {
        volumes.push(look.status(name, None, Some(record)).await);
    }
    volumes
}

/// What the look at every volume of one daemon needs.
struct VolumeLook<'a> {
    /// `None` if the daemon is not asked: it can't be reached, or a destination hangs.
    guards: Option<&'a Guards>,
    store: &'a Store,
    coverage: &'a Coverage,
    /// Whether the daemon listed its volumes.
    is_listed: bool,
    /// By volume: why its newest backup can't be looked at.
    unclear: BTreeMap<String, String>,
    now: Timestamp,
}

impl VolumeLook<'_> {
    /// The state of one volume, from the daemon's list and the store's record.
    async fn status(
        &self,
        name: &str,
        listed: Option<&Volume>,
        record: Option<&VolumeRecord>,
    ) -> VolumeStatus {
        let (last_backup, verdict, unlisted) = self.judged(name, listed, record).await;
        let gone = listed.is_none() && self.is_listed;
        let bad_backups = record.map(bad_backups).unwrap_or_default();
        let mut problems = Vec::new();
        if let Some(broken) = bad_backups.iter().find(|bad| bad.newest) {
            problems.push(format!(
                "its newest backup can't be restored: {} (make a new one: convoy-backups backup --volume {name} --create-snapshot)",
                broken.why
            ));
        }
        problems.extend(self.unclear.get(name).cloned());
        // If the destination can't be listed, it may hold backups that the store does not know.
        if verdict.state.is_wrong() && (verdict.state == State::Overdue || unlisted.is_none()) {
            problems.push(verdict.sentence.clone());
        }
        problems.extend(unlisted.map(|error| format!("its backups can't be listed: {error}")));
        if gone {
            problems.push(format!(
                "it is gone from the daemon, and no run deleted it; its backups are kept (if that was meant: convoy-backups status --forget {name})"
            ));
        }
        let doubt = record.and_then(|record| record.doubt.as_deref());
        problems.extend(doubt.map(|why| {
            format!(
                "its newest backup counts for nothing, as its data may not be all there: {why} (if that was meant: convoy-backups status --accept {name})"
            )
        }));
        let made = last_backup.as_ref().map(|backup| backup.made);
        let failure = last_failure(self.store, name, made);
        // The run that found it has failed for no other reason.
        problems.extend(failure.filter(|failure| doubt.is_none_or(|why| !failure.contains(why))));
        VolumeStatus {
            name: name.to_owned(),
            daemon: None,
            last_snapshot: newest_snapshot(listed, record),
            next_snapshot: self.coverage.next_snapshot(name, self.now),
            next_backup: self.coverage.next_backup(name, self.now),
            scheduled: self.coverage.backs_up(name),
            gone,
            sizes: record.map(sizes).unwrap_or_default(),
            summary: summary(verdict.state, last_backup.is_some(), &problems),
            last_backup,
            bad_backups,
            verdict,
            problems,
        }
    }

    /// A volume's newest good backup and the verdict on it. The destination is asked only if the
    /// store's records do not show that the volume is safe; the error says why it could not be
    /// asked.
    async fn judged(
        &self,
        name: &str,
        listed: Option<&Volume>,
        record: Option<&VolumeRecord>,
    ) -> (Option<GoodBackup>, Verdict, Option<Error>) {
        let config = self.coverage.config_of(name);
        let known_since = listed
            .and_then(|volume| volume.created_time.timestamp())
            .or(record.map(|record| record.first_seen))
            .unwrap_or(self.now);
        let due_after = |after| self.coverage.next_backup(name, after);
        let allowed = Allowed {
            max_age: config.max_backup_age,
            due_after: &due_after,
            run_time: self.coverage.run_time(name),
        };
        let judged = |backup: Option<&GoodBackup>| {
            let newest = backup
                .map(|backup| Newest { snapshot_time: backup.snapshot_time, made: backup.made });
            judge(newest, known_since, &allowed, self.now)
        };
        let mut backup = record.and_then(newest_recorded);
        let verdict = judged(backup.as_ref());
        let asks = listed.filter(|_| backup.is_none() || verdict.state.is_wrong());
        let Some((volume, guards)) = asks.zip(self.guards) else {
            return (backup, verdict, None);
        };
        match newest_listed(config, guards, volume, record).await {
            Ok(Some(there)) if backup.as_ref().is_none_or(|known| known.made < there.made) => {
                backup = Some(there);
                let verdict = judged(backup.as_ref());
                (backup, verdict, None)
            }
            Ok(_) => (backup, verdict, None),
            Err(error) => (backup, verdict, Some(error)),
        }
    }
}

fn newest_snapshot(listed: Option<&Volume>, record: Option<&VolumeRecord>) -> Option<Timestamp> {
    match listed {
        Some(volume) => volume.snapshots_by_time().last().and_then(|snapshot| snapshot.order().0),
        None => record.and_then(|record| record.snapshot_time),
    }
}

/// The newest good backup in the store's record.
fn newest_recorded(record: &VolumeRecord) -> Option<GoodBackup> {
    record.good_backups.first().map(|good| GoodBackup {
        url: good.url.clone(),
        snapshot_time: good.snapshot_time.unwrap_or(good.proven),
        made: good.proven,
        bytes: good.bytes,
    })
}

/// The bad backups in the store's record.
fn bad_backups(record: &VolumeRecord) -> Vec<BadBackup> {
    let newest = record.newest_broken().map(|bad| &bad.backup.url);
    let bad = record.bad_backups.iter().map(|bad| BadBackup {
        url: bad.backup.url.clone(),
        // The name of the backup says nothing to a reader who has its URL.
        why: bad.why.split_once(" is not good: ").map_or(&*bad.why, |(_, why)| why).to_owned(),
        broken: bad.reason != BadReason::Doubtful,
        newest: newest == Some(&bad.backup.url),
    });
    bad.collect()
}

/// The newest complete backup of this volume that the daemon lists at the destination, and that can
/// be inspected. Backups of a volume that had the name before, or has it on another host, do not
/// count.
async fn newest_listed(
    config: &Config,
    guards: &Guards,
    volume: &Volume,
    record: Option<&VolumeRecord>,
) -> Result<Option<GoodBackup>> {
    let Some(destination) = &config.backup_url else {
        return Err(Error::configuration("BKUP_BACKUP_URL is not set"));
    };
    Name::volume(&volume.name)?;
    let backups = guards.own_backups(destination, volume).await?;
    let is_bad = |backup: &Backup| {
        record.is_some_and(|record| {
            record.bad_backups.iter().any(|bad| bad.backup.url == backup.field("BackupURL"))
        })
    };
    let may_be_good =
        |backup: &&Backup| backup.is_complete() && backup.doubt().is_none() && !is_bad(backup);
    for backup in backups.iter().filter(may_be_good).take(MOST_LISTED_INSPECTED) {
        let (Some(made), Ok(url)) = (backup.created(), backup.url()) else { continue };
        match guards.backup(&url).await {
            Ok(_) => {
                return Ok(Some(GoodBackup {
                    url: url.to_string(),
                    snapshot_time: backup.order().0.unwrap_or(made),
                    made,
                    bytes: None,
                }));
            }
            Err(error) if matches!(error.kind, ErrorKind::Repository | ErrorKind::NotFound) => {
                log::warn!("the backup \"{url}\" is listed but not good: {error}");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The known sizes of a volume's good backups, oldest first.
fn sizes(record: &VolumeRecord) -> Vec<BackupSize> {
    let sizes = record
        .good_backups
        .iter()
        .filter_map(|good| Some(BackupSize { time: good.proven, bytes: good.bytes? }));
    let mut sizes: Vec<_> = sizes.take(SIZES_SHOWN).collect();
    sizes.reverse();
    sizes
}
