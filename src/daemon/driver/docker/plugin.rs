//! The volumes of this daemon's own that the engine has: of this daemon as its volume plugin, or of
//! the engine's own driver over the volume's folder.

use std::path::Path;

use super::{
    known::{Docker, Having},
    volume::folder_of,
};
use crate::{
    engine::{Container, EngineVolume},
    error::Result,
};

impl Docker {
    /// Whether it is a volume of this daemon: by its folder, because another engine may have another
    /// volume of that name.
    pub(super) fn is_of_plugin(&self, volume: &EngineVolume) -> bool {
        self.of_own(&volume.mountpoint) == Some(volume.name.as_str())
    }

    /// The name of this daemon's volume whose files are in this folder.
    pub(super) fn of_own<'a>(&self, folder: &'a Path) -> Option<&'a str> {
        let is_in = |base: &&Path| !base.as_os_str().is_empty() && **base == *self.of_plugin;
        folder.parent().filter(is_in)?;
        folder.file_name()?.to_str()
    }

    /// The containers that have volumes of this daemon's own.
    pub(super) fn having(&self, volumes: &[EngineVolume], containers: &[Container]) -> Having {
        let mut having = Having::new();
        for volume in volumes {
            let Some(own) = self.of_own(folder_of(volume)) else { continue };
            let users = containers.iter().filter(|container| container.uses(&volume.name));
            let names: Vec<_> = users.map(|container| container.name().to_owned()).collect();
            if !names.is_empty() {
                having.entry(own.to_owned()).or_default().extend(names);
            }
        }
        having
    }

    /// The containers that have this daemon's volume whose files are in `folder`, running or not.
    /// `None` if there is no engine to ask, or it does not know the volume, and so can't tell. One that
    /// mounts the folder by the engine's own driver is none: it needs no mark.
    ///
    /// # Errors
    /// If the engine does not answer, or its answer makes no sense.
    pub(in crate::daemon) fn containers_with(
        &self,
        volume: &str,
        folder: &Path,
    ) -> Result<Option<Vec<String>>> {
        let Some(engine) = self.engine.as_ref().filter(|_| self.is_used()) else {
            return Ok(None);
        };
        let (volumes, containers) = engine.all(self.patience.list)?;
        let is_it = |there: &EngineVolume| there.name == volume && there.mountpoint == folder;
        if !volumes.iter().any(is_it) {
            return Ok(None);
        }
        let having = containers.iter().filter(|container| container.uses(volume));
        Ok(Some(having.map(|container| container.name().to_owned()).collect()))
    }
}
