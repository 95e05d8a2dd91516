//! What the daemon remembers about its volumes. Each volume has a small JSON file, which is always
//! replaced as a whole.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{driver::Vfs, mounted::Mounted, root::STOPS_0_1_0};
use crate::{
    convoy::{DOCKER_DRIVER, DumpRecord, Extent, LackingFile, MomentRecord, SourceMount},
    error::{Error, Result},
    files::{sync_folder, write_error, write_whole},
};

/// The state of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeState {
    /// Also the name of the state file, and of the volume's folder.
    pub(crate) name: String,
    /// The name of its driver; `vfs` for volumes of older versions.
    #[serde(default = "vfs", skip_serializing_if = "is_vfs")]
    pub(crate) driver: String,
    /// The folder of the host with its files, of the driver `folder`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
    /// What tells it from another volume of its name, of the driver `docker`; `None` where that
    /// could not be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mark: Option<String>,
    /// Whether its folder has the files only while Docker has mounted them there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) must_be_mounted: bool,
    /// Its labels, of the driver `docker`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether a label of its containers asks for it, of the driver `docker`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) asked_for: bool,
    /// The requested size in bytes, or 0 if none was requested. Nothing enforces the size.
    pub(crate) size: u64,
    /// The size in bytes of its files when they were saved last; `None` of one that never was, or by
    /// an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) saved_bytes: Option<u64>,
    /// Random; `None` for a volume that version 0.1.0 made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// With nanoseconds, because the id of a volume without a random one is made from it.
    pub(crate) created: Timestamp,
    /// Who has it mounted.
    pub(crate) mounted: Mounted,
    /// As requested when the volume was created. Nothing depends on it.
    pub(crate) prepare_for_vm: bool,
    /// Set while a restore puts the volume's folder in place: the inode of that folder. A start
    /// that finds it undoes the restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restoring: Option<u64>,
    /// Whether the volume was only forgotten. A forgotten volume is not listed, but its folder and
    /// its snapshots wait for the next volume of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forgotten: bool,
    /// Whether its files go with it when Docker removes it: Docker made it without a name, and
    /// nothing of it was saved. Docker's own driver removes files, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) goes_with_docker: bool,
    /// Whether somebody gave it its name, though it looks like one that Docker made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_named: bool,
    /// The name that it had, while it is being given this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moved_from: Option<String>,
    /// By snapshot name.
    pub(crate) snapshots: BTreeMap<String, SnapshotState>,
}

fn vfs() -> String {
    Vfs::NAME.to_owned()
}

fn is_vfs(driver: &str) -> bool {
    driver == Vfs::NAME
}

impl VolumeState {
    /// A volume that a driver found at `folder`, with its id and the time when it was seen first.
    pub(crate) fn found(
        name: &str,
        driver: &str,
        folder: &Path,
        (id, created): (String, Timestamp),
    ) -> Self {
        Self {
            name: name.to_owned(),
            driver: driver.to_owned(),
            folder: Some(folder.to_owned()),
            mark: None,
            must_be_mounted: false,
            labels: BTreeMap::new(),
            asked_for: false,
            size: 0,
            saved_bytes: None,
            id: Some(id),
            created,
            mounted: Mounted::default(),
            prepare_for_vm: false,
            restoring: None,
            forgotten: false,
            goes_with_docker: false,
            is_named: false,
            moved_from: None,
            snapshots: BTreeMap::new(),
        }
    }

    /// Whether the volume is a folder of the daemon's own, which it may move and remove.
    pub(crate) fn is_ours(&self) -> bool {
        is_vfs(&self.driver)
    }

    /// Whether it is a volume that Docker has no more, or that is not to be backed up any more.
    pub(crate) fn may_be_gone(&self) -> bool {
        self.forgotten && self.driver == DOCKER_DRIVER && self.restoring.is_none()
    }

    /// Whether it is a volume of the daemon's own that was only forgotten, and can come back.
    pub(crate) fn is_forgotten_here(&self) -> bool {
        self.forgotten && self.is_ours() && self.restoring.is_none()
    }

    /// Whether the daemon shows the volume. It is neither forgotten, nor what is left of a restore
    /// that could not be undone.
    pub(crate) fn is_listed(&self) -> bool {
        !self.forgotten && self.restoring.is_none()
    }
}

