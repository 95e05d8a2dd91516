//! Reading a volume: whether its files are there, and the moment of which they are read.

use std::time::Duration;

use super::{
    driver::{Drivers, SameFolder},
    moment::{Beginning, Files, Kind, Moment, Moments, Place, Still, Stood},
    repository::Gathering,
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
    /// Whether nothing but dumps is read.
    is_dump_only: bool,
    /// Whether what writes to the volume was held while the moment was taken.
    was_held: bool,
}

impl VolumeReading<'_> {
    /// Whether the files are read as they are.
    fn is_live(&self) -> bool {
        self.moment.kind() == Kind::Live && !self.is_dump_only
    }

    /// The files to read. What writes to them is held still meanwhile, if it must be.
    pub(super) fn files(&self) -> Files<'_> {
        Files { still: self.is_live().then_some(self.still), ..self.moment.files() }
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

    /// Reads volumes at one moment: what writes to any of them is held still at the same time. The results
    /// are in the order of `volumes`, each with how long what writes to them stood still; `None` if it was
    /// not held. One that fails does not stop the others: if its files are not there, or another's are, if
    /// they went away meanwhile, if one of the operator's commands fails, or the work does.
    pub(super) fn read_together<W: Work>(
        self,
        volumes: &[ToRead<'_>],
        work: &W,
    ) -> Vec<Result<(W::Made, Option<Stood>)>> {
        let place = |ToRead { volume, .. }: &ToRead<'_>| {
            self.drivers.check(volume)?;
            Ok(self.drivers.place(&volume.driver, &volume.name))
        };
        let places: Vec<Result<Place>> = volumes.iter().map(place).collect();
        let are_held = volumes.iter().zip(&places).filter(|(to_read, _)| !to_read.is_dump_only);
        let still = self.moments.still(are_held.filter_map(|(_, place)| place.as_ref().ok()));
        let mut results: Results<Read<W>> = volumes.iter().map(|_| None).collect();
        let mut opened = Vec::new();
        for (index, (to_read, place)) in volumes.iter().zip(&places).enumerate() {
            match place {
                Err(error) => results[index] = Some(Err(error.clone())),
                Ok(place) => opened.push((index, Opened::new(self, to_read, place))),
            }
        }
        if opened.len() > 1 {
            opened = self.read_group(opened, &still, work, &mut results);
        }
        for (index, opened) in opened {
            results[index] = Some(self.read_alone((index, opened), &still, work));
        }
        let unread = || Err(Error::internal("a volume was not read"));
        results.into_iter().map(|result| result.unwrap_or_else(unread)).collect()
    }
}

impl<'a> Reader<'a> {
    /// Reads one volume, in a hold of its own.
    fn read_alone<W: Work>(
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
        if taken.reading.is_live() && still.is_wanted() && still.begin()? {
            prepared = work.prepare_again(index, &taken.reading, prepared)?;
        }
        self.finish(index, (taken, prepared), still, work)
    }

