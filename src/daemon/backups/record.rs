//! What a backup's tags say, in this program's form and in the API's. Everybody who can write to a
//! destination can write tags, so they are checked before anything is made of them.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use rustic_core::{StringList, repofile::SnapshotFile};

use crate::{
    convoy::{
        ADDED_SIZE, BACKUP_SIZE, Backup, BackupUrl, Destination, Extent, MomentRecord, Name,
        ORIGIN, Origin, ROOT_ID, VOLUME_ID, mounts_text,
        refusal::{no_backup, refused},
    },
    daemon::{
        convoy_form::{api_time, fields},
        driver::Vfs,
        repository::tags,
        state::volume_id,
    },
    error::{Error, ErrorKind, Result},
};

/// The tag with what was mounted in the volume's folder, as [`mounts_text`] writes it.
const MOUNTS: &str = "mounts";
/// The tag with the number of files that changed or went missing while they were read.
const CHANGED: &str = "changed";
/// The tag with some of their paths, as a JSON list.
const CHANGED_PATHS: &str = "changed-paths";
/// The tag with the number of files and folders that could not be read.
const LACKING_FILES: &str = "lacking";
/// The tag with some of them and why, as a JSON list.
const LACKING: &str = "lacking-paths";
/// The tag with the number of files and folders that are left out as configured.
const EXCLUDED: &str = "excluded";
/// The tag with the milliseconds for which the programs that write to the volume were held still.
const STOOD: &str = "held-ms";
/// The tag with the milliseconds for which each container stood still, as a JSON map.
const STOOD_BY: &str = "held-containers";
/// The tag with the dumps of databases, as a JSON list.
const DUMPS: &str = "dumps";

/// The tag with the volume's labels, as a JSON map.
const LABELS: &str = "labels";

/// The content of a backup's tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct Record {
    /// `backup-` and 16 hex digits.
    pub(in crate::daemon) backup: Name,
    pub(in crate::daemon) volume: Name,
    pub(in crate::daemon) volume_id: String,
    /// The id of the root that made the backup; `None` for version 0.1.0.
    pub(in crate::daemon) root: Option<String>,
    /// The id of the root of which that root may be a copy.
    pub(in crate::daemon) copy_of: Option<String>,
    pub(in crate::daemon) host: String,
    pub(in crate::daemon) volume_created: Timestamp,
    /// The requested size of the volume, in bytes.
    pub(in crate::daemon) volume_size: u64,
    pub(in crate::daemon) snapshot: Name,
    pub(in crate::daemon) snapshot_created: Timestamp,
    pub(in crate::daemon) created: Timestamp,
    /// How much the volume had. No tag has the number of files and their bytes: the repository
    /// counts them. No tag has the host either: the file itself does.
    pub(in crate::daemon) extent: Extent,
    /// The bytes that it added to the destination, compressed. The repository counts them.
    pub(in crate::daemon) added: Option<u64>,
    /// How its files were held while they were read.
    pub(in crate::daemon) moment: MomentRecord,
    /// The name of the volume's driver.
    pub(in crate::daemon) driver: String,
    /// The volume's labels, of the driver `docker`.
    pub(in crate::daemon) labels: BTreeMap<String, String>,
}

