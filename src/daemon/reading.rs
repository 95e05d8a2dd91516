//! Reading a volume: whether its files are there, and the moment of which they are read.

use super::{
    driver::{Drivers, SameFolder},
    moment::{Files, Kind, Moment, Moments, Still, Stood},
    state::VolumeState,
};
use crate::{
    convoy::{SourceMount, source_mounts},
    error::{Error, ErrorKind, Result},
};

/// What is needed to read volumes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) drivers: &'a Drivers,
    pub(super) moments: &'a Moments,
}

/// A volume that is being read.
pub(super) struct VolumeReading<'a> {
    pub(super) moment: Moment<'a>,
    /// What is mounted in the volume's folder.
    pub(super) mounts: Option<Vec<SourceMount>>,
    still: &'a Still<'a>,
    /// Whether nothing but dumps is read.
    is_dump_only: bool,
}

impl VolumeReading<'_> {
    /// The files to read. What writes to them is held still meanwhile, if it must be.
    pub(super) fn files(&self) -> Files<'_> {
        let is_live = self.moment.kind() == Kind::Live && !self.is_dump_only;
        Files { still: is_live.then_some(self.still), ..self.moment.files() }
    }

    /// The kind of moment, for the record.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_dump_only { "dump" } else { self.moment.kind().as_str() }
    }

    /// How long what writes to them stood still; `None` if it was not held.
    pub(super) fn stood(&self) -> Option<Stood> {
        self.still.stood()
    }
}

impl Reader<'_> {
    /// Reads a volume. `read` makes something of its files; `undo` removes that if the volume's
    /// folder went away meanwhile, because what was read is not all then, or is another volume's. Where
    /// the files are left out for a dump, nothing is held, and no moment is taken.
    ///
    /// # Errors
    /// If the volume's files are not there, or another's are, one of the operator's commands fails, or `read` does.
    pub(super) fn read<T>(
        self,
        volume: &VolumeState,
        is_dump_only: bool,
        read: impl FnOnce(&VolumeReading<'_>) -> Result<T>,
        undo: impl FnOnce(&T),
    ) -> Result<T> {
        let name = volume.name.as_str();
        self.drivers.check(volume)?;
        let place = self.drivers.place(&volume.driver, name);
        let seen = SameFolder::of(&place.folder);
        let mounts = source_mounts(&place.folder, place.is_of_the_host);
        let still = self.moments.still(&place);
        let moment = if is_dump_only {
            self.moments.as_it_is(&place)
        } else {
            self.moments.begin(&place).take_held(&still)?
        };
        // A volume that came meanwhile, in the place of this one, is never taken for it.
        seen.still_there().and_then(|()| self.drivers.check(volume))?;
        log::debug!(
            "volume {name}: the moment ({}) was taken within {} ms",
            moment.kind().as_str(),
            moment.took().as_millis()
        );
        let reading = VolumeReading { moment, mounts, still: &still, is_dump_only };
        let made = read(&reading)?;
        // The others hold all that was read.
        if matches!(reading.moment.kind(), Kind::Live | Kind::Reflink) {
            let still_there = seen.still_there().and_then(|()| {
                let now = source_mounts(&place.folder, place.is_of_the_host);
                mounts_still_there(name, reading.mounts.as_deref(), now.as_deref())?;
                self.drivers.check(volume)
            });
            still_there.inspect_err(|_| undo(&made))?;
        }
        if let Err(error) = reading.moment.end() {
            log::warn!("what volume {name} was read from stays until its next moment: {error}");
        }
        Ok(made)
    }
}

/// Fails if something that was mounted in the volume before it was read is not mounted any more. What
/// is mounted on demand may have come meanwhile.
fn mounts_still_there(
    volume: &str,
    before: Option<&[SourceMount]>,
    now: Option<&[SourceMount]>,
) -> Result<()> {
    let (Some(before), Some(now)) = (before, now) else { return Ok(()) };
    let is_gone = |mount: &&SourceMount| !now.iter().any(|other| other.path == mount.path);
    let Some(gone) = before.iter().find(is_gone) else { return Ok(()) };
    let message = format!(
        "\"{}\" at \"{}\" in volume \"{volume}\" was unmounted while the volume was read",
        gone.source, gone.path
    );
    Err(Error::new(ErrorKind::Io, message).with_hint("mount it, and try again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_goes_away_while_a_volume_is_read_fails_it_and_one_that_comes_does_not() {
        let mount = |path: &str| SourceMount {
            path: path.into(),
            file_system: "nfs4".into(),
            source: "server:/data".into(),
            id: None,
        };
        let (one, both) = ([mount("one")], [mount("one"), mount("two")]);
        mounts_still_there("vol1", Some(&one), Some(&both)).unwrap();
        let error = mounts_still_there("vol1", Some(&both), Some(&one)).unwrap_err();
        assert!(error.message.contains("at \"two\" in volume \"vol1\" was unmounted"), "{error}");
        mounts_still_there("vol1", Some(&both), None).unwrap();
    }
}
