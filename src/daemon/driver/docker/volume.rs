//! What is needed of one of the engine's volumes.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use jiff::Timestamp;

use crate::{
    daemon::state::VolumeState,
    engine::{Container, EngineVolume},
};

/// A volume of the engine that is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct DockerVolume {
    pub(in crate::daemon) name: String,
    pub(in crate::daemon) folder: PathBuf,
    /// Whether the folder has the files only while the engine has mounted them there (NFS, tmpfs).
    pub(in crate::daemon) must_be_mounted: bool,
    /// What tells the volume from another that has its name later.
    pub(in crate::daemon) mark: Option<String>,
    pub(in crate::daemon) created: Option<Timestamp>,
    /// Its compose project.
    pub(in crate::daemon) project: Option<String>,
    /// The names of the containers that have it, in alphabetical order.
    pub(in crate::daemon) containers: Vec<String>,
    pub(in crate::daemon) labels: BTreeMap<String, String>,
    pub(in crate::daemon) options: BTreeMap<String, String>,
}

impl DockerVolume {
    pub(super) fn of(volume: &EngineVolume, containers: &[Container]) -> Self {
        let option = |name: &str| volume.options.get(name).map_or("", String::as_str);
        let is_bind = option("o").split(',').any(|word| word == "bind" || word == "rbind");
        let (folder, must_be_mounted) = match option("device") {
            // Only while a container runs, the files are at the mount point, too.
            device if is_bind && device.starts_with('/') => (device.into(), false),
            _ => (volume.mountpoint.clone(), !option("device").is_empty()),
        };
        let users = containers.iter().filter(|container| container.uses(&volume.name));
        let mut containers: Vec<_> = users.map(|container| container.name().to_owned()).collect();
        containers.sort_unstable();
        let mark = if must_be_mounted || is_bind { None } else { mark(&folder) };
        Self {
            name: volume.name.clone(),
            mark,
            folder,
            must_be_mounted,
            created: volume.created_at,
            project: volume.project().map(str::to_owned),
            containers,
            labels: volume.labels.clone(),
            options: volume.options.clone(),
        }
    }

    /// What an earlier process saw of a volume.
    pub(in crate::daemon) fn known(state: &VolumeState) -> Option<Self> {
        Some(Self {
            name: state.name.clone(),
            folder: state.folder.clone()?,
            must_be_mounted: false,
            mark: state.mark.clone(),
            created: None,
            project: None,
            containers: Vec::new(),
            labels: state.labels.clone(),
            options: BTreeMap::new(),
        })
    }

    /// The volume after another folder took the place of its own.
    pub(super) fn with_mark_of_now(self) -> Self {
        Self { mark: mark(&self.folder), ..self }
    }
}

/// The folder's inode and its birth; `None` where it can't be seen. The engine's own time of
/// creation is no help: it is that of the folder's last change. Nor is the inode for what is
/// mounted, which has another each time.
fn mark(folder: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(folder).ok()?;
    let born = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}.{:09}", metadata.ino(), born.as_secs(), born.subsec_nanos()))
}
