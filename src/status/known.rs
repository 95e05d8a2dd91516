//! What was seen of volumes and destinations.

use jiff::Timestamp;
use serde::Serialize;

use super::freshness::Freshness;
use crate::error::Error;

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
