//! The daemon's answers. They keep the daemon's field names, so that serialising them gives the
//! daemon's JSON again.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ApiTime, BackupUrl, DOCKER_DRIVER, ENCRYPTED, Extent, MomentRecord, NAMED, NOT_BACKED_UP, NOTE,
    Name, NotBackedUp, NotBackedUpKind, PROBLEM, PROGRAM, VOLUME_ID,
    extent::{DOUBT, SNAPSHOT_SIZE},
    names,
};
use crate::engine::is_anonymous_name;

/// A driver's description of a volume or a snapshot: names and strings that each driver chooses.
pub(crate) type DriverInfo = BTreeMap<String, String>;

/// The settings of the daemon (`General`) and of its drivers, by name.
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
    /// The folder in which the daemon keeps its state.
    pub(crate) fn root(&self) -> Option<&str> {
        self.general.get("Root").and_then(Value::as_str)
    }

    /// The driver that new volumes get.
    pub(crate) fn default_driver(&self) -> Option<&str> {
        self.general.get("DefaultDriver").and_then(Value::as_str)
    }

    /// The region of the EBS driver, if the daemon has that driver.
    pub(crate) fn ebs_region(&self) -> Option<&str> {
        self.drivers.get("ebs").and_then(|driver| driver.get("Region")).and_then(Value::as_str)
    }

    /// The built-in daemon's program and version. Convoy tells none.
    pub(crate) fn program(&self) -> Option<&str> {
        self.general.get(PROGRAM).and_then(Value::as_str)
    }

    /// Whether backups are encrypted, if the daemon tells it.
    pub(crate) fn is_encrypted(&self) -> Option<bool> {
        self.general.get(ENCRYPTED).and_then(Value::as_bool)
    }

    /// What is on Docker's host and not backed up.
    pub(crate) fn not_backed_up(&self) -> Vec<NotBackedUp> {
        let told = self.drivers.values().filter_map(|driver| driver.get(NOT_BACKED_UP));
        let told = told.filter_map(|told| Vec::<NotBackedUp>::deserialize(told).ok());
        told.flatten().collect()
    }

    /// Adds the volumes of Docker's plugin that nobody named to what is not backed up.
    pub(crate) fn add_unnamed<'a>(&mut self, volumes: impl Iterator<Item = &'a str>) {
        let unnamed = volumes.map(|name| NotBackedUp {
            kind: NotBackedUpKind::Anonymous,
            name: name.to_owned(),
            why: "it has no name".to_owned(),
            containers: Vec::new(),
        });
        let unnamed: Vec<_> = unnamed.collect();
        let driver = self.default_driver().unwrap_or("vfs").to_owned();
        if !unnamed.is_empty()
            && let Some(Value::Object(driver)) = self.drivers.get_mut(&driver)
        {
            driver.insert(NOT_BACKED_UP.into(), serde_json::json!(unnamed));
        }
    }

    /// Why Docker could not be asked for its volumes.
    pub(crate) fn docker_problem(&self) -> Option<&str> {
        self.docker(PROBLEM)?.as_str()
    }

    /// Why Docker is not used, though it is there: nobody said that it should be.
    pub(crate) fn docker_note(&self) -> Option<&str> {
        self.docker(NOTE)?.as_str()
    }

    fn docker(&self, field: &str) -> Option<&Value> {
        self.drivers.get(DOCKER_DRIVER)?.get(field)
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
    pub(crate) name: String,
    pub(crate) driver: String,
    /// The folder where the volume is mounted; empty if it is not mounted.
    pub(crate) mount_point: String,
    pub(crate) created_time: ApiTime,
    /// The driver's description.
    pub(crate) driver_info: Option<DriverInfo>,
    /// The volume's snapshots by name. An empty map can hide an error of the driver.
    pub(crate) snapshots: Option<BTreeMap<String, Snapshot>>,
    /// Fields that this program does not know.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Volume {
    /// The volume's snapshots, oldest first. Snapshots of the same second are ordered by name.
    pub(crate) fn snapshots_by_time(&self) -> Vec<&Snapshot> {
        let mut all: Vec<_> = self.snapshots.iter().flat_map(BTreeMap::values).collect();
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        all
    }

    /// The id that the built-in daemon gives to the volume; Convoy gives none.
    pub(crate) fn id(&self) -> Option<&str> {
        self.told(VOLUME_ID)
    }

    /// As [`super::Backup::source`], of the volume itself.
    pub(crate) fn source(&self) -> String {
        self.id().or_else(|| self.mark()).unwrap_or_default().to_owned()
    }

    /// Whether Docker made it for a container that did not name it. Of Docker's own, the driver `docker`
    /// has those that somebody asked for.
    pub(crate) fn is_unnamed(&self) -> bool {
        let is_named = || self.told(NAMED) == Some("true");
        self.driver != DOCKER_DRIVER && is_anonymous_name(&self.name) && !is_named()
    }

    /// The snapshots that were taken since this volume exists, newest first. A daemon keeps the
    /// snapshots of a volume that was only forgotten, and lists them under the next volume of the
    /// same name. A time that can't be parsed proves nothing, so such a snapshot counts as not this
    /// volume's.
    pub(crate) fn own_snapshots(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots_by_time()
            .into_iter()
            .rev()
            .filter(|snapshot| self.was_there(&snapshot.created_time) == Some(true))
    }

    /// The newest of the listed snapshots that are older than the volume itself.
    pub(crate) fn older_snapshot(&self) -> Option<&Snapshot> {
        let mut newest_first = self.snapshots_by_time().into_iter().rev();
        newest_first.find(|snapshot| self.was_there(&snapshot.created_time) == Some(false))
    }

    /// The mark of the volume's newest own snapshot that has one (see [`names::snapshot_mark`]).
    pub(crate) fn mark(&self) -> Option<&str> {
        self.own_snapshots().find_map(|snapshot| names::snapshot_mark(&snapshot.name))
    }

    /// Whether the volume existed at this time; `None` if either time can't be parsed.
    pub(super) fn was_there(&self, time: &ApiTime) -> Option<bool> {
        Some(time.timestamp()? >= self.created_time.timestamp()?)
    }

    /// A field of the driver's description.
    pub(crate) fn told(&self, field: &str) -> Option<&str> {
        self.driver_info.as_ref()?.get(field).map(String::as_str)
    }

    /// The size in bytes, if the driver tells it.
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
    /// Unique in the whole daemon.
    pub(crate) name: String,
    /// The snapshot's volume; left out where the volume itself lists the snapshot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) volume_name: String,
    /// When the volume was made. Only the inspection of one snapshot tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) volume_created_at: Option<ApiTime>,
    /// Empty for an EBS snapshot that was removed.
    pub(crate) created_time: ApiTime,
    /// The driver's description.
    pub(crate) driver_info: Option<DriverInfo>,
    /// Fields that this program does not know.
    #[serde(flatten)]
    pub(crate) other: Map<String, Value>,
}

