//! Deleting volumes (guards 2 and 8).

use std::path::Path;

use super::{
    observations::Observation,
    past::refuse_past,
    run::{Deletable, Guards},
    volumes::explain_missing_volume,
};
use crate::{
    convoy::{CONTAINERS, Destination, FOLDER_DRIVER, Name, Volume, refusal},
    error::{Error, ErrorKind, Result},
    files::{mounts_in, real_path},
    locks::Sharing,
};

impl Guards {
    /// Deletes a volume with its snapshots. Unless `without_backup`, a good backup of the volume
    /// must be at `destination`, and the volume must not have changed since.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if [`Guards::safe_copy`] finds no backup, or [`Guards::changed_since`]
    /// finds it too old, or if the run stopped deleting; otherwise as [`crate::convoy::Daemon::delete_volume`].
    pub(crate) async fn delete_volume(
        &self,
        name: &Name,
        destination: Option<&Destination>,
        without_backup: bool,
    ) -> Result<()> {
        self.may_write("delete a volume")?;
        destination.map_or(Ok(()), |destination| refuse_past("delete a volume", destination))?;
        self.declared(Deletable::Everything, "delete a volume")?;
        let what = format!("the volume \"{name}\"");
        let _volume = self.lock_volume(name.as_str(), Sharing::Exclusive).await?;
        let volume = self.volume_even_forgotten(name).await?;
        self.may_delete(&what, Some(name.as_str()))?;
        self.may_be_emptied(&volume).await?;
        if !without_backup {
            let kept = self.safe_copy(destination, &volume).await?;
            self.changed_since(&volume, &kept).await?;
        }
        self.may_delete(&what, Some(name.as_str()))?;
        match self.ask_to_remove(name, volume.id(), false).await {
            Err(error) if error.kind == ErrorKind::Timeout => {
                match self.volume_even_forgotten(name).await {
                    Err(gone) if gone.kind == ErrorKind::NotFound => Ok(()),
                    _ => Err(error.with_hint(
                        "the daemon may still be at it: look again before you repeat it",
                    )),
                }
            }
            deleted => deleted,
        }?;
        self.observe(Observation::VolumeGone { volume: name.to_string(), forgotten: false });
        Ok(())
    }

    /// Refuses to delete a volume that is a folder of the host, that containers have, that is
    /// mounted, or in which something is mounted: another folder's files would be deleted with its
    /// own.
    ///
    /// # Errors
    /// [`ErrorKind::Guard`] if so; otherwise as [`crate::convoy::Daemon::mounts_in_volume`].
    pub(crate) async fn may_be_emptied(&self, volume: &Volume) -> Result<()> {
        let name = &volume.name;
        if volume.driver == FOLDER_DRIVER {
            return Err(Error::guard(format!(
                "the volume \"{name}\" is a folder of the host, so nothing of it was deleted"
            ))
            .with_hint(refusal::FOLDER_HINT));
        }
        if let Some(containers) = volume.told(CONTAINERS) {
            return Err(Error::guard(format!(
                "containers have the volume \"{name}\", so nothing of it was deleted: {containers}"
            ))
            .with_hint("remove these containers first (docker rm); stopped ones have it, too"));
        }
        if !volume.mount_point.is_empty() {
            return Err(Error::guard(format!(
                "the volume \"{name}\" is mounted at {}, so nothing of it was deleted",
                volume.mount_point
            ))
            .with_hint(refusal::unmount_hint(name)));
        }
        let mounts = match self.daemon.mounts_in_volume(&Name::volume(name)?).await? {
            Some(mounts) => mounts,
            None => self.mounts_seen_from_here(volume).await?,
        };
        match mounts.as_slice() {
            [] => Ok(()),
            mounts => Err(Error::guard(format!(
                "something is mounted in the volume \"{name}\", at \"{}\", so nothing of it was deleted",
                mounts.join("\", \"")
            ))
            .with_hint(refusal::UNMOUNT_HINT)),
        }
    }

    /// What is mounted in a volume of Convoy's, where its folder can be seen from here. Convoy can't
    /// tell.
    async fn mounts_seen_from_here(&self, volume: &Volume) -> Result<Vec<String>> {
        let info = self.daemon.info().await?;
        let Some(folder) = info.vfs_path().filter(|_| volume.driver == "vfs") else {
            return Ok(Vec::new());
        };
        let folder = real_path(&Path::new(folder).join(&volume.name));
        let found = mounts_in(&folder).map_err(|error| {
            Error::io(
                format!("cannot see whether anything is mounted in \"{}\"", folder.display()),
                &error,
            )
        })?;
        Ok(found.iter().map(|mount| mount.display().to_string()).collect())
    }

    /// Makes the daemon forget a volume. The volume's files stay where they are.
    ///
    /// # Errors
    /// As [`crate::convoy::Daemon::delete_volume`].
    pub(crate) async fn forget_volume(&self, name: &Name) -> Result<()> {
        self.may_write("make the daemon forget a volume")?;
        self.declared(Deletable::Everything, "make the daemon forget a volume")?;
        let _volume = self.lock_volume(name.as_str(), Sharing::Exclusive).await?;
        self.ask_to_remove(name, None, true)
            .await
            .map_err(|error| explain_missing_volume(error, name))?;
        log::info!("made the daemon forget the volume \"{name}\", its files stay");
        self.observe(Observation::VolumeGone { volume: name.to_string(), forgotten: true });
        Ok(())
    }

    /// Asks the daemon to delete a volume, or only to forget it. A removal that goes on after the
    /// run has ended is on record.
    async fn ask_to_remove(
        &self,
        volume: &Name,
        id: Option<&str>,
        reference_only: bool,
    ) -> Result<()> {
        let daemon = self.daemon.identity();
        if let Some(record) = &self.deletions {
            record.asks_to_remove(&daemon, volume.as_str());
        }
        let answer = self.daemon.delete_volume(volume, id, reference_only).await;
        let is_no = |error: &Error| {
            !matches!(error.kind, ErrorKind::Timeout | ErrorKind::Unreachable)
                && !error.ends_the_run()
        };
        if let Some(record) = &self.deletions
            && answer.as_ref().is_err_and(is_no)
        {
            record.is_not_removed(&daemon, volume.as_str());
        }
        answer
    }
}
