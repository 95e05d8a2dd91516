//! The guards: what every call of a script passes through on its way to the daemon, so that no
//! script can get around them.
//!
//! 1. A backup counts once it has been inspected or listed back (EBS: state `completed`); only then
//!    may anything older go.
//! 2. A volume's newest good backup is never deleted unless that one call says so; the backups of
//!    another volume of the same name, on another host perhaps, are no measure of it.
//! 3. Absence is no evidence: a listing that fails, or that lacks the backup just made, stops every
//!    deletion of the run.
//! 4. On one destination, backup and delete never overlap, in one process or in several, also where
//!    the daemon goes on with a backup whose client has gone ([`unfinished`]).
//! 5. A volume's last backup on S3 is not deleted where another backed-up volume's name begins with
//!    this one's.
//! 6. A restore goes to a name that nothing uses.
//! 7. Snapshot names never repeat and sort by time.
//! 8. A timeout on a write is followed by a look at what happened, not by the same write again.
//! 9. A dry run writes nothing: then the daemon below is a [`super::dry_run::DryRun`], and no lock
//!    is taken.
//!
//! [`backups`] holds what concerns backups, [`volumes`] what concerns volumes and snapshots,
//! [`belonging`] which backups are whose, [`snapshot_names`] the names, [`observations`] what is
//! remembered of it all after the run.

mod backups;
mod belonging;
mod destinations;
mod observations;
mod snapshot_names;
#[cfg(test)]
mod tests;
mod unfinished;
mod volumes;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{BackupUrl, Daemon, Destination, DriverInfo, Info, Mount, Name, Volume};
use crate::{
    clock::Clock,
    error::{Error, ErrorKind, Result},
    locks::{Lock, Locks, Sharing},
    sync::lock,
};
pub(crate) use observations::Observation;

/// The lock file in a `vfs://` destination that Convoy writes to.
const DESTINATION_LOCK: &str = ".convoy-backups.lock";
/// Hosts that share a destination may each come as another user, and an exclusive lock on NFS wants
/// to write.
const DESTINATION_LOCK_MODE: u32 = 0o666;

/// The guarded daemon of one run. All of a run's calls go through the same one, for it remembers
/// what the run has seen.
#[derive(Debug)]
pub(crate) struct Guards {
    daemon: Arc<dyn Daemon>,
    /// None in a dry run, which writes nothing, not even a lock file.
    locks: Option<Locks>,
    /// Where it is remembered at which destinations good backups were seen.
    marks: Option<PathBuf>,
    /// Whoever asks said that it would only read.
    read_only: bool,
    clock: Arc<dyn Clock>,
    /// How often a backup that is still being completed (EBS) is looked at.
    look_every: Duration,
    seen: Mutex<Seen>,
}

/// What the run has seen so far.
#[derive(Debug, Default)]
struct Seen {
    /// Why no deletion may happen any more in this run.
    stopped: Option<String>,
    /// Volumes, each with a destination's key, of which a backup was tried in this run without
    /// being proven good, and why not.
    unproven: BTreeMap<(String, String), String>,
    /// Backups made in this run, proven good and not deleted since, and where each is.
    made: Vec<(Destination, BackupUrl)>,
    /// The region of the daemon's EBS driver, where it has one; `None` as long as nobody asked.
    ebs_region: Option<Option<String>>,
    /// Backups that were inspected in this run and found good.
    good: Vec<BackupUrl>,
    /// What happened, for the record.
    observed: Vec<Observation>,
    /// Backups that were seen to be a volume's own, by a snapshot that this run may have deleted
    /// since.
    own: Vec<BackupUrl>,
}

impl Guards {
    /// Guards over this daemon; without `locks` where it is a dry run.
    pub(crate) fn new(
        daemon: Arc<dyn Daemon>,
        locks: Option<Locks>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let marks = locks.as_ref().map(|locks| locks.folder().to_owned());
        Self {
            daemon,
            locks,
            marks,
            read_only: false,
            clock,
            look_every: Duration::from_secs(10),
            seen: Mutex::default(),
        }
    }

