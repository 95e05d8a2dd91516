//! Volumes of Docker: which there are, making and restoring them, removing them, and what a crash
//! left of a restore.

use super::{
    super::{
        backups::StoredUrl,
        driver::{Docker, DockerVolume},
        found,
        identity::new_id,
        state::VolumeState,
    },
    Operations,
};
use crate::{
    convoy::{
        BackupUrl, NewVolume,
        refusal::{docker_decides, refused},
    },
    error::{ErrorKind, Result},
};

impl Operations {
    /// Asks Docker for its volumes, and makes the states fit. Where it does not answer, they stay.
    pub(in crate::daemon) fn look_for_volumes(&self) -> Result<()> {
        // Two answers could arrive in another order than they were given.
        let _looking = crate::sync::lock(&self.looking);
        let Some(found) = self.drivers.docker.look() else { return Ok(()) };
        let now = self.clock.now();
        let sentences = self.volumes.take_up(|known| found::docker_changes(&found, known, now))?;
        self.drivers.docker.tell_once(sentences);
        Ok(())
    }

    /// Ends what a crash left of restores into volumes of Docker.
    pub(in crate::daemon) fn finish_restores(&self) -> Vec<String> {
        let left = self.volumes.all().into_iter().filter_map(|volume| {
            let inode = volume.restoring?;
            (volume.driver == Docker::NAME).then_some((volume, inode))
        });
        left.map(|(volume, inode)| self.finish_restore(volume, inode)).collect()
    }

    fn finish_restore(&self, volume: VolumeState, inode: u64) -> String {
        let name = volume.name.clone();
        let folder = volume.folder.clone().unwrap_or_default();
        let finished = self.drivers.docker.finish(&name, &folder, inode).and_then(|complete| {
            if complete {
                let whole = VolumeState { restoring: None, forgotten: false, ..volume };
                self.volumes.insert(whole).map(|()| "it is complete")
            } else {
                self.volumes.remove(&name).map(|()| "it was removed; restore it again")
            }
        });
        match finished {
            Ok(what) => {
                format!("the restore of volume \"{name}\" of Docker was not finished: {what}")
            }
            Err(error) => format!(
                "the restore of volume \"{name}\" of Docker was not finished and can't be undone (the next start tries again): {error}"
            ),
        }
    }

    /// Whether a new volume is one of Docker: it is asked for, or was one when it was backed up.
    pub(super) fn is_for_docker(&self, new: &NewVolume) -> Result<bool> {
        match (new.driver.as_deref().filter(|driver| !driver.is_empty()), &new.backup) {
            (Some(driver), _) => Ok(driver == Docker::NAME),
            (None, Some(url)) if self.drivers.docker.is_used() => {
                let destination = url.destination();
                let repository = self.destinations.at(&destination)?;
                let record = repository.recorded(&StoredUrl::of(url, &destination)?)?;
                Ok(record.driver == Docker::NAME)
            }
            _ => Ok(false),
        }
    }

    /// Makes a volume of Docker, empty or from a backup.
    pub(super) fn make_docker_volume(&self, new: &NewVolume) -> Result<VolumeState> {
        let name = new.name.as_str();
        let docker = &self.drivers.docker;
        let made = match &new.backup {
            Some(url) => self.restore_into_docker(name, url)?,
            None => docker.make(name, &Default::default(), &Default::default())?,
        };
        let state = self.docker_state(&made);
        docker.remember(vec![made]);
        self.volumes.insert(state.clone())?;
        Ok(state)
    }

    fn restore_into_docker(&self, name: &str, url: &BackupUrl) -> Result<DockerVolume> {
        let destination = url.destination();
        let repository = self.destinations.at(&destination)?;
        let url = StoredUrl::of(url, &destination)?;
        let labels = repository.recorded(&url)?.labels;
        let note = |volume: &DockerVolume, inode: u64| {
            let state = self.docker_state(volume);
            self.volumes.insert(VolumeState { restoring: Some(inode), ..state })
        };
        let fill = |folder: &std::path::Path| repository.restore(&url, folder, name).map(drop);
        self.drivers.docker.make_filled(name, &labels, note, fill).inspect_err(|_| {
            // What can't be removed stays noted, for the next start.
            if !self.drivers.docker.has(name).unwrap_or(true) {
                _ = self.volumes.remove(name);
            }
        })
    }

    /// A new state for a volume. A forgotten one of that name left its snapshots.
    fn docker_state(&self, volume: &DockerVolume) -> VolumeState {
        let former = self.volumes.find_even_forgotten(&volume.name);
        let fresh = found::docker_state(volume, new_id(), self.clock.now());
        VolumeState {
            snapshots: former.map(|former| former.snapshots).unwrap_or_default(),
            ..fresh
        }
    }

    /// Removes a volume of Docker, with its snapshots.
    pub(super) fn remove_docker_volume(
        &self,
        volume: VolumeState,
        only_forget: bool,
    ) -> Result<()> {
        let name = volume.name.clone();
        if only_forget {
            return Err(docker_decides(&name));
        }
        match self.drivers.docker.engine()?.remove_volume(&name) {
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) if error.status == Some(409) => {
                return Err(refused(format!("Cannot delete volume {name}. {}", error.message))
                    .with_hint(
                        "remove the containers that have it first; stopped ones have it, too",
                    ));
            }
            removed => removed?,
        }
        self.drivers.docker.forget(&name);
        self.volumes.remove(&name)?;
        let ids: Vec<_> = volume.snapshots.into_values().map(|snapshot| snapshot.id).collect();
        if let Err(error) = self.local.delete(&ids) {
            log::warn!("snapshots of deleted volume {name} stay until the next start: {error}");
        }
        Ok(())
    }
}
