//! The record of one volume, as `status --json`, GET /api/status and the dashboard have it. Times
//! are in UTC.

use jiff::Timestamp;
use serde::Serialize;

use super::freshness::{Level, State, Summary, Verdict};

/// A volume's newest good backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GoodBackup {
    pub(crate) url: String,
    /// When its snapshot was taken.
    pub(crate) snapshot_time: Timestamp,
    /// When it was made.
    pub(crate) made: Timestamp,
    /// `None` where the daemon does not tell.
    pub(crate) bytes: Option<u64>,
}

/// The size of a good backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BackupSize {
    /// When the backup was made.
    pub(crate) time: Timestamp,
    pub(crate) bytes: u64,
}

/// What is known of a volume.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct VolumeStatus {
    pub(crate) name: String,
    /// Its daemon, where that is another than the first that the crontab's lines use: volumes'
    /// names are unique within one daemon.
    pub(crate) daemon: Option<String>,
    /// When its newest snapshot was taken.
    pub(crate) last_snapshot: Option<Timestamp>,
    /// Its newest good backup.
    pub(crate) last_backup: Option<GoodBackup>,
    /// When a snapshot is due next by the crontab.
    pub(crate) next_snapshot: Option<Timestamp>,
    /// When a backup is due next by the crontab.
    pub(crate) next_backup: Option<Timestamp>,
    /// Whether its newest good backup is new enough.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// Whether a line of the crontab backs it up.
    pub(crate) scheduled: bool,
    /// The daemon does not list it, though no run deleted it.
    pub(crate) gone: bool,
    /// What is wrong, a sentence each.
    pub(crate) problems: Vec<String>,
    /// How large its good backups were, the oldest first.
    pub(crate) sizes: Vec<BackupSize>,
    /// How it is shown in a list.
    pub(crate) summary: Summary,
}

impl VolumeStatus {
    /// What tells the volume from all others, for people: its name, and its daemon where that is
    /// not the first.
    pub(crate) fn label(&self) -> String {
        match &self.daemon {
            Some(daemon) => format!("{} at {daemon}", self.name),
            None => self.name.clone(),
        }
    }
}

/// How a volume with these problems is shown.
pub(super) fn summary(state: State, has_backup: bool, problems: &[String]) -> Summary {
    if problems.is_empty() || state == State::Overdue {
        return state.summary();
    }
    let level = if has_backup { Level::Warning } else { Level::Bad };
    Summary { level, word: "has problems", order: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_with_other_problems_comes_right_after_those_that_are_overdue() {
        let problems = ["its backups can't be listed".to_owned()];
        let other = summary(State::Fresh, true, &problems);
        assert_eq!((other.level, other.word), (Level::Warning, "has problems"));
        assert_eq!(summary(State::Missing, false, &problems).level, Level::Bad);
        assert_eq!(summary(State::Overdue, true, &problems), State::Overdue.summary());
        for state in [State::Fresh, State::Awaited, State::Unscheduled, State::Missing] {
            assert!(state.summary().order > other.order);
        }
        assert!(State::Overdue.summary().order < other.order);
    }
}
