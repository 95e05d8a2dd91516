//! Reading a volume: whether its files are there, and the moment of which they are read.

use super::{
    driver::{Drivers, SameFolder},
    moment::{Beginning, Files, Kind, Moment, Moments, Place, Still, Stood},
    repository::Spooling,
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

/// A volume to read.
pub(super) struct ToRead<'a> {
    pub(super) volume: &'a VolumeState,
    /// Whether its files are left out for a dump: nothing is held then, and no moment is taken.
    pub(super) is_dump_only: bool,
}

/// What is done with volumes that are read, by their index.
pub(super) trait Work {
    type Prepared;
    type Made;

    /// Called before what writes to the volume is held.
    fn prepare(&self, index: usize, reading: &VolumeReading<'_>) -> Result<Self::Prepared>;

    /// Called after commands were run that may have changed much, and before anything is held.
    fn prepare_again(
        &self,
        index: usize,
        reading: &VolumeReading<'_>,
        prepared: Self::Prepared,
    ) -> Result<Self::Prepared>;

    /// Makes something of its files, and of what was prepared.
    fn read(
        &self,
        index: usize,
        reading: &VolumeReading<'_>,
        prepared: Self::Prepared,
    ) -> Result<Self::Made>;

    /// Lets what is made wait for [`Work::upload`], as long as the result lives.
    fn collect(&self) -> Option<Spooling<'_>>;

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
}

impl Reader<'_> {
    /// Whether a volume is held by the operator's commands, and so is read at a moment of its own.
    pub(super) fn is_read_alone(self, volume: &VolumeState) -> bool {
        self.moments.is_held_alone(&self.drivers.place(&volume.driver, &volume.name))
    }

    /// The places of volumes that are to be read. Of many, those whose writers can't be held still are
    /// left out, so that they do not keep the others from it.
    fn places(self, volumes: &[ToRead<'_>]) -> Vec<Result<Place>> {
        let place = |ToRead { volume, .. }: &ToRead<'_>| {
            self.drivers.check(volume)?;
            Ok(self.drivers.place(&volume.driver, &volume.name))
        };
        let mut places: Vec<Result<Place>> = volumes.iter().map(place).collect();
        if let [_, _, ..] = volumes {
            let found: Vec<_> = places.iter().flatten().cloned().collect();
            let held = self.moments.held(&found);
            for (place, held) in places.iter_mut().filter(|place| place.is_ok()).zip(held) {
                if let Err(why) = held {
                    *place = Err(Error::configuration(why)
                        .with_hint("see docs/holds.md; the label convoy-backups.hold=none leaves a container alone"));
                }
            }
        }
        places
    }

