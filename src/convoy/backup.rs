//! A backup in the daemon's words, and the volume that it belongs to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ApiTime, BackupUrl, Snapshot, VOLUME_ID, Volume, names};
use crate::error::{Error, ErrorKind, Result};

/// The field that says why a backup can't be restored.
const BROKEN: &str = "Broken";

/// A backup as the daemon lists or inspects it: strings by name. The names depend on the driver.
/// Convoy's vfs and S3 backups have `BackupName`, `VolumeName`, `CreatedTime` and others; EBS has
/// `State`, `StartTime` and others.
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
    pub(crate) fn new(fields: BTreeMap<String, String>) -> Self {
        let created = fields.get("CreatedTime").or_else(|| fields.get("StartTime"));
        let created = ApiTime::parse(created.map_or("", String::as_str));
        Self { fields, created }
    }

    /// The backup that an EBS snapshot is. `None` if the snapshot was removed at AWS and only
    /// Convoy's reference is left.
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

    /// All fields, as the daemon sent them.
    #[cfg(test)]
    pub(crate) fn fields(&self) -> &BTreeMap<String, String> {
        &self.fields
    }

    /// One field; empty if the daemon did not send it.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// Adds the URL if the daemon's answer has none (EBS).
    #[must_use]
    pub(crate) fn with_url(mut self, url: &BackupUrl) -> Self {
        self.fields.entry("BackupURL".into()).or_insert_with(|| url.to_string());
        self
    }

    /// The backup, with the reason why it can't be restored in the field `Broken`. The daemons have
    /// no such field: it comes from what runs of this host learned.
    #[must_use]
    pub(crate) fn known_broken(mut self, why: &str) -> Self {
        self.fields.insert(BROKEN.to_owned(), why.to_owned());
        self
    }

    /// Why the backup can't be restored, if that is known.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.fields.get(BROKEN).map(String::as_str)
    }

    /// The backup's URL.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the daemon sent no URL, or one that can't be parsed.
    pub(crate) fn url(&self) -> Result<BackupUrl> {
        BackupUrl::parse(self.field("BackupURL")).map_err(|error| {
            Error::new(
                ErrorKind::Protocol,
                format!("the daemon listed a backup whose URL can't be read: {}", error.message),
            )
        })
    }

    /// The name of the backup's volume; empty if the daemon did not say (EBS).
    pub(crate) fn volume(&self) -> &str {
        self.field("VolumeName")
    }

    /// When the backup was made, in whole seconds.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.created.timestamp()
    }

    /// Whether the daemon says that the backup is complete. EBS reports the state `completed`; the
    /// other drivers report no state.
    pub(crate) fn is_complete(&self) -> bool {
        self.fields.get("State").is_none_or(|state| state == "completed")
    }

    /// The sort key of backups. The time of the snapshot comes first (as [`Snapshot::order`]),
    /// because the newest data is the newest backup. Then come the time of the backup, and the
    /// names.
    pub(crate) fn order(&self) -> (Option<Timestamp>, Option<Timestamp>, &str, &str) {
        let taken = names::snapshot_time(self.field("SnapshotName"))
            .or_else(|| ApiTime::parse(self.field("SnapshotCreatedAt")).timestamp())
            .or(self.created());
        (taken, self.created(), self.field("SnapshotName"), self.field("BackupName"))
    }

    /// Whether the backup holds the data of this volume, and not of a volume that had the same name
    /// before, or has it on another host.
    ///
    /// The built-in daemon gives both an id. With Convoy, the backup belongs to the volume if its
    /// snapshot is still among the volume's (a backup leaves it there), or if the names of both
    /// have the same mark. Convoy's `VolumeCreatedAt` can't tell: it is the time of the first
    /// volume of that name that was ever backed up to the destination.
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

    /// A key that tells apart the backups of different volumes of the same name. The backups of one
    /// volume share it, as far as the daemon and the names of the snapshots tell.
    pub(crate) fn volume_key(&self) -> [&str; 3] {
        let id = self.fields.get(VOLUME_ID).map(String::as_str);
        let id = id.or_else(|| names::snapshot_mark(self.field("SnapshotName")));
        [self.volume(), self.field("EBSVolumeID"), id.unwrap_or_default()]
    }
}

/// Which volume a backup belongs to, seen from one volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Belonging {
    /// It belongs to this volume.
    Own,
    /// It has the volume's name and was made since the volume exists, on this host or on another
    /// one. Nothing tells on which.
    Unclear,
    /// It belongs to another volume: one of another name, one that had the name before, or one that
    /// has it on another host.
    Other,
}
