//! A daemon that reads and never writes (guard 9). Each write becomes a step of the plan. Later
//! reads of the same run see the effect of that step, so a script takes the same path as in a real
//! run.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use serde::Serialize;

use super::inside::{Content, Look, ReadFile, Seen};
use super::{
    ApiTime, AsItIs, Backup, BackupUrl, COMMANDS, Capabilities, Changes, Daemon, Destination,
    DriverInfo, GivenBack, HOLD, Info, MOMENT, Mount, Name, NewVolume, Quiesced, ReadBack,
    Snapshot, VOLUME_ID, Volume, WasReadBack, ebs, extent::BACKUP_SIZE, refusal,
    url::DestinationKind,
};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    sync::lock,
    units::format_size,
};

/// One step of the plan: a write that a real run would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Step {
    /// The daemon's operation, such as `delete_backup`.
    pub(crate) operation: &'static str,
    /// The operation in a person's words, such as `delete the backup "vfs:///.."`.
    pub(crate) text: String,
}

/// A daemon that passes reads on to the real daemon and turns writes into a plan.
#[derive(Debug)]
pub(crate) struct DryRun {
    daemon: Arc<dyn Daemon>,
    clock: Arc<dyn Clock>,
    pretended: Mutex<Pretended>,
}

/// The writes of this run so far, and their effects.
#[derive(Debug, Default)]
struct Pretended {
    steps: Vec<Step>,
    volumes: BTreeMap<String, Volume>,
    deleted_volumes: BTreeSet<String>,
    snapshots: BTreeMap<String, Snapshot>,
    deleted_snapshots: BTreeSet<String>,
    backups: Vec<(Destination, Backup)>,
    /// By [`key`].
    deleted_backups: HashSet<(String, Option<String>)>,
}

impl DryRun {
    /// A dry run over `daemon`.
    pub(crate) fn new(daemon: Arc<dyn Daemon>, clock: Arc<dyn Clock>) -> Self {
        Self { daemon, clock, pretended: Mutex::default() }
    }

    /// The steps so far, in order.
    pub(crate) fn plan(&self) -> Vec<Step> {
        self.pretended().steps.clone()
    }

    fn pretended(&self) -> MutexGuard<'_, Pretended> {
        lock(&self.pretended)
    }

    fn now(&self) -> ApiTime {
        ApiTime::from_zoned(&self.clock.now_local())
    }

    /// The volume as a real run would leave it: without the deleted snapshots, and with the new
    /// ones.
    fn as_it_would_be(&self, mut volume: Volume) -> Volume {
        let pretended = self.pretended();
        if let Some(snapshots) = &mut volume.snapshots {
            snapshots.retain(|name, _| !pretended.deleted_snapshots.contains(name));
            snapshots.values_mut().for_each(|snapshot| pretended.removed_at_ebs(snapshot));
            let taken = pretended
                .snapshots
                .iter()
                .filter(|(_, snapshot)| snapshot.volume_name == volume.name);
            snapshots.extend(taken.map(|(name, snapshot)| {
                (name.clone(), Snapshot { volume_name: String::new(), ..snapshot.clone() })
            }));
        }
        volume
    }
}

impl Pretended {
    fn step(&mut self, operation: &'static str, text: String) {
        log::info!("dry run: would {text}");
        self.steps.push(Step { operation, text });
    }

    /// Shows a snapshot on EBS as Convoy does once its backup was deleted.
    fn removed_at_ebs(&self, snapshot: &mut Snapshot) {
        let id = ebs::id_at_amazon(snapshot).map(str::to_owned);
        if id.is_some_and(|id| self.deleted_backups.contains(&(id, None))) {
            ebs::remove(snapshot);
        }
    }

    /// A backup that exists, or does not exist any more, in the plan only.
    fn backup(&self, url: &BackupUrl) -> Option<Result<Backup>> {
        if self.has_deleted_url(url) {
            return Some(Err(gone(url)));
        }
        let is_it = |backup: &Backup| backup.url().is_ok_and(|there| there.same_backup(url));
        self.backups.iter().map(|(_, backup)| backup).find(|backup| is_it(backup)).cloned().map(Ok)
    }

    fn has_deleted(&self, backup: &Backup) -> bool {
        backup.url().is_ok_and(|url| self.has_deleted_url(&url))
    }

