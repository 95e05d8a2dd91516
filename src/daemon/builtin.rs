//! The daemon itself: the volumes, and what Convoy's API does with them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use jiff::{Timestamp, tz::TimeZone};
use rustic_core::Id;
use serde_json::json;

use super::{
    backups::{Destinations, StoredUrl},
    repository::{Access, S3Options},
    snapshots::LocalRepository,
    start::{self, staging},
    state::{SnapshotState, StateFolder, VolumeState, volume_id},
};
use crate::{
    blocking,
    clock::Clock,
    convoy::{
        ApiTime, Backup, BackupUrl, Capabilities, Daemon, Destination, DriverInfo, Info, Mount,
        Name, NewVolume, Snapshot, VOLUME_ID, Volume,
        refusal::{no_snapshot, no_volume, refused, volume_not_found},
    },
    error::{Error, ErrorKind, Result},
    files::{move_folder, remove_all, sync_folder, write_error},
    progress::Progress,
    sync::lock,
};

/// The one driver, named as the one of Convoy's that it stands for.
pub(crate) const DRIVER: &str = "vfs";

/// What a [`BuiltinDaemon`] is opened with.
#[derive(Clone)]
pub(crate) struct BuiltinOptions {
    /// The folder that holds everything; made where it is not there.
    pub(crate) root: PathBuf,
    /// The password of new repositories and of the destinations'; without one, backups are not
    /// encrypted.
    pub(crate) password: Option<String>,
    /// How S3 is reached.
    pub(crate) s3: S3Options,
    /// The host that backups are said to be of.
    pub(crate) host: String,
    /// Who hears of the progress of snapshots, backups and restores.
    pub(crate) progress: Arc<dyn Progress>,
    /// Where times come from.
    pub(crate) clock: Arc<dyn Clock>,
}

impl fmt::Debug for BuiltinOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "(secret)");
        f.debug_struct("BuiltinOptions")
            .field("root", &self.root)
            .field("password", &password)
            .field("s3", &self.s3)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// The built-in daemon. One process owns a root at a time, for as long as this lives.
pub(crate) struct BuiltinDaemon {
    inner: Arc<Inner>,
    #[cfg(test)]
    recovered: Vec<String>,
}

struct Inner {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    state: StateFolder,
    /// The volumes as they are on disk, forgotten ones too. Locked for moments only: listings wait
    /// for it.
    volumes: Mutex<BTreeMap<String, VolumeState>>,
    /// Held while a state changes on disk and then in `volumes`. In it: the volumes that are being
    /// deleted, which stay as they are.
    changing: Mutex<HashSet<String>>,
    /// One writing call at a time for each volume.
    busy: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// Names of snapshots that are being taken, and of volumes that are being made.
    reserved: Mutex<HashSet<String>>,
    local: LocalRepository,
    destinations: Destinations,
    /// Held for life.
    _lock: File,
}

impl fmt::Debug for BuiltinDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuiltinDaemon").field("root", &self.inner.root).finish_non_exhaustive()
    }
}

impl BuiltinDaemon {
    /// Opens a root, making it where it is not there, and cleans up what a crash left. No
    /// repository is opened before it is needed.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] where another process owns the root; [`ErrorKind::Io`] and
    /// [`ErrorKind::Configuration`] where its files can't be read or written.
    pub(crate) fn open(options: BuiltinOptions) -> Result<Self> {
        let make = |path: &Path, mode| {
            let made = fs::DirBuilder::new().mode(mode).recursive(true).create(path);
            made.map_err(|error| write_error(path, &error))
        };
        make(&options.root, 0o700)?;
        let root =
            options.root.canonicalize().map_err(|error| write_error(&options.root, &error))?;
        let own = own_root(&root)?;
        for folder in ["repository", "state"] {
            make(&root.join(folder), 0o700)?;
        }
        make(&root.join("volumes"), 0o755)?;
        make(&staging(&root), 0o700)?;
        let state = StateFolder(root.join("state"));
        let mut volumes = state.load()?;
        let access =
            Access { password: options.password, host: options.host, progress: options.progress };
        let local = LocalRepository::new(root.clone(), access.clone());
        let recovered = start::clean(&root, &state, &mut volumes, &local, &access.host)?;
        for sentence in &recovered {
            log::warn!("{sentence}");
        }
        let inner = Inner {
            local,
            destinations: Destinations::new(access, root.clone(), options.s3),
            root,
            clock: options.clock,
            state,
            volumes: Mutex::new(volumes),
            changing: Mutex::default(),
            busy: Mutex::default(),
            reserved: Mutex::default(),
            _lock: own,
        };
        Ok(Self {
            inner: Arc::new(inner),
            #[cfg(test)]
            recovered,
        })
    }

