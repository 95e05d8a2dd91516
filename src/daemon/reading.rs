//! Reading a volume: whether its files are there, and the moment of which they are read.

use std::{sync::Arc, time::Duration};

use super::{
    driver::{Drivers, SameFolder},
    moment::{Beginning, Files, Kind, Moment, Moments, Place, Still, Stood},
    repository::Gathering,
    state::VolumeState,
};
use crate::{
    convoy::{SourceMount, source_mounts},
    error::{Error, ErrorKind, Result},
    exclude::{Excludes, VolumeExcludes},
};

/// What is needed to read volumes.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) drivers: &'a Drivers,
    pub(super) moments: &'a Moments,
    pub(super) excludes: &'a Excludes,
}

/// A volume to read.
pub(super) struct ToRead<'a> {
    pub(super) volume: &'a VolumeState,
    /// Whether its files are left out for a dump: nothing is held then, and no moment is taken.
    pub(super) is_dump_only: bool,
}

/// In place of a result that is missing.
pub(super) fn unread<T>() -> Result<T> {
    Err(Error::internal("a volume was not read"))
}

/// What is done with volumes that are read, by their index.
pub(super) trait Work {
    type Prepared;
    type Made;

    /// Called before what writes to the volume is held.
    fn prepare(&self, index: usize, reading: &VolumeReading<'_>) -> Result<Self::Prepared>;

    /// Called, before anything is held, where much may have changed since.
    fn prepare_again(
        &self,
        index: usize,
        reading: &VolumeReading<'_>,
        prepared: Self::Prepared,
    ) -> Result<Self::Prepared>;

    /// How long the files are read at most while what writes to them is held; `None` if they are to be
    /// read without that.
    fn needs(&self, prepared: &Self::Prepared) -> Option<Duration>;

    /// Makes something of its files, and of what was prepared. The result also says whether what writes
    /// to them was held meanwhile.
    fn read(
        &self,
        index: usize,
        reading: &VolumeReading<'_>,
        prepared: Self::Prepared,
    ) -> Result<(Self::Made, bool)>;

    /// Lets what is made wait for [`Work::upload`], as long as the result lives.
    fn gather(&self) -> Option<Gathering<'_>>;

    /// Waits until what was made is where it belongs.
    fn upload(&self) -> Result<()>;

    /// Removes what was made of files that were not those of the volume, or of no one moment.
    fn undo(&self, made: &Self::Made);
}

/// A volume that is being read.
pub(super) struct VolumeReading<'a> {
    pub(super) moment: Moment<'a>,
    /// What is mounted in the volume's folder.
    pub(super) mounts: Option<Vec<SourceMount>>,
    still: &'a Still<'a>,
    excludes: Option<Arc<VolumeExcludes>>,
    /// Whether nothing but dumps is read.
    pub(super) is_dump_only: bool,
    /// Whether what writes to the volume was held while the moment was taken.
    pub(super) was_held: bool,
}

impl VolumeReading<'_> {
    /// Whether the files are read as they are.
    pub(super) fn is_live(&self) -> bool {
        self.moment.kind() == Kind::Live && !self.is_dump_only
    }

    /// The files to read. What writes to them is held still meanwhile, if it must be.
    pub(super) fn files(&self) -> Files<'_> {
        let still = self.is_live().then_some(self.still);
        Files { still, excludes: self.excludes.as_deref(), ..self.moment.files() }
    }

    /// The kind of moment, for the record.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_dump_only { "dump" } else { self.moment.kind().as_str() }
    }
}

impl Reader<'_> {
    /// Whether a volume is held by the operator's commands, and so is read at a moment of its own.
    pub(super) fn is_read_alone(self, volume: &VolumeState) -> bool {
        self.moments.is_held_alone(&self.drivers.place(&volume.driver, &volume.name))
    }
}

