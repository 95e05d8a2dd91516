//! What is known of each volume, and what is wrong: what `status` shows and `serve` tells people
//! of.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::Connection;
use crate::{
    clock::SystemClock,
    config::Config,
    convoy::{BackupUrl, Destination, Name, Volume, guards::Guards},
    error::{Error, ErrorKind, Result},
    freshness::{Allowed, Freshness, Newest, judge},
    run_words::{RunStatus, Trigger},
    runs::{
        Store,
        record::{self, Filter, RunRecord, VolumeRecord},
    },
    schedule::Entry,
    script::{Library, Script, arguments::from_command_line},
    units::format_duration,
};

/// A destination that does not answer for so long hangs.
const DESTINATION_PATIENCE: Duration = Duration::from_secs(60);
/// So many of the last runs are looked at for what failed as a whole.
const LAST_RUNS: usize = 200;
/// So many sizes of a volume's backups are told.
const SIZES: usize = 30;
/// So many of a volume's last runs are looked at for what failed.
const RUNS: usize = 20;

/// What the crontab's lines say of volumes: which are snapshotted and backed up, and when.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    /// What holds for volumes that no line backs up.
    config: Arc<Config>,
    lines: Vec<Line>,
}

/// A line that takes snapshots or backs up. What scripts of the users' own do is not known.
#[derive(Debug, Clone)]
struct Line {
    entry: Arc<Entry>,
    backs_up: bool,
    /// `None`: every volume.
    volume: Option<String>,
}

impl Expected {
    /// What these lines say, for each daemon that they use: lines may name another one than the
    /// configuration. Where there are no lines, the configuration's daemon is looked at all the
    /// same.
    pub(crate) fn by_daemon(config: &Arc<Config>, entries: &[Arc<Entry>]) -> Vec<Self> {
        let daemon = |config: &Config| config.daemon().0;
        let mut groups: Vec<(Arc<Config>, Vec<Arc<Entry>>)> = Vec::new();
        for entry in entries {
            match groups.iter_mut().find(|(known, _)| daemon(known) == daemon(&entry.config)) {
                Some((_, lines)) => lines.push(entry.clone()),
                None => groups.push((entry.config.clone(), vec![entry.clone()])),
            }
        }
        if groups.is_empty() {
            groups.push((config.clone(), Vec::new()));
        }
        groups.into_iter().map(|(config, entries)| Self::of(config, &entries)).collect()
    }

    /// The configuration of the daemon that these lines use.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The destinations that backups go to, each once; the configuration's where no line backs
    /// anything up.
    fn destinations(&self) -> Vec<&Destination> {
        let mut destinations: Vec<&Destination> = Vec::new();
        let lines = self.lines.iter().filter(|line| line.backs_up).map(|line| &line.entry.config);
        for destination in
            lines.chain([&self.config]).filter_map(|config| config.backup_url.as_ref())
        {
            if !destinations.iter().any(|known| known.key() == destination.key()) {
                destinations.push(destination);
            }
        }
        destinations
    }

    fn of(config: Arc<Config>, entries: &[Arc<Entry>]) -> Self {
        // A thousand lines have two scripts.
        let mut scripts: BTreeMap<(&str, Option<&Path>), Option<Script>> = BTreeMap::new();
        let line = |entry| {
            let entry: &Arc<Entry> = entry;
            let backs_up = entry.script == "backup";
            if entry.dry_run || !backs_up && entry.script != "snapshot" {
                return None;
            }
            let folder = entry.config.scripts_dir.as_deref();
            let script = scripts.entry((&entry.script, folder)).or_insert_with(|| {
                Library::new(folder.map(Path::to_owned))
                    .and_then(|all| all.load(&entry.script))
                    .ok()
            });
            let arguments = from_command_line(script.as_ref()?, &entry.arguments).ok()?;
            let volume = arguments
                .values()
                .get("volume")
                .and_then(|volume| volume.as_str())
                .map(str::to_owned);
            Some(Line { entry: entry.clone(), backs_up, volume })
        };
        let lines = entries.iter().filter_map(line).collect();
        Self { config, lines }
    }

    /// The settings that hold for a volume: those of the first line that backs it up.
    fn config_of<'a>(&'a self, volume: &'a str) -> &'a Config {
        self.lines_of(volume, true).next().map_or(&self.config, |line| &line.entry.config)
    }

    fn lines_of<'a>(&'a self, volume: &'a str, backs_up: bool) -> impl Iterator<Item = &'a Line> {
        let concerns =
            move |line: &&Line| line.volume.as_deref().is_none_or(|named| named == volume);
        self.lines.iter().filter(move |line| line.backs_up == backs_up).filter(concerns)
    }