    /// What the start found unfinished and cleaned up, in plain sentences.
    #[cfg(test)]
    pub(crate) fn recovered(&self) -> &[String] {
        &self.recovered
    }

    /// The folder that holds everything.
    pub(crate) fn root(&self) -> &Path {
        &self.inner.root
    }

    /// The root's own repository, for tests that damage it.
    #[cfg(test)]
    pub(crate) fn local(&self) -> &LocalRepository {
        &self.inner.local
    }

    /// Runs what reads or writes files where it may take its time. It goes on when the caller gives
    /// up.
    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Inner) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = self.inner.clone();
        blocking::try_run(what, ErrorKind::Repository, move || act(&inner)).await
    }
}

/// Takes the lock of a root, and writes this process's id into it for whoever comes second.
fn own_root(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let opened =
        File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(|error| write_error(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            _ = file.read_to_string(&mut owner);
            let owner = if owner.trim().is_empty() {
                "another process".into()
            } else {
                format!("process {}", owner.trim())
            };
            return Err(Error::new(ErrorKind::Busy, format!("\"{}\" is in use by {owner}", root.display()))
                .with_hint("only one daemon works on a root at a time; name the same root to speak to the one that runs, or stop it"));
        }
        Err(TryLockError::Error(error)) => {
            return Err(Error::io(format!("cannot lock \"{}\"", path.display()), &error));
        }
    }
    let written =
        file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
    written.map_err(|error| write_error(&path, &error))?;
    Ok(file)
}

impl Inner {
    fn folder(&self, volume: &str) -> PathBuf {
        self.root.join("volumes").join(volume)
    }

