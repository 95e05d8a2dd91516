//! What earlier runs of this host learned of a volume's backups.

use jiff::Timestamp;

use super::{by_backup::ByBackup, doubts::KnownSources};
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
    /// Which files it lacks, or why its source may have been missing when it was made.
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

    /// Adds what is known of the same backup under another spelling of its destination. A run that
    /// saw it since the last volume got the name makes it no former one.
    fn merge(&mut self, other: Self) {
        self.snapshot_time = self.snapshot_time.or(other.snapshot_time);
        self.proven = self.proven.max(other.proven);
        self.made_here |= other.made_here;
        self.restored |= other.restored;
        self.former &= other.former;
        self.verified |= other.verified;
        self.broken = match (self.broken.take(), other.broken) {
            (Some(this), Some(other)) if other.by_reading && !this.by_reading => Some(other),
            (this, other) => this.or(other),
        };
        self.doubt = self.doubt.take().or(other.doubt);
        self.files = self.files.or(other.files);
        self.bytes = self.bytes.or(other.bytes);
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

/// What is known of a volume's backups, by backup.
pub(super) type Known = ByBackup<KnownBackup>;

/// Sorts by backup what is known of the URLs of backups.
pub(super) fn by_backup(known: Vec<KnownBackup>) -> Known {
    let mut sorted = Known::default();
    for backup in known {
        if let Ok(url) = BackupUrl::parse(&backup.url) {
            sorted.add(url, backup, KnownBackup::merge);
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(url: &str) -> KnownBackup {
        KnownBackup {
            url: url.to_owned(),
            snapshot_time: None,
            proven: Timestamp::UNIX_EPOCH,
            made_here: false,
            restored: false,
            former: true,
            verified: false,
            broken: None,
            doubt: None,
            files: None,
            bytes: None,
        }
    }

    fn broken(by_reading: bool) -> Option<Broken> {
        Some(Broken { why: "gone".into(), since: Timestamp::UNIX_EPOCH, by_reading })
    }

    #[test]
    fn what_is_known_of_one_backup_under_two_spellings_of_its_destination_counts_together() {
        let plain = "vfs:///backups?backup=backup-1&volume=vol1";
        let spelt_otherwise = "vfs:///backups/?backup=backup-1&volume=vol1";
        let other = "vfs:///backups?backup=backup-1&volume=vol2";
        let made =
            KnownBackup { made_here: true, former: false, broken: broken(false), ..known(plain) };
        let seen = KnownBackup {
            restored: true,
            verified: true,
            broken: broken(true),
            doubt: Some("why".into()),
            files: Some(3),
            ..known(spelt_otherwise)
        };
        for order in [[made.clone(), seen.clone()], [seen, made]] {
            let sorted = by_backup(order.into_iter().chain([known(other)]).collect());
            for url in [plain, spelt_otherwise] {
                let found = sorted.get(&BackupUrl::parse(url).unwrap()).unwrap();
                assert!(found.made_here && found.restored && found.verified, "{found:?}");
                assert!(!found.former && found.files == Some(3), "{found:?}");
                assert_eq!((&found.broken, found.doubt.as_deref()), (&broken(true), Some("why")));
            }
            let other = sorted.get(&BackupUrl::parse(other).unwrap()).unwrap();
            assert!(!other.made_here && other.broken.is_none(), "{other:?}");
        }
    }
}
