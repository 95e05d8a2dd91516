//! What a run saw happen, whatever its script made of it.
//!
//! A script returns what it likes, and may end half way. What the program knows of volumes comes
//! from what the guards observed.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::convoy::{ApiTime, Backup, BackupUrl, Snapshot, Volume, names};

/// One thing that the guards saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observation {
    /// The daemon listed this volume, with this as its newest snapshot.
    VolumeSeen {
        /// Its name.
        volume: String,
        /// The newest snapshot's name, and when it was taken.
        snapshot: Option<(String, Option<Timestamp>)>,
    },
    /// The run made this volume.
    VolumeMade {
        /// Its name.
        volume: String,
    },
    /// The run deleted this volume, or made the daemon forget it.
    VolumeGone {
        /// Its name.
        volume: String,
    },
    /// The run took a snapshot.
    SnapshotMade {
        /// The volume's name.
        volume: String,
        /// The snapshot's name.
        snapshot: String,
        /// When it was taken.
        time: Timestamp,
    },
    /// The run deleted a snapshot.
    SnapshotDeleted {
        /// The volume's name.
        volume: String,
        /// The snapshot's name.
        snapshot: String,
    },
    /// A backup was inspected and found good.
    BackupGood {
        /// The volume's name.
        volume: String,
        /// Its URL.
        url: String,
        /// When its snapshot was taken, where the daemon tells.
        snapshot_time: Option<Timestamp>,
        /// Its size, where the daemon tells. (What Convoy calls `VolumeSize` is the volume's, not
        /// the backup's.)
        bytes: Option<u64>,
        /// Whether this run made it.
        made: bool,
    },
    /// The run deleted a backup.
    BackupDeleted {
        /// The volume's name; empty where the daemon does not tell (EBS).
        volume: String,
        /// Its URL.
        url: String,
    },
}

impl Observation {
    /// The volume that the run did something to, where it did.
    pub(crate) fn worked_on(&self) -> Option<&str> {
        match self {
            Self::VolumeMade { volume }
            | Self::VolumeGone { volume }
            | Self::SnapshotMade { volume, .. }
            | Self::SnapshotDeleted { volume, .. }
            | Self::BackupGood { volume, made: true, .. }
            | Self::BackupDeleted { volume, .. } => Some(volume),
            Self::VolumeSeen { .. } | Self::BackupGood { made: false, .. } => None,
        }
    }
}

/// What a run has observed so far, in the order in which it happened.
#[derive(Debug, Default)]
pub(super) struct Observations(Vec<Observation>);

impl Observations {
    pub(super) fn all(&self) -> &[Observation] {
        &self.0
    }

    pub(super) fn add(&mut self, observation: Observation) {
        self.0.push(observation);
    }

    /// The list of all volumes. A script may ask for the list again and again: only the last one
    /// counts.
    pub(super) fn add_volumes(&mut self, volumes: &BTreeMap<String, Volume>) {
        let newest_of = |volume: &Volume| {
            let newest = volume.snapshots_by_time().last().copied()?.clone();
            Some((newest.name.clone(), taken(&newest)))
        };
        let listed = volumes.iter().map(|(name, volume)| Observation::VolumeSeen {
            volume: name.clone(),
            snapshot: newest_of(volume),
        });
        self.0.retain(|earlier| !matches!(earlier, Observation::VolumeSeen { .. }));
        self.0.extend(listed);
    }

    /// A snapshot that this run took, at `now` where neither its name nor the daemon tells.
    pub(super) fn add_snapshot(&mut self, volume: &str, snapshot: &Snapshot, now: Timestamp) {
        self.add(Observation::SnapshotMade {
            volume: volume.to_owned(),
            snapshot: snapshot.name.clone(),
            time: taken(snapshot).unwrap_or(now),
        });
    }

    /// A backup that was inspected and is good; `made` where this run made it.
    pub(super) fn add_backup(
        &mut self,
        volume: &str,
        url: &BackupUrl,
        backup: &Backup,
        made: bool,
    ) {
        let snapshot_time = names::snapshot_time(backup.field("SnapshotName"))
            .or_else(|| ApiTime::parse(backup.field("SnapshotCreatedAt")).timestamp());
        self.add(Observation::BackupGood {
            volume: volume.to_owned(),
            url: url.to_string(),
            snapshot_time,
            bytes: backup.field("BackupSize").parse().ok(),
            made,
        });
    }
}

fn taken(snapshot: &Snapshot) -> Option<Timestamp> {
    names::snapshot_time(&snapshot.name).or_else(|| snapshot.created_time.timestamp())
}
