//! What Convoy's API does with volumes, snapshots and backups: one method per operation. The
//! methods read and write files, so they must run on threads that may block.

mod docker;
mod forgotten;
mod inside;
mod plugin;
mod quiesced;
mod view;

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    backups::{Destinations, StoredUrl, ToBackUp},
    convoy_form::ConvoyForm,
    driver::{Docker, DockerVolume, Driver as _, Drivers, Folders, answers, refuse_destination},
    format, found,
    gate::{Gate, Pass, Passing},
    identity::{Identity, new_id},
    moment::{Ask, Moments, Quiets},
    mounted::{Mounted, User},
    mounted_before,
    options::BuiltinOptions,
    reading::Reader,
    recovery::{self, OnDisk, removal, restore, snapshots},
    repository::{Access, SpoolPlace, remove_left},
    root::Root,
    seen::{Seen, see},
    snapshots::LocalRepository,
    state::{StateFolder, VolumeState},
    volumes::Volumes,
};
use crate::{
    clock::Clock,
    convoy::{
        AsItIs, BackupUrl, Changes, Destination, Mount, Name, NewVolume, Snapshot, Volume,
        refusal::{
            folder_stays, is_another_volume, makes_no_volumes, name_of_a_folder, no_snapshot,
            no_volume, refused, volume_not_found,
        },
    },
    engine::{Everything, is_anonymous_name},
    error::{Error, Result},
    exclude::Excludes,
    scope,
};

pub(super) use view::View;

/// The parts of the daemon.
pub(super) struct Operations {
    root: Root,
    drivers: Drivers,
    moments: Moments,
    /// What is held for clients.
    quiets: Quiets,
    gate: Arc<Gate>,
    lock_wait: Duration,
    clock: Arc<dyn Clock>,
    volumes: Volumes,
    local: LocalRepository,
    destinations: Destinations,
    excludes: Excludes,
    /// Whether backups are encrypted.
    is_encrypted: bool,
    /// The owner's lock of the root, held as long as the daemon lives.
    _lock: File,
    /// Held while Docker is asked for its volumes: one that hangs is waited for once.
    looking: Mutex<()>,
    /// What Docker told the start, and when, until it is asked again.
    at_the_start: Mutex<Option<(Instant, Arc<Everything>)>>,
}

