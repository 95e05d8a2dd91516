//! What happened during a run, whatever the script made of it.
//!
//! A script returns what it likes, and may end half way. So what the program knows about volumes
//! comes from what the guards observed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::convoy::{Backup, BackupUrl, Extent, Snapshot, Volume};

/// One thing that the guards observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The daemon listed this volume.
    VolumeSeen {
        volume: String,
        /// When the daemon was asked for its list.
        seen: Timestamp,
        /// When the volume was made, if the daemon tells it. It tells apart two volumes that had
        /// one name after each other.
        created: Option<Timestamp>,
        /// The newest snapshot's name and time, if the volume has a snapshot.
        snapshot: Option<(String, Option<Timestamp>)>,
    },
    /// The run made this volume.
    VolumeMade {
        volume: String,
        /// The URL of the backup from which it was restored.
        restored_from: Option<String>,
    },
    /// The run deleted this volume, or made the daemon forget it, which leaves its files.
    VolumeGone { volume: String, forgotten: bool },
    /// The run took a snapshot.
    SnapshotMade {
        volume: String,
        snapshot: String,
        time: Timestamp,
        /// What the volume had, as far as that is known.
        extent: Extent,
        /// Whether that was seen from here, and the daemon does not tell.
        seen_here: bool,
    },
    /// The run deleted a snapshot.
    SnapshotDeleted { volume: String, snapshot: String },
    /// A backup was inspected and found good.
    BackupGood {
        volume: String,
        url: String,
        /// When the backup's snapshot was taken, if the daemon tells it.
        snapshot_time: Option<Timestamp>,
        /// The backup's size, if the daemon tells it. Convoy's `VolumeSize` is not used: it is the
        /// size of the volume.
        bytes: Option<u64>,
        /// The number of the backup's files, if the daemon tells it.
        files: Option<u64>,
        /// The number of files that changed while it was made, if the daemon tells it.
        changed_files: Option<u64>,
        /// How long the programs that write to the volume were held still, in milliseconds.
        stood: Option<u64>,
        /// Whether this run made it.
        made: bool,
        /// Whether its data was looked at, and not only its description.
        verified: bool,
    },
    /// A backup can't be restored. `by_reading`: inspecting it does not show that.
    BackupBroken { volume: String, url: String, why: String, by_reading: bool },
    /// A backup's source may have been missing when it was made (guard 10).
    BackupInDoubt { volume: String, url: String, why: String },
    /// A backup lacks files that could not be read.
    BackupPartial { volume: String, url: String, why: String },
    /// The newest copy of a volume is in doubt (guard 10).
    SourceInDoubt {
        volume: String,
        /// See [`Backup::source`].
        source: String,
        /// When the copy was taken.
        taken: Timestamp,
        extent: Extent,
        why: String,
    },
    /// The whole backup was read and restored.
    BackupRestored {
        /// The volume that the backup is of.
        volume: String,
        url: String,
    },
    /// The run deleted a backup.
    BackupDeleted {
        /// Empty if the daemon does not tell the volume (EBS).
        volume: String,
        url: String,
    },
}

impl Observation {
    /// The volume that the run changed or backed up, if this observation is about one.
    pub(crate) fn worked_on(&self) -> Option<&str> {
        match self {
            Self::VolumeMade { volume, .. }
            | Self::VolumeGone { volume, .. }
            | Self::SnapshotMade { volume, .. }
            | Self::SnapshotDeleted { volume, .. }
            | Self::BackupGood { volume, made: true, .. }
            | Self::BackupDeleted { volume, .. } => Some(volume),
            Self::VolumeSeen { .. }
            | Self::BackupGood { made: false, .. }
            | Self::BackupBroken { .. }
            | Self::BackupInDoubt { .. }
            | Self::BackupPartial { .. }
            | Self::SourceInDoubt { .. }
            | Self::BackupRestored { .. } => None,
        }
    }
}

impl Observation {
    /// Whether it tells of a backup in a bucket as it was. That is no news of how it is.
    fn is_of_the_past(&self) -> bool {
        match self {
            Self::BackupGood { url, .. }
            | Self::BackupBroken { url, .. }
            | Self::BackupInDoubt { url, .. }
            | Self::BackupPartial { url, .. }
            | Self::BackupRestored { url, .. } => {
                BackupUrl::parse(url).is_ok_and(|url| url.time().is_some())
            }
            _ => false,
        }
    }

