//! The report on all volumes, as people and programs get it: `status --json`, `GET /api/status`,
//! the dashboard, the metrics. Times are in UTC, sizes are bytes.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{freshness::Level, volume::VolumeStatus};
use crate::run_words::{RunStatus, Trigger};

#[derive(Debug, Clone, Serialize, Default)]
pub(crate) struct Report {
    /// Whether nothing is known to be wrong. `status`, the dashboard, `/readyz` and the metrics go
    /// by this alone.
    pub(crate) ok: bool,
    /// How the sentence is shown: good only if every volume has a good backup that is new enough.
    pub(crate) level: Level,
    /// Whether everything is safe, for people.
    pub(crate) sentence: String,
    /// Whether `serve` runs.
    pub(crate) serving: bool,
    /// The time of the look.
    pub(crate) looked: Timestamp,
    pub(crate) host: String,
    pub(crate) version: String,
    /// The first daemon, in words for people.
    pub(crate) daemon: String,
    /// A URL.
    pub(crate) destination: Option<String>,
    /// An absolute path.
    pub(crate) data_dir: String,
    /// Sorted by name within a daemon.
    pub(crate) volumes: Vec<VolumeStatus>,
    /// Why the daemon did not answer, as [`crate::diagnostic::to_json`] writes it.
    pub(crate) daemon_error: Option<Value>,
    /// The problems that are not of one volume, a sentence each.
    pub(crate) problems: Vec<String>,
    /// Reported and not resolved yet. JSON keeps the older name.
    #[serde(rename = "told")]
    pub(crate) open_problems: Vec<OpenProblem>,
    pub(crate) running: Vec<UnfinishedRun>,
    /// What a reader should know though it is no problem, a sentence each.
    pub(crate) notes: Vec<String>,
}

/// A problem that people were notified of.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OpenProblem {
    /// The key that identifies the problem in alerts.
    pub(crate) key: String,
    pub(crate) title: String,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    /// How often it was seen.
    pub(crate) times: u64,
}

/// A run that goes on or waits.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct UnfinishedRun {
    pub(crate) id: String,
    pub(crate) script: String,
    /// As the words of a command line.
    pub(crate) arguments: Vec<String>,
    pub(crate) trigger: Trigger,
    /// `running`, or `waiting` for its turn.
    pub(crate) status: RunStatus,
    pub(crate) started: Timestamp,
}

impl Report {
    /// The names of the volumes that have no good backup that is new enough, and should have one.
    pub(crate) fn without_fresh_backup(&self) -> Vec<&str> {
        let volumes = self.volumes.iter();
        let wrong = volumes.filter(|volume| volume.verdict.state.is_wrong());
        wrong.map(|volume| volume.name.as_str()).collect()
    }
}
