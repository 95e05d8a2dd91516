//! A daemon in memory, for tests of the code above the trait. It behaves like Convoy's vfs driver, or
//! like its EBS driver ([`ebs`]), but inspecting a backup looks at its data, unless a test says
//! otherwise. A test can make any call fail, or make it succeed and then time out.

mod ebs;
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;

use super::inside::{Content, Look, ReadFile, Seen};
use super::{
    ApiTime, AsItIs, BACKUP_SIZE, Backup, BackupUrl, Capabilities, Changes, Daemon, Destination,
    DriverInfo, Extent, GivenBack, Info, MomentRecord, Mount, Name, NewVolume, ORIGIN, Origin,
    Plugin, Quiesced, ReadBack, SNAPSHOT_SIZE, Snapshot, VOLUME_ID, Volume, WasReadBack,
    guards::{KnownBackup, KnownBackups, KnownSources},
    refusal::required_is_missing,
};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
};

/// What lies at a destination: each backup with its URL.
pub(crate) type Stored = Arc<Mutex<Vec<(BackupUrl, Backup)>>>;

/// How a test makes a call go wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The call fails and changes nothing.
    Fails(Error),
    /// The call takes effect, but the caller gets a timeout.
    HappensThenTimesOut,
    /// The call takes effect, but the caller gets this error.
    HappensThenFails(Error),
    /// The caller gets success, but nothing changes.
    AnswersSuccessOnly,
    /// The call succeeds. The fault for a later call of the same kind comes after this one.
    None,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, Volume>,
    /// The snapshots of volumes that were only forgotten. The built-in daemon keeps them too.
    forgotten: BTreeMap<String, BTreeMap<String, Snapshot>>,
    /// The URLs of the backups that this daemon made, and their volumes as they were.
    made: Vec<(BackupUrl, Volume)>,
    /// The content of the destinations, which several hosts may share.
    stored: Stored,
    calls: Vec<String>,
    faults: HashMap<String, Vec<Fault>>,
    first_created: HashMap<String, String>,
    counter: u64,
    time: i64,
    /// Whether inspecting a backup does not look at its data, as with Convoy.
    inspects_descriptions_only: bool,
    /// So many files change while a backup is made.
    changing_files: u64,
    unreadable_files: u64,
    /// Whether volumes can be backed up without a snapshot, as with the built-in daemon.
    backs_up_volumes: bool,
    /// Whether the daemon keeps backups and deletions apart itself, as the built-in daemon.
    locks_destinations: bool,
    /// Tells the time in place of `time`.
    clock: Option<Arc<dyn Clock>>,
    /// Whether the daemon can't tell if volumes have changed. No volume here ever does.
    blind: bool,
    /// How much the volumes have, by name. Copies of other volumes tell nothing, as with Convoy.
    extents: BTreeMap<String, Extent>,
    /// Where the volumes' folders and the packed snapshots are, if they can be seen.
    folder: Option<std::path::PathBuf>,
    /// What Convoy's EBS driver knows, if the volumes are on EBS.
    ebs: Option<ebs::Ebs>,
}

/// The daemon in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryDaemon {
    state: Mutex<State>,
}

impl MemoryDaemon {
    /// An empty daemon. Its clock starts at 2026-01-01 and advances by a second with each write.
    pub(crate) fn new() -> Self {
        let daemon = Self::default();
        daemon.lock().time = 1_767_225_600;
        daemon
    }

    /// A daemon with these empty volumes.
    pub(crate) fn with_volumes(names: &[&str]) -> Self {
        let daemon = Self::new();
        for name in names {
            let volume = daemon.lock().new_volume(name);
            daemon.lock().volumes.insert((*name).into(), volume);
        }
        daemon
    }

    /// A daemon whose volumes are on EBS, as Convoy 0.5.2.
    pub(crate) fn ebs(names: &[&str]) -> Self {
        Self::with_volumes(names).on_ebs(true)
    }

    /// A daemon whose volumes are on EBS, as Convoy 0.5.0, which lists no backups there.
    pub(crate) fn ebs_without_lists(names: &[&str]) -> Self {
        Self::with_volumes(names).on_ebs(false)
    }

    fn on_ebs(self, lists: bool) -> Self {
        let daemon = self.with_driver(super::ebs::DRIVER);
        daemon.lock().ebs = Some(ebs::Ebs::new(lists));
        daemon
    }

