//! What is remembered of a run and of a volume. Times are in UTC, to the microsecond; sizes are
//! bytes.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::host;
use crate::{
    run_words::{RunStatus, Trigger},
    script::{Effect, Failure},
};

/// The line of a crontab that started a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Entry {
    /// What tells the entry from all others, also after the file was edited.
    pub(crate) key: String,
    /// Where it stood in the file, from 1.
    pub(crate) line: u32,
}

/// That somebody wants a run to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CancelRequest {
    /// Who, in words.
    pub(crate) by: String,
    /// When.
    pub(crate) at: Timestamp,
}

/// What is remembered of a run, but for its log and what it returned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct RunRecord {
    /// Its id; ids sort by time.
    pub(crate) id: String,
    /// The script's name.
    pub(crate) script: String,
    /// The SHA-256 of the script's text, in hexadecimal.
    pub(crate) digest: String,
    /// Where the script came from, in words.
    pub(crate) origin: String,
    /// The arguments, checked.
    pub(crate) arguments: Map<String, Value>,
    /// Who started it.
    pub(crate) trigger: Trigger,
    /// The crontab's entry, where one started it.
    pub(crate) entry: Option<Entry>,
    /// Whether nothing was written.
    pub(crate) dry_run: bool,
    /// Whether its script said that it only reads.
    #[serde(skip)]
    pub(crate) read_only: bool,
    /// What its script said that it does; the script may be another by now.
    #[serde(skip)]
    pub(crate) does: Vec<Effect>,
    /// The host it ran on.
    pub(crate) host: String,
    /// The process it ran in.
    pub(crate) process: u32,
    /// The boot of the host's system that the process belongs to; empty where the system does not
    /// tell.
    pub(crate) boot: String,
    /// When it began.
    pub(crate) started: Timestamp,
    /// When it ended; `None` where it goes on, or was interrupted nobody knows when.
    pub(crate) ended: Option<Timestamp>,
    /// How long it took, by a clock that nobody sets.
    #[serde(rename = "took_seconds", serialize_with = "seconds")]
    pub(crate) took: Option<Duration>,
    /// How it ended.
    pub(crate) status: RunStatus,
    /// Why it did not begin, where it was skipped; why it did not get to its end, where its process
    /// could still say so.
    pub(crate) reason: Option<String>,
    /// What ended it, as [`crate::diagnostic::to_json`] writes it.
    pub(crate) error: Option<Value>,
    /// What failed on the way without ending it.
    pub(crate) failures: Vec<Failure>,
    /// The volumes that something was done to, by name.
    pub(crate) volumes_done: Vec<String>,
    /// The bytes that were backed up, where that is known of every backup it made.
    pub(crate) bytes: Option<u64>,
    /// How many lines of its log were too many to be kept.
    pub(crate) lines_left_out: u64,
    /// That somebody wanted it to end.
    pub(crate) cancel_requested: Option<CancelRequest>,
}

/// Arguments as words of a command line, spelt alike however they were given.
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
    /// A run of this process that begins now; nothing else is known of it yet.
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

    /// Its arguments as words of a command line.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut words = words(&self.arguments);
        words.extend(self.dry_run.then(|| "--dry-run".to_owned()));
        words
    }

    /// The volumes that a list by volume finds it under: named in its arguments, worked on, or
    /// failed.
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

/// What a run returned.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Output {
    /// What the script returned; `None` where it did not come to its end, `{"NotKept": ..}` where
    /// it was more than 1 MiB, or more than 16 KiB of a script that only reads.
    pub(crate) result: Option<Value>,
    /// In a dry run: what would have been done, in order.
    pub(crate) plan: Option<Value>,
}

/// A line of a run's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// Its place in the log, from 1.
    pub(crate) number: u64,
    /// When it was said.
    pub(crate) time: Timestamp,
    /// How much it matters.
    #[serde(serialize_with = "level")]
    pub(crate) level: log::Level,
    /// Who said it: a module of this program, or a script.
    pub(crate) target: String,
    /// What was said; control characters are not escaped yet.
    pub(crate) text: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn level<S: Serializer>(level: &log::Level, serializer: S) -> Result<S::Ok, S::Error> {
    level.as_str().to_ascii_lowercase().serialize(serializer)
}