    fn staging(&self, what: &str) -> PathBuf {
        staging(&self.root).join(format!("{what}-{}", &Id::random().to_hex().as_str()[..8]))
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    /// Holds off every other writing call on a volume.
    fn exclusively<T>(&self, volume: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let mutex = lock(&self.busy).entry(volume.to_owned()).or_default().clone();
        let _busy = lock(&mutex);
        act()
    }

    fn find(&self, volume: &str) -> Option<VolumeState> {
        lock(&self.volumes).get(volume).filter(|volume| !volume.forgotten).cloned()
    }

    /// Changes a volume's state, on disk first.
    fn update(&self, name: &str, change: impl FnOnce(&mut VolumeState)) -> Result<()> {
        let deleting = lock(&self.changing);
        let state = self.find(name).ok_or_else(|| no_volume(name))?;
        if deleting.contains(name) {
            return Err(refused(format!("volume {name} is being deleted")));
        }
        let mut changed = state.clone();
        change(&mut changed);
        if changed == state { Ok(()) } else { self.record(changed, &deleting) }
    }

    /// Takes over a volume's state, on disk first.
    fn record(
        &self,
        volume: VolumeState,
        _changing: &MutexGuard<'_, HashSet<String>>,
    ) -> Result<()> {
        self.state.save(&volume)?;
        lock(&self.volumes).insert(volume.name.clone(), volume);
        Ok(())
    }

    /// Keeps a name for what is being made, unless it is in use: volumes and snapshots share one
    /// set of names.
    fn reserve(&self, name: &str, in_use: impl Fn(&VolumeState) -> bool) -> bool {
        let volumes = lock(&self.volumes);
        !volumes.values().any(in_use) && lock(&self.reserved).insert(name.to_owned())
    }

    fn find_snapshot(&self, name: &str) -> Option<(VolumeState, SnapshotState)> {
        let volumes = lock(&self.volumes);
        let mut known = volumes.values().filter(|volume| !volume.forgotten);
        known.find_map(|volume| Some((volume.clone(), volume.snapshots.get(name)?.clone())))
    }

    fn driver_info(&self, volume: &VolumeState, zone: &TimeZone) -> DriverInfo {
        let path = self.folder(&volume.name).display().to_string();
        let fields = [
            ("Driver", DRIVER.to_owned()),
            ("MountPoint", if volume.mounted { path.clone() } else { String::new() }),
            ("Path", path),
            ("PrepareForVM", volume.prepare_for_vm.to_string()),
            ("Size", volume.size.to_string()),
            ("VolumeCreatedAt", api_time(volume.created, zone).to_string()),
            (VOLUME_ID, volume_id(volume.created)),
            ("VolumeName", volume.name.clone()),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn show(&self, volume: &VolumeState, zone: &TimeZone) -> Volume {
        let driver_info = self.driver_info(volume, zone);
        let snapshots = volume.snapshots.iter();
        Volume {
            name: volume.name.clone(),
            driver: DRIVER.into(),
            mount_point: driver_info["MountPoint"].clone(),
            created_time: ApiTime::parse(&driver_info["VolumeCreatedAt"]),
            driver_info: Some(driver_info),
            snapshots: Some(
                snapshots
                    .map(|(name, state)| {
                        (name.clone(), self.show_snapshot(volume, name, state, zone))
                    })
                    .collect(),
            ),
            ..Volume::default()
        }
    }

    /// A snapshot as a volume's listing has it.
    fn show_snapshot(
        &self,
        volume: &VolumeState,
        name: &str,
        state: &SnapshotState,
        zone: &TimeZone,
    ) -> Snapshot {
        let created = api_time(state.created, zone);
        let fields = [
            ("Driver", DRIVER.to_owned()),
            (
                "FilePath",
                self.local.folder().join("snapshots").join(&state.id).display().to_string(),
            ),
            ("SnapshotCreatedAt", created.to_string()),
            ("SnapshotName", name.to_owned()),
            ("VolumeUUID", volume.name.clone()),
        ];
        Snapshot {
            name: name.to_owned(),
            created_time: created,
            driver_info: Some(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ),
            ..Snapshot::default()
        }
    }

    fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        let name = new.name.as_str();
        if let Some(driver) =
            new.driver.as_deref().filter(|driver| !driver.is_empty() && *driver != DRIVER)
        {
            return Err(refused(format!("Cannot find driver {driver}"))
                .with_hint("the built-in daemon has one driver, vfs: leave --driver out"));
        }
        self.exclusively(name, || {
            if self.find(name).is_some() {
                return Err(refused(format!("Volume {name} already exists ")));
            }
            if !self.reserve(name, |state| state.snapshots.contains_key(name)) {
                return Err(refused(format!("{name} is the name of a snapshot"))
                    .with_hint("choose another name"));
            }
            let made = self.make_volume(new);
            lock(&self.reserved).remove(name);
            made
        })
    }

    fn make_volume(&self, new: &NewVolume) -> Result<Volume> {
        let name = new.name.as_str();
        // A volume of that name that was forgotten: its snapshots were not.
        let former = lock(&self.volumes).get(name).cloned();
        let mut volume = VolumeState {
            name: name.to_owned(),
            size: new.size.unwrap_or(0),
            created: self.clock.now(),
            mounted: false,
            prepare_for_vm: new.prepare_for_vm,
            restoring: None,
            forgotten: former.is_some(),
            snapshots: former.as_ref().map(|former| former.snapshots.clone()).unwrap_or_default(),
        };
        if let Some(url) = &new.backup {
            self.restore(&mut volume, url, new.size, former.as_ref())?;
        } else {
            let folder = self.folder(name);
            match fs::DirBuilder::new().mode(0o755).create(&folder) {
                // As Convoy's vfs driver: a folder that a volume left behind is taken over with its
                // files. It is the same volume then.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
                    volume.created = former.map_or(volume.created, |former| former.created);
                }
                made => made
                    .and_then(|()| sync_folder(&self.root.join("volumes")))
                    .map_err(|error| write_error(&folder, &error))?,
            }
        }
        volume.forgotten = false;
        let shown = self.show(&volume, &self.clock.time_zone());
        self.record(volume, &lock(&self.changing))?;
        Ok(shown)
    }

    /// Restores aside, and puts the folder in place only when it is whole and on disk.
    fn restore(
        &self,
        volume: &mut VolumeState,
        url: &BackupUrl,
        size: Option<u64>,
        former: Option<&VolumeState>,
    ) -> Result<()> {
        let folder = self.folder(&volume.name);
        if fs::symlink_metadata(&folder).is_ok() {
            return Err(refused(format!(
                "Volume {} can't be restored: its folder {} exists already",
                volume.name,
                folder.display()
            ))
            .with_hint(
                "restore to another name, or move the folder away; it may hold the files of a volume that was removed",
            ));
        }
        let destination = url.destination();
        let place = self.destinations.place(&destination)?;
        let staging = self.staging(&format!("restore-{}", volume.name));
        let made = fs::DirBuilder::new().mode(0o700).create(&staging);
        made.map_err(|error| write_error(&staging, &error))?;
        let restored =
            place.restore(&stored(url, &destination)?, &staging, &volume.name).and_then(|record| {
                if size.is_none_or(|size| size == 0) {
                    volume.size = record.volume_size;
                }
                let metadata = fs::symlink_metadata(&staging)
                    .map_err(|error| write_error(&staging, &error))?;
                volume.restoring = Some(metadata.ino());
                self.state.save(volume)?;
                move_folder(&staging, &folder)
                    .and_then(|()| sync_folder(&self.root.join("volumes")))
                    .map_err(|error| write_error(&folder, &error))
            });
        let finished = restored.and_then(|()| {
            let whole = VolumeState { restoring: None, forgotten: false, ..volume.clone() };
            self.state.save(&whole)?;
            *volume = whole;
            Ok(())
        });
        finished.inspect_err(|_| {
            // The state tells a start to undo the rest, should this fail too.
            let staged = volume
                .restoring
                .is_some_and(|inode| fs::symlink_metadata(&folder).is_ok_and(|m| m.ino() == inode));
            let removed = if staged { remove_all(&folder) } else { Ok(()) };
            if removed.and_then(|()| remove_all(&staging)).is_ok() {
                _ = match former {
                    Some(former) => self.state.save(former),
                    None => self.state.remove(&volume.name),
                };
            }
        })
    }

    fn delete_volume(&self, name: &str, reference_only: bool) -> Result<()> {
        self.exclusively(name, || {
            let volume = {
                // From here on nobody can mount it.
                let mut deleting = lock(&self.changing);
                let volume = self.find(name).ok_or_else(volume_not_found)?;
                if volume.mounted {
                    return Err(refused(format!(
                        "Cannot delete volume {name}. It is still mounted"
                    )));
                }
                deleting.insert(name.to_owned());
                volume
            };
            let deleted = if reference_only {
                self.record(VolumeState { forgotten: true, ..volume }, &lock(&self.changing))
            } else {
                self.remove_volume(volume)
            };
            lock(&self.changing).remove(name);
            deleted
        })
    }

    /// Removes a volume with its files and snapshots. The folder moves away first, then the state
    /// goes: a crash in between is finished by the next start. The other way round it would leave a
    /// folder that looks forgotten, and the next volume of that name would get the files that were
    /// to be deleted.
    fn remove_volume(&self, volume: VolumeState) -> Result<()> {
        let name = &volume.name;
        let (folder, removed) = (self.folder(name), self.staging(&format!("deleted-{name}")));
        let moved = match move_folder(&folder, &removed) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(not_moved(&folder, &error)),
        };
        let synced =
            sync_folder(&staging(&self.root)).map_err(|error| write_error(&removed, &error));
        let gone = synced.and_then(|()| {
            let _changing = lock(&self.changing);
            self.state.remove(name)?;
            lock(&self.volumes).remove(name);
            Ok(())
        });
        if let Err(error) = gone {
            // It is still listed, so it gets its files back; its state may have gone already.
            _ = self.state.save(&volume);
            if moved && let Err(error) = move_folder(&removed, &folder) {
                log::error!(
                    "volume {name} is without its files, which are in \"{}\" until the next start removes them: {error}",
                    removed.display()
                );
            }
            return Err(error);
        }
        let ids: Vec<_> = volume.snapshots.into_values().map(|snapshot| snapshot.id).collect();
        if let Err(error) = self.local.delete(&ids) {
            log::warn!("snapshots of deleted volume {name} stay until the next start: {error}");
        }
        remove_all(&removed).unwrap_or_else(|error| {
            log::warn!(
                "files of deleted volume {name} stay in \"{}\" until the next start: {error}",
                removed.display()
            );
        });
        Ok(())
    }