impl Record {
    pub(super) fn tags(&self) -> StringList {
        let mut all = vec![
            ("backup", self.backup.to_string()),
            ("volume", self.volume.to_string()),
            ("volume-id", self.volume_id.clone()),
            ("volume-created", self.volume_created.to_string()),
            ("volume-size", self.volume_size.to_string()),
            ("snapshot", self.snapshot.to_string()),
            ("snapshot-created", self.snapshot_created.to_string()),
            ("created", self.created.to_string()),
        ];
        all.extend(self.root.clone().map(|root| ("root", root)));
        all.extend(self.copy_of.clone().map(|root| ("copy-of", root)));
        all.extend(self.extent.mounts.as_deref().map(|mounts| (MOUNTS, mounts_text(mounts))));
        all.extend(self.moment.kind.clone().map(|kind| ("moment", kind)));
        all.extend(self.moment.stood.map(|stood| (STOOD, stood.to_string())));
        if !self.moment.containers.is_empty() {
            all.push((STOOD_BY, serde_json::json!(self.moment.containers).to_string()));
        }
        if !self.moment.dumps.is_empty() {
            all.push((DUMPS, serde_json::json!(self.moment.dumps).to_string()));
        }
        // Older versions have one driver, and no tag.
        if self.driver != Vfs::NAME {
            all.push(("driver", self.driver.clone()));
        }
        if !self.labels.is_empty() {
            all.push((LABELS, serde_json::json!(self.labels).to_string()));
        }
        if self.moment.changed_files > 0 {
            all.push((CHANGED, self.moment.changed_files.to_string()));
            all.push((CHANGED_PATHS, serde_json::json!(self.moment.changed_paths).to_string()));
        }
        if self.moment.excluded_files > 0 {
            all.push((EXCLUDED, self.moment.excluded_files.to_string()));
        }
        if self.moment.lacking_files > 0 {
            all.push((LACKING_FILES, self.moment.lacking_files.to_string()));
            all.push((LACKING, serde_json::json!(self.moment.lacking).to_string()));
        }
        tags(&all.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }

    /// The record of a backup; `None` for a restic snapshot that this program did not make.
    ///
    /// # Errors
    /// Why the tags can't be this program's: a tag that is there twice, or a part that is no name.
    pub(super) fn of(file: &SnapshotFile) -> Result<Option<Self>> {
        let mut tags = BTreeMap::new();
        for (name, value) in file.tags.iter().filter_map(|tag| tag.split_once('=')) {
            if tags.insert(name, value).is_some() {
                return Err(Error::new(
                    ErrorKind::Repository,
                    format!("it has the tag \"{name}=\" twice"),
                ));
            }
        }
        let [Some(backup), Some(volume), Some(snapshot)] =
            ["backup", "volume", "snapshot"].map(|name| tags.get(name).copied())
        else {
            return Ok(None);
        };
        let time = |name: &str| tags.get(name).and_then(|value| value.parse().ok());
        let text = |name: &str| tags.get(name).map(|value| (*value).to_owned());
        let volume_created = time("volume-created").unwrap_or_default();
        Ok(Some(Self {
            backup: Name::parse("backup", backup)?,
            volume: Name::volume(volume)?,
            volume_id: volume_id(tags.get("volume-id").copied(), volume_created),
            root: text("root"),
            copy_of: text("copy-of"),
            host: file.hostname.clone(),
            volume_created,
            volume_size: tags
                .get("volume-size")
                .and_then(|size| size.parse().ok())
                .unwrap_or_default(),
            snapshot: Name::snapshot(snapshot)?,
            snapshot_created: time("snapshot-created").unwrap_or_else(|| file.time.timestamp()),
            created: time("created").unwrap_or_else(|| file.time.timestamp()),
            extent: Extent {
                files: file.summary.as_ref().map(|summary| summary.total_files_processed),
                bytes: file.summary.as_ref().map(|summary| summary.total_bytes_processed),
                mounts: tags.get(MOUNTS).and_then(|mounts| serde_json::from_str(mounts).ok()),
            },
            added: file.summary.as_ref().map(|summary| summary.data_added_packed),
            moment: MomentRecord {
                kind: text("moment"),
                changed_files: tags.get(CHANGED).and_then(|it| it.parse().ok()).unwrap_or_default(),
                changed_paths: tags
                    .get(CHANGED_PATHS)
                    .and_then(|paths| serde_json::from_str(paths).ok())
                    .unwrap_or_default(),
                lacking_files: tags
                    .get(LACKING_FILES)
                    .and_then(|it| it.parse().ok())
                    .unwrap_or_default(),
                lacking: tags
                    .get(LACKING)
                    .and_then(|lacking| serde_json::from_str(lacking).ok())
                    .unwrap_or_default(),
                excluded_files: tags
                    .get(EXCLUDED)
                    .and_then(|it| it.parse().ok())
                    .unwrap_or_default(),
                stood: tags.get(STOOD).and_then(|stood| stood.parse().ok()),
                containers: tags
                    .get(STOOD_BY)
                    .and_then(|containers| serde_json::from_str(containers).ok())
                    .unwrap_or_default(),
                dumps: tags
                    .get(DUMPS)
                    .and_then(|dumps| serde_json::from_str(dumps).ok())
                    .unwrap_or_default(),
            },
            driver: text("driver").unwrap_or_else(|| Vfs::NAME.to_owned()),
            labels: tags
                .get(LABELS)
                .and_then(|labels| serde_json::from_str(labels).ok())
                .unwrap_or_default(),
        }))
    }

    /// The backup in the API's form.
    pub(super) fn backup(
        &self,
        destination: &Destination,
        origin: Option<Origin>,
        zone: &TimeZone,
    ) -> Backup {
        let time = |time: Timestamp| api_time(time, zone).to_string();
        let always = [
            ("BackupName", self.backup.to_string()),
            ("BackupURL", BackupUrl::stored(destination, &self.backup, &self.volume).to_string()),
            ("CreatedTime", time(self.created)),
            ("DriverName", self.driver.clone()),
            ("Host", self.host.clone()),
            ("SnapshotCreatedAt", time(self.snapshot_created)),
            ("SnapshotName", self.snapshot.to_string()),
            ("VolumeCreatedAt", time(self.volume_created)),
            (VOLUME_ID, self.volume_id.clone()),
            ("VolumeName", self.volume.to_string()),
            ("VolumeSize", self.volume_size.to_string()),
        ];
        let extent = self.extent.fields(BACKUP_SIZE);
        let added = self.added.map(|added| (ADDED_SIZE, added.to_string()));
        let root = self.root.clone().map(|root| (ROOT_ID, root));
        let origin = origin.map(|origin| (ORIGIN, origin.as_str().to_owned()));
        let moment = self.moment.fields();
        Backup::new(fields(
            always.into_iter().chain(extent).chain(added).chain(moment).chain(root).chain(origin),
        ))
    }
}

/// The parts of a stored backup's URL.
pub(in crate::daemon) struct StoredUrl<'a> {
    pub(super) destination: &'a Destination,
    pub(super) backup: &'a Name,
    pub(super) volume: &'a Name,
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

    /// The URL of which these are the parts.
    pub(super) fn whole(&self) -> BackupUrl {
        BackupUrl::stored(self.destination, self.backup, self.volume)
    }

    /// The error that there is no such backup.
    pub(super) fn missing(&self) -> Error {
        no_backup(self.volume.as_str(), self.backup.as_str())
    }
}
