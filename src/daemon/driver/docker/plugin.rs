//! The volumes that the engine has of this daemon as its volume plugin.

use std::path::Path;

use super::known::Docker;
use crate::{engine::EngineVolume, error::Result};

impl Docker {
    /// Whether it is a volume of this daemon: by its folder, because another engine may have another
    /// volume of that name.
    pub(super) fn is_of_plugin(&self, volume: &EngineVolume) -> bool {
        !self.of_plugin.as_os_str().is_empty()
            && volume.mountpoint == self.of_plugin.join(&volume.name)
    }

    /// The containers that have this daemon's volume whose files are in `folder`, running or not.
    /// None if there is no engine to ask, or it does not know the volume.
    ///
    /// # Errors
    /// If the engine does not answer, or its answer makes no sense.
    pub(in crate::daemon) fn containers_with(
        &self,
        volume: &str,
        folder: &Path,
    ) -> Result<Vec<String>> {
        let Some(engine) = self.engine.as_ref().filter(|_| !self.is_quietly_away()) else {
            return Ok(Vec::new());
        };
        let (volumes, containers) = engine.all(self.patience.list)?;
        let is_it = |there: &EngineVolume| there.name == volume && there.mountpoint == folder;
        if !volumes.iter().any(is_it) {
            return Ok(Vec::new());
        }
        let having = containers.iter().filter(|container| container.uses(volume));
        Ok(having.map(|container| container.name().to_owned()).collect())
    }
}
