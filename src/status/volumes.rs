//! The state of each volume. The daemon lists the volumes, the store knows what runs observed, and
//! the destination is asked if the store's records do not show that a volume is safe.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    backups::{bad_backups, listed_backups, recorded, sizes},
    coverage::Coverage,
    destinations::{DestinationLooks, look_at_destinations},
    evidence::Evidence,
    failures::{is_at_work, last_failure},
    freshness::{Allowed, Newest, State, Verdict, judge},
    known::{DockerHost, Known},
    removals,
    volume::{GoodBackup, VolumeStatus, summary},
};
use crate::{
    clock::{Clock, is_in_future},
    convoy::{
        BackupUrl, Daemon, PROBLEM, PROJECT, Snapshot, Volume,
        guards::{Guards, Seen},
    },
    engine::is_anonymous_name,
    error::{Error, ErrorKind, Result},
    runs::{Store, record::VolumeRecord},
};

/// How long a volume without any backup that the daemon no longer lists is reported as gone, since it
/// was last seen. One that had a backup is reported until a person says that it was meant.
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
    let identity = guards.identity();
    let (mut records, store_error) = match records(store, &identity) {
        Ok(records) => (records, None),
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    records.retain(|_, record| record.removed.is_none());
    let (listed, unreachable) = match guards.volumes().await {
        Ok(listed) => (listed, None),
        Err(error) => (BTreeMap::new(), Some(error)),
    };
    let is_listed = unreachable.is_none();
    // A volume that nobody named went with its container.
    records.retain(|name, _| !is_listed || listed.contains_key(name) || !is_anonymous_name(name));
    let docker = if is_listed { docker_host(guards).await } else { DockerHost::default() };
    let coverage = &coverage.knowing(projects(&listed));
    let first_looks = if is_listed && store_error.is_none() {
        let unknown = listed.keys().map(String::as_str).filter(|name| !records.contains_key(*name));
        first_looks(store, &identity, &unknown.collect(), now)
    } else {
        BTreeMap::new()
    };
    let removal_goes_on =
        is_listed && removals::go_on(store, &identity, &listed, &mut records, now);
    // A volume may be missing from the list by accident; all of them at once, surely.
    let is_missed = |record: &&VolumeRecord| {
        let had_backup = !record.good_backups.is_empty() || !record.bad_backups.is_empty();
        listed.is_empty() || had_backup || now.duration_since(record.last_seen) < GONE_REPORTED_FOR
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
    let DestinationLooks { destinations, unclear, may_be_deleted } = looks;
    let is_silent = |error: &Error| error.kind == ErrorKind::Timeout;
    let hangs = destinations.iter().filter_map(|look| look.problem()).any(is_silent);
    let guards = (!hangs).then_some(guards);
    let look = VolumeLook {
        guards,
        store,
        coverage,
        is_listed,
        removal_goes_on,
        first_looks,
        unclear,
        may_be_deleted,
        now,
    };
    let mut volumes = Vec::new();
    for name in &names {
        volumes.push(look.status(name, listed.get(name), records.get(name)).await);
    }
    Known { volumes, destinations, unreachable, store_error, docker }
}

/// The compose projects of these volumes, by volume.
fn projects(listed: &BTreeMap<String, Volume>) -> BTreeMap<String, String> {
    let all = listed.iter();
    all.filter_map(|(name, volume)| Some((name.clone(), volume.told(PROJECT)?.to_owned())))
        .collect()
}

/// What the daemon knows of its Docker host, after it listed its volumes.
async fn docker_host(guards: &Guards) -> DockerHost {
    match guards.info().await {
        Ok(info) => DockerHost {
            not_backed_up: info.not_backed_up(),
            problem: info.docker_problem().map(str::to_owned),
        },
        Err(error) => {
            log::debug!("what Docker has beside the volumes is not known: {error}");
            DockerHost::default()
        }
    }
}

/// Since when looks see these volumes, which no run has seen yet. Nothing if that can't be remembered:
/// a volume would be new at each look.
fn first_looks(
    store: &Store,
    daemon: &str,
    volumes: &BTreeSet<&str>,
    now: Timestamp,
) -> BTreeMap<String, Timestamp> {
    store.look_at(daemon, volumes, now).unwrap_or_else(|error| {
        log::debug!("since when volumes without a backup are known is not remembered: {error}");
        BTreeMap::new()
    })
}

/// The state of these volumes by what the store knows of them: their daemon was not asked.
pub(super) async fn unseen_volumes(
    records: &BTreeMap<String, VolumeRecord>,
    store: &Store,
    coverage: &Coverage,
    now: Timestamp,
) -> Vec<VolumeStatus> {
    let (unclear, may_be_deleted) = Default::default();
    let look = VolumeLook {
        guards: None,
        store,
        coverage,
        is_listed: false,
        removal_goes_on: false,
        first_looks: BTreeMap::new(),
        unclear,
        may_be_deleted,
        now,
    };
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
    /// Whether a run goes on that may have removed the known volumes that are not listed.
    removal_goes_on: bool,
    /// When looks first saw the volumes that no run has seen yet.
    first_looks: BTreeMap<String, Timestamp>,
    /// By volume: why its newest backup can't be looked at.
    unclear: BTreeMap<String, String>,
    /// The URLs of backups that are not there, while a run goes on that may delete them.
    may_be_deleted: BTreeSet<String>,
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
        let record = record.filter(|record| is_same(listed, record));
        let Judged { mut last_backup, verdict, wrong_clock, unlisted } =
            self.judged(name, listed, record).await;
        let gone = listed.is_none() && self.is_listed && !self.removal_goes_on;
        let bad_backups = record.map(bad_backups).unwrap_or_default();
        let (mut problems, mut notes) = (Vec::new(), Vec::new());
        if let Some(broken) = bad_backups.iter().find(|bad| bad.newest) {
            problems.push(format!(
                "its newest backup can't be restored: {} (make a new one: convoy-backups backup --volume {name} --create-snapshot, which stores again what the volume still has; where that fails, look at the destination's disk, or back up to another one)",
                broken.why
            ));
        }
        let mut untold: Vec<String> = self.unclear.get(name).cloned().into_iter().collect();
        problems.extend(untold.iter().cloned());
        // If the destination can't be listed, it may hold backups that the store does not know.
        if verdict.state.is_wrong() && (verdict.state == State::Overdue || unlisted.is_none()) {
            problems.push(verdict.sentence.clone());
            if verdict.state == State::Missing {
                untold.push(verdict.sentence.clone());
            }
        }
        if verdict.state.is_wrong() { &mut problems } else { &mut notes }.extend(wrong_clock);
        let restored_from = record.and_then(|record| record.restored_from.clone());
        if let Some(url) = restored_from.as_ref().filter(|_| last_backup.is_none()) {
            notes.push(format!("it was restored from {url}, which has its data as of then; nothing of it is saved since"));
        }
        if let Some(error) = unlisted {
            let sentence = format!("its backups can't be listed: {error}");
            if is_at_work(self.store, &error) {
                notes.push(sentence);
            } else {
                problems.push(sentence.clone());
                untold.extend((verdict.state != State::Overdue).then_some(sentence));
            }
        }
        let is_there = |backup: &&mut GoodBackup| !self.may_be_deleted.contains(&backup.url);
        if let Some((guards, backup)) = self.guards.zip(last_backup.as_mut().filter(is_there)) {
            let broken = verify(guards, backup).await;
            untold.extend(broken.clone());
            problems.extend(broken);
        }
        let unread = listed.and_then(|volume| volume.told(PROBLEM));
        problems.extend(unread.map(|why| format!("its files can't be read: {why}")));
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
        let is_told = |failure: &String| {
            [doubt, unread].into_iter().flatten().any(|why| failure.contains(why))
        };
        problems.extend(failure.filter(|failure| !is_told(failure)));
        VolumeStatus {
            name: name.to_owned(),
            project: listed.and_then(|volume| volume.told(PROJECT)).map(str::to_owned),
            daemon: None,
            last_snapshot: newest_snapshot(listed, record, self.now),
            next_snapshot: self.coverage.next_snapshot(name, self.now),
            next_backup: self.coverage.next_backup(name, self.now),
            scheduled: self.coverage.backs_up(name),
            gone,
            restored_from,
            sizes: record.map(sizes).unwrap_or_default(),
            summary: summary(verdict.state, last_backup.is_some(), &problems),
            last_backup,
            bad_backups,
            verdict,
            problems,
            untold,
            notes,
        }
    }

    /// A volume's newest good backup and the verdict on it. The destination is asked only if the
    /// store's records do not show that the volume is safe.
    async fn judged(
        &self,
        name: &str,
        listed: Option<&Volume>,
        record: Option<&VolumeRecord>,
    ) -> Judged {
        let config = self.coverage.config_of(name);
        let due_after = |after| self.coverage.next_backup(name, after);
        let by_data = config.max_backup_age.is_some();
        let judged = |backups: Vec<GoodBackup>, unlisted: Option<Error>| {
            let made = record.map_or(&[][..], |record| &record.made);
            let evidence = Evidence::of(backups, made, by_data, self.now);
            let allowed = Allowed {
                max_age: config.max_backup_age,
                due_after: &due_after,
                run_time: self.coverage.run_time(name),
                usual_distance: evidence.usual_distance,
                has_lines: self.coverage.has_lines(),
                is_restored: record.is_some_and(|record| record.restored_from.is_some()),
            };
            let newest = evidence.newest.as_ref();
            let times = newest
                .map(|backup| Newest { snapshot_time: backup.snapshot_time, made: backup.made });
            let verdict = judge(times, self.known_since(name, listed, record), &allowed, self.now);
            let wrong_clock = evidence.wrong_clock();
            Judged { last_backup: evidence.newest, verdict, wrong_clock, unlisted }
        };
        let recorded = record.map(recorded).unwrap_or_default();
        let known = judged(recorded.clone(), None);
        let asks = listed.filter(|_| known.last_backup.is_none() || known.verdict.state.is_wrong());
        let Some((volume, guards)) = asks.zip(self.guards) else { return known };
        match listed_backups(config, guards, volume, record).await {
            Ok(there) => {
                let is_known = |url: &str| recorded.iter().any(|backup| backup.url == url);
                let new = there.into_iter().filter(|backup| !is_known(&backup.url));
                judged(recorded.iter().cloned().chain(new).collect(), None)
            }
            Err(error) => judged(recorded, Some(error)),
        }
    }

    /// Since when a volume without a backup is known here: it was made, and this host has seen it.
    /// `None` if no date of it can be right.
    fn known_since(
        &self,
        name: &str,
        listed: Option<&Volume>,
        record: Option<&VolumeRecord>,
    ) -> Option<Timestamp> {
        let created = listed.and_then(|volume| volume.created_time.timestamp());
        let seen = record.map(|record| record.first_seen).or(self.first_looks.get(name).copied());
        if created.is_none() && seen.is_none() {
            return Some(self.now);
        }
        created.into_iter().chain(seen).filter(|time| !is_in_future(*time, self.now)).max()
    }
}

