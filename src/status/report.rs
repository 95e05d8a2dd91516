//! What is known of the volumes, in the form in which people and programs get it: `status --json`,
//! GET /api/status, the dashboard, the metrics. Times are in UTC, sizes are bytes.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::volume::VolumeStatus;
use crate::run_words::{RunStatus, Trigger};

/// Whether everything is safe, and what is known.
#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Report {
    /// Whether nothing is known to be wrong.
    pub(crate) ok: bool,
    /// Whether `serve` runs.
    pub(crate) serving: bool,
    /// When the volumes were looked at.
    pub(crate) looked: Timestamp,
    /// The host's name.
    pub(crate) host: String,
    /// The program's version.
    pub(crate) version: String,
    /// Which daemon, in words.
    pub(crate) daemon: String,
    /// Where backups go.
    pub(crate) destination: Option<String>,
    /// Where this program keeps its own files.
    pub(crate) data_dir: String,
    /// Sorted by name within a daemon.
    pub(crate) volumes: Vec<VolumeStatus>,
    /// Why the daemon can't be asked, as [`crate::diagnostic::to_json`] writes it.
    pub(crate) daemon_error: Option<Value>,
    /// What is wrong besides the volumes' own problems, a sentence each.
    pub(crate) problems: Vec<String>,
    /// The problems that people were notified of and that are not resolved.
    #[serde(rename = "told")]
    pub(crate) open_problems: Vec<OpenProblem>,
    /// The runs that go on or wait.
    pub(crate) running: Vec<Running>,
    /// What a reader should know besides, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// A problem that people were notified of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OpenProblem {
    /// What the problem is known by.
    pub(crate) key: String,
    pub(crate) title: String,
    /// When the problem was seen first.
    pub(crate) first: Timestamp,
    /// When the problem was seen last.
    pub(crate) last: Timestamp,
    /// How often the problem was seen.
    pub(crate) times: u64,
}

/// A run that goes on or waits.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Running {
    pub(crate) id: String,
    pub(crate) script: String,
    /// As words of a command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) trigger: Trigger,
    /// `running`, or `waiting` for its turn.
    pub(crate) status: RunStatus,
    pub(crate) started: Timestamp,
}

impl Report {
    /// The volumes whose backup is overdue, by name.
    pub(crate) fn overdue(&self) -> Vec<&str> {
        let volumes = self.volumes.iter();
        let overdue = volumes.filter(|volume| volume.verdict.overdue_since().is_some());
        overdue.map(|volume| volume.name.as_str()).collect()
    }
}
