//! What a backup's tags say, in this program's form and in the API's.

use std::collections::HashMap;

use jiff::{Timestamp, tz::TimeZone};
use rustic_core::{StringList, repofile::SnapshotFile};

use crate::{
    convoy::{
        BACKUP_SIZE, Backup, BackupUrl, Destination, Extent, VOLUME_ID, mounts_text,
        refusal::refused,
    },
    daemon::{
        convoy_form::{api_time, fields},
        driver::Vfs,
        repository::tags,
        state::volume_id,
    },
    error::Result,
};

/// The tag with what was mounted in the volume's folder, as [`mounts_text`] writes it.
const MOUNTS: &str = "mounts";

/// The content of a backup's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Record {
    /// `backup-` and 16 hex digits.
    pub(in crate::daemon) backup: String,
    pub(in crate::daemon) volume: String,
    pub(in crate::daemon) volume_created: Timestamp,
    /// The requested size of the volume, in bytes.
    pub(in crate::daemon) volume_size: u64,
    pub(in crate::daemon) snapshot: String,
    pub(in crate::daemon) snapshot_created: Timestamp,
    pub(in crate::daemon) created: Timestamp,
    /// How much the volume had. No tag has the number of files and their bytes: the repository
    /// counts them.
    pub(in crate::daemon) extent: Extent,
}

impl Record {
    pub(super) fn tags(&self) -> StringList {
        let mounts = self.extent.mounts.as_deref().map(mounts_text);
        let always = [
            ("backup", self.backup.as_str()),
            ("volume", &self.volume),
            ("volume-created", &self.volume_created.to_string()),
            ("volume-size", &self.volume_size.to_string()),
            ("snapshot", &self.snapshot),
            ("snapshot-created", &self.snapshot_created.to_string()),
            ("created", &self.created.to_string()),
        ];
        let mounts = mounts.as_deref().map(|mounts| (MOUNTS, mounts));
        tags(&always.into_iter().chain(mounts).collect::<Vec<_>>())
    }

    /// The record of a backup; `None` for a restic snapshot that this program did not make.
    pub(super) fn of(file: &SnapshotFile) -> Option<Self> {
        let tags: HashMap<_, _> = file.tags.iter().filter_map(|tag| tag.split_once('=')).collect();
        let text = |name: &str| tags.get(name).map(|value| (*value).to_owned());
        let time = |name: &str| tags.get(name).and_then(|value| value.parse().ok());
        Some(Self {
            backup: text("backup")?,
            volume: text("volume")?,
            volume_created: time("volume-created").unwrap_or_default(),
            volume_size: text("volume-size").and_then(|size| size.parse().ok()).unwrap_or_default(),
            snapshot: text("snapshot")?,
            snapshot_created: time("snapshot-created").unwrap_or_else(|| file.time.timestamp()),
            created: time("created").unwrap_or_else(|| file.time.timestamp()),
            extent: Extent {
                files: file.summary.as_ref().map(|summary| summary.total_files_processed),
                bytes: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
                mounts: tags.get(MOUNTS).and_then(|mounts| serde_json::from_str(mounts).ok()),
            },
        })
    }

    /// The backup in the API's form.
    pub(super) fn backup(&self, destination: &Destination, zone: &TimeZone) -> Backup {
        let time = |time: Timestamp| api_time(time, zone).to_string();
        let always = [
            ("BackupName", self.backup.clone()),
            ("BackupURL", BackupUrl::stored(destination, &self.backup, &self.volume).to_string()),
            ("CreatedTime", time(self.created)),
            ("DriverName", Vfs::NAME.to_owned()),
            ("SnapshotCreatedAt", time(self.snapshot_created)),
            ("SnapshotName", self.snapshot.clone()),
            ("VolumeCreatedAt", time(self.volume_created)),
            (VOLUME_ID, volume_id(self.volume_created)),
            ("VolumeName", self.volume.clone()),
            ("VolumeSize", self.volume_size.to_string()),
        ];
        Backup::new(fields(always.into_iter().chain(self.extent.fields(BACKUP_SIZE))))
    }
}

/// The parts of a stored backup's URL.
pub(in crate::daemon) struct StoredUrl<'a> {
    pub(super) destination: &'a Destination,
    pub(super) backup: &'a str,
    pub(super) volume: &'a str,
}

impl<'a> StoredUrl<'a> {
    /// The parts of `url`. The caller passes the destination, because the result borrows it.
    ///
    /// # Errors
    /// For the URL of an EBS snapshot.
    pub(in crate::daemon) fn of(url: &'a BackupUrl, destination: &'a Destination) -> Result<Self> {
        match url {
            BackupUrl::Stored { backup, volume, .. } => Ok(Self { destination, backup, volume }),
            BackupUrl::Ebs { .. } => Err(refused("Driver ebs is not supported!")),
        }
    }
}