    /// The ids of the EBS snapshots that Amazon still has, of existing and of deleted volumes.
    pub(crate) fn ebs_snapshots(&self) -> Vec<String> {
        self.lock().ebs.as_ref().unwrap().ids()
    }

    /// Makes Amazon refuse so many looks at a snapshot, which Convoy hides.
    pub(crate) fn refuse_looks_at_snapshots(&self, times: u32) {
        self.lock().ebs.as_mut().unwrap().refuse_looks(times);
    }

    /// Sets the state that Amazon tells of a snapshot: `pending`, `completed` or `error`.
    pub(crate) fn set_ebs_state(&self, id: &str, becomes: &str) {
        let mut state = self.lock();
        let State { ebs, volumes, .. } = &mut *state;
        ebs.as_mut().unwrap().set_state(volumes, id, becomes);
    }

    /// The same daemon with another driver for the volumes that it has.
    pub(crate) fn with_driver(self, driver: &str) -> Self {
        self.lock().volumes.values_mut().for_each(|volume| volume.driver = driver.into());
        self
    }

    /// Puts backups of a volume at a destination, which are in no list of snapshots.
    pub(crate) fn store_backups(&self, destination: &Destination, volume: &str, count: usize) {
        for number in 0..count {
            let name = Name::parse("backup", &format!("backup-{number:016x}")).unwrap();
            let url = BackupUrl::stored(destination, &name, &Name::volume(volume).unwrap());
            let fields = [
                ("BackupName", url.backup().to_owned()),
                ("BackupURL", url.to_string()),
                ("DriverName", "vfs".into()),
                ("SnapshotName", format!("by-hand-{number}")),
                ("VolumeName", volume.to_owned()),
            ];
            let fields = fields.map(|(name, value)| (name.to_owned(), value));
            self.lock().stored().push((url, Backup::new(fields.into())));
        }
    }

    /// The daemon of another host, with these volumes and the same destinations. Its clock
    /// continues from this daemon's.
    pub(crate) fn another_host(&self, names: &[&str]) -> Self {
        let other = Self::with_volumes(names);
        {
            let (this, mut state) = (self.lock(), other.lock());
            state.stored = Arc::clone(&this.stored);
            state.time = state.time.max(this.time);
            state.counter = 1 << 32;
        }
        other
    }

    /// An empty daemon of the host with this number, which goes by this clock.
    pub(crate) fn of_host(number: u64, clock: Arc<dyn Clock>) -> Self {
        let daemon = Self::new();
        daemon.lock().counter = number << 32;
        daemon.lock().clock = Some(clock);
        daemon
    }

    /// From now on, this is what lies at every destination.
    pub(crate) fn find_at_destinations(&self, stored: &Stored) {
        self.lock().stored = Arc::clone(stored);
    }

    /// From now on, the daemon can't tell whether volumes have changed.
    pub(crate) fn see_no_changes(&self) {
        self.lock().blind = true;
    }

    /// Sets the daemon's clock, forward or back.
    pub(crate) fn set_time(&self, time: jiff::Timestamp) {
        self.lock().time = time.as_second();
    }

    /// From now on, copies of this volume tell that it has this much, as the built-in daemon does.
    pub(crate) fn holds(&self, volume: &str, extent: Extent) {
        self.lock().extents.insert(volume.into(), extent);
    }

    /// From now on, the folders of volumes and the files of snapshots are in this folder, as with
    /// Convoy's vfs driver.
    pub(crate) fn keeps_files_in(&self, folder: &std::path::Path) {
        let mut state = self.lock();
        state.folder = Some(folder.to_owned());
        for (name, volume) in &mut state.volumes {
            let path = folder.join(name).display().to_string();
            volume.driver_info.get_or_insert_default().insert("Path".into(), path);
        }
    }

    /// Inspecting a backup no longer looks at its data, as with Convoy.
    pub(crate) fn inspect_descriptions_only(&self) {
        self.lock().inspects_descriptions_only = true;
    }

    /// From now on, so many files change while a backup is made.
    pub(crate) fn change_while_read(&self, files: u64) {
        self.lock().changing_files = files;
    }

    /// From now on, so many files can't be read.
    pub(crate) fn can_not_read(&self, files: u64) {
        self.lock().unreadable_files = files;
    }

