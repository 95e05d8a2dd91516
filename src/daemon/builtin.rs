//! Implements [`Daemon`] with [`Operations`], on threads that may block.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use async_trait::async_trait;

use super::{
    backups::StoredUrl,
    mounted::User,
    operations::{Operations, View},
    options::BuiltinOptions,
};
use crate::{
    blocking,
    convoy::{
        AsItIs, Backup, BackupUrl, Capabilities, Changes, Daemon, Destination, DriverInfo,
        GivenBack, Info, Mount, Name, NewVolume, Plugin, Quiesced, ReadBack, Snapshot, Volume,
        WasReadBack, identity,
        inside::{Content, Look, ReadFile, Seen},
        refusal::refused,
    },
    error::{Error, ErrorKind, Result},
};

/// The built-in daemon. While this value lives, no other process can own the same root.
pub(crate) struct BuiltinDaemon {
    operations: Arc<Operations>,
    view: View,
    #[cfg(test)]
    recovered: Vec<String>,
}

impl fmt::Debug for BuiltinDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltinDaemon").field("root", &self.root()).finish_non_exhaustive()
    }
}

impl BuiltinDaemon {
    /// Opens a root, creates it if it is missing, and cleans up after a crash. A repository is
    /// opened only when it is needed.
    ///
    /// # Errors
    /// - [`ErrorKind::Busy`] if another process owns the root.
    /// - [`ErrorKind::Io`] or [`ErrorKind::Configuration`] if the root's files can't be read or
    ///   written.
    pub(crate) fn open(options: BuiltinOptions) -> Result<Self> {
        let (operations, recovered) = Operations::open(options)?;
        for sentence in &recovered {
            log::warn!("{sentence}");
        }
        Ok(Self {
            operations: Arc::new(operations),
            view: View::Whole,
            #[cfg(test)]
            recovered,
        })
    }

    /// This daemon as Docker sees it, whose plugin it is: without Docker's own volumes, and without
    /// a question to Docker.
    pub(crate) fn for_the_plugin(&self) -> Arc<dyn Plugin> {
        Arc::new(Self {
            operations: self.operations.clone(),
            view: View::Plugin,
            #[cfg(test)]
            recovered: Vec::new(),
        })
    }

    /// Sentences on what this start found unfinished and cleaned up.
    #[cfg(test)]
    pub(crate) fn recovered(&self) -> &[String] {
        &self.recovered
    }

    /// The daemon's root folder.
    pub(crate) fn root(&self) -> &Path {
        self.operations.root().path()
    }

    #[cfg(test)]
    pub(super) fn operations(&self) -> &Operations {
        &self.operations
    }

    /// The repository of the root, for tests that damage it.
    #[cfg(test)]
    pub(super) fn local(&self) -> &super::snapshots::LocalRepository {
        self.operations.local()
    }

    /// Runs an operation that reads or writes files. The operation continues if the caller is
    /// dropped. That something behind this daemon, such as Docker, can't be reached is no reason to look
    /// for another daemon.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Operations) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let operations = self.operations.clone();
        let ran = blocking::try_run(what, ErrorKind::Repository, move || act(&operations)).await;
        ran.map_err(|error| match error.kind {
            ErrorKind::Unreachable => Error { kind: ErrorKind::Daemon, ..error },
            _ => error,
        })
    }
}

/// The failure of a backup or a snapshot, which has ended with it. A timeout, or an answer that makes no
/// sense, was that of something behind this daemon: nothing goes on that has to be looked for.
fn has_ended(error: Error) -> Error {
    match error.kind {
        ErrorKind::Timeout | ErrorKind::Protocol | ErrorKind::Unreachable => {
            Error { kind: ErrorKind::Daemon, ..error }
        }
        _ => error,
    }
}

#[async_trait]
impl Daemon for BuiltinDaemon {
    fn description(&self) -> String {
        format!("the built-in daemon at {}", self.root().display())
    }

    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>> {
        let destination = destination.clone();
        self.run("looking at the destination", move |operations| {
            operations.destinations().at(&destination)?.is_used().map(Some)
        })
        .await
    }

    fn identity(&self) -> String {
        identity::of_root(self.root())
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        Ok(Capabilities {
            deletes_by_prefix: false,
            locks_destinations: true,
            lists_all: true,
            inspects_data: true,
            backs_up_volumes: true,
            holds_writers: self.operations.holds_writers(),
            keeps_required_backups: true,
        })
    }