impl Operations {
    /// Opens a root, creates it if it is missing, and repairs what the last owner left unfinished.
    /// The result has a sentence on each repair. A repository is opened only when it is needed.
    ///
    /// # Errors
    /// If another process owns the root, or if the root's files can't be read or written.
    pub(super) fn open(mut options: BuiltinOptions) -> Result<(Self, Vec<String>)> {
        let root = Root::make(&options.root)?;
        let owned = root.own()?;
        let policy = format::take_over(&root)?;
        if !options.docker.has_policy {
            options.docker.selection.policy = policy;
        }
        let asks_later = options.docker.asks_later;
        let drivers = Drivers::new(&root, options.folders, options.docker);
        let state = StateFolder(root.state());
        let mut volumes = state.load()?;
        mounted_before::take_over(&root, &state, &mut volumes);
        let access =
            Access { password: options.password, host: options.host, progress: options.progress };
        let local = LocalRepository::new(root.clone(), access.clone());
        let disk = OnDisk { root: &root, driver: &drivers.vfs, state: &state };
        let moments = Moments::new(&root, options.moment, options.clock.clone());
        let moments = moments.holding(options.hold);
        let mut sentences = moments.undo_left();
        sentences.extend(remove_left(&root.spool()));
        sentences.extend(recovery::clean(disk, &mut volumes, &local, &access.host));
        sentences.extend(found::take_up(&drivers, &state, &mut volumes, options.clock.now())?);
        let identity = Identity::of(&root, &mut sentences)?;
        let is_known = |volume: &&VolumeState| volume.driver == Docker::NAME && !volume.forgotten;
        let known = volumes.values().filter(is_known);
        drivers.folders.set_binds(found::binds(&volumes.values().cloned().collect::<Vec<_>>()));
        drivers.docker.remember(known.filter_map(DockerVolume::known).collect());
        let spool = SpoolPlace { folder: root.spool(), most: options.spool_most };
        let operations = Self {
            is_encrypted: access.password.is_some(),
            looking: Mutex::default(),
            at_the_start: Mutex::default(),
            drivers,
            moments,
            excludes: options.excludes,
            quiets: Quiets::default(),
            gate: Arc::default(),
            lock_wait: options.lock_wait,
            clock: options.clock,
            volumes: Volumes::new(state, volumes, options.lock_wait),
            local,
            destinations: Destinations::new(
                access,
                root.clone(),
                identity,
                (options.s3, spool),
                options.lock_wait,
            ),
            root,
            _lock: owned,
        };
        if !asks_later {
            sentences.extend(operations.look_at_the_start());
        }
        Ok((operations, sentences))
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    #[cfg(test)]
    pub(super) fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    pub(super) fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    #[cfg(test)]
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    #[cfg(test)]
    pub(super) fn local(&self) -> &LocalRepository {
        &self.local
    }

    /// All volumes by name, as `show` writes each.
    pub(super) fn listed<T>(
        &self,
        view: View,
        show: impl Fn(&ConvoyForm<'_>, &VolumeState, &Seen) -> T,
    ) -> Result<BTreeMap<String, T>> {
        let ask = self.look_for(view);
        let (form, mut volumes) = (self.convoy_form(), self.volumes.listed());
        volumes.retain(|volume| view.shows(volume));
        let seen = see(&self.drivers, &self.moments, &volumes, &ask);
        let all = volumes.iter().zip(&seen);
        Ok(all.map(|(volume, seen)| (volume.name.clone(), show(&form, volume, seen))).collect())
    }

    /// One volume.
    pub(super) fn volume(&self, view: View, name: &str) -> Result<Volume> {
        let ask = self.look_for(view);
        let volume = self.volumes.find(name).filter(|volume| view.shows(volume));
        let volume = volume.ok_or_else(volume_not_found)?;
        Ok(self.shown(&ask, &volume))
    }

    fn shown(&self, ask: &Ask, volume: &VolumeState) -> Volume {
        let volumes = std::slice::from_ref(volume);
        let seen = see(&self.drivers, &self.moments, volumes, ask);
        self.convoy_form().volume(volume, &seen[0])
    }

    /// The form in which Convoy writes the current state.
    pub(super) fn convoy_form(&self) -> ConvoyForm<'_> {
        ConvoyForm {
            root: &self.root,
            drivers: &self.drivers,
            zone: self.clock.time_zone(),
            is_encrypted: self.is_encrypted,
        }
    }

    fn disk(&self) -> OnDisk<'_> {
        OnDisk { root: &self.root, driver: &self.drivers.vfs, state: self.volumes.state() }
    }

