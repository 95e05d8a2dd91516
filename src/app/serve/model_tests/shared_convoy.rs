//! A Convoy in memory whose backups are on the model's share. It keeps the content of its volumes
//! as a number, and can stop answering.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;

use super::share::{Damage, Share};
use crate::convoy::inside::{Content, Look, ReadFile, Seen};
use crate::{
    clock::Clock,
    convoy::{
        AsItIs, Backup, BackupUrl, Capabilities, Changes, Daemon, Destination, DriverInfo,
        GivenBack, Info, Mount, Name, NewVolume, Quiesced, ReadBack, Snapshot, Volume, WasReadBack,
        memory::MemoryDaemon,
        refusal::{no_folder, refused},
    },
    error::{Error, ErrorKind, Result},
    sync::lock,
};

#[derive(Debug)]
pub(super) struct SharedConvoy {
    memory: MemoryDaemon,
    identity: String,
    share: Arc<Share>,
    silent: AtomicBool,
    /// The next removal of a volume gets no answer, and does not happen.
    fails_to_remove: AtomicBool,
    /// A volume that lists of all volumes leave out.
    unlisted: Mutex<Option<String>>,
    /// The content of each volume.
    volumes: Mutex<BTreeMap<String, u64>>,
    /// The content of each snapshot.
    snapshots: Mutex<BTreeMap<String, u64>>,
}

impl SharedConvoy {
    /// The Convoy of the host with this number.
    pub(super) fn new(
        number: u64,
        identity: String,
        share: Arc<Share>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            memory: MemoryDaemon::of_host(number, clock),
            identity,
            share,
            silent: AtomicBool::new(false),
            fails_to_remove: AtomicBool::new(false),
            unlisted: Mutex::default(),
            volumes: Mutex::default(),
            snapshots: Mutex::default(),
        }
    }

    pub(super) fn be_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    pub(super) fn fail_to_remove(&self, fails: bool) {
        self.fails_to_remove.store(fails, Ordering::Relaxed);
    }

    /// Leaves this volume out of lists; `None`: they are whole again.
    pub(super) fn leave_out(&self, volume: Option<&str>) {
        *lock(&self.unlisted) = volume.map(str::to_owned);
    }

    /// Replaces the content of a volume; 0 is no files.
    pub(super) fn write(&self, volume: &str, content: u64) {
        lock(&self.volumes).insert(volume.to_owned(), content);
    }

    pub(super) fn content(&self, volume: &str) -> u64 {
        lock(&self.volumes).get(volume).copied().unwrap_or_default()
    }

    /// The daemon, if it answers.
    fn answers(&self) -> Result<&MemoryDaemon> {
        if self.is_silent() {
            return Err(Error::new(ErrorKind::Unreachable, "the daemon does not answer"));
        }
        Ok(&self.memory)
    }

    /// The daemon, if it answers and the destination's folder is there.
    fn at_share(&self) -> Result<&MemoryDaemon> {
        let memory = self.answers()?;
        let stored = self.share.stored().ok_or_else(|| no_folder("of the backups"))?;
        memory.find_at_destinations(stored);
        Ok(memory)
    }
}

#[async_trait]
impl Daemon for SharedConvoy {
    fn description(&self) -> String {
        self.identity.clone()
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        self.answers()?.capabilities().await
    }

    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>> {
        self.answers()?.is_used(destination).await
    }

    async fn changes_since(&self, _volume: &Name, _backup: &BackupUrl) -> Result<Changes> {
        self.answers()?;
        Ok(Changes::Unknown)
    }

    async fn mounts_in_volume(&self, volume: &Name) -> Result<Option<Vec<String>>> {
        self.answers()?.mounts_in_volume(volume).await
    }

    async fn forgotten_volumes(&self) -> Result<Option<BTreeMap<String, Volume>>> {
        self.answers()?.forgotten_volumes().await
    }

    async fn info(&self) -> Result<Info> {
        self.answers()?.info().await
    }

    async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        let mut volumes = self.answers()?.volumes().await?;
        if let Some(unlisted) = &*lock(&self.unlisted) {
            volumes.remove(unlisted);
        }
        Ok(volumes)
    }

    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        self.answers()?.driver_volumes().await
    }

    async fn volume(&self, name: &Name) -> Result<Volume> {
        self.answers()?.volume(name).await
    }

    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        let Some(url) = &volume.backup else {
            let made = self.answers()?.create_volume(volume).await?;
            self.write(volume.name.as_str(), 0);
            return Ok(made);
        };
        let made = self.at_share()?.create_volume(volume).await?;
        self.write(volume.name.as_str(), self.share.content(url.backup()));
        match self.share.damage(url.backup()) {
            // The half-restored volume is there.
            Some(_) => Err(refused("gzip: invalid header")),
            None => Ok(made),
        }
    }

    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        self.answers()?.mount_volume(name, mount_point).await
    }

    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.answers()?.unmount_volume(name).await
    }

    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        self.answers()?.quiesce(volumes).await
    }

    async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>> {
        self.answers()?.give_back(destination).await
    }

    async fn let_go_on(&self, id: &str) -> Result<()> {
        self.answers()?.let_go_on(id).await
    }

    async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        self.answers()?.run_in_container(container, command).await
    }

    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        if self.fails_to_remove.swap(false, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unreachable, "the daemon went away"));
        }
        self.answers()?.delete_volume(name, id, reference_only).await
    }

    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot> {
        let made = self.answers()?.create_snapshot(volume, name).await?;
        lock(&self.snapshots).insert(made.name.clone(), self.content(volume.as_str()));
        Ok(made)
    }

    async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        self.answers()?.snapshot(name).await
    }

    async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        self.answers()?.delete_snapshot(name).await
    }

    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        self.at_share()?.backups(destination, volume).await
    }

    async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let found = self.at_share()?.backup(url).await?;
        match self.share.damage(url.backup()) {
            Some(Damage::Open) => Err(refused("unexpected end of JSON input")),
            _ => Ok(found),
        }
    }

    async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        let mut inspected = Vec::new();
        for url in urls {
            inspected.push(self.backup(url).await);
        }
        Ok(inspected)
    }

    async fn read_back(
        &self,
        _destination: &Destination,
        _what: &ReadBack,
    ) -> Result<Option<WasReadBack>> {
        Ok(None)
    }

    async fn look(&self, _what: &Look) -> Result<Option<Seen>> {
        Ok(None)
    }

    async fn content(&self, _what: &ReadFile) -> Result<Option<Content>> {
        Ok(None)
    }

    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        let url = self.at_share()?.create_backup(snapshot, destination).await?;
        let content = lock(&self.snapshots).get(snapshot.as_str()).copied();
        self.share.keep(url.backup(), content.unwrap_or_default());
        Ok(url)
    }

    async fn back_up(
        &self,
        _volumes: &[AsItIs],
        _destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        Err(refused("Convoy has no such route"))
    }

    async fn delete_backup(&self, url: &BackupUrl, required: &[BackupUrl]) -> Result<()> {
        self.at_share()?.delete_backup(url, required).await
    }
}