    /// Whether something is gone by this run.
    pub(super) fn is_of_deletion(&self) -> bool {
        matches!(
            self,
            Self::BackupDeleted { .. } | Self::SnapshotDeleted { .. } | Self::VolumeGone { .. }
        )
    }

    /// What the run deleted, in words for people, if this observation is of a deletion.
    pub(crate) fn deletion(&self) -> Option<String> {
        let of = |volume: &str| match volume {
            "" => String::new(),
            volume => format!(" of the volume \"{volume}\""),
        };
        Some(match self {
            Self::BackupDeleted { volume, url } => format!("the backup \"{url}\"{}", of(volume)),
            Self::SnapshotDeleted { volume, snapshot } => {
                format!("the snapshot \"{snapshot}\"{}", of(volume))
            }
            Self::VolumeGone { volume, forgotten: false } => format!("the volume \"{volume}\""),
            _ => return None,
        })
    }
}

/// The observations of a run so far, in the order in which they happened.
#[derive(Debug, Default)]
pub(super) struct Observations {
    all: Vec<Observation>,
    /// How many of them, from the first on, are on record.
    recorded: usize,
}

impl Observations {
    pub(super) fn all(&self) -> &[Observation] {
        &self.all
    }

    /// Those that are not on record yet.
    pub(super) fn unrecorded(&self) -> &[Observation] {
        &self.all[self.recorded..]
    }

    /// All of them are on record now.
    pub(super) fn are_recorded(&mut self) {
        self.recorded = self.all.len();
    }

    /// Adds what was observed, unless it is of the past.
    pub(super) fn add(&mut self, observation: Observation) {
        if !observation.is_of_the_past() {
            self.all.push(observation);
        }
    }

    /// Adds a list of all volumes that was read at this time. A script may ask for the list again and
    /// again, so only the last list is kept.
    pub(super) fn add_volumes(&mut self, volumes: &BTreeMap<String, Volume>, read: Timestamp) {
        let newest_of = |volume: &Volume| {
            let newest = volume.snapshots_by_time().last().copied()?.clone();
            Some((newest.name.clone(), newest.taken()))
        };
        let listed = volumes.iter().map(|(name, volume)| Observation::VolumeSeen {
            volume: name.clone(),
            seen: read,
            created: volume.created_time.timestamp(),
            snapshot: newest_of(volume),
        });
        let is_of_a_list =
            |earlier: &Observation| matches!(earlier, Observation::VolumeSeen { .. });
        let recorded = self.all[..self.recorded].iter();
        self.recorded -= recorded.filter(|earlier| is_of_a_list(earlier)).count();
        self.all.retain(|earlier| !is_of_a_list(earlier));
        self.all.extend(listed);
    }

    /// Adds a snapshot that this run took at this time. `seen_here`: what the volume had was seen
    /// from here, and the daemon does not tell.
    pub(super) fn add_snapshot(
        &mut self,
        volume: &str,
        snapshot: &Snapshot,
        time: Timestamp,
        seen_here: bool,
    ) {
        self.add(Observation::SnapshotMade {
            volume: volume.to_owned(),
            snapshot: snapshot.name.clone(),
            time,
            extent: snapshot.extent(),
            seen_here,
        });
    }

    /// Adds a backup that was inspected and is good. `made` tells whether this run made it,
    /// `verified` whether its data was looked at.
    pub(super) fn add_backup(
        &mut self,
        volume: &str,
        url: &BackupUrl,
        backup: &Backup,
        (made, verified): (bool, bool),
    ) {
        self.add(Observation::BackupGood {
            volume: volume.to_owned(),
            url: url.to_string(),
            snapshot_time: backup.taken(),
            bytes: backup.field("BackupSize").parse().ok(),
            files: backup.field("FileCount").parse().ok(),
            changed_files: {
                let moment = backup.moment();
                let torn = moment.torn_files();
                moment.kind.map(|_| torn)
            },
            stood: backup.moment().stood,
            made,
            verified,
        });
    }
}