    async fn changes_since(&self, volume: &Name, backup: &BackupUrl) -> Result<Changes> {
        let (volume, backup) = (volume.to_string(), backup.clone());
        self.run("comparing the volume with its backup", move |operations| {
            operations.changes_since(&volume, &backup)
        })
        .await
    }

    async fn mounts_in_volume(&self, volume: &Name) -> Result<Option<Vec<String>>> {
        let volume = volume.to_string();
        self.run("looking for mounts", move |operations| {
            operations.mounts_in_volume(&volume).map(Some)
        })
        .await
    }

    async fn info(&self) -> Result<Info> {
        self.operations.convoy_form().info()
    }

    async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        let view = self.view;
        self.run("listing the volumes", move |operations| {
            operations.listed(view, |form, volume, seen| form.volume(volume, seen))
        })
        .await
    }

    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        let view = self.view;
        self.run("listing the volumes", move |operations| {
            operations.listed(view, |form, volume, seen| form.driver_info(volume, seen))
        })
        .await
    }

    async fn forgotten_volumes(&self) -> Result<Option<BTreeMap<String, Volume>>> {
        self.run("listing the forgotten volumes", |operations| {
            Ok(Some(operations.forgotten_volumes()))
        })
        .await
    }

    async fn volume(&self, name: &Name) -> Result<Volume> {
        let (name, view) = (name.to_string(), self.view);
        self.run("looking at the volume", move |operations| operations.volume(view, &name)).await
    }

    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        let (volume, view) = (volume.clone(), self.view);
        self.run("making the volume", move |operations| operations.create_volume(view, &volume))
            .await
    }

    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        if mount_point.is_some_and(|point| !point.is_empty()) {
            return Err(refused("VFS doesn't support specified mount point")
                .with_hint("leave the mount point out; the answer says where the files are"));
        }
        let name = name.to_string();
        self.run("mounting the volume", move |operations| {
            operations.mount_volume(name, User::Client)
        })
        .await
    }

    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        let name = name.to_string();
        self.run("unmounting the volume", move |operations| operations.unmount_volume(&name)).await
    }

    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        let volumes = volumes.to_vec();
        self.run("holding what writes", move |operations| operations.quiesce(&volumes)).await
    }

    async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>> {
        let destination = destination.clone();
        self.run("giving back space", move |operations| {
            operations.destinations().at(&destination)?.give_back().map(Some)
        })
        .await
    }

    async fn let_go_on(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.run("letting go on what was held", move |operations| operations.let_go_on(&id)).await
    }

    async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        let (container, command) = (container.to_owned(), command.to_owned());
        self.run("running a command in a container", move |operations| {
            operations.run_in_container(&container, &command)
        })
        .await
    }

    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        let (name, id) = (name.to_string(), id.map(str::to_owned));
        self.run("deleting the volume", move |operations| {
            operations.delete_volume(&name, id.as_deref(), reference_only)
        })
        .await
    }

    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot> {
        let (volume, name) = (volume.to_string(), name.to_string());
        self.run("taking the snapshot", move |operations| {
            operations.create_snapshot(&volume, &name).map_err(has_ended)
        })
        .await
    }

    async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        self.operations.snapshot(name.as_str())
    }

    async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        let name = name.to_string();
        self.run("deleting the snapshot", move |operations| operations.delete_snapshot(&name)).await
    }

    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        let (destination, volume) = (destination.clone(), volume.cloned());
        self.run("listing the backups", move |operations| {
            let zone = operations.convoy_form().zone;
            operations.destinations().at(&destination)?.list(&destination, volume.as_ref(), &zone)
        })
        .await
    }

    async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let url = url.clone();
        self.run("inspecting the backup", move |operations| {
            let destination = url.destination();
            let repository = operations.destinations().at(&destination)?;
            let zone = operations.convoy_form().zone;
            repository.inspect(&StoredUrl::of(&url, &destination)?, &zone)
        })
        .await
    }

    async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        let Some(destination) = urls.first().map(BackupUrl::destination) else {
            return Ok(Vec::new());
        };
        let is_there = |url: &&BackupUrl| url.destination().key() == destination.key();
        let urls: Vec<_> = urls.iter().take_while(is_there).cloned().collect();
        self.run("inspecting the backups", move |operations| {
            let repository = operations.destinations().at(&destination)?;
            let stored = urls.iter().map(|url| StoredUrl::of(url, &destination));
            let zone = operations.convoy_form().zone;
            repository.inspect_all(&stored.collect::<Result<Vec<_>>>()?, &zone)
        })
        .await
    }

    async fn read_back(
        &self,
        destination: &Destination,
        what: &ReadBack,
    ) -> Result<Option<WasReadBack>> {
        let (destination, what) = (destination.clone(), what.clone());
        self.run("reading backups back", move |operations| {
            operations.destinations().at(&destination)?.read_back(&what).map(Some)
        })
        .await
    }

    async fn look(&self, what: &Look) -> Result<Option<Seen>> {
        let what = what.clone();
        self.run("looking into a backup", move |operations| operations.look(&what).map(Some)).await
    }

    async fn content(&self, what: &ReadFile) -> Result<Option<Content>> {
        let what = what.clone();
        self.run("reading a backup", move |operations| operations.read_file(&what).map(Some)).await
    }

    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        let (snapshot, destination) = (snapshot.to_string(), destination.clone());
        self.run("making the backup", move |operations| {
            operations.create_backup(&snapshot, &destination).map_err(has_ended)
        })
        .await
    }

    async fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let (volumes, destination) = (volumes.to_vec(), destination.clone());
        let each = |made: Result<BackupUrl>| made.map_err(has_ended);
        self.run("backing up", move |operations| {
            let made = operations.back_up(&volumes, &destination).map_err(has_ended)?;
            Ok(made.into_iter().map(each).collect())
        })
        .await
    }

    async fn delete_backup(&self, url: &BackupUrl, required: &[BackupUrl]) -> Result<()> {
        let (url, required) = (url.clone(), required.to_vec());
        self.run("deleting the backup", move |operations| {
            let destination = url.destination();
            let repository = operations.destinations().at(&destination)?;
            let required = required.iter().map(|url| StoredUrl::of(url, &destination));
            let required = required.collect::<Result<Vec<_>>>()?;
            repository.delete(&StoredUrl::of(&url, &destination)?, &required)
        })
        .await
    }
}