    /// Guards that only read: every write is refused before the daemon hears of it, also in a dry
    /// run.
    pub(crate) fn read_only(daemon: Arc<dyn Daemon>, clock: Arc<dyn Clock>) -> Self {
        Self { read_only: true, ..Self::new(daemon, None, clock) }
    }

    /// The same, who also miss the backups that were seen at a destination, by the marks beside the
    /// locks in this folder.
    pub(crate) fn expecting_known_backups(self, lock_folder: &Path) -> Self {
        Self { marks: Some(lock_folder.to_owned()), ..self }
    }

    /// Refuses a write where only reading was agreed on; every method that writes asks first.
    fn may_write(&self, what: &str) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Script, format!("a script that only reads can't {what}"))
            .with_hint(
                "take \"const READ_ONLY = true;\" out of the script, or the call; nothing was done",
            ))
    }

    /// Which daemon this is, whichever way it is reached.
    pub(crate) fn identity(&self) -> String {
        self.daemon.identity()
    }

    /// The daemon's settings.
    ///
    /// # Errors
    /// As [`Daemon::info`].
    pub(crate) async fn info(&self) -> Result<Info> {
        self.daemon.info().await
    }

    /// All volumes by name. An empty list that the drivers contradict is an error, not an answer.
    ///
    /// # Errors
    /// As [`Daemon::volumes`]; after one, the run deletes nothing more.
    pub(crate) async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        let volumes = match self.daemon.volumes().await {
            Ok(volumes) => volumes,
            Err(error) => return Err(self.stop_on(error, "the list of volumes failed")),
        };
        if volumes.is_empty() {
            // Convoy answers `{}` where its driver failed: ask the driver itself.
            match self.daemon.driver_volumes().await {
                Ok(drivers) if drivers.is_empty() => {}
                Ok(drivers) => {
                    let error = Error::new(
                        ErrorKind::Protocol,
                        format!(
                            "the daemon lists no volumes, while its driver has {}",
                            drivers.len()
                        ),
                    );
                    return Err(self.stop_on(
                        error.with_hint("look into the daemon's log"),
                        "the list of volumes is wrong",
                    ));
                }
                Err(error) => {
                    return Err(
                        self.stop_on(error, "the list of volumes is empty and its driver fails")
                    );
                }
            }
        }
        self.observe_volumes(&volumes);
        Ok(volumes)
    }

    /// The drivers' own view of their volumes, by name.
    ///
    /// # Errors
    /// As [`Daemon::driver_volumes`].
    pub(crate) async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        self.daemon.driver_volumes().await
    }

    /// One volume.
    ///
    /// # Errors
    /// As [`Daemon::volume`].
    pub(crate) async fn volume(&self, name: &Name) -> Result<Volume> {
        self.daemon.volume(name).await.map_err(|error| explain_missing_volume(error, name))
    }

    /// Mounts a volume.
    ///
    /// # Errors
    /// As [`Daemon::mount_volume`].
    pub(crate) async fn mount_volume(
        &self,
        name: &Name,
        mount_point: Option<&str>,
    ) -> Result<Mount> {
        self.may_write("mount a volume")?;
        let _volume = self.lock_volume(name.as_str(), Sharing::Shared).await?;
        self.daemon.mount_volume(name, mount_point).await
    }

    /// Unmounts a volume.
    ///
    /// # Errors
    /// As [`Daemon::unmount_volume`].
    pub(crate) async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.may_write("unmount a volume")?;
        let _volume = self.lock_volume(name.as_str(), Sharing::Shared).await?;
        self.daemon.unmount_volume(name).await
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Stops every deletion of this run from here on.
    fn stop(&self, why: impl Into<String>) {
        let why = why.into();
        let mut seen = self.seen();
        if seen.stopped.is_none() {
            log::info!("nothing more is deleted in this run: {why}");
            seen.stopped = Some(why);
        }
    }

    /// The same, because of this error, which is handed back.
    fn stop_on(&self, error: Error, what: &str) -> Error {
        // A request that never reached the daemon because the run ends is no word of the daemon's.
        if !error.ends_the_run() {
            self.stop(format!("{what}: {error}"));
        }
        error
    }

    /// Whether anything of this volume may be deleted in this run.
    fn may_delete(&self, what: &str, volume: Option<&str>) -> Result<()> {
        let seen = self.seen();
        let of_volume =
            |(key, _): &(&(String, String), &String)| volume.is_some_and(|volume| key.0 == volume);
        let why = match (&seen.stopped, seen.unproven.iter().find(of_volume).map(|(_, why)| why)) {
            (Some(why), _) => why.clone(),
            (None, Some(why)) => {
                format!(
                    "the backup of \"{}\" in this run did not prove good: {why}",
                    volume.unwrap_or_default()
                )
            }
            (None, None) => return Ok(()),
        };
        Err(Error::guard(format!("{what} is not deleted: {why}"))
            .with_hint("mend that first, then run this again"))
    }

    /// The locks under which backups (shared) and deletions (exclusive) happen at a destination:
    /// this host's, and where the destination is a folder that can be written from here, one in it,
    /// against other hosts and other data folders.
    async fn lock_destination(
        &self,
        destination: &Destination,
        sharing: Sharing,
    ) -> Result<[Option<Lock>; 2]> {
        let here = self.lock(&destination.key(), sharing).await?;
        let Some(locks) = self.needed_locks().await? else { return Ok([here, None]) };
        // Only beside backups: a folder that is missing, or wrong, is for the daemon to refuse.
        let Some(folder) =
            destination.folder().filter(|folder| folder.join("convoy-objectstore").is_dir())
        else {
            return Ok([here, None]);
        };
        let path = folder.join(DESTINATION_LOCK);
        match locks.acquire_file(&destination.key(), &path, DESTINATION_LOCK_MODE, sharing).await {
            Ok(Some(there)) => Ok([here, Some(there)]),
            Ok(None) => {
                log::debug!("backups and deletions of other hosts are not kept away from \"{destination}\"");
                Ok([here, None])
            }
            // Who may not write where the daemon writes makes no lock there; that must not stop a
            // backup. A deletion it must, and where there is a lock that others use, a backup as
            // well.
            Err(error) if error.kind == ErrorKind::Io && sharing == Sharing::Shared => {
                log::warn!("backing up while other hosts' deletions are not kept away from \"{destination}\": {error}");
                Ok([here, None])
            }
            Err(error) if error.kind == ErrorKind::Busy => Err(error),
            Err(error) => Err(error.with_hint(format!(
                "let this user write there, or remove \"{}\" (or \"chmod 666\" it) while nothing is at work on that destination",
                path.display()
            ))),
        }
    }

    /// The locks, where the daemon needs us to keep backups and deletions apart.
    async fn needed_locks(&self) -> Result<Option<&Locks>> {
        let Some(locks) = &self.locks else { return Ok(None) };
        let by_itself = self.daemon.capabilities().await?.locks_destinations;
        Ok((!by_itself).then_some(locks))
    }

    /// The lock under which a volume is read (shared) and made or deleted (exclusive).
    async fn lock_volume(&self, volume: &str, sharing: Sharing) -> Result<Option<Lock>> {
        self.lock(&format!("volume {volume} of {}", self.daemon.identity()), sharing).await
    }

    async fn lock(&self, key: &str, sharing: Sharing) -> Result<Option<Lock>> {
        let Some(locks) = &self.locks else { return Ok(None) };
        match locks.acquire(key, sharing).await {
            Ok(lock) => Ok(Some(lock)),
            // A data folder that is full or read-only must not stop a backup. A deletion it must.
            Err(error) if error.kind == ErrorKind::Io && sharing == Sharing::Shared => {
                log::warn!("going on without a lock: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Convoy says only `Volume not found.`; name the volume.
fn explain_missing_volume(error: Error, name: &Name) -> Error {
    if error.kind != ErrorKind::NotFound {
        return error;
    }
    log::debug!("the daemon's words: {error}");
    Error::new(ErrorKind::NotFound, format!("there is no volume \"{name}\""))
        .with_status(404)
        .with_hint("see \"convoy-backups volumes\" for those there are")
}