    fn create_snapshot(&self, volume: &str, name: &str) -> Result<Snapshot> {
        if !self.reserve(name, |state| state.name == name || state.snapshots.contains_key(name)) {
            return Err(refused(format!("Snapshot name {name} already exists")));
        }
        let taken = self.exclusively(volume, || {
            let state = self.find(volume).ok_or_else(|| no_volume(volume))?;
            let parent = state.snapshots.values().max_by_key(|snapshot| snapshot.created);
            let time = self.now().to_zoned(self.clock.time_zone());
            let snapshot = self.local.take(volume, name, parent, &time)?;
            let saved = self.update(volume, |state| {
                state.snapshots.insert(name.to_owned(), snapshot.clone());
            });
            if let Err(error) = saved {
                _ = self.local.delete(&[snapshot.id]);
                return Err(error);
            }
            Ok(Snapshot {
                volume_name: volume.to_owned(),
                ..self.show_snapshot(&state, name, &snapshot, &self.clock.time_zone())
            })
        });
        lock(&self.reserved).remove(name);
        taken
    }

    fn delete_snapshot(&self, name: &str) -> Result<()> {
        let (volume, _) = self.find_snapshot(name).ok_or_else(|| no_snapshot(name))?;
        self.exclusively(&volume.name, || {
            let (_, snapshot) = self.find_snapshot(name).ok_or_else(|| no_snapshot(name))?;
            self.update(&volume.name, |state| {
                state.snapshots.remove(name);
            })?;
            if let Err(error) = self.local.delete(&[snapshot.id]) {
                log::warn!(
                    "the data of deleted snapshot {name} stays until the next start: {error}"
                );
            }
            Ok(())
        })
    }

