//! Writes volumes, snapshots and the daemon's settings as Convoy does.

use std::collections::BTreeMap;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use super::{
    driver::{Docker, Driver as _, Drivers, Folders},
    root::Root,
    seen::Seen,
    state::{SnapshotState, VolumeState},
};
use crate::{
    convoy::{
        ApiTime, COMMANDS, CONTAINERS, DriverInfo, ENCRYPTED, HOLD, Info, LIVE_DATABASE, MOMENT,
        MOMENT_NOTE, NAMED, NOT_BACKED_UP, NOTE, PROBLEM, PROGRAM, PROJECT, SERVICE, SNAPSHOT_SIZE,
        Snapshot, VOLUME_ID, Volume,
    },
    engine::is_anonymous_name,
    error::{Error, Result},
};

/// Writes states as Convoy does, with times in one time zone.
pub(super) struct ConvoyForm<'a> {
    pub(super) root: &'a Root,
    pub(super) drivers: &'a Drivers,
    pub(super) zone: TimeZone,
    /// Whether backups are encrypted.
    pub(super) is_encrypted: bool,
}

impl ConvoyForm<'_> {
    /// `GET /info`.
    pub(super) fn info(&self) -> Result<Info> {
        let general = json!({
            PROGRAM: concat!("convoy-backups ", env!("CARGO_PKG_VERSION")),
            ENCRYPTED: self.is_encrypted,
            "Root": self.root.path(),
            "DriverList": self.drivers.names(),
            "DefaultDriver": self.drivers.vfs.name(),
            "MountNamespaceFD": "",
            "IgnoreDockerDelete": false,
            "CreateOnDockerMount": false,
            "CmdTimeout": "",
        });
        let folders = self.drivers.folders.found().into_iter();
        let folders: BTreeMap<_, _> =
            folders.map(|(name, path)| (name, path.display().to_string())).collect();
        let vfs = json!({
            "DefaultVolumeSize": "107374182400",
            "Path": self.root.volumes(),
            "Root": self.root.repository(),
        });
        let mut info = json!({ "General": general, "vfs": vfs });
        if !folders.is_empty() {
            info[Folders::NAME] = json!(folders);
        }
        let docker = &self.drivers.docker;
        if docker.is_used() {
            info[Docker::NAME] = json!({ NOT_BACKED_UP: docker.left_out() });
            if let Some(problem) = docker.problem() {
                info[Docker::NAME][PROBLEM] = json!(problem);
            }
            if let Some(note) = docker.note() {
                info[Docker::NAME][NOTE] = json!(note);
            }
        }
        serde_json::from_value(info).map_err(|error| Error::internal(error.to_string()))
    }

    /// The driver's description of a volume.
    pub(super) fn driver_info(&self, volume: &VolumeState, seen: &Seen) -> DriverInfo {
        let driver = self.drivers.of(&volume.driver);
        let path = driver.path(&volume.name).display().to_string();
        let problem = seen.problem.clone().map(|problem| (PROBLEM, problem));
        // Convoy tells the size that was requested. Where none was, that of the files is of more use.
        let size = Some(volume.size).filter(|size| *size > 0).or(volume.saved_bytes);
        let always = [
            ("Driver", volume.driver.clone()),
            (MOMENT, seen.offer.kind.as_str().to_owned()),
            ("MountPoint", if volume.mounted.is_mounted() { path.clone() } else { String::new() }),
            ("Path", path),
            ("PrepareForVM", volume.prepare_for_vm.to_string()),
            ("Size", size.unwrap_or_default().to_string()),
            ("VolumeCreatedAt", self.time(volume.created).to_string()),
            (VOLUME_ID, volume.id()),
            ("VolumeName", volume.name.clone()),
        ];
        let users = self.drivers.docker.users(volume);
        let joined =
            |field, names: Vec<String>| (!names.is_empty()).then(|| (field, names.join(", ")));
        let project = users.project.map(|project| (PROJECT, project));
        let service = joined(SERVICE, users.services);
        let containers = joined(CONTAINERS, users.containers);
        let of_docker = project.into_iter().chain(service).chain(containers);
        let has_given_name = volume.is_named || volume.driver == Folders::NAME;
        let is_named = has_given_name && is_anonymous_name(&volume.name);
        let named = is_named.then(|| (NAMED, true.to_string()));
        let note = seen.offer.why.clone().map(|why| (MOMENT_NOTE, why));
        let hold = seen.told.held.clone().map(|held| (HOLD, held));
        let database = seen.live_database.map(|database| (LIVE_DATABASE, database.to_owned()));
        let commands = seen.told.commands.clone().map(|told| (COMMANDS, told));
        fields(
            always
                .into_iter()
                .chain(named)
                .chain(note)
                .chain(hold)
                .chain(commands)
                .chain(database)
                .chain(of_docker)
                .chain(problem),
        )
    }

    /// A volume with its snapshots.
    pub(super) fn volume(&self, volume: &VolumeState, seen: &Seen) -> Volume {
        let driver_info = self.driver_info(volume, seen);
        let snapshot =
            |(name, state)| (String::clone(name), self.listed_snapshot(volume, name, state));
        Volume {
            name: volume.name.clone(),
            driver: volume.driver.clone(),
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
            ("Driver", volume.driver.clone()),
            ("FilePath", self.root.snapshot_file(&state.id).display().to_string()),
            ("SnapshotCreatedAt", created.to_string()),
            ("SnapshotName", name.to_owned()),
            ("VolumeUUID", volume.name.clone()),
        ];
        let extent = state.extent().fields(SNAPSHOT_SIZE);
        let driver_info = fields(always.into_iter().chain(state.moment().fields()).chain(extent));
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
