//! What earlier runs of this host learned of a volume's backups.

use jiff::Timestamp;

use super::doubts::KnownSources;
use crate::{convoy::BackupUrl, error::Result};

/// A backup that an earlier run made, inspected or restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownBackup {
    pub(crate) url: String,
    /// When its snapshot was taken; `None` if the daemon does not tell.
    pub(crate) snapshot_time: Option<Timestamp>,
    /// When it was made and proven good. If another host made it: when its snapshot was taken.
    pub(crate) proven: Timestamp,
    /// Whether a run of this host made it.
    pub(crate) made_here: bool,
    /// Whether a run of this host restored it, and so read it whole.
    pub(crate) restored: bool,
    /// Whether it is of a volume that had the name before, or may be.
    pub(crate) former: bool,
    /// Whether its data was looked at, and not only its description.
    pub(crate) verified: bool,
    /// Why it can't be restored, if that is known.
    pub(crate) broken: Option<Broken>,
    /// Why its source may have been missing when it was made.
    pub(crate) doubt: Option<String>,
    /// The number of its files; `None` if the daemon does not tell.
    pub(crate) files: Option<u64>,
    /// The size of its files in bytes; `None` if the daemon does not tell.
    pub(crate) bytes: Option<u64>,
}

/// Why a backup can't be restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// In words for people.
    pub(crate) why: String,
    /// When it was found.
    pub(crate) since: Timestamp,
    /// Whether only reading the whole backup shows it, so that inspecting it does not disprove it.
    pub(crate) by_reading: bool,
}

impl KnownBackup {
    /// Why this backup is no good one, whatever a new look at it finds.
    pub(crate) fn is_bad(&self) -> Option<&str> {
        let broken = self.broken.as_ref().filter(|broken| broken.by_reading);
        broken.map(|broken| broken.why.as_str()).or(self.doubt.as_deref())
    }

    /// Whether this host knows what is in it: everybody who can write to a destination can write
    /// backups that look like this host's.
    pub(super) fn is_trusted(&self) -> bool {
        self.made_here || self.restored
    }
}

/// The memory of earlier runs. The store of runs implements it.
pub(crate) trait KnownBackups: Send + Sync + std::fmt::Debug {
    /// What is known of the backups of this volume of this daemon, in no particular order.
    ///
    /// # Errors
    /// If the memory can't be read. A memory that was never written is empty.
    fn of_volume(&self, daemon: &str, volume: &str) -> Result<Vec<KnownBackup>>;

    /// What is known of the sources of this daemon's backups.
    ///
    /// # Errors
    /// If the memory can't be read. A memory that was never written is empty.
    fn sources(&self, daemon: &str) -> Result<KnownSources>;
}

/// What is known of this backup.
pub(super) fn find<'a>(known: &'a [KnownBackup], url: &BackupUrl) -> Option<&'a KnownBackup> {
    known.iter().find(|backup| BackupUrl::parse(&backup.url).is_ok_and(|it| it.same_backup(url)))
}