    fn has_deleted_url(&self, url: &BackupUrl) -> bool {
        self.deleted_backups.contains(&key(url))
    }
}

/// What [`BackupUrl::same_backup`] compares.
fn key(url: &BackupUrl) -> (String, Option<String>) {
    (url.backup().to_owned(), url.volume().map(str::to_owned))
}

fn gone(url: &BackupUrl) -> Error {
    not_found(format!("cannot find {} in objectstore", url.backup()), 400)
}

impl DryRun {
    /// What is to be said of what writes to a volume, if it is held still while that is read.
    async fn held_meanwhile(&self, volume: &Name) -> Result<String> {
        let volume = self.volume(volume).await?;
        let is_live = volume.told(MOMENT).is_none_or(|moment| moment == "live");
        let meanwhile = if is_live { "while it is read" } else { "while its moment is taken" };
        let held = match volume.told(HOLD) {
            None => String::new(),
            Some("command") => format!(", and hold what writes to it still {meanwhile}"),
            Some(containers) => format!(", and {containers} {meanwhile}"),
        };
        let commands = volume.told(COMMANDS).map(|told| format!(", and {told}"));
        Ok(held + commands.as_deref().unwrap_or_default())
    }

    /// Notes a backup that would be made of a volume as it is now.
    async fn pretend_back_up(
        &self,
        volume: &Name,
        snapshot: &Name,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let snapshot = Snapshot {
            name: snapshot.to_string(),
            volume_name: volume.to_string(),
            created_time: self.now(),
            ..Snapshot::default()
        };
        let text = format!("back up \"{volume}\" to {destination}");
        let step = ("back_up", format!("{text}{}", self.held_meanwhile(volume).await?));
        self.pretend_backup(step, &snapshot, destination).await
    }

    /// Notes a backup that would be made.
    async fn pretend_backup(
        &self,
        (operation, text): (&'static str, String),
        snapshot: &Snapshot,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let volume = self.volume(&Name::volume(&snapshot.volume_name)?).await?;
        let mut pretended = self.pretended();
        let name = format!("backup-dryrun{:04}", pretended.backups.len() + 1);
        let url = match destination.kind() {
            DestinationKind::Ebs { region } => {
                BackupUrl::Ebs { region: region.clone(), snapshot: name.clone() }
            }
            _ => {
                let volume = Name::volume(&snapshot.volume_name)?;
                BackupUrl::stored(destination, &Name::parse("backup", &name)?, &volume)
            }
        };
        let fields = [
            ("BackupName", name),
            ("BackupURL", url.to_string()),
            ("CreatedTime", self.now().to_string()),
            ("SnapshotCreatedAt", snapshot.created_time.to_string()),
            ("SnapshotName", snapshot.name.clone()),
            ("VolumeName", snapshot.volume_name.clone()),
        ];
        let id = volume.id().map(|id| (VOLUME_ID, id.to_owned()));
        let fields = fields.into_iter().chain(id).chain(snapshot.extent().fields(BACKUP_SIZE));
        let fields = fields.map(|(key, value)| (key.to_owned(), value)).collect();
        pretended.step(operation, text);
        pretended.backups.push((destination.clone(), Backup::new(fields)));
        Ok(url)
    }
}

fn not_found(message: String, status: u16) -> Error {
    Error::new(ErrorKind::NotFound, message).with_status(status)
}

#[async_trait]
impl Daemon for DryRun {
    fn description(&self) -> String {
        self.daemon.description()
    }

    fn identity(&self) -> String {
        self.daemon.identity()
    }

    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>> {
        self.daemon.is_used(destination).await
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        // A dry run writes nothing: no lock is needed, and nothing that stays is looked for again.
        let capabilities = self.daemon.capabilities().await?;
        Ok(Capabilities { locks_destinations: true, keeps_required_backups: true, ..capabilities })
    }

