//! What the store remembers of runs and volumes. Times are in UTC, to the microsecond. Sizes are in
//! bytes.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use super::host;
use crate::{
    convoy::guards::Observation,
    run_words::{RunStatus, Trigger},
    script::{Effect, Failure},
};

/// The line of a crontab that started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// Identifies the entry, also after other lines of the crontab were edited.
    pub(crate) key: String,
    /// The line's number in the crontab at that time, from 1.
    pub(crate) line: u32,
}

/// A request to cancel a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CancelRequest {
    /// The person or program that asked, in words.
    pub(crate) by: String,
    pub(crate) at: Timestamp,
}

/// The record of a run. The run's log and output are read separately, because they are large.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunRecord {
    /// Ids sort by time.
    pub(crate) id: String,
    pub(crate) script: String,
    /// The SHA-256 of the script's text, in hexadecimal.
    pub(crate) digest: String,
    /// Where the script came from, in words.
    pub(crate) origin: String,
    /// The arguments after they were checked, by parameter.
    pub(crate) arguments: Map<String, Value>,
    pub(crate) trigger: Trigger,
    /// The entry of the crontab that started the run.
    pub(crate) entry: Option<Entry>,
    pub(crate) dry_run: bool,
    /// The script declared `READ_ONLY`.
    #[serde(skip)]
    pub(crate) read_only: bool,
    /// The effects that the script declared in `DOES`. The script may have changed since.
    #[serde(skip)]
    pub(crate) does: Vec<Effect>,
    pub(crate) host: String,
    /// The id of the process that ran the script.
    pub(crate) process: u32,
    /// The id of the system's boot that the process belongs to; empty where the system has none.
    pub(crate) boot: String,
    pub(crate) started: Timestamp,
    /// `None`: the run goes on, or was interrupted at an unknown time.
    pub(crate) ended: Option<Timestamp>,
    /// How long the run took, by the monotonic clock.
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    pub(crate) took: Option<Duration>,
    pub(crate) status: RunStatus,
    /// Why the run was skipped, or why it was interrupted if its process could still record that.
    pub(crate) reason: Option<String>,
    /// The error that ended the run, as [`crate::diagnostic::to_json`] writes it.
    pub(crate) error: Option<Value>,
    /// The failures that did not end the run.
    pub(crate) failures: Vec<Failure>,
    /// The names of the volumes that the run changed or backed up without a failure.
    pub(crate) volumes_done: Vec<String>,
    /// The size of all backups that the run made. `None`: the size of one of them is unknown.
    pub(crate) bytes: Option<u64>,
    /// How many lines of the log were dropped because the log was too long.
    pub(crate) lines_left_out: u64,
    pub(crate) cancel_requested: Option<CancelRequest>,
}

/// Arguments as the words of a command line. The spelling does not depend on how they were given.
pub(crate) fn words(arguments: &Map<String, Value>) -> Vec<String> {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut words = Vec::new();
    for (name, value) in arguments {
        let option = format!("--{}", name.replace('_', "-"));
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::Bool(true) => words.push(option),
            Value::Array(values) => {
                values.iter().for_each(|value| words.extend([option.clone(), plain(value)]))
            }
            value => words.extend([option, plain(value)]),
        }
    }
    words
}

impl RunRecord {
    /// The record of a run of this process that begins now.
    pub(super) fn new(id: String, script: String, trigger: Trigger, started: Timestamp) -> Self {
        Self {
            id,
            script,
            digest: String::new(),
            origin: String::new(),
            arguments: Map::new(),
            trigger,
            entry: None,
            dry_run: false,
            read_only: false,
            does: Vec::new(),
            host: host::name(),
            process: std::process::id(),
            boot: host::boot(),
            started,
            ended: None,
            took: None,
            status: RunStatus::Running,
            reason: None,
            error: None,
            failures: Vec::new(),
            volumes_done: Vec::new(),
            bytes: None,
            lines_left_out: 0,
            cancel_requested: None,
        }
    }

    /// The arguments as the words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = words(&self.arguments);
        words.extend(self.dry_run.then(|| "--dry-run".to_owned()));
        words
    }

    /// The volumes under which a list by volume finds the run: those in its arguments, those that
    /// it worked on, and those that failed.
    pub(super) fn volumes(&self) -> Vec<&str> {
        let named = match self.arguments.get("volume") {
            Some(Value::String(name)) => vec![name.as_str()],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let done = self.volumes_done.iter().map(String::as_str);
        let failed = self.failures.iter().map(|failure| failure.volume.as_str());
        let mut volumes: Vec<&str> =
            named.into_iter().chain(done).chain(failed).filter(|name| !name.is_empty()).collect();
        volumes.sort_unstable();
        volumes.dedup();
        volumes
    }
}

