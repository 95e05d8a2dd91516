//! Reading a volume: whether its files are there, and the moment of which they are read.

use super::{
    driver::{Drivers, SameFolder},
    moment::{Kind, Moment, Moments},
    state::VolumeState,
};
use crate::{
    convoy::{SourceMount, source_mounts},
    error::Result,
};

/// What is needed to read volumes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) drivers: &'a Drivers,
    pub(super) moments: &'a Moments,
}

/// A volume that is being read.
pub(super) struct Reading<'a> {
    pub(super) moment: Moment<'a>,
    /// What is mounted in the volume's folder.
    pub(super) mounts: Option<Vec<SourceMount>>,
}

impl Reader<'_> {
    /// Reads a volume. `read` makes something of its files; `undo` removes that if the volume's
    /// folder went away meanwhile, because what was read is not all then.
    ///
    /// # Errors
    /// If the volume's files are not there, the operator's command for the moment fails, or `read`
    /// does.
    pub(super) fn read<T>(
        self,
        volume: &VolumeState,
        read: impl FnOnce(&Reading<'_>) -> Result<T>,
        undo: impl FnOnce(&T),
    ) -> Result<T> {
        let name = volume.name.as_str();
        self.drivers.of(&volume.driver).check(name)?;
        let place = self.drivers.place(&volume.driver, name);
        let seen = SameFolder::of(&place.folder);
        let mounts = source_mounts(&place.folder, place.is_of_the_host);
        let moment = self.moments.begin(&place).take()?;
        log::debug!(
            "volume {name}: the moment ({}) was taken within {} ms",
            moment.kind().as_str(),
            moment.took().as_millis()
        );
        let reading = Reading { moment, mounts };
        let made = read(&reading)?;
        // The others hold all that was read.
        if matches!(reading.moment.kind(), Kind::Live | Kind::Reflink) {
            seen.still_there().inspect_err(|_| undo(&made))?;
        }
        if let Err(error) = reading.moment.end() {
            log::warn!("what volume {name} was read from stays until the next start: {error}");
        }
        Ok(made)
    }
}
