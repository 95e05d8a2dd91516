//! What is known of the volumes, in the form in which people and programs get it: `status --json`,
//! GET /api/status, the dashboard.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::run_words::{RunStatus, Trigger};

/// Whether everything is safe, and what is known. Times are in UTC, sizes are bytes.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Report {
    /// Whether nothing is known to be wrong.
    pub(crate) ok: bool,
    /// Whether `serve` runs.
    pub(crate) serving: bool,
    /// When it was looked.
    pub(crate) looked: Timestamp,
    /// The host.
    pub(crate) host: String,
    /// The program's version.
    pub(crate) version: String,
    /// Which daemon, in words.
    pub(crate) daemon: String,
    /// Where backups go.
    pub(crate) destination: Option<String>,
    /// Where this program keeps its own files.
    pub(crate) data_dir: String,
    /// Each volume, by name.
    pub(crate) volumes: Vec<Volume>,
    /// Why the daemon can't be asked, as [`crate::diagnostic::to_json`] writes it.
    pub(crate) daemon_error: Option<Value>,
    /// What is wrong besides, a sentence each.
    pub(crate) problems: Vec<String>,
    /// What people were told of and is not over.
    pub(crate) told: Vec<Told>,
    /// The runs that go on.
    pub(crate) running: Vec<Running>,
    /// What one should know besides, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// A volume.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Volume {
    /// Its name.
    pub(crate) name: String,
    /// Its daemon, where that is another than the first that the crontab's lines use.
    pub(crate) daemon: Option<String>,
    /// When its newest snapshot was taken.
    pub(crate) last_snapshot: Option<Timestamp>,
    /// Its newest good backup.
    pub(crate) last_backup: Option<Backup>,
    /// When a snapshot is due next.
    pub(crate) next_snapshot: Option<Timestamp>,
    /// When a backup is due next.
    pub(crate) next_backup: Option<Timestamp>,
    /// Whether its newest good backup is new enough.
    pub(crate) backup: Freshness,
    /// When it is too old.
    pub(crate) backup_due_by: Option<Timestamp>,
    /// Whether a line of the crontab backs it up.
    pub(crate) scheduled: bool,
    /// Whether the daemon does not list it any more, though no run deleted it.
    pub(crate) gone: bool,
    /// What is wrong with it, a sentence each.
    pub(crate) problems: Vec<String>,
    /// How large its good backups were, oldest first.
    pub(crate) sizes: Vec<Size>,
}

/// A good backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Backup {
    /// Its URL.
    pub(crate) url: String,
    /// When its snapshot was taken.
    pub(crate) snapshot_time: Timestamp,
    /// When it was made.
    pub(crate) made: Timestamp,
    /// Its size, where the daemon tells.
    pub(crate) bytes: Option<u64>,
}

/// The size of a backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Size {
    /// When it was made.
    pub(crate) time: Timestamp,
    /// In bytes.
    pub(crate) bytes: u64,
}

/// A problem that people were told of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Told {
    /// What it is known by.
    pub(crate) key: String,
    /// What it is.
    pub(crate) title: String,
    /// When it was seen first.
    pub(crate) first: Timestamp,
    /// When it was seen last.
    pub(crate) last: Timestamp,
    /// How often it was seen.
    pub(crate) times: u64,
}

/// A run that goes on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Running {
    /// Its id.
    pub(crate) id: String,
    /// The script.
    pub(crate) script: String,
    /// Its arguments, as words of a command line.
    pub(crate) arguments: Vec<String>,
    /// Who started it.
    pub(crate) trigger: Trigger,
    /// `running`, or `waiting` for its turn.
    pub(crate) status: RunStatus,
    /// When it began.
    pub(crate) started: Timestamp,
}

/// Whether a backup is new enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Freshness {
    /// It is.
    Fresh,
    /// It is not, or there is none.
    Overdue,
    /// No line of the crontab says how old it may be.
    Unscheduled,
}

impl Report {
    /// The volumes without a backup that is new enough, by name.
    pub(crate) fn overdue(&self) -> Vec<&str> {
        let overdue = self.volumes.iter().filter(|volume| volume.backup == Freshness::Overdue);
        overdue.map(|volume| volume.name.as_str()).collect()
    }
}