/// A run that was due and did not begin.
#[derive(Debug, Clone)]
pub(crate) struct Skipped {
    /// The script's name.
    pub(crate) script: String,
    /// The arguments it would have had.
    pub(crate) arguments: Map<String, Value>,
    /// The crontab's entry.
    pub(crate) entry: Entry,
    /// What its script says that it does.
    pub(crate) does: Vec<Effect>,
    /// When it was due.
    pub(crate) due: Timestamp,
    /// Why it did not begin, in words.
    pub(crate) reason: String,
}

/// A backup that was found good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct GoodBackup {
    /// Its URL.
    pub(crate) url: String,
    /// When the snapshot in it was taken, where the daemon tells.
    pub(crate) snapshot_time: Option<Timestamp>,
    /// When it was made and found good; where another run made it, when its snapshot was taken.
    pub(crate) proven: Timestamp,
    /// The run that found it so first.
    pub(crate) run: String,
    /// Its size, where the daemon tells.
    pub(crate) bytes: Option<u64>,
}

/// What is known of a volume, from what runs saw of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct VolumeRecord {
    /// The volume's name.
    pub(crate) name: String,
    /// The daemon it is of ([`crate::convoy::Daemon::identity`]).
    pub(crate) daemon: String,
    /// When a run first saw it.
    pub(crate) first_seen: Timestamp,
    /// When a run last saw it, in a list or by working on it.
    pub(crate) last_seen: Timestamp,
    /// When a run deleted it, or had the daemon forget it. It is kept for the record: its backups
    /// may still be there.
    pub(crate) removed: Option<Timestamp>,
    /// The name of its newest snapshot.
    pub(crate) snapshot: Option<String>,
    /// When that was taken.
    pub(crate) snapshot_time: Option<Timestamp>,
    /// Its backups that were found good and not deleted since, the newest data first; the first is
    /// the last good one.
    pub(crate) good_backups: Vec<GoodBackup>,
}

/// The limits of the buckets in which the durations of runs are counted, in seconds; the last
/// bucket has none.
pub(crate) const DURATION_BUCKETS: [f64; 9] =
    [0.1, 1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 7_200.0, 18_000.0];

/// What was counted of all runs that ended, also of those that are not kept any more; dry runs
/// don't count.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Totals {
    /// How many ended how, by script.
    pub(crate) runs: Vec<(String, RunStatus, u64)>,
    /// How long they took.
    pub(crate) durations: Vec<Durations>,
    /// The bytes of the backups that they made.
    pub(crate) backup_bytes: u64,
}

/// How long the runs of a script took.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Durations {
    /// The script.
    pub(crate) script: String,
    /// How many took no longer than each of [`DURATION_BUCKETS`], and longer than the one before;
    /// then those that took longer.
    pub(crate) counts: [u64; DURATION_BUCKETS.len() + 1],
    /// How long they took together, in seconds.
    pub(crate) seconds: f64,
}

/// Which runs a list shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// Of this script.
    pub(crate) script: Option<String>,
    /// With this status.
    pub(crate) status: Option<RunStatus>,
    /// That began at this time or later.
    pub(crate) since: Option<Timestamp>,
    /// That have to do with this volume.
    pub(crate) volume: Option<String>,
    /// Without mere looks: dry runs, and runs of scripts that only read. What the crontab started
    /// counts always.
    pub(crate) without_read_only: bool,
    /// Whose id is before this one: a further page of a list.
    pub(crate) before: Option<String>,
    /// At most so many, the newest; `None`: all.
    pub(crate) limit: Option<usize>,
}

/// What came of the wish that a run should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cancelling {
    /// It was asked, and ends soon.
    Asked,
    /// It had ended already, in this way.
    Ended(RunStatus),
}