    /// Reads what was taken and prepared, and ends its moment.
    fn finish<W: Work>(
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

    /// Reads volumes in one hold. The result has those that are to be read alone: what writes to them can't
    /// be held, and they are read all the same.
    fn read_group<W: Work>(
        self,
        opened: Numbered<Opened<'a>>,
        still: &'a Still<'a>,
        work: &W,
        results: &mut Results<Read<W>>,
    ) -> Numbered<Opened<'a>> {
        let (mut live, mut others, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for (index, opened) in opened {
            match self.moments.can_be_held(opened.place) {
                // Nothing is held of it.
                _ if opened.is_dump_only => alone.push((index, opened)),
                Err(_) if self.moments.reads_unheld(opened.place) => alone.push((index, opened)),
                Err(error) => results[index] = Some(Err(error)),
                Ok(()) if opened.is_of_a_moment() => others.push((index, opened)),
                Ok(()) => live.push((index, opened)),
            }
        }
        let live = each(live, results, |(index, opened)| {
            let taken = opened.take(self, still, false)?;
            let prepared = work.prepare(index, &taken.reading)?;
            Ok((taken, prepared))
        });
        let (live, unheld): (Numbered<_>, Numbered<_>) =
            live.into_iter().partition(|(_, (_, prepared))| work.needs(prepared).is_some());
        let live = settle(live, &others, still, work, results);
        let (read, taken) = self.read_held((live, others), still, work, results);
        let stood = still.stood();
        for (index, (taken, (made, is_held))) in read {
            let ended = taken.end(self).inspect_err(|_| work.undo(&made));
            results[index] = Some(ended.map(|()| (made, stood.clone().filter(|_| is_held))));
        }
        for (index, taken) in taken {
            still.limit_to([taken.volume.name.as_str()]);
            let was_held = taken.reading.was_held;
            let prepared = work.prepare(index, &taken.reading);
            let read =
                prepared.and_then(|prepared| self.finish(index, (taken, prepared), still, work));
            let with_stood =
                |(made, own): Read<W>| (made, own.or_else(|| stood.clone().filter(|_| was_held)));
            results[index] = Some(read.map(with_stood));
        }
        for (index, (taken, prepared)) in unheld {
            still.limit_to([taken.volume.name.as_str()]);
            results[index] = Some(self.finish(index, (taken, prepared), still, work));
        }
        alone
    }

    /// Takes the moments of the others, and reads live ones, while what writes to them is held. The result
    /// has what was made of those, and the others, to be read.
    fn read_held<W: Work>(
        self,
        (live, others): (Numbered<(Taken<'a>, W::Prepared)>, Numbered<Opened<'a>>),
        still: &'a Still<'a>,
        work: &W,
        results: &mut Results<Read<W>>,
    ) -> (Numbered<(Taken<'a>, (W::Made, bool))>, Numbered<Taken<'a>>) {
        // What is read of one must not wait for the upload of another while both are held.
        let is_gathered = live.len() > 1 && still.is_wanted();
        let gathering = is_gathered.then(|| work.gather()).flatten();
        let held = if others.is_empty() { Ok(false) } else { still.hold() };
        let others = each(others, results, |(_, opened)| opened.take(self, still, held.clone()?));
        let last = live.last().map(|(index, _)| *index);
        let read = each(live, results, |(index, (taken, prepared))| {
            held.clone()?;
            still.keep(Some(index) != last);
            let made = work.read(index, &taken.reading, prepared)?;
            Ok((taken, made))
        });
        let released = still.end();
        still.keep(false);
        let uploaded = match &released {
            Ok(()) if gathering.is_some() => work.upload(),
            released => released.clone(),
        };
        drop(gathering);
        // What was read in a hold that broke is of no one moment.
        let read = each(read, results, |(_, (taken, made))| {
            uploaded.clone().inspect_err(|_| work.undo(&made.0))?;
            Ok((taken, made))
        });
        let others = each(others, results, |(_, taken)| released.clone().map(|()| taken));
        (read, others)
    }
}

/// How often all live volumes of a group are read again at most, so that they can be held together.
const ROUNDS: usize = 4;

/// Reads live volumes again until what changes in all of them can be read in one hold, and runs the commands
/// before. Those that are too slow for that fail.
fn settle<'a, W: Work>(
    mut live: Numbered<(Taken<'a>, W::Prepared)>,
    others: &[(usize, Opened<'a>)],
    still: &Still<'a>,
    work: &W,
    results: &mut Results<Read<W>>,
) -> Numbered<(Taken<'a>, W::Prepared)> {
    type Live<'a, W> = Numbered<(Taken<'a>, <W as Work>::Prepared)>;
    let again = |live: Live<'a, W>, results: &mut Results<Read<W>>| {
        each(live, results, |(index, (taken, prepared))| {
            let prepared = work.prepare_again(index, &taken.reading, prepared)?;
            Ok((taken, prepared))
        })
    };
    let needs = |prepared: &W::Prepared| work.needs(prepared).unwrap_or_default();
    let all_need = |live: &Live<'a, W>| -> Duration {
        live.iter().map(|(_, (_, prepared))| needs(prepared)).sum()
    };
    let limit = still.limit();
    // While others were read, each has changed.
    for _ in 0..if live.len() > 1 { ROUNDS } else { 0 } {
        live = again(live, results);
        if all_need(&live) <= limit {
            break;
        }
    }
    while live.len() > 1 && all_need(&live) > limit {
        let slowest = live.iter().enumerate().max_by_key(|(_, (_, (_, prepared)))| needs(prepared));
        let Some(slowest) = slowest.map(|(at, _)| at) else { break };
        let (index, (taken, _)) = live.remove(slowest);
        results[index] = Some(Err(too_slow(&taken.volume.name, limit, still.limit_setting())));
    }
    let volumes = live.iter().map(|(_, (taken, _))| taken.volume.name.as_str());
    let moments = others.iter().map(|(_, opened)| opened.volume.name.as_str());
    still.limit_to(volumes.chain(moments));
    if live.is_empty() || !still.is_wanted() {
        return live;
    }
    match still.begin() {
        Ok(false) => live,
        Ok(true) => again(live, results),
        Err(error) => each(live, results, |_| Err(error.clone())),
    }
}

fn too_slow(volume: &str, limit: Duration, setting: &str) -> Error {
    let message = format!(
        "volume \"{volume}\": what changes in it and in the volumes that are backed up with it can't be read within {limit:?}, the longest that what writes to them may stand still; it is the slowest of them, and was left out"
    );
    Error::new(ErrorKind::Timeout, message).with_hint(format!(
        "raise {setting}, back it up without the others (backup --volume), or move it to a file system with moments (docs/moments.md)"
    ))
}

/// What was made of a volume, and how long what writes to it stood still.
type Read<W> = (<W as Work>::Made, Option<Stood>);

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

    /// Whether its files are not read as they are.
    fn is_of_a_moment(&self) -> bool {
        self.beginning.kind() != Kind::Live && !self.is_dump_only
    }

    fn take(self, reader: Reader<'a>, still: &'a Still<'a>, was_held: bool) -> Result<Taken<'a>> {
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
        let reading = VolumeReading { moment, mounts, still, is_dump_only, was_held };
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