impl<'a> Reader<'a> {
    /// Reads one volume, in a hold of its own.
    pub(super) fn read_alone<W: Work>(
        self,
        (index, opened): (usize, Opened<'a>),
        still: &'a Still<'a>,
        work: &W,
    ) -> Result<Read<W>> {
        still.limit_to([opened.volume.name.as_str()]);
        let was_held = opened.is_of_a_moment() && still.hold()?;
        let taken = opened.take(self, still, was_held)?;
        // Also where it became a live one, which is read without a hold first.
        still.end()?;
        let mut prepared = work.prepare(index, &taken.reading)?;
        let is_to_hold = taken.reading.is_live() && work.needs(&prepared).is_some();
        if is_to_hold && still.is_wanted() && still.begin()? {
            prepared = work.prepare_again(index, &taken.reading, prepared)?;
        }
        self.finish(index, (taken, prepared), still, work)
    }

    /// Reads what was taken and prepared, and ends its moment.
    pub(super) fn finish<W: Work>(
        self,
        index: usize,
        (taken, prepared): (Taken<'a>, W::Prepared),
        still: &'a Still<'a>,
        work: &W,
    ) -> Result<Read<W>> {
        let (made, is_held) = work.read(index, &taken.reading, prepared)?;
        let stood = still.stood().filter(|_| is_held || taken.reading.was_held);
        let ended = still.end().and_then(|()| taken.end(self));
        ended.inspect_err(|_| work.undo(&made))?;
        Ok((made, stood))
    }
}

/// What was made of a volume, and how long what writes to it stood still.
pub(super) type Read<W> = (<W as Work>::Made, Option<Stood>);

/// A volume of which a moment is to be taken.
pub(super) struct Opened<'a> {
    pub(super) volume: &'a VolumeState,
    pub(super) is_dump_only: bool,
    pub(super) place: &'a Place,
    seen: SameFolder,
    mounts: Option<Vec<SourceMount>>,
    beginning: Beginning<'a>,
}

/// A volume of which a moment was taken.
pub(super) struct Taken<'a> {
    pub(super) volume: &'a VolumeState,
    pub(super) place: &'a Place,
    seen: SameFolder,
    pub(super) reading: VolumeReading<'a>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(reader: Reader<'a>, to_read: &ToRead<'a>, place: &'a Place) -> Self {
        let seen = SameFolder::of(&place.folder);
        let mounts = source_mounts(&place.folder, place.is_of_the_host);
        let ToRead { volume, is_dump_only } = *to_read;
        Self { volume, is_dump_only, place, seen, mounts, beginning: reader.moments.begin(place) }
    }

    /// Whether its files are not read as they are.
    pub(super) fn is_of_a_moment(&self) -> bool {
        self.beginning.kind() != Kind::Live && !self.is_dump_only
    }

    pub(super) fn take(
        self,
        reader: Reader<'a>,
        still: &'a Still<'a>,
        was_held: bool,
    ) -> Result<Taken<'a>> {
        let Self { volume, is_dump_only, place, seen, mounts, beginning } = self;
        let excludes = reader.excludes.of_volume(&volume.name, &volume.labels)?;
        let moment = if is_dump_only {
            reader.moments.as_it_is(place)
        } else {
            beginning.take(excludes.as_deref())?
        };
        // A volume that came meanwhile, in the place of this one, is never taken for it.
        seen.still_there().and_then(|()| reader.drivers.check(volume))?;
        log::debug!(
            "volume {}: the moment ({}) was taken within {} ms",
            volume.name,
            moment.kind().as_str(),
            moment.took().as_millis()
        );
        // What became a live one is read later.
        let was_held = was_held && moment.kind() != Kind::Live;
        let reading = VolumeReading { moment, mounts, still, excludes, is_dump_only, was_held };
        Ok(Taken { volume, place, seen, reading })
    }
}

impl Taken<'_> {
    /// Ends the moment, when the volume was read.
    ///
    /// # Errors
    /// If the volume's files were not all there until then.
    pub(super) fn end(self, reader: Reader<'_>) -> Result<()> {
        let Self { volume, place, seen, reading } = self;
        let name = volume.name.as_str();
        // The others hold all that was read.
        if matches!(reading.moment.kind(), Kind::Live | Kind::Reflink) {
            seen.still_there()?;
            let now = source_mounts(&place.folder, place.is_of_the_host);
            mounts_still_there(name, reading.mounts.as_deref(), now.as_deref())?;
            reader.drivers.check(volume)?;
        }
        if let Err(error) = reading.moment.end() {
            log::warn!("what volume {name} was read from stays until its next moment: {error}");
        }
        Ok(())
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