/// The state of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotState {
    /// In whole seconds.
    pub(crate) created: Timestamp,
    /// The id of the snapshot file in the root's repository, in hexadecimal.
    pub(crate) id: String,
    /// The size of the snapshot's files in bytes.
    pub(crate) bytes: u64,
    /// The number of the snapshot's files; `None` of snapshots that an older version took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<u64>,
    /// What was mounted in the volume's folder; `None` if that could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mounts: Option<Vec<SourceMount>>,
    /// How the moment was held that was read; `None` of snapshots that an older version took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) moment: Option<String>,
    /// The number of files that changed or went missing while they were read.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) changed_files: u64,
    /// How long what writes to the volume was held still, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stood: Option<u64>,
    /// How long each container stood still, by its name, in milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) containers: BTreeMap<String, u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dumps: Vec<DumpRecord>,
    /// The paths of some of the files that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) changed_paths: Vec<String>,
    /// The number of files and folders that could not be read.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) lacking_files: u64,
    /// The number of files and folders that are left out as configured.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) excluded_files: u64,
    /// Some of those that could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) lacking: Vec<LackingFile>,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

impl SnapshotState {
    /// How the volume's files were held.
    pub(crate) fn moment(&self) -> MomentRecord {
        MomentRecord {
            kind: self.moment.clone(),
            changed_files: self.changed_files,
            changed_paths: self.changed_paths.clone(),
            lacking_files: self.lacking_files,
            lacking: self.lacking.clone(),
            excluded_files: self.excluded_files,
            stood: self.stood,
            containers: self.containers.clone(),
            dumps: self.dumps.clone(),
        }
    }

    /// How much the volume had.
    pub(crate) fn extent(&self) -> Extent {
        Extent { files: self.files, bytes: Some(self.bytes), mounts: self.mounts.clone() }
    }
}

impl VolumeState {
    /// The id of the volume, which tells it from others that had or have its name.
    pub(crate) fn id(&self) -> String {
        volume_id(self.id.as_deref(), self.created)
    }
}

/// The id of a volume. Version 0.1.0 made it from the volume's creation time.
pub(crate) fn volume_id(random: Option<&str>, created: Timestamp) -> String {
    random.map_or_else(|| format!("{:016x}", created.as_nanosecond()), str::to_owned)
}

/// The folder with the state files.
#[derive(Debug)]
pub(crate) struct StateFolder(pub(crate) PathBuf);

impl StateFolder {
    fn file(&self, volume: &str) -> PathBuf {
        self.0.join(format!("{volume}.json"))
    }

    /// The states of all volumes, by name.
    ///
    /// # Errors
    /// If a state file can't be read or parsed. Guessing would lose track of snapshots.
    pub(crate) fn load(&self) -> Result<BTreeMap<String, VolumeState>> {
        let unreadable = |path: &Path, error: &io::Error| {
            Error::io(format!("cannot read \"{}\"", path.display()), error)
        };
        let mut volumes = BTreeMap::new();
        for entry in fs::read_dir(&self.0).map_err(|error| unreadable(&self.0, &error))? {
            let path = entry.map_err(|error| unreadable(&self.0, &error))?.path();
            let is_state = path.extension().is_some_and(|extension| extension == "json");
            if !is_state || path.file_name().is_some_and(|name| name == STOPS_0_1_0) {
                continue;
            }
            let content = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
            let volume: VolumeState = serde_json::from_slice(&content).map_err(|error| {
                Error::configuration(format!("\"{}\" is not a volume's state: {error}", path.display()))
                    .with_hint("move it away to start without this volume; its files stay in the folder \"volumes\", its snapshots are removed")
            })?;
            volumes.insert(volume.name.clone(), volume);
        }
        Ok(volumes)
    }

    /// Writes a volume's state. It is on disk when this returns.
    ///
    /// # Errors
    /// If the file can't be written. The former state is then still there.
    pub(crate) fn save(&self, volume: &VolumeState) -> Result<()> {
        let path = self.file(&volume.name);
        let content = serde_json::to_vec_pretty(volume)
            .map_err(|error| Error::internal(error.to_string()))?;
        write_whole(&path, &content).map_err(|error| write_error(&path, &error))
    }

    /// Removes a volume's state. A missing file is not an error.
    ///
    /// # Errors
    /// If the file can't be removed.
    pub(crate) fn remove(&self, volume: &str) -> Result<()> {
        let path = self.file(volume);
        match fs::remove_file(&path).and_then(|()| sync_folder(&self.0)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(write_error(&path, &error))
            }
            _ => Ok(()),
        }
    }
}
