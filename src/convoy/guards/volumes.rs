//! Listing, making and mounting volumes (guards 3, 6 and 8).

use std::{collections::BTreeMap, path::Path};

use super::{observations::Observation, run::Guards};
use crate::{
    convoy::{Backup, BackupUrl, DriverInfo, Mount, Name, NewVolume, Quiesced, Volume},
    error::{Error, ErrorKind, Result},
    locks::Sharing,
};

impl Guards {
    /// All volumes by name, without those of Docker's plugin that nobody named: they go with their
    /// containers. If the list is empty but the drivers have volumes, this is an error.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::volumes`]. After an error, the run deletes nothing more.
    pub(crate) async fn volumes(&self) -> Result<BTreeMap<String, Volume>> {
        let asked = self.clock.now();
        let mut unnamed = Vec::new();
        let volumes: BTreeMap<String, Volume> = match self.daemon.volumes().await {
            Ok(volumes) => volumes
                .into_iter()
                .filter(|(name, volume)| {
                    let is_unnamed = volume.is_unnamed();
                    unnamed.extend(is_unnamed.then(|| name.clone()));
                    !is_unnamed
                })
                .map(|(name, volume)| (name, self.with_doubted_snapshots(volume)))
                .collect(),
            Err(error) => return Err(self.stop_on(error, "the list of volumes failed")),
        };
        if volumes.is_empty() && unnamed.is_empty() {
            // Convoy answers `{}` if its driver failed, so the driver is asked as well.
            match self.daemon.driver_volumes().await {
                // There may be some of Docker's, which did not answer.
                Ok(drivers) if drivers.is_empty() => self.docker_answered().await?,
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
        let mut memory = self.memory();
        memory.lists_no_volume = volumes.is_empty();
        memory.unnamed = unnamed;
        memory.observations.add_volumes(&volumes, asked);
        drop(memory);
        Ok(volumes)
    }

    /// # Errors
    /// If the daemon could not ask Docker for its volumes.
    async fn docker_answered(&self) -> Result<()> {
        let info = self.daemon.info().await?;
        let Some(problem) = info.docker_problem() else { return Ok(()) };
        let error = Error::new(ErrorKind::Daemon, format!("no volumes are known: {problem}"));
        Err(self.stop_on(
            error.with_hint("start Docker; or set BKUP_DOCKER to its socket, or to off"),
            "the list of volumes is empty",
        ))
    }

    /// The volumes as the drivers see them, by name.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::driver_volumes`].
    pub(crate) async fn driver_volumes(&self) -> Result<BTreeMap<String, DriverInfo>> {
        self.daemon.driver_volumes().await
    }

    /// The forgotten volumes by name: Docker removed them, and their files stay. Empty if the daemon
    /// can't tell.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::forgotten_volumes`].
    pub(crate) async fn forgotten_volumes(&self) -> Result<BTreeMap<String, Volume>> {
        Ok(self.daemon.forgotten_volumes().await?.unwrap_or_default())
    }

    /// One volume, also a forgotten one ([`FORGOTTEN`]).
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::volume`].
    pub(crate) async fn volume_even_forgotten(&self, name: &Name) -> Result<Volume> {
        match self.volume(name).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                let forgotten = self.forgotten_volumes().await?.remove(name.as_str());
                forgotten.map(|volume| self.with_doubted_snapshots(volume)).ok_or(error)
            }
            volume => volume,
        }
    }

    /// One volume.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::volume`].
    pub(crate) async fn volume(&self, name: &Name) -> Result<Volume> {
        let volume = self.daemon.volume(name).await;
        let volume = volume.map_err(|error| explain_missing_volume(error, name))?;
        Ok(self.with_doubted_snapshots(volume))
    }

    /// Mounts a volume.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::mount_volume`].
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
    /// As [`crate::convoy::Daemon::unmount_volume`].
    pub(crate) async fn unmount_volume(&self, name: &Name) -> Result<()> {
        self.may_add("unmount a volume")?;
        let _volume = self.lock_volume(name.as_str(), Sharing::Shared).await?;
        self.daemon.unmount_volume(name).await
    }

    /// Holds what writes to volumes still, until [`Self::let_go_on`].
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::quiesce`]; if the daemon can't.
    pub(crate) async fn quiesce(&self, volumes: &[Name]) -> Result<Quiesced> {
        self.may_write("hold what writes to volumes")?;
        self.can_hold_writers().await?;
        for name in volumes {
            self.volume(name).await?;
        }
        self.daemon.quiesce(volumes).await
    }

    /// Lets what was held go on.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::let_go_on`].
    pub(crate) async fn let_go_on(&self, held: &Quiesced) -> Result<()> {
        self.daemon.let_go_on(&held.id).await
    }

