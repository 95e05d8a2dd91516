//! What is known of each volume: the daemon says which there are, the store what runs saw, and the
//! destination is asked where that is not enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    coverage::Expected,
    destinations::look_at_destinations,
    failures::last_failure,
    freshness::{Allowed, Freshness, Newest, judge, overdue},
    known::{GoodBackup, Known, VolumeStatus},
};
use crate::{
    clock::SystemClock,
    config::Config,
    convoy::{Daemon, Name, Volume, guards::Guards},
    error::{Error, Result},
    runs::{Store, record::VolumeRecord},
};

/// So many sizes of a volume's backups are told.
const SIZES: usize = 30;

/// Guards that only read.
pub(crate) fn guards(daemon: &Arc<dyn Daemon>) -> Guards {
    Guards::read_only(daemon.clone(), Arc::new(SystemClock))
}

/// Everything that is known of the volumes: the daemon says which there are, the store what their
/// runs saw; where that is not enough, the destination is asked.
pub(crate) async fn volumes(
    guards: &Guards,
    store: &Store,
    expected: &Expected,
    now: Timestamp,
) -> Known {
    let (records, forgotten) = match store.volumes() {
        Ok(records) => (records, None),
        Err(error) => (Vec::new(), Some(error)),
    };
    let identity = guards.identity();
    let records: BTreeMap<String, VolumeRecord> = records
        .into_iter()
        .filter(|record| record.daemon == identity && record.removed.is_none())
        .map(|record| (record.name.clone(), record))
        .collect();
    let (listed, unreachable) = match guards.volumes().await {
        Ok(listed) => (listed, None),
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    // A list that lacks a volume is no evidence that it is gone: for a week, that is something to
    // be told of.
    let lately = |record: &&VolumeRecord| {
        now.duration_since(record.last_seen) < SignedDuration::from_hours(7 * 24)
    };
    let seen = records
        .values()
        .filter(|record| unreachable.is_some() || lately(record))
        .map(|record| &record.name);
    let names: BTreeSet<&String> = listed.keys().chain(seen).collect();
    let destinations = if unreachable.is_none() {
        look_at_destinations(guards, store, &records, expected).await
    } else {
        Vec::new()
    };
    let mut volumes = Vec::new();
    for name in names {
        let (volume, record) = (listed.get(name), records.get(name));
        let mut status = volume_status(guards, expected, name, volume, record, now).await;
        if volume.is_none() && unreachable.is_none() {
            status.problems.push(format!(
                "it is gone from the daemon, and no run deleted it; its backups are kept (if that was meant: convoy-backups status --forget {name})"
            ));
            status.lost = true;
        }
        let since = status.backup.as_ref().map(|backup| backup.made);
        status.problems.extend(last_failure(store, name, since));
        volumes.push(status);
    }
    Known { volumes, destinations, unreachable, forgotten }
}

async fn volume_status(
    guards: &Guards,
    expected: &Expected,
    name: &str,
    volume: Option<&Volume>,
    record: Option<&VolumeRecord>,
    now: Timestamp,
) -> VolumeStatus {
    let snapshots = volume.map(Volume::snapshots_by_time).unwrap_or_default();
    let snapshot = match volume {
        Some(_) => snapshots.last().and_then(|snapshot| snapshot.order().0),
        None => record.and_then(|record| record.snapshot_time),
    };
    let known_since = volume
        .and_then(|volume| volume.created_time.timestamp())
        .or(record.map(|record| record.first_seen));
    let config = expected.config_of(name);
    let due_after = |after| expected.next(name, true, after);
    let allowed = Allowed {
        max_age: config.max_backup_age,
        due_after: &due_after,
        run_time: expected.run_time(name),
    };
    let judged = |backup: Option<&GoodBackup>| {
        let newest = backup.map(|backup| Newest { taken: backup.taken, made: backup.made });
        judge(newest, known_since.unwrap_or(now), &allowed, now)
    };
    let mut problems = Vec::new();
    let mut backup = record.and_then(|record| record.good_backups.first()).map(|good| GoodBackup {
        url: good.url.clone(),
        taken: good.snapshot_time.unwrap_or(good.proven),
        made: good.proven,
        bytes: good.bytes,
    });
    if let Some(volume) = volume
        .filter(|_| backup.is_none() || matches!(judged(backup.as_ref()), Freshness::Overdue(_)))
    {
        match newest_listed(config, guards, volume).await {
            Ok(Some(listed)) if backup.as_ref().is_none_or(|known| known.made < listed.made) => {
                backup = Some(listed)
            }
            Ok(_) => {}
            Err(error) => problems.push(format!("its backups can't be listed: {error}")),
        }
    }
    let freshness = judged(backup.as_ref());
    if let Freshness::Overdue(limit) = freshness {
        let from = |backup: &GoodBackup| {
            if config.max_backup_age.is_some() { backup.taken } else { backup.made }
        };
        problems.insert(0, overdue(backup.as_ref().map(from), limit, now));
    }
    if freshness == Freshness::Unscheduled && backup.is_none() && problems.is_empty() {
        problems.push("it has no good backup, and no line of the crontab makes one".into());
    }
    VolumeStatus {
        name: name.to_owned(),
        daemon: None,
        snapshot,
        backup,
        next_snapshot: expected.next(name, false, now),
        next_backup: expected.next(name, true, now),
        freshness,
        lost: false,
        is_scheduled: expected.backs_up(name),
        sizes: record.map(sizes).unwrap_or_default(),
        problems,
    }
}

/// The sizes of a volume's good backups that are known, oldest first.
fn sizes(record: &VolumeRecord) -> Vec<(Timestamp, u64)> {
    let sizes = record.good_backups.iter().filter_map(|good| Some((good.proven, good.bytes?)));
    let mut sizes: Vec<_> = sizes.take(SIZES).collect();
    sizes.reverse();
    sizes
}

/// The newest backup of this very volume that is at the destination and complete: it was listed
/// back.
async fn newest_listed(
    config: &Config,
    guards: &Guards,
    volume: &Volume,
) -> Result<Option<GoodBackup>> {
    let Some(destination) = &config.backup_url else {
        return Err(Error::configuration("BKUP_BACKUP_URL is not set"));
    };
    Name::volume(&volume.name)?;
    let backups = guards.own_backups(destination, volume).await?;
    Ok(backups.iter().filter(|backup| backup.is_complete()).find_map(|backup| {
        let made = backup.created()?;
        Some(GoodBackup {
            url: backup.url().ok()?.to_string(),
            taken: backup.order().0.unwrap_or(made),
            made,
            bytes: None,
        })
    }))
}