    async fn changes_since(&self, volume: &Name, backup: &BackupUrl) -> Result<Changes> {
        let pretended = self.pretended().backup(backup);
        let Some(backup) = pretended else {
            return self.daemon.changes_since(volume, backup).await;
        };
        // What would be copied now would be the volume as it is.
        let is_of_now = match Name::snapshot(backup?.field("SnapshotName")) {
            Ok(snapshot) => match self.daemon.snapshot(&snapshot).await {
                Ok(_) => false,
                Err(error) => error.kind == ErrorKind::NotFound,
            },
            Err(_) => false,
        };
        Ok(if is_of_now { Changes::Unchanged } else { Changes::Unknown })
    }

    async fn mounts_in_volume(&self, volume: &Name) -> Result<Option<Vec<String>>> {
        // What was not made has no folder.
        if self.pretended().volumes.contains_key(volume.as_str()) {
            return Ok(Some(Vec::new()));
        }
        self.daemon.mounts_in_volume(volume).await
    }

    async fn info(&self) -> Result<Info> {
        self.daemon.info().await
    }

    async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        let real = self.daemon.volumes().await?;
        let mut volumes: BTreeMap<_, _> =
            real.into_iter().map(|(name, volume)| (name, self.as_it_would_be(volume))).collect();
        let made = self.pretended().volumes.clone();
        volumes.extend(made.into_iter().map(|(name, volume)| (name, self.as_it_would_be(volume))));
        volumes.retain(|name, _| !self.pretended().deleted_volumes.contains(name));
        Ok(volumes)
    }

    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        let mut volumes = self.daemon.driver_volumes().await?;
        let pretended = self.pretended();
        volumes.extend(
            pretended
                .volumes
                .iter()
                .map(|(name, v)| (name.clone(), v.driver_info.clone().unwrap_or_default())),
        );
        volumes.retain(|name, _| !pretended.deleted_volumes.contains(name));
        Ok(volumes)
    }

    async fn forgotten_volumes(&self) -> Result<Option<BTreeMap<String, Volume>>> {
        let mut volumes = self.daemon.forgotten_volumes().await?;
        let pretended = self.pretended();
        if let Some(volumes) = &mut volumes {
            volumes.retain(|name, _| {
                !pretended.deleted_volumes.contains(name) && !pretended.volumes.contains_key(name)
            });
        }
        Ok(volumes)
    }

    async fn volume(&self, name: &Name) -> Result<Volume> {
        let made = {
            let pretended = self.pretended();
            if pretended.deleted_volumes.contains(name.as_str()) {
                return Err(not_found("Volume not found.".into(), 404));
            }
            pretended.volumes.get(name.as_str()).cloned()
        };
        match made {
            Some(volume) => Ok(self.as_it_would_be(volume)),
            None => self.daemon.volume(name).await.map(|volume| self.as_it_would_be(volume)),
        }
    }

    async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        match self.volume(&new.name).await {
            Ok(_) => {
                let message = format!("Volume {} already exists", new.name);
                return Err(Error::new(ErrorKind::Daemon, message).with_status(400));
            }
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let driver = match &new.driver {
            Some(driver) => driver.clone(),
            None => self.info().await?.default_driver().unwrap_or_default().to_owned(),
        };
        let size = new.size.unwrap_or(0);
        let volume = Volume {
            name: new.name.to_string(),
            driver,
            created_time: self.now(),
            driver_info: Some([("Size".to_owned(), size.to_string())].into()),
            snapshots: Some(BTreeMap::new()),
            ..Volume::default()
        };
        let mut pretended = self.pretended();
        let text = match &new.backup {
            Some(url) => format!("restore \"{url}\" into the new volume \"{}\"", new.name),
            None if size > 0 => {
                format!("create the volume \"{}\" of {}", new.name, format_size(size))
            }
            None => format!("create the volume \"{}\"", new.name),
        };
        pretended.step("create_volume", text);
        pretended.deleted_volumes.remove(new.name.as_str());
        pretended.volumes.insert(new.name.to_string(), volume.clone());
        Ok(volume)
    }

    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        let volume = self.volume(name).await?;
        self.pretended().step("mount_volume", format!("mount the volume \"{name}\""));
        Ok(Mount {
            name: volume.name,
            mount_point: mount_point.unwrap_or(&volume.mount_point).to_owned(),
        })
    }

    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.volume(name).await?;
        self.pretended().step("unmount_volume", format!("unmount the volume \"{name}\""));
        Ok(())
    }

    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        let mut held = Vec::new();
        for name in volumes {
            let volume = self.volume(name).await?;
            let told = volume.told(HOLD).map(|told| format!(" ({told})")).unwrap_or_default();
            held.push(format!("\"{name}\"{told}"));
        }
        let text = format!("hold what writes to {} still", held.join(", "));
        self.pretended().step("quiesce", text);
        Ok(Quiesced { id: "dry run".into(), containers: Vec::new() })
    }

    async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>> {
        let text = format!("give back the space of what no backup at \"{destination}\" needs");
        self.pretended().step("give_back", text);
        Ok(None)
    }

    async fn let_go_on(&self, _: &str) -> Result<()> {
        self.pretended().step("let_go_on", "let what was held go on".into());
        Ok(())
    }

    async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        let text = format!("run \"{command}\" in the container \"{container}\"");
        self.pretended().step("run_in_container", text);
        Ok(())
    }

    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        let volume = match self.volume(name).await {
            Err(error) if error.kind == ErrorKind::NotFound && !reference_only => {
                let mut forgotten = self.forgotten_volumes().await?.unwrap_or_default();
                forgotten.remove(name.as_str()).ok_or(error)?
            }
            volume => volume?,
        };
        if volume.id().zip(id).is_some_and(|(has, id)| has != id) {
            return Err(refusal::is_another_volume(name.as_str()));
        }
        if !volume.mount_point.is_empty() {
            return Err(refusal::still_mounted(name.as_str()));
        }
        let mut pretended = self.pretended();
        let text = if reference_only {
            format!("make the daemon forget the volume \"{name}\", its files stay")
        } else {
            format!("delete the volume \"{name}\"")
        };
        pretended.step("delete_volume", text);
        pretended.volumes.remove(name.as_str());
        pretended.deleted_volumes.insert(name.to_string());
        Ok(())
    }

    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot> {
        let held = self.held_meanwhile(volume).await?;
        let snapshot = Snapshot {
            name: name.to_string(),
            volume_name: volume.to_string(),
            created_time: self.now(),
            driver_info: Some(BTreeMap::new()),
            ..Snapshot::default()
        };
        let mut pretended = self.pretended();
        let text = format!("take the snapshot \"{name}\" of \"{volume}\"{held}");
        pretended.step("create_snapshot", text);
        pretended.snapshots.insert(name.to_string(), snapshot.clone());
        Ok(snapshot)
    }

    async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        {
            let pretended = self.pretended();
            if pretended.deleted_snapshots.contains(name.as_str()) {
                return Err(not_found(format!("cannot find volume for snapshot {name}"), 400));
            }
            if let Some(snapshot) = pretended.snapshots.get(name.as_str()) {
                return Ok(snapshot.clone());
            }
        }
        let mut snapshot = self.daemon.snapshot(name).await?;
        self.pretended().removed_at_ebs(&mut snapshot);
        Ok(snapshot)
    }

    async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        self.snapshot(name).await?;
        let mut pretended = self.pretended();
        pretended.step("delete_snapshot", format!("delete the snapshot \"{name}\""));
        pretended.snapshots.remove(name.as_str());
        pretended.deleted_snapshots.insert(name.to_string());
        Ok(())
    }

    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        let made: Vec<Backup> = {
            let pretended = self.pretended();
            let of_this = |(there, backup): &&(Destination, Backup)| {
                there.key() == destination.key()
                    && volume.is_none_or(|volume| backup.volume() == volume.as_str())
            };
            pretended.backups.iter().filter(of_this).map(|(_, backup)| backup.clone()).collect()
        };
        let mut backups = match self.daemon.backups(destination, volume).await {
            Ok(backups) => backups,
            // The volume's first backup exists only in the plan, so the daemon knows no backup of
            // the volume.
            Err(error) if error.kind == ErrorKind::NotFound && !made.is_empty() => Vec::new(),
            Err(error) => return Err(error),
        };
        backups.extend(made);
        let pretended = self.pretended();
        backups.retain(|backup| !pretended.has_deleted(backup));
        Ok(backups)
    }

    async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let pretended = self.pretended().backup(url);
        match pretended {
            Some(backup) => backup,
            None => self.daemon.backup(url).await,
        }
    }

    async fn inspect_backups(&self, urls: &[BackupUrl]) -> Result<Vec<Result<Backup>>> {
        let Some(first) = urls.first() else { return Ok(Vec::new()) };
        if let Some(backup) = self.pretended().backup(first) {
            return Ok(vec![backup]);
        }
        let is_real = |url: &&BackupUrl| self.pretended().backup(url).is_none();
        let real: Vec<_> = urls.iter().take_while(is_real).cloned().collect();
        self.daemon.inspect_backups(&real).await
    }

    async fn read_back(
        &self,
        destination: &Destination,
        what: &ReadBack,
    ) -> Result<Option<WasReadBack>> {
        self.daemon.read_back(destination, what).await
    }

    async fn look(&self, what: &Look) -> Result<Option<Seen>> {
        self.daemon.look(what).await
    }

    async fn content(&self, what: &ReadFile) -> Result<Option<Content>> {
        self.daemon.content(what).await
    }

    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        let snapshot = self.snapshot(snapshot).await?;
        let step = (
            "create_backup",
            format!(
                "back up the snapshot \"{}\" of \"{}\" to {destination}",
                snapshot.name, snapshot.volume_name
            ),
        );
        self.pretend_backup(step, &snapshot, destination).await
    }

    async fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let mut made = Vec::new();
        for AsItIs { volume, snapshot } in volumes {
            made.push(self.pretend_back_up(volume, snapshot, destination).await);
        }
        Ok(made)
    }

    async fn delete_backup(&self, url: &BackupUrl, _required: &[BackupUrl]) -> Result<()> {
        let mut pretended = self.pretended();
        // The guards found it in a list. To inspect each one would take longer than to delete it.
        if pretended.has_deleted_url(url) {
            return Err(gone(url));
        }
        pretended.step("delete_backup", format!("delete the backup \"{url}\""));
        pretended.deleted_backups.insert(key(url));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, convoy::memory::MemoryDaemon};

    fn name(text: &str) -> Name {
        Name::volume(text).unwrap()
    }

    #[tokio::test]
    async fn a_dry_run_writes_nothing_and_believes_itself() {
        let below = Arc::new(MemoryDaemon::with_volumes(&["vol1"]));
        let destination = Destination::parse("vfs:///backups").unwrap();
        let dry = DryRun::new(below.clone(), Arc::new(SystemClock));

        dry.create_snapshot(&name("vol1"), &name("snap1")).await.unwrap();
        let url = dry.create_backup(&name("snap1"), &destination).await.unwrap();
        assert_eq!(dry.backup(&url).await.unwrap().volume(), "vol1");
        assert_eq!(dry.backups(&destination, Some(&name("vol1"))).await.unwrap().len(), 1);
        assert_eq!(dry.volume(&name("vol1")).await.unwrap().snapshots.unwrap().len(), 1);
        dry.delete_backup(&url, &[]).await.unwrap();
        assert!(dry.backup(&url).await.is_err());
        dry.delete_snapshot(&name("snap1")).await.unwrap();
        assert!(dry.snapshot(&name("snap1")).await.is_err());
        dry.delete_volume(&name("vol1"), None, false).await.unwrap();
        assert!(dry.volumes().await.unwrap().is_empty());
        dry.create_volume(&NewVolume::named(name("vol1"))).await.unwrap();
        assert_eq!(dry.volumes().await.unwrap().len(), 1);

        assert_eq!(below.writes(), Vec::<String>::new());
        let operations: Vec<_> = dry.plan().iter().map(|step| step.operation).collect();
        let expected = [
            "create_snapshot",
            "create_backup",
            "delete_backup",
            "delete_snapshot",
            "delete_volume",
            "create_volume",
        ];
        assert_eq!(operations, expected);
    }

    #[tokio::test]
    async fn a_dry_run_refuses_what_the_daemon_would_refuse() {
        let dry =
            DryRun::new(Arc::new(MemoryDaemon::with_volumes(&["vol1"])), Arc::new(SystemClock));
        assert!(dry.create_volume(&NewVolume::named(name("vol1"))).await.is_err());
        assert!(dry.delete_volume(&name("nope"), None, false).await.is_err());
        assert!(dry.delete_snapshot(&name("nope")).await.is_err());
        assert_eq!(dry.plan(), []);
    }
}
