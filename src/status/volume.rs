//! The record of one volume, as `status --json`, `GET /api/status` and the dashboard show it. Times
//! are in UTC.

use jiff::Timestamp;
use serde::Serialize;

use super::freshness::{Level, State, Summary, Verdict};

/// A volume's newest good backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct GoodBackup {
    pub(crate) url: String,
    pub(crate) snapshot_time: Timestamp,
    pub(crate) made: Timestamp,
    /// `None` if the daemon does not say.
    pub(crate) bytes: Option<u64>,
    /// Whether its data was looked at, and not only its description. `None`: nobody asked.
    pub(crate) verified: Option<bool>,
    /// The number of files that changed or went missing while it was made. `None`: the daemon does not say.
    pub(crate) changed_files: Option<u64>,
}

/// A backup that can't be restored, is partial, or whose source is in doubt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BadBackup {
    pub(crate) url: String,
    /// In words for people.
    pub(crate) why: String,
    /// Whether it can't be restored.
    pub(crate) broken: bool,
    /// Whether it lacks files that could not be read.
    pub(crate) partial: bool,
    /// Whether it is the newest of those that can't be restored, and no good one has newer data.
    pub(crate) newest: bool,
}

/// The size of a good backup.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BackupSize {
    pub(crate) time: Timestamp,
    pub(crate) bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct VolumeStatus {
    pub(crate) name: String,
    /// Its compose project.
    pub(crate) project: Option<String>,
    /// The daemon, if it is not the first that the crontab's lines use: names of volumes are unique
    /// within one daemon only.
    pub(crate) daemon: Option<String>,
    /// The newest snapshot's time.
    pub(crate) last_snapshot: Option<Timestamp>,
    pub(crate) last_backup: Option<GoodBackup>,
    /// Those that are known, the newest first.
    pub(crate) bad_backups: Vec<BadBackup>,
    /// By the crontab.
    pub(crate) next_snapshot: Option<Timestamp>,
    /// By the crontab.
    pub(crate) next_backup: Option<Timestamp>,
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// Whether a line of the crontab backs the volume up.
    pub(crate) scheduled: bool,
    /// The daemon does not list the volume, and no run deleted it.
    pub(crate) gone: bool,
    /// The URL of the backup from which a run restored the volume.
    pub(crate) restored_from: Option<String>,
    /// A sentence each.
    pub(crate) problems: Vec<String>,
    /// Those of the problems that no message on something else tells people of: not the one on the
    /// run that failed, or on an overdue, gone or broken backup.
    #[serde(skip)]
    pub(crate) untold: Vec<String>,
    /// What a reader should know though it is no problem, a sentence each.
    pub(crate) notes: Vec<String>,
    /// The sizes of its good backups, oldest first.
    pub(crate) sizes: Vec<BackupSize>,
    pub(crate) summary: Summary,
}

impl VolumeStatus {
    /// Why the backup with the newest data can't be restored, if it can't.
    pub(crate) fn newest_is_broken(&self) -> Option<&str> {
        self.bad_backups.iter().find(|bad| bad.newest).map(|bad| bad.why.as_str())
    }

    /// A name that is unique across daemons, for people: the volume's name, and its daemon if that
    /// is not the first.
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
        for state in [State::Fresh, State::Awaited, State::Missing] {
            assert!(state.summary().order > other.order);
        }
        assert!(State::Overdue.summary().order < other.order);
    }
}