fn seconds<S: Serializer>(took: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    took.map(|took| took.as_secs_f64()).serialize(serializer)
}

/// The output of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Output {
    /// The value that the script returned. `None`: the script did not return. `{"NotKept": ..}`:
    /// the value was longer than 1 MiB, or longer than 16 KiB and of a script that only reads.
    pub(crate) result: Option<Value>,
    /// In a dry run: the steps that were not done, in order.
    pub(crate) plan: Option<Value>,
    /// What the run deleted, in order, however it ended.
    pub(crate) deleted: Vec<Deleted>,
}

/// What a run deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deleted {
    pub(crate) what: DeletedKind,
    /// The URL of a backup, the name of a snapshot or a volume.
    pub(crate) name: String,
    /// The volume's name; empty if the daemon does not tell the volume (EBS).
    pub(crate) volume: String,
}

/// The kind of what a run deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeletedKind {
    Backup,
    Snapshot,
    Volume,
}

impl DeletedKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Snapshot => "snapshot",
            Self::Volume => "volume",
        }
    }
}

impl Deleted {
    /// What an observation says was deleted.
    pub(super) fn of(observation: &Observation) -> Option<Self> {
        let (what, name, volume) = match observation {
            Observation::BackupDeleted { volume, url } => (DeletedKind::Backup, url, volume),
            Observation::SnapshotDeleted { volume, snapshot } => {
                (DeletedKind::Snapshot, snapshot, volume)
            }
            Observation::VolumeGone { volume, forgotten: false } => {
                (DeletedKind::Volume, volume, volume)
            }
            _ => return None,
        };
        Some(Self { what, name: name.clone(), volume: volume.clone() })
    }
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// The line's place in the log, from 1.
    pub(crate) number: u64,
    pub(crate) time: Timestamp,
    #[serde(serialize_with = "level")]
    pub(crate) level: log::Level,
    /// The source of the line: a module of this program, or a script.
    pub(crate) target: String,
    /// The text, in which control characters are not escaped yet.
    pub(crate) text: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn level<S: Serializer>(level: &log::Level, serializer: S) -> Result<S::Ok, S::Error> {
    level.as_str().to_ascii_lowercase().serialize(serializer)
}

/// A run that was due and did not begin.
#[derive(Debug, Clone)]
pub(crate) struct Skipped {
    pub(crate) script: String,
    pub(crate) arguments: Map<String, Value>,
    pub(crate) entry: Entry,
    /// The effects that the script declares in `DOES`.
    pub(crate) does: Vec<Effect>,
    pub(crate) due: Timestamp,
    /// Why the run did not begin, in words.
    pub(crate) reason: String,
}

/// A backup that is no good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct BadBackup {
    /// As of a good one.
    #[serde(flatten)]
    pub(crate) backup: GoodBackup,
    pub(crate) reason: BadReason,
    /// Why, in words for people.
    pub(crate) why: String,
}

/// What makes a backup bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BadReason {
    /// An inspection found that it can't be restored. An inspection also shows when it is whole.
    Broken,
    /// Only reading all of it showed that it can't be restored.
    BrokenInside,
    /// Its source may have been missing when it was made.
    Doubtful,
    /// It lacks files that could not be read.
    Partial,
}

impl BadReason {
    /// Whether it can't be restored. Others can be, and lack data.
    pub(crate) fn is_broken(self) -> bool {
        matches!(self, Self::Broken | Self::BrokenInside)
    }
}

/// A backup that was found good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GoodBackup {
    pub(crate) url: String,
    /// When the snapshot in the backup was taken. `None`: the daemon does not say.
    pub(crate) snapshot_time: Option<Timestamp>,
    /// When the backup was made and found good. If another run made it: when its snapshot was
    /// taken.
    pub(crate) proven: Timestamp,
    /// The id of the first run that found the backup good.
    pub(crate) run: String,
    /// `None`: the daemon does not say.
    pub(crate) bytes: Option<u64>,
    /// The number of files that changed or went missing while it was made. `None`: the daemon does not say.
    pub(crate) changed_files: Option<u64>,
}