    /// Backs up volumes without a snapshot that stays, and gives volumes ids, as the built-in daemon.
    pub(crate) fn back_up_volumes(&self) {
        let mut state = self.lock();
        state.backs_up_volumes = true;
        for volume in state.volumes.values_mut() {
            let id = format!("id-of-{}", volume.name);
            volume.driver_info.get_or_insert_default().insert(VOLUME_ID.to_owned(), id);
        }
    }

    /// Keeps backups and deletions apart, and ignores what a deletion requires, as the built-in daemon
    /// of version 0.1.0.
    pub(crate) fn lock_destinations_as_0_1_0(&self) {
        self.lock().locks_destinations = true;
    }

    /// Makes the next call of this kind (`create_backup`, `volumes`, ..) go wrong. Several faults
    /// of one kind queue up.
    pub(crate) fn fault(&self, call: &str, fault: Fault) {
        self.lock().faults.entry(call.into()).or_default().insert(0, fault);
    }

    /// Every call so far: its name and its arguments, such as `create_snapshot vol1 vol1-2026..`.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// The calls so far that change something.
    pub(crate) fn writes(&self) -> Vec<String> {
        const WRITES: [&str; 3] = ["create_", "delete_", "mount_"];
        self.calls()
            .into_iter()
            .filter(|call| WRITES.iter().any(|write| call.starts_with(write)))
            .collect()
    }

    /// Lists another entry like this backup's, with this URL.
    pub(crate) fn list_also(&self, like: &BackupUrl, url: &str) {
        let state = self.lock();
        let mut stored = state.stored();
        let real = stored.iter().find(|(there, _)| there.same_backup(like)).unwrap().1.clone();
        let mut fields = BTreeMap::from(real);
        fields.insert("BackupURL".to_owned(), url.to_owned());
        let listed = like.to_string().replace(like.backup(), "backup-listed");
        stored.push((BackupUrl::parse(&listed).unwrap(), Backup::new(fields)));
    }

    /// A backup that another member of the destination made to look like this one, but newer.
    pub(crate) fn forge(&self, like: &BackupUrl) -> BackupUrl {
        let state = self.lock();
        let mut stored = state.stored();
        let real = stored.iter().find(|(url, _)| url.same_backup(like)).unwrap().1.clone();
        let mut fields = BTreeMap::from(real);
        let mark = super::names::snapshot_mark(&fields["SnapshotName"]).unwrap();
        let time = super::names::snapshot_time(&fields["SnapshotName"]).unwrap();
        let later = (time + jiff::SignedDuration::from_millis(1)).strftime("%Y%m%dT%H%M%S.%6fZ");
        let snapshot = format!("vol1-{later}-{mark}");
        let url = like.to_string().replace(like.backup(), "backup-forged");
        fields.extend([
            ("BackupURL".to_owned(), url.clone()),
            ("BackupName".to_owned(), "backup-forged".to_owned()),
            ("SnapshotName".to_owned(), snapshot),
        ]);
        let url = BackupUrl::parse(&url).unwrap();
        stored.push((url.clone(), Backup::new(fields)));
        url
    }

    /// The names of all backups, oldest first.
    pub(crate) fn backup_names(&self) -> Vec<String> {
        self.lock().stored().iter().map(|(url, _)| url.backup().to_owned()).collect()
    }