    /// Reads volumes at one moment: what writes to any of them is held still at the same time. The results
    /// are in the order of `volumes`, each with how long what writes to them stood still; `None` if it was
    /// not held. One that fails does not stop the others: if its files are not there, or another's are, if
    /// they went away meanwhile, if one of the operator's commands fails, or the work does.
    pub(super) fn read_together<W: Work>(
        self,
        volumes: &[ToRead<'_>],
        work: &W,
    ) -> Vec<Result<(W::Made, Option<Stood>)>> {
        let places = self.places(volumes);
        let are_held = volumes.iter().zip(&places).filter(|(to_read, _)| !to_read.is_dump_only);
        let still = self.moments.still(are_held.filter_map(|(_, place)| place.as_ref().ok()));
        let mut results: Results<(W::Made, Option<Stood>)> = volumes.iter().map(|_| None).collect();
        let (mut live, mut others) = (Vec::new(), Vec::new());
        for (index, (to_read, place)) in volumes.iter().zip(&places).enumerate() {
            match place {
                Err(error) => results[index] = Some(Err(error.clone())),
                Ok(place) => {
                    let opened = Opened::new(self, to_read, place);
                    let is_live = opened.beginning.kind() == Kind::Live && !to_read.is_dump_only;
                    if is_live { &mut live } else { &mut others }.push((index, opened));
                }
            }
        }
        let (mut read, others) = self.read_held((live, others), &still, work, &mut results);
        read.extend(each(others, &mut results, |(index, taken)| {
            let prepared = work.prepare(index, &taken.reading)?;
            let made = work.read(index, &taken.reading, prepared)?;
            Ok((taken, made))
        }));
        let ended = each(read, &mut results, |(index, (taken, made))| {
            taken.end(self).inspect_err(|_| work.undo(&made))?;
            Ok((made, still.stood().filter(|_| !volumes[index].is_dump_only)))
        });
        for (index, made) in ended {
            results[index] = Some(Ok(made));
        }
        let unread = || Err(Error::internal("a volume was not read"));
        results.into_iter().map(|result| result.unwrap_or_else(unread)).collect()
    }
}

impl<'a> Reader<'a> {
    /// Takes the moments of all, and reads those that are read as they are, while what writes to them is
    /// held. The result has what was made of those, and the others, to be read.
    fn read_held<W: Work>(
        self,
        (live, others): (Numbered<Opened<'a>>, Numbered<Opened<'a>>),
        still: &'a Still<'a>,
        work: &W,
        results: &mut Results<(W::Made, Option<Stood>)>,
    ) -> (Numbered<(Taken<'a>, W::Made)>, Numbered<Taken<'a>>) {
        let live = self.prepare(live, still, work, results);
        let is_to_hold = others.iter().any(|(_, opened)| !opened.is_dump_only);
        let held = if is_to_hold { still.hold().map(drop) } else { Ok(()) };
        let others = each(others, results, |(_, opened)| {
            if !opened.is_dump_only {
                held.clone()?;
            }
            opened.take(self, still)
        });
        // Also where one became a live one: what is read first of that is read without a hold.
        let taken = if live.is_empty() { still.end() } else { Ok(()) };
        // What is read of one must not wait for the upload of another while both are held.
        let collecting = (live.len() > 1).then(|| work.collect()).flatten();
        let last = live.last().map(|(index, _)| *index);
        let read = each(live, results, |(index, (taken, prepared))| {
            held.clone()?;
            still.keep(Some(index) != last);
            let made = work.read(index, &taken.reading, prepared)?;
            Ok((taken, made))
        });
        let released = taken.and_then(|()| still.end());
        still.keep(false);
        let uploaded = if collecting.is_some() { work.upload() } else { Ok(()) };
        drop(collecting);
        // What was read in a hold that broke is of no one moment.
        let read = each(read, results, |(_, (taken, made))| {
            let is_whole = released.clone().and_then(|()| uploaded.clone());
            is_whole.inspect_err(|_| work.undo(&made))?;
            Ok((taken, made))
        });
        let others = each(others, results, |(_, taken)| {
            if !taken.reading.is_dump_only {
                released.clone()?;
            }
            Ok(taken)
        });
        (read, others)
    }

    /// Takes the moments of live ones. Only what changes from now on is read while their writers are held.
    fn prepare<W: Work>(
        self,
        live: Numbered<Opened<'a>>,
        still: &'a Still<'a>,
        work: &W,
        results: &mut Results<(W::Made, Option<Stood>)>,
    ) -> Numbered<(Taken<'a>, W::Prepared)> {
        let live = each(live, results, |(index, opened)| {
            let taken = opened.take(self, still)?;
            let prepared = work.prepare(index, &taken.reading)?;
            Ok((taken, prepared))
        });
        let has_commands =
            if !live.is_empty() && still.is_wanted() { still.begin() } else { Ok(false) };
        each(live, results, |(index, (taken, prepared))| {
            let prepared = match has_commands.clone()? {
                true => work.prepare_again(index, &taken.reading, prepared)?,
                false => prepared,
            };
            Ok((taken, prepared))
        })
    }
}

/// What became of each volume, by its index; `None` while it is not known.
type Results<T> = Vec<Option<Result<T>>>;

/// Volumes that have come so far, each with its index.
type Numbered<V> = Vec<(usize, V)>;

/// Goes on with each volume. One that fails has its result.
fn each<V, W, T>(
    volumes: Numbered<V>,
    results: &mut Results<T>,
    go_on: impl Fn((usize, V)) -> Result<W>,
) -> Numbered<W> {
    let mut left = Vec::new();
    for (index, volume) in volumes {
        match go_on((index, volume)) {
            Ok(volume) => left.push((index, volume)),
            Err(error) => results[index] = Some(Err(error)),
        }
    }
    left
}

/// A volume of which a moment is to be taken.
struct Opened<'a> {
    volume: &'a VolumeState,
    is_dump_only: bool,
    place: &'a Place,
    seen: SameFolder,
    mounts: Option<Vec<SourceMount>>,
    beginning: Beginning<'a>,
}

/// A volume of which a moment was taken.
struct Taken<'a> {
    volume: &'a VolumeState,
    place: &'a Place,
    seen: SameFolder,
    reading: VolumeReading<'a>,
}

impl<'a> Opened<'a> {
    fn new(reader: Reader<'a>, to_read: &ToRead<'a>, place: &'a Place) -> Self {
        let seen = SameFolder::of(&place.folder);
        let mounts = source_mounts(&place.folder, place.is_of_the_host);
        let ToRead { volume, is_dump_only } = *to_read;
        Self { volume, is_dump_only, place, seen, mounts, beginning: reader.moments.begin(place) }
    }

    fn take(self, reader: Reader<'a>, still: &'a Still<'a>) -> Result<Taken<'a>> {
        let Self { volume, is_dump_only, place, seen, mounts, beginning } = self;
        let moment =
            if is_dump_only { reader.moments.as_it_is(place) } else { beginning.take()? };
        // A volume that came meanwhile, in the place of this one, is never taken for it.
        seen.still_there().and_then(|()| reader.drivers.check(volume))?;
        log::debug!(
            "volume {}: the moment ({}) was taken within {} ms",
            volume.name,
            moment.kind().as_str(),
            moment.took().as_millis()
        );
        let reading = VolumeReading { moment, mounts, still, is_dump_only };
        Ok(Taken { volume, place, seen, reading })
    }
}

impl Taken<'_> {
    /// Ends the moment, when the volume was read.
    ///
    /// # Errors
    /// If the volume's files were not all there until then.
    fn end(self, reader: Reader<'_>) -> Result<()> {
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
