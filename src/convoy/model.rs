//! What the daemon answers, with its own field names, so that serialising gives its native JSON
//! back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ApiTime, BackupUrl, Name, VOLUME_ID, names};

/// What a driver tells of a volume or a snapshot: names and strings, as each driver likes.
pub(crate) type DriverInfo = BTreeMap<String, String>;

/// The daemon's settings (`General`) and its drivers', by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Info {
    /// The daemon's settings.
    #[serde(rename = "General")]
    pub(crate) general: Map<String, Value>,
    /// Each driver's settings.
    #[serde(flatten)]
    pub(crate) drivers: Map<String, Value>,
}

impl Info {
    /// The driver that new volumes get.
    pub(crate) fn default_driver(&self) -> Option<&str> {
        self.general.get("DefaultDriver").and_then(Value::as_str)
    }

    /// The region of the EBS driver, where there is one.
    pub(crate) fn ebs_region(&self) -> Option<&str> {
        self.drivers.get("ebs").and_then(|driver| driver.get("Region")).and_then(Value::as_str)
    }

    /// The folder in which the vfs driver keeps its volumes.
    pub(crate) fn vfs_path(&self) -> Option<&str> {
        self.drivers.get("vfs").and_then(|driver| driver.get("Path")).and_then(Value::as_str)
    }
}

/// A volume.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Volume {
    /// Its name.
    pub(crate) name: String,
    /// The driver that holds it.
    pub(crate) driver: String,
    /// Where it is mounted; empty where it is not.
    pub(crate) mount_point: String,
    /// When it was made.
    pub(crate) created_time: ApiTime,
    /// The driver's own words.
    pub(crate) driver_info: Option<DriverInfo>,
    /// Its snapshots by name. Empty may hide an error of the driver.
    pub(crate) snapshots: Option<BTreeMap<String, Snapshot>>,
    /// Fields that this program does not know.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Volume {
    /// Its snapshots, oldest first; ones made within the same second by name.
    pub(crate) fn snapshots_by_time(&self) -> Vec<&Snapshot> {
        let mut all: Vec<_> = self.snapshots.iter().flat_map(BTreeMap::values).collect();
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        all
    }

    /// The id that the built-in daemon gives; Convoy gives none.
    pub(crate) fn id(&self) -> Option<&str> {
        self.driver_info.as_ref()?.get(VOLUME_ID).map(String::as_str)
    }

    /// Its snapshots that were taken when it was there, newest first. Those of a volume that had
    /// its name before and was only forgotten are kept under the new one's name; a time that can't
    /// be read proves nothing.
    pub(crate) fn own_snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots_by_time()
            .into_iter()
            .rev()
            .filter(|snapshot| self.was_there(&snapshot.created_time) == Some(true))
    }

    /// The newest of its snapshots that are older than the volume itself.
    pub(crate) fn older_snapshot(&self) -> Option<&Snapshot> {
        let mut newest_first = self.snapshots_by_time().into_iter().rev();
        newest_first.find(|snapshot| self.was_there(&snapshot.created_time) == Some(false))
    }

    /// The mark of its newest own snapshot that has one (see [`names::snapshot_mark`]).
    pub(crate) fn mark(&self) -> Option<&str> {
        self.own_snapshots().find_map(|snapshot| names::snapshot_mark(&snapshot.name))
    }

    /// Whether the volume was there at this time; `None` where either can't be read.
    pub(super) fn was_there(&self, time: &ApiTime) -> Option<bool> {
        Some(time.timestamp()? >= self.created_time.timestamp()?)
    }

    /// The size in bytes, where the driver tells one.
    pub(crate) fn size(&self) -> Option<u64> {
        let info = self.driver_info.as_ref()?;
        ["Size", "VolumeSize"]
            .iter()
            .find_map(|key| info.get(*key))
            .and_then(|size| size.parse().ok())
    }
}