impl Snapshot {
    /// How the volume's files were held while they were read.
    pub(crate) fn moment(&self) -> MomentRecord {
        self.driver_info.as_ref().map_or_else(MomentRecord::default, MomentRecord::of)
    }

    /// How much the volume had.
    pub(crate) fn extent(&self) -> Extent {
        self.driver_info
            .as_ref()
            .map_or_else(Extent::default, |info| Extent::of(info, SNAPSHOT_SIZE))
    }

    /// Adds how much the volume had. Convoy's snapshots do not tell.
    pub(super) fn set_extent(&mut self, extent: &Extent) {
        let fields = extent.fields(SNAPSHOT_SIZE).into_iter();
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        self.driver_info.get_or_insert_default().extend(fields);
    }

    /// Why the snapshot's source is in doubt, if the guards found it so.
    pub(crate) fn doubt(&self) -> Option<&str> {
        self.other.get(DOUBT).and_then(Value::as_str)
    }

    pub(super) fn set_doubt(&mut self, why: &str) {
        self.other.insert(DOUBT.into(), why.into());
    }

    /// The sort key of snapshots. The time comes from the name if this program made it, because
    /// those times increase even if the clock was set back. Otherwise the daemon's time counts. The
    /// name comes last.
    pub(crate) fn order(&self) -> (Option<Timestamp>, &str) {
        (names::snapshot_time(&self.name).or(self.created_time.timestamp()), &self.name)
    }

    /// When the snapshot was taken, by the daemon's clock. Unlike [`Snapshot::order`], it does not
    /// always increase.
    pub(crate) fn taken(&self) -> Option<Timestamp> {
        names::time_taken(&self.name, self.created_time.timestamp())
    }
}

/// Whether a volume's files are those of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Changes {
    Unchanged,
    /// The first path in the volume that differs; empty for the volume's own folder.
    Changed {
        path: String,
    },
    /// The daemon can't tell.
    Unknown,
}

/// The daemon's answer to a mount: where the volume was mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Mount {
    /// The volume's name.
    pub(crate) name: String,
    /// The folder with its files.
    pub(crate) mount_point: String,
}

/// A volume that is to be backed up as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AsItIs {
    pub(crate) volume: Name,
    /// The name of the snapshot that the backup is of. It does not stay.
    pub(crate) snapshot: Name,
}

/// What a new volume should be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewVolume {
    pub(crate) name: Name,
    /// `None`: the daemon's default driver.
    pub(crate) driver: Option<String>,
    /// In bytes. `None`: the driver's default.
    pub(crate) size: Option<u64>,
    /// The backup to restore into the volume. `None`: the volume is empty.
    pub(crate) backup: Option<BackupUrl>,
    /// The EBS volume type.
    pub(crate) volume_type: Option<String>,
    /// EBS: provisioned I/O operations per second.
    pub(crate) iops: Option<u64>,
    /// The driver's id of an existing volume to take over.
    pub(crate) driver_volume_id: Option<String>,
    /// Whether to prepare the volume for a virtual machine.
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
        // The first snapshot was taken while the clock showed 2036. Then the clock was corrected,
        // and the names continued from 2036.
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
