//! A backup as the daemon tells of it, and whose it is.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApiTime, BackupUrl, Snapshot, VOLUME_ID, Volume, names};
use crate::error::{Error, ErrorKind, Result};

/// A backup, as the daemon lists or inspects it: strings by name. Which there are differs: see
/// Convoy's vfs and S3 backups (`BackupName`, `VolumeName`, `CreatedTime`, ..) and EBS (`State`,
/// `StartTime`, ..).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub(crate) struct Backup {
    fields: BTreeMap<String, String>,
    created: ApiTime,
}

impl From<Backup> for BTreeMap<String, String> {
    fn from(backup: Backup) -> Self {
        backup.fields
    }
}

impl From<BTreeMap<String, String>> for Backup {
    fn from(fields: BTreeMap<String, String>) -> Self {
        Self::new(fields)
    }
}

impl Backup {
    /// A backup with these fields.
    pub(crate) fn new(fields: BTreeMap<String, String>) -> Self {
        let created = fields.get("CreatedTime").or_else(|| fields.get("StartTime"));
        let created = ApiTime::parse(created.map_or("", String::as_str));
        Self { fields, created }
    }

    /// The backup that an EBS snapshot is; none where it was removed at AWS and only Convoy's
    /// reference is left.
    pub(crate) fn of_ebs_snapshot(
        volume: &Volume,
        snapshot: &Snapshot,
        region: &str,
    ) -> Option<Self> {
        let info = snapshot.driver_info.as_ref()?;
        let id = info
            .get("EBSSnapshotID")
            .filter(|_| info.get("State").is_none_or(|state| state != "removed"))?;
        let mut fields = info.clone();
        let url = BackupUrl::Ebs { region: region.to_owned(), snapshot: id.clone() };
        let known = [
            ("BackupURL", url.to_string()),
            ("DriverName", volume.driver.clone()),
            ("SnapshotCreatedAt", snapshot.created_time.to_string()),
            ("SnapshotName", snapshot.name.clone()),
            ("VolumeCreatedAt", volume.created_time.to_string()),
            ("VolumeName", volume.name.clone()),
        ];
        fields.extend(known.map(|(key, value)| (key.to_owned(), value)));
        Some(Self::new(fields))
    }

    /// All that the daemon said.
    #[cfg(test)]
    pub(crate) fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    /// One field; empty where the daemon did not send it.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// The same backup with this URL, where the daemon's answer holds none (EBS).
    #[must_use]
    pub(crate) fn with_url(mut self, url: &BackupUrl) -> Self {
        self.fields.entry("BackupURL".into()).or_insert_with(|| url.to_string());
        self
    }

    /// The backup's URL.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] where the daemon sent none that can be read.
    pub(crate) fn url(&self) -> Result<BackupUrl> {
        BackupUrl::parse(self.field("BackupURL")).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("the daemon listed a backup whose URL can't be read: {}", error.message),
            )
        })
    }

    /// The volume it is of; empty where the daemon did not say (EBS).
    pub(crate) fn volume(&self) -> &str {
        self.field("VolumeName")
    }

    /// When it was made, in whole seconds.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created.timestamp()
    }

    /// Whether the daemon says that it is complete: EBS needs the state `completed`, others say
    /// nothing.
    pub(crate) fn is_complete(&self) -> bool {
        self.fields.get("State").is_none_or(|state| state == "completed")
    }

    /// What backups are ordered by: when their snapshot was taken (as [`Snapshot::order`]; the
    /// newest data is the newest backup), then when they were made, then by their names.
    pub(crate) fn order(&self) -> (Option<Timestamp>, Option<Timestamp>, &str, &str) {
        let taken = names::snapshot_time(self.field("SnapshotName"))
            .or_else(|| ApiTime::parse(self.field("SnapshotCreatedAt")).timestamp())
            .or(self.created());
        (taken, self.created(), self.field("SnapshotName"), self.field("BackupName"))
    }

    /// Whether it holds this very volume, and not one that had the same name before, or has it on
    /// another host. The built-in daemon gives both an id. With Convoy, the backup's snapshot is
    /// still among the volume's (a backup leaves it there), or has the same mark in its name as one
    /// that is. Convoy's `VolumeCreatedAt` is no measure: it is that of the first volume of the
    /// name that was ever backed up there.
    pub(crate) fn belonging(&self, volume: &Volume) -> Belonging {
        if self.volume() != volume.name {
            return Belonging::Other;
        }
        if let (Some(id), Some(there)) = (volume.id(), self.fields.get(VOLUME_ID)) {
            return if id == there { Belonging::Own } else { Belonging::Other };
        }
        let (name, mark) =
            (self.field("SnapshotName"), names::snapshot_mark(self.field("SnapshotName")));
        let same = |own: &Snapshot| {
            own.name == name || (mark.is_some() && names::snapshot_mark(&own.name) == mark)
        };
        if volume.own_snapshots().any(same) {
            Belonging::Own
        } else if volume.was_there(&ApiTime::parse(self.field("SnapshotCreatedAt"))) == Some(false)
        {
            Belonging::Other
        } else {
            Belonging::Unclear
        }
    }

    /// What tells backups of different volumes apart that share a name: backups of one volume have
    /// it in common, as far as the daemon and the names of the snapshots tell.
    pub(crate) fn volume_key(&self) -> [&str; 3] {
        let id = self.fields.get(VOLUME_ID).map(String::as_str);
        let id = id.or_else(|| names::snapshot_mark(self.field("SnapshotName")));
        [self.volume(), self.field("EBSVolumeID"), id.unwrap_or_default()]
    }
}

/// Whose a backup is, seen from a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belonging {
    /// This very volume's.
    Own,
    /// It has the volume's name and was made since there is one, here or on another host: nothing
    /// tells which.
    Unclear,
    /// Another volume's: of another name, of one that had the name before, or of one that has it on
    /// another host.
    Other,
}