    fn create_backup(&self, name: &str, destination: &Destination) -> Result<BackupUrl> {
        let no_such = || refused(format!("Cannot find volume of snapshot {name}"));
        let (volume, _) = self.find_snapshot(name).ok_or_else(no_such)?;
        let place = self.destinations.place(destination)?;
        self.exclusively(&volume.name, || {
            let (volume, snapshot) = self.find_snapshot(name).ok_or_else(no_such)?;
            let backup = place.create(&self.local, &volume, (name, &snapshot), self.now())?;
            Ok(BackupUrl::stored(destination, &backup, &volume.name))
        })
    }
}

/// What kept a volume's folder from being moved away.
fn not_moved(folder: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
            Error::io(format!("cannot move \"{}\" away", folder.display()), error).with_hint(
                "it is a mount point: unmount it first, or make the daemon forget the volume, which leaves its files where they are",
            )
        }
        _ => write_error(folder, error),
    }
}

/// A time as the API writes it.
fn api_time(time: Timestamp, zone: &TimeZone) -> ApiTime {
    ApiTime::from_zoned(&time.to_zoned(zone.clone()))
}

/// The parts of a backup's URL.
fn stored<'a>(url: &'a BackupUrl, destination: &'a Destination) -> Result<StoredUrl<'a>> {
    match url {
        BackupUrl::Stored { backup, volume, .. } => Ok(StoredUrl { destination, backup, volume }),
        BackupUrl::Ebs { .. } => Err(refused("Driver ebs is not supported!")),
    }
}

#[async_trait]
impl Daemon for BuiltinDaemon {
    fn description(&self) -> String {
        format!("the built-in daemon at {}", self.inner.root.display())
    }

    async fn is_used(&self, destination: &Destination) -> Result<Option<bool>> {
        let destination = destination.clone();
        self.run("looking at the destination", move |inner| {
            inner.destinations.place(&destination)?.is_used().map(Some)
        })
        .await
    }

    fn identity(&self) -> String {
        self.description()
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        Ok(Capabilities { deletes_by_prefix: false, locks_destinations: true })
    }

    async fn info(&self) -> Result<Info> {
        let root = &self.inner.root;
        let general = json!({
            "Root": root,
            "DriverList": [DRIVER],
            "DefaultDriver": DRIVER,
            "MountNamespaceFD": "",
            "IgnoreDockerDelete": false,
            "CreateOnDockerMount": false,
            "CmdTimeout": "",
        });
        let driver = json!({
            "DefaultVolumeSize": "107374182400",
            "Path": root.join("volumes"),
            "Root": root.join("repository"),
        });
        serde_json::from_value(json!({ "General": general, DRIVER: driver }))
            .map_err(|error| Error::internal(error.to_string()))
    }

