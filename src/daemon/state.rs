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

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VolumeState {
    /// Its name; also the name of its folder and of its state file.
    pub(crate) name: String,
    /// The size that was asked for, in bytes; nothing enforces it.
    pub(crate) size: u64,
    /// When it was made.
    pub(crate) created: Timestamp,
    /// Whether somebody was given its path and has not handed it back.
    pub(crate) mounted: bool,
    /// As asked for; nothing depends on it.
    pub(crate) prepare_for_vm: bool,
    /// While a restore puts its folder in place: that folder's inode. A start that finds it undoes
    /// the restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restoring: Option<u64>,
    /// Whether only its name was removed. It is in no list, but its folder and its snapshots wait
    /// for the next volume of that name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) forgotten: bool,
    /// Its snapshots by name.
    pub(crate) snapshots: BTreeMap<String, SnapshotState>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotState {
    /// When it was made.
    pub(crate) created: Timestamp,
    /// The id of the snapshot file in the local repository, in hex.
    pub(crate) id: String,
    /// Bytes in its files.
    pub(crate) bytes: u64,
}

/// What tells a volume from others that had or have its name: when it was made, to the nanosecond.
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
    /// A state file that can't be read or makes no sense: guessing would lose track of snapshots.
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
    /// Where it can't be written: what was there before is still there.
    pub(crate) fn save(&self, volume: &VolumeState) -> Result<()> {
        let path = self.file(&volume.name);
        let content = serde_json::to_vec_pretty(volume)
            .map_err(|error| Error::internal(error.to_string()))?;
        write_whole(&path, &content).map_err(|error| write_error(&path, &error))
    }

    /// Forgets a volume.
    ///
    /// # Errors
    /// Where its file can't be removed.
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