#[async_trait]
impl Plugin for BuiltinDaemon {
    async fn mount_for(&self, name: &Name, user: &str) -> Result<Mount> {
        let (name, user) = (name.to_string(), user.to_owned());
        self.run("mounting the volume", move |operations| {
            operations.mount_volume(name, User::Docker(&user))
        })
        .await
    }

    async fn unmount_for(&self, name: &Name, user: &str) -> Result<()> {
        let (name, user) = (name.to_string(), user.to_owned());
        self.run("unmounting the volume", move |operations| {
            operations.unmount_for_docker(&name, &user)
        })
        .await
    }

    async fn remove_for_docker(&self, name: &Name) -> Result<()> {
        let name = name.to_string();
        self.run("forgetting the volume", move |operations| operations.remove_for_docker(&name))
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{clock::SystemClock, progress, s3::S3Options};

    #[test]
    fn mounts_wait_neither_for_snapshots_nor_listings_for_mounts_but_a_deleted_volume_is_not_mounted()
     {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let options = BuiltinOptions {
            root,
            password: None,
            s3: S3Options::default(),
            moment: None,
            hold: crate::daemon::HoldOptions::default(),
            excludes: crate::exclude::Excludes::default(),
            spool_most: 0,
            lock_wait: Duration::from_secs(60),
            folders: Vec::new(),
            docker: crate::daemon::DockerOptions::default(),
            host: "host1".into(),
            progress: progress::none(),
            clock: Arc::new(SystemClock),
        };
        let daemon = BuiltinDaemon::open(options).unwrap();
        let volumes = daemon.operations.volumes();
        let name = Name::volume("vol1").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let soon = |act: std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send + '_>>| {
            runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(60), act).await.expect("it waits")
            })
        };
        soon(Box::pin(async {
            daemon.create_volume(&NewVolume::named(name.clone())).await.map(drop)
        }))
        .unwrap();
        let during_a_snapshot = volumes.exclusively("vol1", || {
            soon(Box::pin(async { daemon.mount_volume(&name, None).await.map(drop) }))?;
            soon(Box::pin(daemon.unmount_volume(&name)))
        });
        during_a_snapshot.unwrap();

        let mut changing = volumes.change();
        soon(Box::pin(async { daemon.volumes().await.map(drop) })).unwrap();
        soon(Box::pin(async { daemon.volume(&name).await.map(drop) })).unwrap();
        changing.insert("vol1".into());
        drop(changing);
        let refused =
            soon(Box::pin(async { daemon.mount_volume(&name, None).await.map(drop) })).unwrap_err();
        assert_eq!(refused.message, "volume vol1 is being deleted");
    }
}