    async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        let (zone, volumes) = (self.inner.clock.time_zone(), lock(&self.inner.volumes));
        let known = volumes.iter().filter(|(_, volume)| !volume.forgotten);
        Ok(known.map(|(name, volume)| (name.clone(), self.inner.show(volume, &zone))).collect())
    }

    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        let (zone, volumes) = (self.inner.clock.time_zone(), lock(&self.inner.volumes));
        let known = volumes.iter().filter(|(_, volume)| !volume.forgotten);
        Ok(known
            .map(|(name, volume)| (name.clone(), self.inner.driver_info(volume, &zone)))
            .collect())
    }

    async fn volume(&self, name: &Name) -> Result<Volume> {
        let volume = self.inner.find(name.as_str()).ok_or_else(volume_not_found)?;
        Ok(self.inner.show(&volume, &self.inner.clock.time_zone()))
    }

    async fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        let volume = volume.clone();
        self.run("making the volume", move |inner| inner.create_volume(&volume)).await
    }

    async fn mount_volume(&self, name: &Name, mount_point: Option<&str>) -> Result<Mount> {
        if mount_point.is_some_and(|point| !point.is_empty()) {
            return Err(refused("VFS doesn't support specified mount point")
                .with_hint("leave the mount point out; the answer says where the files are"));
        }
        let name = name.to_string();
        self.run("mounting the volume", move |inner| {
            inner.update(&name, |volume| volume.mounted = true)?;
            Ok(Mount { mount_point: inner.folder(&name).display().to_string(), name })
        })
        .await
    }

    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        let name = name.to_string();
        self.run("unmounting the volume", move |inner| {
            inner.update(&name, |volume| volume.mounted = false)
        })
        .await
    }

    async fn delete_volume(&self, name: &Name, reference_only: bool) -> Result<()> {
        let name = name.to_string();
        self.run("deleting the volume", move |inner| inner.delete_volume(&name, reference_only))
            .await
    }

    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot> {
        let (volume, name) = (volume.to_string(), name.to_string());
        self.run("taking the snapshot", move |inner| inner.create_snapshot(&volume, &name)).await
    }

    async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        let inner = &self.inner;
        let (volume, state) =
            inner.find_snapshot(name.as_str()).ok_or_else(|| no_snapshot(name.as_str()))?;
        let zone = inner.clock.time_zone();
        Ok(Snapshot {
            volume_name: volume.name.clone(),
            volume_created_at: Some(api_time(volume.created, &zone)),
            ..inner.show_snapshot(&volume, name.as_str(), &state, &zone)
        })
    }

    async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        let name = name.to_string();
        self.run("deleting the snapshot", move |inner| inner.delete_snapshot(&name)).await
    }

    async fn backups(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        let (destination, volume) = (destination.clone(), volume.cloned());
        self.run("listing the backups", move |inner| {
            let place = inner.destinations.place(&destination)?;
            place.list(&destination, volume.as_ref(), &inner.clock.time_zone())
        })
        .await
    }

    async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let url = url.clone();
        self.run("inspecting the backup", move |inner| {
            let destination = url.destination();
            let place = inner.destinations.place(&destination)?;
            place.inspect(&stored(&url, &destination)?, &inner.clock.time_zone())
        })
        .await
    }

    async fn create_backup(&self, snapshot: &Name, destination: &Destination) -> Result<BackupUrl> {
        let (snapshot, destination) = (snapshot.to_string(), destination.clone());
        self.run("making the backup", move |inner| inner.create_backup(&snapshot, &destination))
            .await
    }

    async fn delete_backup(&self, url: &BackupUrl) -> Result<()> {
        let url = url.clone();
        self.run("deleting the backup", move |inner| {
            let destination = url.destination();
            inner.destinations.place(&destination)?.delete(&stored(&url, &destination)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{clock::SystemClock, progress};

    #[test]
    fn mounts_wait_neither_for_snapshots_nor_listings_for_mounts_but_a_deleted_volume_is_not_mounted()
     {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let options = BuiltinOptions {
            root,
            password: None,
            s3: S3Options::default(),
            host: "host1".into(),
            progress: progress::none(),
            clock: Arc::new(SystemClock),
        };
        let daemon = BuiltinDaemon::open(options).unwrap();
        let inner = daemon.inner.clone();
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
        let during_a_snapshot = inner.exclusively("vol1", || {
            soon(Box::pin(async { daemon.mount_volume(&name, None).await.map(drop) }))?;
            soon(Box::pin(daemon.unmount_volume(&name)))
        });
        during_a_snapshot.unwrap();

        let mut changing = lock(&inner.changing);
        soon(Box::pin(async { daemon.volumes().await.map(drop) })).unwrap();
        soon(Box::pin(async { daemon.volume(&name).await.map(drop) })).unwrap();
        changing.insert("vol1".into());
        drop(changing);
        let refused =
            soon(Box::pin(async { daemon.mount_volume(&name, None).await.map(drop) })).unwrap_err();
        assert_eq!(refused.message, "volume vol1 is being deleted");
    }

    #[test]
    fn a_folder_that_is_a_mount_point_is_called_that() {
        let busy = io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
        assert!(not_moved(Path::new("/v"), &busy).hint.unwrap().starts_with("it is a mount point"));
    }
}