impl GoodBackup {
    /// How new its data is, for an order of a volume's backups.
    pub(crate) fn order(&self) -> (Timestamp, Timestamp) {
        (self.snapshot_time.unwrap_or(self.proven), self.proven)
    }
}

/// What is known of a volume, learned from the observations of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct VolumeRecord {
    pub(crate) name: String,
    /// The volume's daemon, by [`crate::convoy::Daemon::identity`].
    pub(crate) daemon: String,
    /// When the daemon made the volume, which tells apart two volumes that had one name after each
    /// other. `None`: the daemon does not say, or no run has listed the volume yet.
    pub(crate) created: Option<Timestamp>,
    /// The URL of the backup from which a run restored the volume.
    pub(crate) restored_from: Option<String>,
    pub(crate) first_seen: Timestamp,
    /// When a run last listed the volume or worked on it.
    pub(crate) last_seen: Timestamp,
    /// When a run deleted the volume, or had the daemon forget it. The volume stays in the store,
    /// because its backups may still exist.
    pub(crate) removed: Option<Timestamp>,
    /// The name of the newest snapshot.
    pub(crate) snapshot: Option<String>,
    /// When the newest snapshot was taken.
    pub(crate) snapshot_time: Option<Timestamp>,
    /// The backups that were found good and were not deleted since, the newest data first.
    pub(crate) good_backups: Vec<GoodBackup>,
    /// The backups that are known to be broken, or whose source is in doubt, the newest data first.
    pub(crate) bad_backups: Vec<BadBackup>,
    /// When runs of this host made its last backups, also those that were deleted since; the latest
    /// first.
    pub(crate) made: Vec<Timestamp>,
    /// Why the volume's newest snapshot or backup is in doubt, if it is.
    pub(crate) doubt: Option<String>,
}

impl VolumeRecord {
    /// The newest backup that can't be restored, if no good one has newer data.
    pub(crate) fn newest_broken(&self) -> Option<&BadBackup> {
        self.newest_bad(|bad| bad.reason.is_broken())
    }

    /// The newest backup that is partial or in doubt, if no good one has newer data.
    pub(crate) fn newest_in_doubt(&self) -> Option<&BadBackup> {
        self.newest_bad(|bad| !bad.reason.is_broken())
    }

    fn newest_bad(&self, is: impl Fn(&BadBackup) -> bool) -> Option<&BadBackup> {
        let good = self.good_backups.first().map(GoodBackup::order);
        let newest = self.bad_backups.iter().find(|bad| is(bad));
        newest.filter(|bad| good.is_none_or(|good| good < bad.backup.order()))
    }
}

/// The upper bounds of the buckets in which the durations of runs are counted, in seconds. One more
/// bucket, without a bound, follows.
pub(crate) const DURATION_BUCKETS: [f64; 9] =
    [0.1, 1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 7_200.0, 18_000.0];

/// Counts of all runs that ended, including runs that are not kept any more. Dry runs don't count.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Totals {
    /// How many runs of each script ended with each status.
    pub(crate) runs: Vec<(String, RunStatus, u64)>,
    pub(crate) durations: Vec<Durations>,
    /// The size of all backups that the runs made.
    pub(crate) backup_bytes: u64,
}

/// How long the runs of a script took.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Durations {
    pub(crate) script: String,
    /// How many runs fell into each bucket: longer than the bound before, and no longer than its
    /// own of [`DURATION_BUCKETS`]. The last bucket has all longer runs.
    pub(crate) counts: [u64; DURATION_BUCKETS.len() + 1],
    /// The sum of all durations, in seconds.
    pub(crate) seconds: f64,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) script: Option<String>,
    pub(crate) status: Option<RunStatus>,
    /// Only runs that began at this time or later.
    pub(crate) since: Option<Timestamp>,
    /// Only runs that named this volume, worked on it, or failed at it.
    pub(crate) volume: Option<String>,
    /// Leaves out dry runs and runs of read-only scripts, unless the crontab started them.
    pub(crate) without_read_only: bool,
    /// Only runs that were recorded before the one with this id: the next page of a list.
    pub(crate) before: Option<String>,
    /// Only the newest runs, at most so many. `None`: all.
    pub(crate) limit: Option<usize>,
}

/// The answer to a request to cancel a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// The run was asked to end, and ends soon.
    Asked,
    /// The run had already ended, with this status.
    Ended(RunStatus),
}
