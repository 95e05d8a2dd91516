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
    pub fn new(daemon: Arc<dyn Daemon>) -> Self {
        Self { daemon }
    }
    /// The daemon's settings.
    pub async fn info(&self) -> Result<Info> {
        self.daemon.info().await
    }
    /// All volumes by name; an empty list that the drivers contradict is an error.
    pub async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        self.daemon.volumes().await
    }
    pub async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        self.daemon.driver_volumes().await
    }
    pub async fn volume(&self, name: &Name) -> Result<Volume> {
        self.daemon.volume(name).await
    }
    /// A new volume, empty or (with `backup`) restored, under a name that nothing uses.
    pub async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        self.daemon.create_volume(new).await
    }
    pub async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        self.daemon.mount_volume(name, mount_point).await
    }
    pub async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.daemon.unmount_volume(name).await
    }
    /// Deletes the volume (its snapshots go with it). Unless `without_backup`, one good backup of it must be at `destination`.
    pub async fn delete_volume(
        &self,
        name: &Name,
        destination: Option<&Destination>,
        without_backup: bool,
    ) -> Result<()> {
        if !without_backup {
            let there = match destination {
                Some(destination) => self.backups(destination, Some(name)).await?,
                None => Vec::new(),
            };
            if there.is_empty() {
                return Err(crate::error::Error::guard(format!("\"{name}\" has no good backup")));
            }
        }
        self.daemon.delete_volume(name, false).await
    }
    /// Takes a snapshot under a name made here, which never repeats and sorts by time.
    pub async fn create_snapshot(&self, volume: &Name) -> Result<Snapshot> {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.daemon.create_snapshot(volume, &Name::snapshot(&format!("{volume}-{count:08}"))?).await
    }
    pub async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        self.daemon.snapshot(name).await
    }
    pub async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        self.daemon.delete_snapshot(name).await
    }
    /// Backups at a destination, newest first. One volume that was never backed up gives an empty list.
    pub async fn backups(&self, destination: &Destination, volume: Option<&Name>) -> Result<Vec<Backup>> {
        let mut all = match self.daemon.backups(destination, volume).await {
            Err(error) if error.message.contains("volume.cfg") => Vec::new(),
            other => other?,
        };
        all.sort_by(|a, b| b.order().cmp(&a.order()));
        Ok(all)
    }
    pub async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        self.daemon.backup(url).await
    }
    /// Backs up a snapshot and proves the backup good before it answers.
    pub async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        self.daemon.create_backup(snapshot, destination).await
    }
    /// Deletes a backup; the volume's newest good one only with `even_the_newest`.
    pub async fn delete_backup(&self, url: &BackupUrl, even_the_newest: bool) -> Result<()> {
        if !even_the_newest && let Some(volume) = url.volume() {
            let all = self.backups(&url.destination(), Some(&Name::volume(volume)?)).await?;
            if all.first().is_some_and(|newest| newest.url().is_ok_and(|newest| newest.same_backup(url))) {
                return Err(crate::error::Error::guard("it is the newest good backup of its volume"));
            }
        }
        self.daemon.delete_backup(url).await
    }
}