    /// The names of a volume's snapshots.
    pub(crate) fn snapshot_names(&self, volume: &str) -> Vec<String> {
        let state = self.lock();
        state
            .volumes
            .get(volume)
            .and_then(|v| v.snapshots.as_ref())
            .map(|s| s.keys().cloned().collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn call<T>(
        &self,
        name: &str,
        what: &str,
        act: impl FnOnce(&mut State) -> Result<T>,
        empty: impl FnOnce() -> T,
    ) -> Result<T> {
        let mut state = self.lock();
        state.calls.push(format!("{name} {what}").trim_end().to_owned());
        match state.faults.get_mut(name).and_then(Vec::pop) {
            None | Some(Fault::None) => act(&mut state),
            Some(Fault::Fails(error)) => Err(error),
            Some(Fault::AnswersSuccessOnly) => Ok(empty()),
            Some(Fault::HappensThenFails(error)) => {
                act(&mut state)?;
                Err(error)
            }
            Some(Fault::HappensThenTimesOut) => {
                act(&mut state)?;
                Err(Error::new(ErrorKind::Timeout, "no answer").with_request(name))
            }
        }
    }
}

/// Convoy's refusal as the client reads it: the error is `NotFound` if the words say that something
/// is missing.
fn refused(message: impl Into<String>) -> Error {
    let message = message.into();
    let kind = if message.to_lowercase().contains("cannot find") {
        ErrorKind::NotFound
    } else {
        ErrorKind::Daemon
    };
    Error::new(kind, message).with_status(400)
}

impl State {
    fn stored(&self) -> MutexGuard<'_, Vec<(BackupUrl, Backup)>> {
        self.stored.lock().unwrap()
    }

    fn now(&mut self) -> ApiTime {
        self.time += 1;
        let time = jiff::Timestamp::from_second(self.time).unwrap();
        let now = self.clock.as_ref().map_or(time, |clock| clock.now());
        ApiTime::from_zoned(&now.to_zoned(jiff::tz::TimeZone::UTC))
    }

    fn new_volume(&mut self, name: &str) -> Volume {
        Volume {
            name: name.into(),
            driver: "vfs".into(),
            created_time: self.now(),
            driver_info: Some([("Size".to_owned(), "0".to_owned())].into()),
            snapshots: Some(BTreeMap::new()),
            ..Volume::default()
        }
    }

    fn volume(&mut self, name: &str) -> Result<&mut Volume> {
        self.volumes
            .get_mut(name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "Volume not found.").with_status(404))
    }

    fn snapshot(&self, name: &str) -> Result<Snapshot> {
        self.volumes
            .values()
            .find_map(|volume| {
                let snapshot = volume.snapshots.as_ref()?.get(name)?;
                Some(Snapshot { volume_name: volume.name.clone(), ..snapshot.clone() })
            })
            .ok_or_else(|| refused(format!("cannot find volume for snapshot {name}")))
    }
}

impl State {
    /// Makes a backup of this snapshot.
    fn make_backup(&mut self, snapshot: &Snapshot, destination: &Destination) -> Result<BackupUrl> {
        if let Some(id) = snapshot.driver_info.as_ref().and_then(|info| info.get("EBSSnapshotID")) {
            let url = BackupUrl::Ebs { region: "us-east-1".into(), snapshot: id.clone() };
            let volume = self.volume(&snapshot.volume_name)?.clone();
            self.made.push((url.clone(), volume));
            return Ok(url);
        }
        // Convoy keeps the creation time of the first volume with that name.
        let volume = self.volume(&snapshot.volume_name)?.clone();
        let created = volume.created_time.to_string();
        let first = self.first_created.entry(snapshot.volume_name.clone()).or_insert(created);
        let volume_created = first.clone();
        self.counter += 1;
        let name = format!("backup-{:016x}", self.counter);
        let url = BackupUrl::stored(
            destination,
            &Name::parse("backup", &name)?,
            &Name::volume(&snapshot.volume_name)?,
        );
        let fields = [
            ("BackupName", name),
            ("BackupURL", url.to_string()),
            ("CreatedTime", self.now().to_string()),
            ("DriverName", volume.driver.clone()),
            ("SnapshotCreatedAt", snapshot.created_time.to_string()),
            ("SnapshotName", snapshot.name.clone()),
            ("VolumeCreatedAt", volume_created),
            ("VolumeName", snapshot.volume_name.clone()),
        ];
        let id = volume.id().map(|id| (VOLUME_ID, id.to_owned()));
        let origin = id.as_ref().map(|_| (ORIGIN, Origin::Here.as_str().to_owned()));
        let fields = fields.into_iter().chain(id).chain(origin);
        let moment = MomentRecord {
            changed_files: self.changing_files,
            lacking_files: self.unreadable_files,
            ..MomentRecord::default()
        };
        let fields = fields.chain(moment.fields());
        let fields = fields.chain(snapshot.extent().fields(BACKUP_SIZE));
        let backup = Backup::new(fields.map(|(key, value)| (key.to_owned(), value)).collect());
        self.stored().push((url.clone(), backup));
        self.made.push((url.clone(), volume));
        Ok(url)
    }
}