    /// Runs the command that a label of a container has under this name.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::run_in_container`]; if the daemon can't.
    pub(crate) async fn run_in_container(&self, container: &str, command: &str) -> Result<()> {
        self.may_write("run a command in a container")?;
        self.can_hold_writers().await?;
        self.daemon.run_in_container(container, command).await
    }

    async fn can_hold_writers(&self) -> Result<()> {
        if self.capabilities().await?.holds_writers {
            return Ok(());
        }
        let message = format!("{} does nothing with containers", self.daemon.description());
        Err(Error::configuration(message).with_hint(
            "the built-in daemon does, where it can use Docker's socket; docs/docker.md",
        ))
    }

    /// Creates a volume, empty or restored from `new.backup`.
    ///
    /// # Errors
    /// - [`ErrorKind::Guard`] if anything uses the name of a volume to restore (guard 6).
    /// - A usage error if the backup is missing or not complete.
    /// - Otherwise as [`crate::convoy::Daemon::create_volume`]. A failed restore leaves no volume.
    pub(crate) async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        self.may_add("create a volume")?;
        let created = self.make_volume(new).await?;
        let restored_from = new.backup.as_ref().map(ToString::to_string);
        self.observe(Observation::VolumeMade { volume: created.name.clone(), restored_from });
        Ok(created)
    }

    async fn make_volume(&self, new: &NewVolume) -> Result<Volume> {
        let _volume = self.lock_volume(new.name.as_str(), Sharing::Exclusive).await?;
        let Some(url) = &new.backup else {
            let created = self.daemon.create_volume(new).await;
            return self.look_for_volume(new, created).await;
        };
        let url = &self.at_its_time(url)?;
        let _destination = self.lock_destination(&url.destination(), Sharing::Shared).await?;
        let backup = self.backup(url).await.map_err(|error| {
            if error.kind != ErrorKind::NotFound {
                self.observe_if_broken(url.volume().unwrap_or_default(), url, &error, false);
                return error.context(format_args!("cannot restore \"{url}\""));
            }
            log::debug!("the daemon's words: {error}");
            Error::new(
                ErrorKind::NotFound,
                format!("cannot restore \"{url}\": there is no such backup"),
            )
            .with_hint("see \"convoy-backups backups\" for those there are")
        })?;
        if !backup.is_complete() {
            return Err(Error::guard(format!(
                "\"{url}\" is not complete: its state is \"{}\"",
                backup.field("State")
            )));
        }
        self.nothing_uses(&new.name).await?;
        self.warn_of_bad(&backup, url);
        let new = NewVolume { backup: Some(url.clone()), ..new.clone() };
        let new = like_the_backup(&new, &backup);
        match self.daemon.create_volume(&new).await {
            Err(error) if may_have_left_a_volume(&error) => {
                self.observe_if_broken(backup.volume(), url, &error, true);
                Err(self.clean_up(&new.name, error).await)
            }
            created => {
                if created.is_ok() {
                    let volume = backup.volume().to_owned();
                    self.observe(Observation::BackupRestored { volume, url: url.to_string() });
                }
                self.look_for_volume(&new, created).await
            }
        }
    }

    /// Warns that a restore of this backup failed before, or that it may lack data. It is tried all the
    /// same: somebody may have mended the destination, or nothing else is left.
    fn warn_of_bad(&self, backup: &Backup, url: &BackupUrl) {
        let known = self.known_backups(backup.volume()).unwrap_or_default();
        if let Some(why) = backup.moment().lacks() {
            log::warn!("\"{url}\" is partial, so an older backup may have more: {why}");
        }
        let Some(known) = known.get(url) else { return };
        if let Some(broken) = &known.broken {
            log::warn!("\"{url}\" could not be restored before: {}", broken.why);
        }
        if let Some(why) = known.doubt.as_ref().filter(|_| backup.moment().lacks().is_none()) {
            log::warn!(
                "\"{url}\" is in doubt, so look whether all data is there; an older backup may have more: {why}"
            );
        }
    }

    /// Guard 6: no volume, no snapshot and no folder of the vfs driver has this name.
    async fn nothing_uses(&self, name: &Name) -> Result<()> {
        const HINT: &str = "restore under another name; nothing was changed";
        let in_use = |by: &str| {
            Err(Error::guard(format!("the name \"{name}\" is in use by {by}")).with_hint(HINT))
        };
        if self.volumes().await?.contains_key(name.as_str()) {
            return in_use("a volume");
        }
        match self.daemon.volume(name).await {
            Ok(_) => return in_use("a volume"),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match self.daemon.snapshot(name).await {
            Ok(_) => return in_use("a snapshot"),
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // `docker volume rm` leaves the folder on purpose. The built-in daemon keeps it under another
        // name, and Convoy would unpack the backup over it.
        if self.forgotten_volumes().await?.contains_key(name.as_str()) {
            return Ok(());
        }
        let Some(folder) =
            self.daemon.info().await?.vfs_path().map(|path| Path::new(path).join(name.as_str()))
        else {
            return Ok(());
        };
        match std::fs::symlink_metadata(&folder) {
            Ok(_) => in_use(&format!(
                "the folder \"{}\", which a volume of this name left",
                folder.display()
            )),
            // In a container, the daemon's folders may not be visible.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(Error::guard(format!(
                "cannot see whether \"{}\" is free: {error}",
                folder.display()
            ))
            .with_hint("run as a user that may look there; nothing was changed")),
        }
    }

    /// Cleans up after a failed restore, because Convoy can leave a volume that looks complete. The
    /// name was free before and is locked, so a volume of that name comes from this restore.
    async fn clean_up(&self, name: &Name, error: Error) -> Error {
        if self.daemon.volume(name).await.is_err() {
            return error;
        }
        match self.daemon.delete_volume(name, None, false).await {
            Ok(()) => {
                error.context(format_args!("the restore failed, and the unfinished volume \"{name}\" was deleted"))
            }
            Err(left) => error
                .context(format_args!(
                    "the restore failed and left the unfinished volume \"{name}\", which can't be deleted ({left})"
                ))
                .with_hint(format!("do not use \"{name}\"; delete it")),
        }
    }

    /// Guard 8 for new volumes: after a timeout, looks for the volume.
    async fn look_for_volume(&self, new: &NewVolume, created: Result<Volume>) -> Result<Volume> {
        let error = match created {
            Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Protocol) => error,
            created => return created,
        };
        match self.daemon.volume(&new.name).await {
            // An empty volume that exists is complete. A volume that is being restored may be half
            // full.
            Ok(volume) if new.backup.is_none() => Ok(volume),
            Ok(_) => Err(error.with_hint(format!(
                "the volume \"{}\" is there, but may be incomplete: look into the daemon's log before you use it",
                new.name
            ))),
            Err(_) => Err(error.with_hint("the daemon may still be at it: look again before you repeat it")),
        }
    }
}

/// Whether a restore with this error can have left a volume. If the name was taken in between, the
/// volume is not this restore's.
fn may_have_left_a_volume(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Daemon | ErrorKind::NotFound | ErrorKind::Repository | ErrorKind::Io
    ) && !error.message.contains("already exists")
}

/// devicemapper restores only into a volume with the driver and size of the backup. Both are taken
/// from the backup unless the caller gave them.
fn like_the_backup(new: &NewVolume, backup: &Backup) -> NewVolume {
    let driver = Some(backup.field("DriverName")).filter(|driver| !driver.is_empty());
    let size = backup.field("VolumeSize").parse().ok().filter(|size| *size > 0);
    NewVolume {
        driver: new.driver.clone().or(driver.map(str::to_owned)),
        size: new.size.or(size),
        ..new.clone()
    }
}

/// Adds the volume's name, because Convoy says only `Volume not found.`.
pub(super) fn explain_missing_volume(error: Error, name: &Name) -> Error {
    if error.kind != ErrorKind::NotFound {
        return error;
    }
    log::debug!("the daemon's words: {error}");
    Error::new(ErrorKind::NotFound, format!("there is no volume \"{name}\""))
        .with_status(404)
        .with_hint("see \"convoy-backups volumes\" for those there are")
}
