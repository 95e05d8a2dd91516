//! Forgotten volumes: `docker volume rm` removes a volume for Docker, and its files stay here.

use std::collections::BTreeMap;

use super::{
    super::{
        moment::Ask,
        recovery::{aside, removal},
        seen::see,
        state::VolumeState,
    },
    Operations,
};
use crate::{
    convoy::{FORGOTTEN, Volume, refusal::no_volume},
    error::Result,
    files::names,
};

impl Operations {
    /// The forgotten volumes by name, with their snapshots.
    pub(in crate::daemon) fn forgotten_volumes(&self) -> BTreeMap<String, Volume> {
        let (form, volumes) = (self.convoy_form(), self.volumes.forgotten());
        let seen = see(&self.drivers, &self.moments, &volumes, &Ask::Nothing);
        let shown = volumes.iter().zip(&seen).map(|(volume, seen)| {
            let mut shown = form.volume(volume, seen);
            let told = shown.driver_info.get_or_insert_default();
            told.insert(FORGOTTEN.to_owned(), "true".to_owned());
            (volume.name.clone(), shown)
        });
        shown.collect()
    }

    /// Gives a forgotten volume another name, so that its own is free for a new volume. The name that
    /// it has now; `None` if it stays, because it has neither files nor snapshots, or because
    /// something is mounted in it: that is a share, and not what a volume left.
    pub(super) fn set_aside(&self, former: &VolumeState) -> Result<Option<String>> {
        let folder = self.drivers.vfs.path(&former.name);
        let is_bare = names(&folder).map_or(true, |names| names.is_empty());
        let is_mounted = || removal::mounts(&folder).is_ok_and(|mounts| !mounts.is_empty());
        if !former.is_forgotten_here() || (is_bare && former.snapshots.is_empty()) || is_mounted() {
            return Ok(None);
        }
        let is_taken = |name: &str| {
            let is_folder = || self.drivers.vfs.path(name).symlink_metadata().is_ok();
            self.volumes.find_even_forgotten(name).is_some() || is_folder()
        };
        let name = aside::name_aside(&former.name, is_taken);
        aside::rename(self.disk(), &self.volumes, former, &name)?;
        log::info!(
            "the files of the removed volume \"{}\" are kept as the forgotten volume \"{name}\"",
            former.name
        );
        Ok(Some(name))
    }

    /// Gives a forgotten volume its own name back, because no other got it.
    pub(super) fn bring_back(&self, name: &str, aside: Option<&str>) {
        let kept = aside.and_then(|aside| self.volumes.find_even_forgotten(aside));
        let Some(kept) = kept else { return };
        if let Err(error) = aside::rename(self.disk(), &self.volumes, &kept, name) {
            log::warn!("the removed volume \"{name}\" stays as \"{}\": {error}", kept.name);
        }
    }

    /// Notes that something of a volume is saved from now on, so that Docker does not take its files
    /// with it.
    pub(super) fn is_saved(&self, name: &str) -> Result<()> {
        self.volumes.find(name).ok_or_else(|| no_volume(name))?;
        self.volumes.update(name, |volume| volume.goes_with_docker = false)
    }

    /// Removes a volume for Docker: it is forgotten. The files of one without a name go with it, as
    /// long as nothing of it was saved: nobody could ask for them again.
    pub(super) fn forget_for_docker(&self, name: &str) -> Result<()> {
        let volume = self.volumes.find(name).ok_or_else(|| no_volume(name))?;
        let goes = volume.goes_with_docker && volume.snapshots.is_empty();
        if goes {
            match self.delete(name, false) {
                Ok(()) => return Ok(()),
                Err(error) => log::warn!("the files of volume {name} stay: {error}"),
            }
        }
        self.delete(name, true)
    }
}