    /// The current time for a snapshot or a backup, in whole seconds.
    fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_second(now.as_second()).unwrap_or(now)
    }

    pub(super) fn create_volume(&self, view: View, new: &NewVolume) -> Result<Volume> {
        let name = new.name.as_str();
        // A folder of the host is restored beside it.
        let is_restored = |driver: &str| new.backup.is_some() && driver == Folders::NAME;
        let vfs = self.drivers.vfs.name();
        let may_ask = view == View::Whole && self.drivers.docker.is_used();
        let docker = |driver: &str| driver == Docker::NAME && may_ask;
        let is_other = |driver: &&str| {
            !driver.is_empty() && *driver != vfs && !is_restored(driver) && !docker(driver)
        };
        if let Some(driver) = new.driver.as_deref().filter(is_other) {
            return Err(if driver == Folders::NAME {
                makes_no_volumes(driver, name)
            } else {
                refused(format!("Cannot find driver {driver}"))
                    .with_hint("the built-in daemon makes volumes with vfs: leave --driver out")
            });
        }
        self.volumes.exclusively(name, || {
            if may_ask && let Some(told) = self.finish_restore_of(name) {
                log::warn!("{told}");
            }
            match self.volumes.find_even_forgotten(name) {
                Some(gone) if gone.driver == Docker::NAME && gone.forgotten => {}
                Some(VolumeState { folder: Some(folder), .. }) => {
                    return Err(name_of_a_folder(name, &folder));
                }
                Some(there) if there.is_listed() => {
                    return Err(refused(format!("Volume {name} already exists ")));
                }
                _ => {}
            }
            let in_use = |volume: &VolumeState| volume.snapshots.contains_key(name);
            let Some(_reserved) = self.volumes.reserve(name, in_use) else {
                return Err(refused(format!("{name} is the name of a snapshot"))
                    .with_hint("choose another name"));
            };
            if may_ask && self.is_for_docker(new)? {
                return self
                    .make_docker_volume(new)
                    .map(|made| self.shown(&Ask::by(view == View::Whole), &made));
            }
            self.make_volume(view, new)
        })
    }

    fn make_volume(&self, view: View, new: &NewVolume) -> Result<Volume> {
        let name = new.name.as_str();
        // A forgotten volume of that name left its snapshots, and may have left its files.
        let mut former = self.volumes.find_even_forgotten(name);
        if former.as_ref().is_some_and(|former| former.restoring.is_some()) {
            return Err(restore::left_of_a_restore(self.disk(), name));
        }
        let aside = match &former {
            Some(former) if new.backup.is_some() || view == View::Plugin => {
                self.set_aside(former)?
            }
            _ => None,
        };
        if aside.is_some() {
            former = None;
        }
        let mut volume = VolumeState {
            name: name.to_owned(),
            driver: self.drivers.vfs.name().to_owned(),
            folder: None,
            mark: None,
            must_be_mounted: false,
            labels: BTreeMap::new(),
            asked_for: false,
            size: new.size.unwrap_or(0),
            saved_bytes: None,
            id: Some(new_id()),
            created: self.clock.now(),
            mounted: Mounted::default(),
            prepare_for_vm: new.prepare_for_vm,
            restoring: None,
            forgotten: former.is_some(),
            goes_with_docker: false,
            is_named: view != View::Plugin && is_anonymous_name(name),
            moved_from: None,
            snapshots: former.as_ref().map(|former| former.snapshots.clone()).unwrap_or_default(),
        };
        if let Some(url) = &new.backup {
            let restored = self.restore_backup(&mut volume, url, former.as_ref());
            restored.inspect_err(|_| self.bring_back(name, aside.as_deref()))?;
        } else if self.drivers.vfs.has_folder(name)? {
            // The files of the forgotten volume are still there, so this is the same volume again.
            if let Some(former) = former {
                (volume.id, volume.created) = (former.id, former.created);
                volume.saved_bytes = former.saved_bytes;
            }
        } else {
            volume.goes_with_docker = view == View::Plugin && is_anonymous_name(name);
            restore::create(self.disk(), &mut volume, former.as_ref())?;
        }
        volume.forgotten = false;
        let shown = self.shown(&Ask::by(view == View::Whole), &volume);
        self.volumes.insert(volume)?;
        Ok(shown)
    }

    fn restore_backup(
        &self,
        volume: &mut VolumeState,
        url: &BackupUrl,
        former: Option<&VolumeState>,
    ) -> Result<()> {
        restore::refuse_taken_folder(self.disk(), &volume.name)?;
        let destination = url.destination();
        let repository = self.destinations.at(&destination)?;
        restore::restore(self.disk(), volume, former, |folder, volume| {
            let url = StoredUrl::of(url, &destination)?;
            let record = repository.restore(&url, folder, &volume.name)?;
            // No size was asked for, so the volume gets the size in the backup's record.
            if volume.size == 0 {
                volume.size = record.volume_size;
            }
            Ok(())
        })
    }

    pub(super) fn mount_volume(&self, name: String, user: User<'_>) -> Result<Mount> {
        let volume = self.volumes.find(&name).ok_or_else(|| no_volume(&name))?;
        let driver = self.drivers.of(&volume.driver);
        // Docker may mount a volume of ours before its share is.
        if !volume.is_ours() {
            self.drivers.check(&volume)?;
        }
        self.volumes.update(&name, |volume| match user {
            User::Client => {
                volume.goes_with_docker = false;
                volume.mounted.add_client();
            }
            User::Docker(id) => volume.mounted.add_docker(id),
        })?;
        Ok(Mount { mount_point: driver.path(&name).display().to_string(), name })
    }

    pub(super) fn delete_volume(
        &self,
        name: &str,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        self.volumes.exclusively(name, || {
            let has = self.volumes.find_even_forgotten(name).map(|volume| volume.id());
            if has.zip(id).is_some_and(|(has, id)| has != id) {
                return Err(is_another_volume(name));
            }
            self.delete(name, reference_only)
        })
    }

    /// As [`Operations::delete_volume`], while no other call works on the volume's files.
    fn delete(&self, name: &str, reference_only: bool) -> Result<()> {
        let (volume, _deleting) = self.volumes.begin_deletion(name, reference_only)?;
        if volume.driver == Docker::NAME {
            return self.remove_docker_volume(volume, reference_only);
        }
        if let Some(folder) = &volume.folder {
            return Err(folder_stays(name, folder));
        }
        if reference_only {
            return self.volumes.insert(VolumeState { forgotten: true, ..volume });
        }
        answers(name, &self.drivers.vfs.path(name))?;
        removal::refuse_mounts(self.disk(), name)?;
        removal::remove(self.disk(), &self.volumes, &self.local, volume)
    }

    /// Whether a volume's files are still those of a backup. Unknown without that backup.
    pub(super) fn changes_since(&self, name: &str, url: &BackupUrl) -> Result<Changes> {
        let destination = url.destination();
        let repository = self.destinations.at(&destination)?;
        let _pass = self.pass(Passing::Reading)?;
        self.volumes.exclusively(name, || {
            let volume = self.volumes.find_removable(name).ok_or_else(volume_not_found)?;
            let url = StoredUrl::of(url, &destination)?;
            let folder = self.drivers.of(&volume.driver).path(name);
            answers(name, &folder)?;
            let excludes = self.excludes.of_volume(&volume.name, &volume.labels)?;
            repository.changes_since(&url, &volume, (&folder, excludes.as_deref()))
        })
    }

    /// Waits until volumes may be read, or held for a client. What is read inside of a hold has not to.
    fn pass(&self, passing: Passing) -> Result<Option<Pass>> {
        if self.moments.is_in_a_hold() {
            return Ok(None);
        }
        let wait = scope::lock_wait().unwrap_or(self.lock_wait);
        self.gate.pass(passing, wait).map(Some)
    }

    /// What is needed to read volumes.
    fn reader(&self) -> Reader<'_> {
        Reader { drivers: &self.drivers, moments: &self.moments, excludes: &self.excludes }
    }

    /// The mount points at a volume's folder and below it.
    pub(super) fn mounts_in_volume(&self, name: &str) -> Result<Vec<String>> {
        let volume = self.volumes.find_removable(name).ok_or_else(volume_not_found)?;
        let folder = self.drivers.of(&volume.driver).path(name);
        answers(name, &folder)?;
        removal::mounts(&folder)
    }

    pub(super) fn create_snapshot(&self, volume: &str, name: &str) -> Result<Snapshot> {
        let in_use = |state: &VolumeState| state.name == name || state.snapshots.contains_key(name);
        let Some(_reserved) = self.volumes.reserve(name, in_use) else {
            return Err(refused(format!("Snapshot name {name} already exists")));
        };
        self.is_saved(volume)?;
        let _pass = self.pass(Passing::Reading)?;
        let now = || self.now().to_zoned(self.clock.time_zone());
        let reader = self.reader();
        let (volume, snapshot) =
            snapshots::create(&self.volumes, &self.local, reader, (volume, name), now)?;
        Ok(self.convoy_form().new_snapshot(&volume, name, &snapshot))
    }

    pub(super) fn snapshot(&self, name: &str) -> Result<Snapshot> {
        let (volume, snapshot) =
            self.volumes.find_snapshot(name).ok_or_else(|| no_snapshot(name))?;
        Ok(self.convoy_form().snapshot(&volume, name, &snapshot))
    }

    pub(super) fn delete_snapshot(&self, name: &str) -> Result<()> {
        snapshots::delete(&self.volumes, &self.local, name)
    }

    pub(super) fn create_backup(
        &self,
        snapshot: &str,
        destination: &Destination,
    ) -> Result<BackupUrl> {
        let no_such = || refused(format!("Cannot find volume of snapshot {snapshot}"));
        let (volume, _) = self.volumes.find_snapshot(snapshot).ok_or_else(no_such)?;
        let repository = self.destinations.at(destination)?;
        let _pass = self.pass(Passing::Reading)?;
        self.volumes.exclusively(&volume.name, || {
            let (volume, state) = self.volumes.find_snapshot(snapshot).ok_or_else(no_such)?;
            repository.refuse_writing()?;
            self.refuse_destination_in(&volume, destination)?;
            let backup = repository.create(&self.local, &volume, (snapshot, &state), self.now())?;
            Ok(BackupUrl::stored(destination, &backup, &Name::volume(&volume.name)?))
        })
    }

    /// Backs up volumes as they are now, each as a snapshot that does not stay. One that fails does not
    /// stop the others.
    pub(super) fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let reserve = |AsItIs { snapshot, .. }: &AsItIs| {
            let name = snapshot.as_str();
            let in_use =
                |state: &VolumeState| state.name == name || state.snapshots.contains_key(name);
            let taken = || refused(format!("Snapshot name {name} already exists"));
            self.volumes.reserve(name, in_use).ok_or_else(taken)
        };
        let _reserved = volumes.iter().map(reserve).collect::<Result<Vec<_>>>()?;
        let repository = self.destinations.at(destination)?;
        let names: Vec<_> = volumes.iter().map(|of| of.volume.as_str()).collect();
        let _pass = self.pass(Passing::Reading)?;
        self.volumes.all_exclusively(&names, || {
            let to_back_up = |AsItIs { volume, snapshot }: &AsItIs| {
                let (name, snapshot) = (volume.as_str(), snapshot.clone());
                self.is_saved(name)?;
                let volume = self.volumes.find(name).ok_or_else(|| no_volume(name))?;
                self.refuse_destination_in(&volume, destination)?;
                Ok(ToBackUp { volume, snapshot })
            };
            let found: Vec<Result<ToBackUp>> = volumes.iter().map(to_back_up).collect();
            let mut results: Vec<_> =
                found.iter().map(|found| found.as_ref().err().cloned().map(Err)).collect();
            let found: Vec<_> = found.into_iter().flatten().collect();
            let reader = self.reader();
            let made = match found.as_slice() {
                // Nothing is made at the destination.
                [] => Vec::new(),
                found => repository.back_up(found, reader, || self.now())?,
            };
            let mut made = made.into_iter();
            for (of, result) in volumes.iter().zip(&mut results) {
                if result.is_none() {
                    let backed_up = made.next().unwrap_or_else(|| Err(Error::internal("lost")));
                    *result = Some(backed_up.map(|made| {
                        self.remember_size(&of.volume, made.bytes);
                        BackupUrl::stored(destination, &made.backup, &of.volume)
                    }));
                }
            }
            Ok(results.into_iter().flatten().collect())
        })
    }

    /// Remembers the size of a volume's files.
    fn remember_size(&self, volume: &Name, bytes: u64) {
        let saved = self.volumes.update(volume.as_str(), |now| now.saved_bytes = Some(bytes));
        saved.unwrap_or_else(|error| log::debug!("the size is not remembered: {error}"));
    }

    /// Refuses a destination that is in the volume, or around it.
    fn refuse_destination_in(&self, volume: &VolumeState, destination: &Destination) -> Result<()> {
        let folder = self.drivers.of(&volume.driver).path(&volume.name);
        let Some(destination) = destination.folder() else { return Ok(()) };
        answers(&volume.name, &folder)?;
        refuse_destination(&folder, destination)
    }
}
