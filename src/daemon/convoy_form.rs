//! Writes volumes, snapshots and the daemon's settings as Convoy does.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    driver::Driver,
    moment::Moments,
    root::Root,
    state::{SnapshotState, VolumeState},
};
use crate::{
    convoy::{
        ApiTime, DriverInfo, Info, MOMENT, MOMENT_NOTE, SNAPSHOT_SIZE, Snapshot, VOLUME_ID, Volume,
    },
    error::{Error, Result},
};

/// Writes states as Convoy does, with times in one time zone.
pub(super) struct ConvoyForm<'a> {
    pub(super) root: &'a Root,
    pub(super) driver: &'a dyn Driver,
    pub(super) moments: &'a Moments,
    pub(super) zone: TimeZone,
}

impl ConvoyForm<'_> {
    /// `GET /info`.
    pub(super) fn info(&self) -> Result<Info> {
        let general = json!({
            "Root": self.root.path(),
            "DriverList": [self.driver.name()],
            "DefaultDriver": self.driver.name(),
            "MountNamespaceFD": "",
            "IgnoreDockerDelete": false,
            "CreateOnDockerMount": false,
            "CmdTimeout": "",
        });
        let driver = json!({
            "DefaultVolumeSize": "107374182400",
            "Path": self.root.volumes(),
            "Root": self.root.repository(),
        });
        serde_json::from_value(json!({ "General": general, self.driver.name(): driver }))
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// The driver's description of a volume.
    pub(super) fn driver_info(&self, volume: &VolumeState) -> DriverInfo {
        let path = self.driver.path(&volume.name).display().to_string();
        let offer = self.moments.offered(&self.driver.place(&volume.name));
        let always = [
            ("Driver", self.driver.name().to_owned()),
            (MOMENT, offer.kind.as_str().to_owned()),
            ("MountPoint", if volume.mounted { path.clone() } else { String::new() }),
            ("Path", path),
            ("PrepareForVM", volume.prepare_for_vm.to_string()),
            ("Size", volume.size.to_string()),
            ("VolumeCreatedAt", self.time(volume.created).to_string()),
            (VOLUME_ID, volume.id()),
            ("VolumeName", volume.name.clone()),
        ];
        fields(always.into_iter().chain(offer.why.map(|why| (MOMENT_NOTE, why))))
    }

    /// A volume with its snapshots.
    pub(super) fn volume(&self, volume: &VolumeState) -> Volume {
        let driver_info = self.driver_info(volume);
        let snapshot =
            |(name, state)| (String::clone(name), self.listed_snapshot(volume, name, state));
        Volume {
            name: volume.name.clone(),
            driver: self.driver.name().into(),
            mount_point: driver_info["MountPoint"].clone(),
            created_time: ApiTime::parse(&driver_info["VolumeCreatedAt"]),
            driver_info: Some(driver_info),
            snapshots: Some(volume.snapshots.iter().map(snapshot).collect()),
            ..Volume::default()
        }
    }

    /// A new snapshot, as the answer to its creation.
    pub(super) fn new_snapshot(
        &self,
        volume: &VolumeState,
        name: &str,
        state: &SnapshotState,
    ) -> Snapshot {
        let volume_name = volume.name.clone();
        Snapshot { volume_name, ..self.listed_snapshot(volume, name, state) }
    }

    /// A snapshot, as the answer to its inspection.
    pub(super) fn snapshot(
        &self,
        volume: &VolumeState,
        name: &str,
        state: &SnapshotState,
    ) -> Snapshot {
        let volume_created_at = Some(self.time(volume.created));
        Snapshot { volume_created_at, ..self.new_snapshot(volume, name, state) }
    }

    /// A snapshot as an entry in its volume's list.
    fn listed_snapshot(&self, volume: &VolumeState, name: &str, state: &SnapshotState) -> Snapshot {
        let created = self.time(state.created);
        let always = [
            ("Driver", self.driver.name().to_owned()),
            ("FilePath", self.root.snapshot_file(&state.id).display().to_string()),
            ("SnapshotCreatedAt", created.to_string()),
            ("SnapshotName", name.to_owned()),
            ("VolumeUUID", volume.name.clone()),
        ];
        let moment = state.moment.clone().map(|moment| (MOMENT, moment));
        let extent = state.extent().fields(SNAPSHOT_SIZE);
        let driver_info = fields(always.into_iter().chain(moment).chain(extent));
        Snapshot {
            name: name.to_owned(),
            created_time: created,
            driver_info: Some(driver_info),
            ..Snapshot::default()
        }
    }

    fn time(&self, time: Timestamp) -> ApiTime {
        api_time(time, &self.zone)
    }
}

/// A time in the API's form.
pub(super) fn api_time(time: Timestamp, zone: &TimeZone) -> ApiTime {
    ApiTime::from_zoned(&time.to_zoned(zone.clone()))
}

/// Fields whose values are all strings, as in Convoy's answers.
pub(super) fn fields(
    fields: impl IntoIterator<Item = (&'static str, String)>,
) -> BTreeMap<String, String> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