/// Whether the listed volume is the one that the record is of, and not one that was made under its
/// name later.
fn is_same(listed: Option<&Volume>, record: &VolumeRecord) -> bool {
    let created = listed.and_then(|volume| volume.created_time.timestamp());
    created.zip(record.created).is_none_or(|(listed, known)| listed == known)
}

/// A volume's newest good backup, and the verdict on it.
struct Judged {
    last_backup: Option<GoodBackup>,
    verdict: Verdict,
    /// Says of which of its backups a clock was wrong.
    wrong_clock: Option<String>,
    /// Why the destination could not be asked.
    unlisted: Option<Error>,
}

/// Glances at the data of a volume's newest good backup. Returns what is wrong with it.
async fn verify(guards: &Guards, backup: &mut GoodBackup) -> Option<String> {
    let url = BackupUrl::parse(&backup.url).ok()?;
    let seen = guards.glance(&url).await.ok()?;
    backup.verified = Some(match &seen {
        Seen::Whole { .. } => true,
        Seen::Hidden(_) => guards.is_verified(&url),
        Seen::Broken(_) => false,
    });
    let Seen::Broken(why) = seen else { return None };
    Some(format!("its newest backup can't be restored: {why}"))
}

/// When the newest snapshot was taken. A time in the future is none.
fn newest_snapshot(
    listed: Option<&Volume>,
    record: Option<&VolumeRecord>,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_credible = |time: &Timestamp| !is_in_future(*time, now);
    match listed {
        Some(volume) => {
            let newest_first = volume.snapshots_by_time().into_iter().rev();
            newest_first.filter_map(Snapshot::taken).find(is_credible)
        }
        None => record.and_then(|record| record.snapshot_time).filter(is_credible),
    }
}