/// A snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Snapshot {
    /// Its name, unique in the whole daemon.
    pub(crate) name: String,
    /// The volume it is of; left out inside a volume's own listing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) volume_name: String,
    /// When that volume was made; only where one snapshot is inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) volume_created_at: Option<ApiTime>,
    /// When it was made; empty for an EBS snapshot that was removed.
    pub(crate) created_time: ApiTime,
    /// The driver's own words.
    pub(crate) driver_info: Option<DriverInfo>,
    /// Fields that this program does not know.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Snapshot {
    /// What snapshots are ordered by: the time in the name where this program made it (those go up
    /// also where the clock went back), else the daemon's; then the name.
    pub(crate) fn order(&self) -> (Option<Timestamp>, &str) {
        (names::snapshot_time(&self.name).or(self.created_time.timestamp()), &self.name)
    }
}

/// Where a volume was mounted: the daemon's answer to a mount.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Mount {
    /// The volume.
    pub(crate) name: String,
    /// The folder with its files.
    pub(crate) mount_point: String,
}

/// What a new volume shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewVolume {
    /// Its name.
    pub(crate) name: Name,
    /// The driver; the daemon's default where none is given.
    pub(crate) driver: Option<String>,
    /// Bytes; the driver's default where none is given.
    pub(crate) size: Option<u64>,
    /// The backup to fill it from.
    pub(crate) backup: Option<BackupUrl>,
    /// The driver's own type: an EBS volume type.
    pub(crate) volume_type: Option<String>,
    /// EBS: provisioned operations a second.
    pub(crate) iops: Option<u64>,
    /// An existing volume of the driver's to take over.
    pub(crate) driver_volume_id: Option<String>,
    /// Make it for a virtual machine.
    pub(crate) prepare_for_vm: bool,
}

impl NewVolume {
    /// An empty volume with the daemon's defaults.
    pub(crate) fn named(name: Name) -> Self {
        Self {
            name,
            driver: None,
            size: None,
            backup: None,
            volume_type: None,
            iops: None,
            driver_volume_id: None,
            prepare_for_vm: false,
        }
    }

    /// A volume restored from a backup.
    pub(crate) fn from_backup(name: Name, backup: BackupUrl) -> Self {
        Self { backup: Some(backup), ..Self::named(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convoy::Backup;

    #[test]
    fn what_the_daemon_sent_is_what_is_shown() {
        let sent = r#"{"Name":"vol1","Driver":"vfs","MountPoint":"","CreatedTime":"Mon Nov 23 07:00:48 +0000 2026",
            "DriverInfo":{"Size":"42"},"Snapshots":{"s1":{"Name":"s1","CreatedTime":"","DriverInfo":{}}},"Novel":[1]}"#;
        let volume: Volume = serde_json::from_str(sent).unwrap();
        assert_eq!(volume.size(), Some(42));
        assert_eq!(
            serde_json::to_value(&volume).unwrap(),
            serde_json::from_str::<Value>(sent).unwrap()
        );
    }

    #[test]
    fn the_newest_is_the_one_taken_last_also_where_the_clock_went_back() {
        let snapshot = |name: &str, created: &str| Snapshot {
            name: name.into(),
            created_time: ApiTime::parse(created),
            ..Snapshot::default()
        };
        // Taken with the clock in 2036; then it was set right, and names went on from there.
        let wrong = snapshot("vol1-20360101T000000.000000Z", "Tue Jan 01 00:00:00 +0000 2036");
        let right = snapshot("vol1-20360101T000000.000001Z", "Mon Nov 23 07:00:48 +0000 2026");
        let all = [wrong, right].map(|snapshot| (snapshot.name.clone(), snapshot));
        let volume = Volume { snapshots: Some(all.into()), ..Volume::default() };
        assert_eq!(volume.snapshots_by_time().last().unwrap().name, "vol1-20360101T000000.000001Z");

        let backup = |snapshot: &str, created: &str| {
            let fields = [("SnapshotName", snapshot), ("CreatedTime", created)];
            Backup::new(fields.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
        };
        let wrong = backup("vol1-20360101T000000.000000Z", "Tue Jan 01 00:00:00 +0000 2036");
        let right = backup("vol1-20360101T000000.000001Z", "Mon Nov 23 07:00:48 +0000 2026");
        assert!(right.order() > wrong.order());
    }

    #[test]
    fn an_ebs_backup_counts_only_when_completed() {
        let backup = |state: &str| Backup::new([("State".to_owned(), state.to_owned())].into());
        assert!(backup("completed").is_complete());
        assert!(!backup("pending").is_complete() && !backup("error").is_complete());
        assert!(Backup::new(BTreeMap::new()).is_complete());
    }
}