/// A driver's description of a snapshot with so much.
fn snapshot_info(extent: &Extent) -> DriverInfo {
    let fields = extent.fields(SNAPSHOT_SIZE).into_iter();
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The answer of a daemon that made no backup and says that it did.
fn lost_backup(volume: &str, destination: &Destination) -> BackupUrl {
    let lost = Name::parse("backup", "backup-00lost").unwrap();
    BackupUrl::stored(destination, &lost, &Name::volume(volume).unwrap())
}

/// What a store would know whose runs did all that this daemon did.
impl KnownBackups for MemoryDaemon {
    fn of_volume(&self, _daemon: &str, volume: &str) -> Result<Vec<KnownBackup>> {
        let state = self.lock();
        let living = state.volumes.get(volume);
        let known = state.made.iter().filter(|(_, made_of)| made_of.name == volume);
        let known = known.map(|(url, made_of)| KnownBackup {
            url: url.to_string(),
            snapshot_time: None,
            proven: jiff::Timestamp::UNIX_EPOCH,
            made_here: true,
            restored: false,
            former: living.is_some_and(|living| living.created_time != made_of.created_time),
            verified: !state.inspects_descriptions_only,
            broken: None,
            doubt: None,
            files: None,
            bytes: None,
        });
        Ok(known.collect())
    }

    fn sources(&self, _daemon: &str) -> Result<KnownSources> {
        Ok(KnownSources::default())
    }
}

/// What a new data folder knows.
#[derive(Debug)]
pub(crate) struct NothingKnown;

impl KnownBackups for NothingKnown {
    fn of_volume(&self, _daemon: &str, _volume: &str) -> Result<Vec<KnownBackup>> {
        Ok(Vec::new())
    }

    fn sources(&self, _daemon: &str) -> Result<KnownSources> {
        Ok(KnownSources::default())
    }
}

#[async_trait]
impl Plugin for MemoryDaemon {
    async fn mount_for(&self, name: &Name, _user: &str) -> Result<Mount> {
        self.mount_volume(name, None).await
    }

    async fn unmount_for(&self, name: &Name, _user: &str) -> Result<()> {
        self.unmount_volume(name).await
    }

    async fn remove_for_docker(&self, name: &Name) -> Result<()> {
        self.delete_volume(name, None, true).await
    }
}

#[async_trait]
impl Daemon for MemoryDaemon {
    fn description(&self) -> String {
        "a daemon in memory".into()
    }

    fn identity(&self) -> String {
        self.description()
    }

    async fn capabilities(&self) -> Result<Capabilities> {
        let state = self.lock();
        Ok(Capabilities {
            inspects_data: !state.inspects_descriptions_only,
            backs_up_volumes: state.backs_up_volumes,
            holds_writers: true,
            locks_destinations: state.locks_destinations,
            ..Capabilities::CONVOY
        })
    }

    async fn is_used(&self, _destination: &Destination) -> Result<Option<bool>> {
        Ok(None)
    }

    async fn changes_since(&self, _volume: &Name, _backup: &BackupUrl) -> Result<Changes> {
        Ok(if self.lock().blind { Changes::Unknown } else { Changes::Unchanged })
    }

    async fn mounts_in_volume(&self, _volume: &Name) -> Result<Option<Vec<String>>> {
        Ok(None)
    }

    async fn forgotten_volumes(&self) -> Result<Option<BTreeMap<String, Volume>>> {
        Ok(None)
    }

    async fn info(&self) -> Result<Info> {
        let info = |ebs: bool| {
            let drivers = if ebs {
                r#""ebs":{"Region":"us-east-1"}"#
            } else {
                r#""vfs":{"Path":"/nowhere"}"#
            };
            serde_json::from_str(&format!(r#"{{"General":{{"DefaultDriver":"vfs"}},{drivers}}}"#))
                .unwrap()
        };
        self.call("info", "", |state| Ok(info(state.ebs.is_some())), || info(false))
    }

    async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        self.call("volumes", "", |state| Ok(state.volumes.clone()), BTreeMap::new)
    }

    async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        let act = |state: &mut State| {
            Ok(state
                .volumes
                .iter()
                .map(|(name, v)| (name.clone(), v.driver_info.clone().unwrap_or_default()))
                .collect())
        };
        self.call("driver_volumes", "", act, BTreeMap::new)
    }

    async fn volume(&self, name: &Name) -> Result<Volume> {
        self.call(
            "volume",
            name.as_str(),
            |state| state.volume(name.as_str()).cloned(),
            Volume::default,
        )
    }

    async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        let act = |state: &mut State| {
            if state.volumes.contains_key(new.name.as_str()) {
                return Err(refused(format!("Volume {} already exists ", new.name)));
            }
            if let Some(url) = &new.backup
                && !state.stored().iter().any(|(there, _)| there.same_backup(url))
                && state.ebs.as_ref().is_none_or(|ebs| ebs.inspect(url).is_err())
            {
                return Err(refused("cannot find the backup in objectstore"));
            }
            let mut volume = state.new_volume(new.name.as_str());
            // A volume that was only forgotten leaves its snapshots to the next volume of the same
            // name.
            volume.snapshots = state.forgotten.remove(new.name.as_str()).or(volume.snapshots);
            state.volumes.insert(new.name.to_string(), volume.clone());
            Ok(volume)
        };
        self.call("create_volume", new.name.as_str(), act, Volume::default)
    }

    async fn mount_volume(&self, name: &Name, _mount_point: Option<&str>) -> Result<Mount> {
        let mount = || Mount { name: name.to_string(), mount_point: format!("/nowhere/{name}") };
        self.call(
            "mount_volume",
            name.as_str(),
            |state| state.volume(name.as_str()).map(|_| mount()),
            mount,
        )
    }

    async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.call(
            "unmount_volume",
            name.as_str(),
            |state| state.volume(name.as_str()).map(|_| ()),
            || (),
        )
    }

    async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        let names: Vec<_> = volumes.iter().map(Name::as_str).collect();
        let held = || Quiesced { id: "1".into(), containers: vec!["db".into()] };
        let act = |state: &mut State| {
            names.iter().try_for_each(|name| state.volume(name).map(|_| ())).map(|()| held())
        };
        self.call("quiesce", &names.join(" "), act, held)
    }

    async fn give_back(&self, destination: &Destination) -> Result<Option<GivenBack>> {
        let given = || Some(GivenBack::default());
        self.call("give_back", &destination.to_string(), |_| Ok(given()), given)
    }

    async fn let_go_on(&self, id: &str) -> Result<()> {
        self.call("let_go_on", id, |_| Ok(()), || ())
    }

    async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        let act = |_: &mut State| {
            if container == "db" {
                Ok(())
            } else {
                Err(refused(format!("there is no container {container}")))
            }
        };
        self.call("run_in_container", &format!("{container} {command}"), act, || ())
    }

    async fn delete_volume(
        &self,
        name: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        let act = |state: &mut State| {
            let there = state.volume(name.as_str())?;
            if there.id().zip(id).is_some_and(|(has, id)| has != id) {
                return Err(super::refusal::is_another_volume(name.as_str()));
            }
            let volume = state.volumes.remove(name.as_str());
            let left = volume.and_then(|volume| volume.snapshots);
            // Convoy's EBS driver asks Amazon to delete the volume. Its snapshots stay there.
            if let Some(snapshots) = left.filter(|_| reference_only && state.ebs.is_none()) {
                state.forgotten.insert(name.to_string(), snapshots);
            }
            Ok(())
        };
        self.call("delete_volume", name.as_str(), act, || ())
    }

    async fn create_snapshot(&self, volume: &Name, name: &Name) -> Result<Snapshot> {
        let act = |state: &mut State| {
            if state.snapshot(name.as_str()).is_ok() || state.volumes.contains_key(name.as_str()) {
                return Err(refused(format!("Snapshot name {name} already exists")));
            }
            let created_time = state.now();
            let mut snapshot =
                Snapshot { name: name.to_string(), created_time, ..Snapshot::default() };
            snapshot.driver_info = state.extents.get(volume.as_str()).map(snapshot_info);
            if let Some(folder) = &state.folder {
                let packed = folder.join(format!("{name}.tar.gz"));
                std::fs::write(&packed, "packed").unwrap();
                let told = [("FilePath".to_owned(), packed.display().to_string())];
                snapshot.driver_info.get_or_insert_default().extend(told);
            }
            if let Some(ebs) = &mut state.ebs {
                ebs.take(volume.as_str(), &mut snapshot);
            }
            let volume = state.volume(volume.as_str())?;
            volume.snapshots.get_or_insert_default().insert(name.to_string(), snapshot.clone());
            Ok(Snapshot { volume_name: volume.name.clone(), ..snapshot })
        };
        self.call("create_snapshot", &format!("{volume} {name}"), act, Snapshot::default)
    }

    async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        let act = |state: &mut State| {
            let mut snapshot = state.snapshot(name.as_str())?;
            if let Some(ebs) = &mut state.ebs {
                ebs.look_at(&mut snapshot);
            }
            Ok(snapshot)
        };
        self.call("snapshot", name.as_str(), act, Snapshot::default)
    }

    async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        let act = |state: &mut State| {
            let volume = state.snapshot(name.as_str())?.volume_name;
            state.volume(&volume)?.snapshots.get_or_insert_default().remove(name.as_str());
            Ok(())
        };
        self.call("delete_snapshot", name.as_str(), act, || ())
    }

    async fn backups(
        &self,
        _destination: &Destination,
        volume: Option<&Name>,
    ) -> Result<Vec<Backup>> {
        let act = |state: &mut State| {
            if let Some(ebs) = &state.ebs {
                return ebs.list(&state.volumes, volume.map(Name::as_str));
            }
            let of_volume =
                |url: &BackupUrl| volume.is_none_or(|volume| url.volume() == Some(volume.as_str()));
            let all: Vec<_> = state
                .stored()
                .iter()
                .filter(|(url, _)| of_volume(url))
                .map(|(_, b)| b.clone())
                .collect();
            match volume {
                Some(volume) if all.is_empty() => {
                    Err(refused(format!("cannot find {volume}/volume.cfg in objectstore")))
                }
                _ => Ok(all),
            }
        };
        self.call("backups", volume.map_or("", Name::as_str), act, Vec::new)
    }

    async fn backup(&self, url: &BackupUrl) -> Result<Backup> {
        let act = |state: &mut State| {
            if let Some(ebs) = &state.ebs {
                return Ok(ebs.inspect(url)?.with_url(url));
            }
            let found = state
                .stored()
                .iter()
                .find(|(there, _)| there.same_backup(url))
                .map(|(_, backup)| backup.clone());
            found.ok_or_else(|| {
                refused(format!("cannot find backup_{}.cfg in objectstore", url.backup()))
            })
        };
        self.call("backup", url.backup(), act, || Backup::new(BTreeMap::new()))
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
        let act = |state: &mut State| {
            let snapshot = state.snapshot(snapshot.as_str())?;
            state.make_backup(&snapshot, destination)
        };
        let volume =
            self.lock().snapshot(snapshot.as_str()).map(|s| s.volume_name).unwrap_or_default();
        self.call("create_backup", snapshot.as_str(), act, || lost_backup(&volume, destination))
    }

    async fn back_up(
        &self,
        volumes: &[AsItIs],
        destination: &Destination,
    ) -> Result<Vec<Result<BackupUrl>>> {
        let act = |state: &mut State| {
            let mut back_up = |AsItIs { volume, snapshot }: &AsItIs| {
                state.volume(volume.as_str())?;
                let taken = Snapshot {
                    name: snapshot.to_string(),
                    volume_name: volume.to_string(),
                    created_time: state.now(),
                    driver_info: state.extents.get(volume.as_str()).map(snapshot_info),
                    ..Snapshot::default()
                };
                state.make_backup(&taken, destination)
            };
            Ok(volumes.iter().map(&mut back_up).collect())
        };
        let names: Vec<_> = volumes.iter().map(|of| of.volume.as_str()).collect();
        let lost = || names.iter().map(|volume| Ok(lost_backup(volume, destination))).collect();
        self.call("back_up", &names.join(" "), act, lost)
    }

    async fn delete_backup(&self, url: &BackupUrl, required: &[BackupUrl]) -> Result<()> {
        let act = |state: &mut State| {
            let is_there = |backup: &&BackupUrl| {
                state.stored().iter().any(|(there, _)| there.same_backup(backup))
            };
            let looks = !state.locks_destinations;
            if let Some(missing) = required.iter().find(|backup| looks && !is_there(backup)) {
                return Err(required_is_missing(missing));
            }
            if let Some(ebs) = &mut state.ebs {
                return ebs.delete(&mut state.volumes, url);
            }
            let before = state.stored().len();
            state.stored().retain(|(there, _)| !there.same_backup(url));
            if state.stored().len() == before {
                return Err(refused(format!(
                    "cannot find backup_{}.cfg in objectstore",
                    url.backup()
                )));
            }
            Ok(())
        };
        self.call("delete_backup", url.backup(), act, || ())
    }
}
