//! The guards of what is done to volumes and snapshots.

use std::path::Path;

use super::{Guards, Observation, explain_missing_volume, snapshot_names};
use crate::{
    convoy::{Backup, Destination, Name, NewVolume, Snapshot, Volume},
    error::{Error, ErrorKind, Result},
    locks::Sharing,
};

impl Guards {
    /// A new volume, empty or restored from `new.backup`.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] where anything uses the name of a volume to restore (guard 6); a usage
    /// error where the backup is not there or not complete; else as
    /// [`crate::convoy::Daemon::create_volume`]. A restore that failed leaves no volume.
    pub(crate) async fn create_volume(&self, new: &NewVolume) -> Result<Volume> {
        self.may_write("create a volume")?;
        let created = self.make_volume(new).await?;
        self.observe(Observation::VolumeMade { volume: created.name.clone() });
        Ok(created)
    }

    async fn make_volume(&self, new: &NewVolume) -> Result<Volume> {
        let _volume = self.lock_volume(new.name.as_str(), Sharing::Exclusive).await?;
        let Some(url) = &new.backup else {
            let created = self.daemon.create_volume(new).await;
            return self.look_for_volume(new, created).await;
        };
        let _destination = self.lock_destination(&url.destination(), Sharing::Shared).await?;
        let backup = self.backup(url).await.map_err(|error| {
            if error.kind != ErrorKind::NotFound {
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
        let new = like_the_backup(new, &backup);
        match self.daemon.create_volume(&new).await {
            Err(error) if may_have_left_a_volume(&error) => {
                Err(self.clean_up(&new.name, error).await)
            }
            created => self.look_for_volume(&new, created).await,
        }
    }

    /// Guard 6: no volume, no snapshot and no folder of the vfs driver's has this name.
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
        // `docker volume rm` leaves the folder on purpose, and Convoy would unpack the backup over
        // it.
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
            // In a container the daemon's folders need not be there.
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

    /// After a restore that failed: Convoy can leave a volume that looks whole. The name was free
    /// before and is locked, so what is there now is this restore's.
    async fn clean_up(&self, name: &Name, error: Error) -> Error {
        if self.daemon.volume(name).await.is_err() {
            return error;
        }
        match self.daemon.delete_volume(name, false).await {
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

    /// Guard 8 for new volumes.
    async fn look_for_volume(&self, new: &NewVolume, created: Result<Volume>) -> Result<Volume> {
        let error = match created {
            Err(error) if matches!(error.kind, ErrorKind::Timeout | ErrorKind::Protocol) => error,
            created => return created,
        };
        match self.daemon.volume(&new.name).await {
            // An empty volume that is there is done; one being restored may be half full.
            Ok(volume) if new.backup.is_none() => Ok(volume),
            Ok(_) => Err(error.with_hint(format!(
                "the volume \"{}\" is there, but may be incomplete: look into the daemon's log before you use it",
                new.name
            ))),
            Err(_) => Err(error.with_hint("the daemon may still be at it: look again before you repeat it")),
        }
    }

    /// Deletes a volume, its snapshots with it. Unless `without_backup`, a good backup of it must
    /// be at `destination`.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] where [`Guards::safe_copy`] finds none, or the run stopped deleting;
    /// else as [`crate::convoy::Daemon::delete_volume`].
    pub(crate) async fn delete_volume(
        &self,
        name: &Name,
        destination: Option<&Destination>,
        without_backup: bool,
    ) -> Result<()> {
        self.may_write("delete a volume")?;
        let what = format!("the volume \"{name}\"");
        let _volume = self.lock_volume(name.as_str(), Sharing::Exclusive).await?;
        let volume = self.volume(name).await?;
        self.may_delete(&what, Some(name.as_str()))?;
        if !volume.mount_point.is_empty() {
            return Err(Error::guard(format!(
                "{what} is not deleted: it is mounted at {}",
                volume.mount_point
            ))
            .with_hint("stop the containers that use it first, or unmount it"));
        }
        if !without_backup {
            self.safe_copy(destination, &volume).await?;
        }
        self.may_delete(&what, Some(name.as_str()))?;
        match self.daemon.delete_volume(name, false).await {
            Err(error) if error.kind == ErrorKind::Timeout => {
                match self.daemon.volume(name).await {
                    Err(gone) if gone.kind == ErrorKind::NotFound => Ok(()),
                    _ => Err(error.with_hint(
                        "the daemon may still be at it: look again before you repeat it",
                    )),
                }
            }
            deleted => deleted,
        }?;
        self.observe(Observation::VolumeGone { volume: name.to_string() });
        Ok(())
    }

    /// Makes the daemon forget a volume; its files stay where they are.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::delete_volume`].
    pub(crate) async fn forget_volume(&self, name: &Name) -> Result<()> {
        self.may_write("make the daemon forget a volume")?;
        let _volume = self.lock_volume(name.as_str(), Sharing::Exclusive).await?;
        self.daemon
            .delete_volume(name, true)
            .await
            .map_err(|error| explain_missing_volume(error, name))?;
        self.observe(Observation::VolumeGone { volume: name.to_string() });
        Ok(())
    }

    /// Takes a snapshot under a name made here (guard 7).
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::create_snapshot`]; a timeout only after a look that did not find
    /// it (guard 8).
    pub(crate) async fn create_snapshot(&self, volume: &Name) -> Result<Snapshot> {
        self.may_write("take a snapshot")?;
        let _volume = self.lock_volume(volume.as_str(), Sharing::Shared).await?;
        let name = snapshot_names::next(volume, &self.volume(volume).await?, self.clock.now());
        let snapshot = match self.daemon.create_snapshot(volume, &name).await {
            Err(error) if error.kind == ErrorKind::Timeout => {
                self.daemon.snapshot(&name).await.map_err(|_| {
                    error.with_hint(format!(
                        "the daemon may still be at it: look for \"{name}\" before you repeat it"
                    ))
                })
            }
            Ok(snapshot) if snapshot.name != name.as_str() => {
                let what = format!(
                    "the daemon answered with the snapshot \"{}\" instead of \"{name}\"",
                    snapshot.name
                );
                Err(Error::new(ErrorKind::Protocol, what))
            }
            snapshot => snapshot,
        }?;
        self.observe_snapshot(volume.as_str(), &snapshot);
        Ok(snapshot)
    }

    /// One snapshot.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::snapshot`].
    pub(crate) async fn snapshot(&self, name: &Name) -> Result<Snapshot> {
        self.daemon.snapshot(name).await
    }

    /// Deletes a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] where a backup of its volume failed in this run, or the run stopped
    /// deleting; else as [`crate::convoy::Daemon::delete_snapshot`].
    pub(crate) async fn delete_snapshot(&self, name: &Name) -> Result<()> {
        self.may_write("delete a snapshot")?;
        let snapshot = self.daemon.snapshot(name).await?;
        let volume = snapshot.volume_name;
        let _volume = self.lock_volume(&volume, Sharing::Exclusive).await?;
        self.may_delete(&format!("the snapshot \"{name}\""), Some(&volume))?;
        // At EBS the snapshot is the backup: Convoy would only forget it, and it would cost money
        // in no list.
        if let Some(info) = snapshot.driver_info.filter(|info| info.contains_key("EBSSnapshotID"))
            && info.get("State").is_none_or(|state| state != "removed")
        {
            return Err(Error::guard(format!(
                "the snapshot \"{name}\" is not deleted: at EBS it is a backup, which is still there"
            ))
            .with_hint("delete the backup first (\"prune\", or \"remove --all\"), then the snapshot"));
        }
        match self.daemon.delete_snapshot(name).await {
            Err(error) if error.kind == ErrorKind::Timeout => {
                match self.daemon.snapshot(name).await {
                    Err(gone) if gone.kind == ErrorKind::NotFound => Ok(()),
                    _ => Err(error.with_hint(
                        "the daemon may still be at it: look again before you repeat it",
                    )),
                }
            }
            deleted => deleted,
        }?;
        self.observe(Observation::SnapshotDeleted { volume, snapshot: name.to_string() });
        Ok(())
    }
}

/// Whether a restore that failed so can have left a volume behind, that is this restore's: not
/// where the name was taken meanwhile.
fn may_have_left_a_volume(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Daemon | ErrorKind::NotFound | ErrorKind::Repository | ErrorKind::Io
    ) && !error.message.contains("already exists")
}

/// devicemapper restores only into a volume of the backup's driver and size: take both from the
/// backup where the caller said nothing.
fn like_the_backup(new: &NewVolume, backup: &Backup) -> NewVolume {
    let driver = Some(backup.field("DriverName")).filter(|driver| !driver.is_empty());
    let size = backup.field("VolumeSize").parse().ok().filter(|size| *size > 0);
    NewVolume {
        driver: new.driver.clone().or(driver.map(str::to_owned)),
        size: new.size.or(size),
        ..new.clone()
    }
}
