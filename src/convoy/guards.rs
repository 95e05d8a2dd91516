//! The nine guards: what every call of a script passes through on its way to the daemon.

use std::{collections::BTreeMap, sync::Arc};

use super::{Backup, BackupUrl, Daemon, Destination, DriverInfo, Info, Mount, Name, NewVolume, Snapshot, Volume};
use crate::error::Result;

/// The guarded daemon of one run. All of a run's calls go through the same one, for it remembers what the run has seen.
#[derive(Debug)]
pub struct Guards {
    daemon: Arc<dyn Daemon>,
}

#[allow(unused_variables, missing_docs, clippy::unused_async, clippy::todo)]
impl Guards {
    /// The daemon's settings.
    pub async fn info(&self) -> Result<Info> {
        self.daemon.info().await
    }
    /// All volumes by name; an empty list that the drivers contradict is an error.
    pub async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        todo!()
    }
    pub async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        todo!()
    }
    pub async fn volume(&self, name: &Name) -> Result<Volume> {
        todo!()
    }
    /// A new volume, empty or (with `backup`) restored, under a name that nothing uses.
    pub async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        todo!()
    }
    pub async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        todo!()
    }
    pub async fn unmount_volume(&self, name: &Name) -> Result<()> {
        todo!()
    }
    /// Deletes the volume (its snapshots go with it). Unless `without_backup`, one good backup of it must be at `destination`.
    pub async fn delete_volume(
        &self,
        name: &Name,
        destination: Option<&Destination>,
        without_backup: bool,
    ) -> Result<()> {
        todo!()
    }
    /// Takes a snapshot under a name made here, which never repeats and sorts by time.
    pub async fn create_snapshot(&self, volume: &Name) -> Result<Snapshot> {
        todo!()
    }
    pub async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        todo!()
    }
    pub async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        todo!()
    }
    /// Backups at a destination, newest first. One volume that was never backed up gives an empty list.
    pub async fn backups(&self, destination: &Destination, volume: Option<&Name>) -> Result<Vec<Backup>> {
        todo!()
    }
    pub async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        todo!()
    }
    /// Backs up a snapshot and proves the backup good before it answers.
    pub async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        todo!()
    }
    /// Deletes a backup; the volume's newest good one only with `even_the_newest`.
    pub async fn delete_backup(&self, url: &BackupUrl, even_the_newest: bool) -> Result<()> {
        todo!()
    }
}