    /// Whether the line with this key backs this volume up.
    pub(crate) fn covers(&self, key: &str, volume: &str) -> bool {
        self.lines_of(volume, true).any(|line| line.entry.key == key)
    }

    /// How long a backup of this volume may take.
    pub(crate) fn run_time(&self, volume: &str) -> Duration {
        self.lines_of(volume, true)
            .map(|line| line.entry.timeout)
            .max()
            .unwrap_or(self.config.run_timeout)
    }

    /// Whether a line backs this volume up.
    pub(crate) fn backs_up(&self, volume: &str) -> bool {
        self.lines_of(volume, true).next().is_some()
    }

    fn next(&self, volume: &str, backs_up: bool, after: Timestamp) -> Option<Timestamp> {
        self.lines_of(volume, backs_up).filter_map(|line| line.entry.next_after(after)).min()
    }
}

/// A volume's newest good backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GoodBackup {
    /// Its URL.
    pub(crate) url: String,
    /// When its snapshot was taken.
    pub(crate) taken: Timestamp,
    /// When it was made.
    pub(crate) made: Timestamp,
    /// Its size, where the daemon tells.
    pub(crate) bytes: Option<u64>,
}

/// What is known of a volume. Times are in UTC.
#[derive(Debug, Clone)]
pub(crate) struct VolumeStatus {
    /// Its name.
    pub(crate) name: String,
    /// Its daemon, where that is another than the first that the crontab's lines use: names are of
    /// one daemon.
    pub(crate) daemon: Option<String>,
    /// When its newest snapshot was taken.
    pub(crate) snapshot: Option<Timestamp>,
    /// Its newest good backup.
    pub(crate) backup: Option<GoodBackup>,
    /// When a snapshot is due next by the crontab.
    pub(crate) next_snapshot: Option<Timestamp>,
    /// When a backup is due next by the crontab.
    pub(crate) next_backup: Option<Timestamp>,
    /// Whether its backup is new enough.
    pub(crate) freshness: Freshness,
    /// The daemon does not list it, though no run deleted it.
    pub(crate) lost: bool,
    /// Whether a line of the crontab backs it up.
    pub(crate) is_scheduled: bool,
    /// How large its good backups were, oldest first, with the time at which each was made.
    pub(crate) sizes: Vec<(Timestamp, u64)>,
    /// What is wrong, a sentence each.
    pub(crate) problems: Vec<String>,
}

/// A destination, and whether it holds what was put there last.
#[derive(Debug)]
pub(crate) struct DestinationLook {
    /// Its address.
    pub(crate) destination: String,
    /// What was seen.
    pub(crate) verdict: LookVerdict,
}

/// What was seen of a destination.
#[derive(Debug)]
pub(crate) enum LookVerdict {
    /// The newest backup that should be there is there.
    Well,
    /// It is not, or can't be looked at.
    Wrong(Error),
    /// A run is at work there, so that it could not be looked at now.
    Busy,
}

impl DestinationLook {
    /// What is wrong with it.
    pub(crate) fn problem(&self) -> Option<&Error> {
        if let LookVerdict::Wrong(error) = &self.verdict { Some(error) } else { None }
    }

    /// A subject for who is told; it stays the same while the trouble does.
    pub(crate) fn in_short(&self) -> String {
        format!("the backups at {} are not as they should be", self.destination)
    }
}

/// What is known of the volumes.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Each of them, by name.
    pub(crate) volumes: Vec<VolumeStatus>,
    /// The destinations that backups go to, each looked at once.
    pub(crate) destinations: Vec<DestinationLook>,
    /// Why the daemon can't be asked; then the volumes are those that runs have seen.
    pub(crate) unreachable: Option<Error>,
    /// Why what runs saw is not known.
    pub(crate) forgotten: Option<Error>,
}

impl VolumeStatus {
    /// What tells it from all others, for people: its name, and its daemon where that is not the
    /// first.
    pub(crate) fn label(&self) -> String {
        match &self.daemon {
            Some(daemon) => format!("{} at {daemon}", self.name),
            None => self.name.clone(),
        }
    }
}

impl Known {
    /// The same, of a daemon that is not the first.
    #[must_use]
    pub(crate) fn of(mut self, daemon: &str) -> Self {
        self.volumes.iter_mut().for_each(|volume| volume.daemon = Some(daemon.to_owned()));
        self
    }

