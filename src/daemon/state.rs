//! What the daemon remembers of its volumes: one small JSON file a volume, replaced as a whole.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    files::{sync_folder, write_error, write_whole},
};

/// What is known of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeState {
    /// Also the name of the state file, and of the volume's folder.
    pub(crate) name: String,
    /// The size that was asked for, in bytes; 0 where none was. Nothing enforces it.
    pub(crate) size: u64,
    /// To the nanosecond: [`volume_id`].
    pub(crate) created: Timestamp,
    /// Whether a client was given the volume's path, and has not handed it back.
    pub(crate) mounted: bool,
    /// As asked for when the volume was made; nothing depends on it.
    pub(crate) prepare_for_vm: bool,
    /// While a restore puts the volume's folder in place: the folder's inode. A start that finds
    /// one undoes the restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restoring: Option<u64>,
    /// Whether only the name was removed. A forgotten volume is in no list, but its folder and its
    /// snapshots wait for the next volume of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forgotten: bool,
    /// By name.
    pub(crate) snapshots: BTreeMap<String, SnapshotState>,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotState {
    /// In whole seconds.
    pub(crate) created: Timestamp,
    /// The id of the snapshot file in the local repository, in hex.
    pub(crate) id: String,
    /// Bytes in the snapshot's files.
    pub(crate) bytes: u64,
}

/// The id that tells a volume from others that had or have its name: when it was made, to the
/// nanosecond.
pub(crate) fn volume_id(created: Timestamp) -> String {
    format!("{:016x}", created.as_nanosecond())
}

/// The folder with the state files.
#[derive(Debug)]
pub(crate) struct StateFolder(pub(crate) PathBuf);

impl StateFolder {
    fn file(&self, volume: &str) -> PathBuf {
        self.0.join(format!("{volume}.json"))
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// Where a state file can't be read or makes no sense: to guess would lose track of snapshots.
    pub(crate) fn load(&self) -> Result<BTreeMap<String, VolumeState>> {
        let unreadable = |path: &Path, error: &io::Error| {
            Error::io(format!("cannot read \"{}\"", path.display()), error)
        };
        let mut volumes = BTreeMap::new();
        for entry in fs::read_dir(&self.0).map_err(|error| unreadable(&self.0, &error))? {
            let path = entry.map_err(|error| unreadable(&self.0, &error))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
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

    /// Writes a volume's state; it is on disk when this returns.
    ///
    /// # Errors
    /// Where the file can't be written; then the former one is still there.
    pub(crate) fn save(&self, volume: &VolumeState) -> Result<()> {
        let path = self.file(&volume.name);
        let content = serde_json::to_vec_pretty(volume)
            .map_err(|error| Error::internal(error.to_string()))?;
        write_whole(&path, &content).map_err(|error| write_error(&path, &error))
    }

    /// Removes a volume's state; one that is not there is no error.
    ///
    /// # Errors
    /// Where the file can't be removed.
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
