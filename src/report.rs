//! What is known of the volumes, in the form in which people and programs get it: `status --json`,
//! GET /api/status, the dashboard.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Whether everything is safe, and what is known. Times are in UTC, sizes are bytes.
#[derive(Debug, Clone, Serialize, Default)]
pub struct Report {
    /// Whether nothing is known to be wrong.
    pub ok: bool,
    /// Whether `serve` runs.
    pub serving: bool,
    /// When it was looked.
    pub looked: Timestamp,
    /// The host.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// Which daemon, in words.
    pub daemon: String,
    /// Where backups go.
    pub destination: Option<String>,
    /// Where this program keeps its own files.
    pub data_dir: String,
    /// Each volume, by name.
    pub volumes: Vec<Volume>,
    /// Why the daemon can't be asked, as [`crate::diagnostic::to_json`] writes it.
    pub daemon_error: Option<Value>,
    /// What is wrong besides, a sentence each.
    pub problems: Vec<String>,
    /// What people were told of and is not over.
    pub told: Vec<Told>,
    /// The runs that go on.
    pub running: Vec<Running>,
    /// What one should know besides, a sentence each.
    pub notes: Vec<String>,
}

/// A volume.
#[derive(Debug, Clone, Serialize)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its daemon, where that is another than the first that the crontab's lines use.
    pub daemon: Option<String>,
    /// When its newest snapshot was taken.
    pub last_snapshot: Option<Timestamp>,
    /// Its newest good backup.
    pub last_backup: Option<Backup>,
    /// When a snapshot is due next.
    pub next_snapshot: Option<Timestamp>,
    /// When a backup is due next.
    pub next_backup: Option<Timestamp>,
    /// Whether its newest good backup is new enough.
    pub backup: Freshness,
    /// When it is too old.
    pub backup_due_by: Option<Timestamp>,
    /// Whether a line of the crontab backs it up.
    pub scheduled: bool,
    /// Whether the daemon does not list it any more, though no run deleted it.
    pub gone: bool,
    /// What is wrong with it, a sentence each.
    pub problems: Vec<String>,
    /// How large its good backups were, oldest first.
    pub sizes: Vec<Size>,
}

/// A good backup.
#[derive(Debug, Clone, Serialize)]
pub struct Backup {
    /// Its URL.
    pub url: String,
    /// When its snapshot was taken.
    pub snapshot_time: Timestamp,
    /// When it was made.
    pub made: Timestamp,
    /// Its size, where the daemon tells.
    pub bytes: Option<u64>,
}

/// The size of a backup.
#[derive(Debug, Clone, Serialize)]
pub struct Size {
    /// When it was made.
    pub time: Timestamp,
    /// In bytes.
    pub bytes: u64,
}

/// A problem that people were told of.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// What it is known by.
    pub key: String,
    /// What it is.
    pub title: String,
    /// When it was seen first.
    pub first: Timestamp,
    /// When it was seen last.
    pub last: Timestamp,
    /// How often it was seen.
    pub times: u64,
}

/// A run that goes on.
#[derive(Debug, Clone, Serialize)]
pub struct Running {
    /// Its id.
    pub id: String,
    /// The script.
    pub script: String,
    /// Its arguments, as words of a command line.
    pub arguments: Vec<String>,
    /// Who started it: `cli`, `cron` or `http`.
    pub trigger: String,
    /// `running`, or `waiting` for its turn.
    pub status: String,
    /// When it began.
    pub started: Timestamp,
}

/// Whether a backup is new enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Freshness {
    /// It is.
    Fresh,
    /// It is not, or there is none.
    Overdue,
    /// No line of the crontab says how old it may be.
    Unscheduled,
}

impl Report {
    /// The volumes without a backup that is new enough, by name.
    pub fn overdue(&self) -> Vec<&str> {
        let overdue = self.volumes.iter().filter(|volume| volume.backup == Freshness::Overdue);
        overdue.map(|volume| volume.name.as_str()).collect()
    }
}