    /// Adds what is known of another daemon's volumes.
    pub(crate) fn add(&mut self, other: Self) {
        self.volumes.extend(other.volumes);
        self.destinations.extend(other.destinations);
        self.unreachable = other.unreachable.or(self.unreachable.take());
        self.forgotten = other.forgotten.or(self.forgotten.take());
    }
}

/// Guards that only read.
pub(crate) fn guards(connection: &Connection) -> Guards {
    Guards::read_only(connection.daemon.clone(), Arc::new(SystemClock))
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

/// Looks at each destination once, whether the newest good backup that the store knows there is
/// there: a share that is not mounted, or was emptied, is noticed before the next backup.
pub(crate) async fn destinations(
    guards: &Guards,
    store: &Store,
    expected: &Expected,
) -> Vec<DestinationLook> {
    let records = store.volumes().unwrap_or_default();
    let identity = guards.identity();
    let records = records.into_iter().filter(|record| record.daemon == identity);
    let records = records.map(|record| (record.name.clone(), record)).collect();
    look_at_destinations(guards, store, &records, expected).await
}

async fn look_at_destinations(
    guards: &Guards,
    store: &Store,
    records: &BTreeMap<String, VolumeRecord>,
    expected: &Expected,
) -> Vec<DestinationLook> {
    let mut looks = Vec::new();
    for destination in expected.destinations() {
        let is_there = |url: &BackupUrl| url.destination().key() == destination.key();
        let good = records
            .values()
            .flat_map(|record| record.good_backups.iter().map(|good| (&record.name, good)));
        let newest = good
            .filter_map(|(volume, good)| {
                Some((volume, BackupUrl::parse(&good.url).ok().filter(is_there)?, good.proven))
            })
            .max_by_key(|(_, _, proven)| *proven);
        let Some((volume, url, _)) = newest else { continue };
        let mounted = if destination.folder().is_some() {
            "is the share mounted?"
        } else {
            "can the daemon reach it?"
        };
        let verdict = match tokio::time::timeout(DESTINATION_PATIENCE, guards.backup(&url)).await {
            Ok(Ok(_)) => LookVerdict::Well,
            Ok(Err(error)) if error.kind == ErrorKind::Busy => LookVerdict::Busy,
            Ok(Err(error)) if error.kind == ErrorKind::NotFound => {
                log::debug!("the daemon's words: {error}");
                let what = format!(
                    "the destination {destination} lacks the newest backup of \"{volume}\""
                );
                LookVerdict::Wrong(Error::guard(what).with_hint(mounted))
            }
            Ok(Err(error)) => {
                let hint = error.hint.clone().unwrap_or_else(|| mounted.into());
                let what = format!(
                    "the newest backup of \"{volume}\" at {destination} can't be looked at"
                );
                LookVerdict::Wrong(error.context(what).with_hint(hint))
            }
            // Convoy lets nobody look while it writes.
            Err(_) if running(store).iter().any(|run| !run.dry_run) => LookVerdict::Busy,
            Err(_) => {
                let seconds = DESTINATION_PATIENCE.as_secs();
                let what =
                    format!("the destination {destination} does not answer within {seconds} s");
                LookVerdict::Wrong(
                    Error::new(ErrorKind::Timeout, what).with_hint("does a network folder hang?"),
                )
            }
        };
        looks.push(DestinationLook { destination: destination.to_string(), verdict });
    }
    looks
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

/// What is wrong with a volume whose newest good backup (of this time; `None`: there is none) had
/// its time until `limit`.
fn overdue(backup: Option<Timestamp>, limit: Timestamp, now: Timestamp) -> String {
    let since = |from: Timestamp, until: Timestamp| {
        format_duration(until.duration_since(from).unsigned_abs())
    };
    match backup {
        Some(from) => format!(
            "its newest good backup is too old: {} old, should be under {}",
            since(from, now),
            since(from, limit)
        ),
        None => {
            format!("it has no good backup: one should have been there {} ago", since(limit, now))
        }
    }
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

/// What failed last with this volume, if that was after `since` and the same went well never since.
fn last_failure(store: &Store, volume: &str, since: Option<Timestamp>) -> Option<String> {
    let filter = Filter {
        volume: Some(volume.to_owned()),
        without_looks: looks(),
        limit: Some(RUNS),
        ..Filter::default()
    };
    let mut seen = BTreeSet::new();
    for run in store.list(&filter).unwrap_or_default() {
        if run.dry_run
            || run.ended.is_none()
            || run.status == RunStatus::Skipped
            || !seen.insert(run.script.clone())
            || since.is_some_and(|at| run.started < at)
        {
            continue;
        }
        if let Some(failure) = run.failures.iter().find(|failure| failure.volume == volume) {
            return Some(failed(&run, &failure.message));
        }
        if let Some(message) =
            run.error.as_ref().and_then(|error| error.get("message")).and_then(|text| text.as_str())
            && run.trigger == Trigger::Cron
        {
            return Some(failed(&run, message));
        }
    }
    None
}

/// The runs that failed as a whole, and never went well since with the same arguments: a sentence
/// each. What a person tried by hand and got wrong does not count, unless it was to make or keep
/// backups; nor does a backup of one volume that has a good one since, or is not there any more.
pub(crate) fn failed_runs(store: &Store, volumes: &[VolumeStatus]) -> Vec<String> {
    let is_over = |run: &RunRecord| {
        let Some(volume) = run.arguments.get("volume").and_then(|volume| volume.as_str()) else {
            return false;
        };
        match volumes.iter().find(|known| known.name == volume) {
            Some(known) => {
                let made = known.backup.as_ref().map(|backup| backup.made);
                run.script == "backup" && made.is_some_and(|made| made > run.started)
            }
            // Somebody removed it since. Where no volume is known, the daemon did not answer.
            None => run.trigger != Trigger::Cron && !volumes.is_empty(),
        }
    };
    let filter = Filter { without_looks: looks(), limit: Some(LAST_RUNS), ..Filter::default() };
    let mut seen = BTreeSet::new();
    let mut failed_runs = Vec::new();
    for run in store.list(&filter).unwrap_or_default() {
        let counts = run.trigger == Trigger::Cron
            || ["snapshot", "backup", "prune"].contains(&run.script.as_str());
        // One that goes on says nothing yet; one that was skipped or cancelled takes nothing back.
        let is_open = matches!(
            run.status,
            RunStatus::Waiting | RunStatus::Running | RunStatus::Skipped | RunStatus::Cancelled
        );
        if !counts || run.dry_run || is_open || !seen.insert(same_work(&run)) || is_over(&run) {
            continue;
        }
        let code =
            run.error.as_ref().and_then(|error| error.get("code")).and_then(|code| code.as_str());
        // Whoever typed it was told at once that there is no such thing.
        if run.trigger != Trigger::Cron && matches!(code, Some("usage" | "not_found" | "guard")) {
            continue;
        }
        match (&run.error, run.status) {
            (_, RunStatus::Interrupted) => {
                let why = run.reason.as_deref().unwrap_or("its process is gone");
                failed_runs.push(failed(&run, &format!("it was interrupted, {why}")));
            }
            (Some(error), _) => {
                failed_runs.push(failed(
                    &run,
                    error.get("message").and_then(|text| text.as_str()).unwrap_or_default(),
                ));
            }
            (None, _) => {}
        }
    }
    failed_runs
}

/// The built-in scripts that only read: the dashboard runs them all the time, and what failed must
/// not be lost behind that.
fn looks() -> Option<Vec<String>> {
    Some(["backups", "volumes"].map(str::to_owned).into())
}

/// What two runs have in common where the newer one says how it stands with the older one, too: to
/// take a fresh snapshot or not makes no other backup.
fn same_work(run: &RunRecord) -> (String, Vec<String>) {
    let mut arguments = run.arguments.clone();
    if run.script == "backup" {
        arguments.remove("create_snapshot");
    }
    (run.script.clone(), record::words(&arguments))
}

fn failed(run: &RunRecord, message: &str) -> String {
    format!("{} failed: {message} (convoy-backups runs show {})", run.script, run.id)
}

/// The runs that go on now, the newest first.
pub(crate) fn running(store: &Store) -> Vec<RunRecord> {
    let list = |status| {
        store.list(&Filter { status: Some(status), ..Filter::default() }).unwrap_or_default()
    };
    let mut open = list(RunStatus::Waiting);
    open.extend(list(RunStatus::Running));
    open.sort_by(|one, other| other.id.cmp(&one.id));
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_is_said_with_its_age_and_its_limit() {
        let at = |time: &str| -> Timestamp { time.parse().unwrap() };
        let (limit, now) = (at("2026-11-22T05:00:00Z"), at("2026-11-22T10:00:00Z"));
        assert_eq!(
            overdue(Some(at("2026-11-21T03:00:00Z")), limit, now),
            "its newest good backup is too old: 1d 7h old, should be under 1d 2h"
        );
        assert_eq!(
            overdue(None, limit, now),
            "it has no good backup: one should have been there 5h ago"
        );
    }
}
