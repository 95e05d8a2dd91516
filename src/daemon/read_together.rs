//! Reading several volumes at one moment.
//!
//! What can be read before is read first, and again until what changes in all of them can be read in one
//! hold. Then what writes to any of them is held, the moments are taken, live ones are read, and all goes on.
//! What is slow (the files of moments, uploads) comes after that.

use std::time::Duration;

use super::{
    moment::{Place, Still, Stood},
    reading::{Opened, Read, Reader, Taken, ToRead, Work, unread},
};
use crate::error::{Error, ErrorKind, Result};

impl Reader<'_> {
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
        results.into_iter().map(|result| result.unwrap_or_else(unread)).collect()
    }
}

impl<'a> Reader<'a> {
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
        let (live, mut unheld): (Numbered<_>, Numbered<_>) =
            live.into_iter().partition(|(_, (_, prepared))| work.needs(prepared).is_some());
        let live = settle((live, &mut unheld), &others, still, work, results);
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
    ) -> (Numbered<ReadHeld<'a, W>>, Numbered<Taken<'a>>) {
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
/// before. Those that are too slow for that fail, or are read `alone`.
fn settle<'a, W: Work>(
    (mut live, alone): (Live<'a, W>, &mut Live<'a, W>),
    others: &[(usize, Opened<'a>)],
    still: &Still<'a>,
    work: &W,
    results: &mut Results<Read<W>>,
) -> Numbered<(Taken<'a>, W::Prepared)> {
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
    while !live.is_empty() && all_need(&live) > limit {
        let slowest = live.iter().enumerate().max_by_key(|(_, (_, (_, prepared)))| needs(prepared));
        let Some(slowest) = slowest.map(|(at, _)| at) else { break };
        let (index, (taken, prepared)) = live.remove(slowest);
        let error = too_slow(&taken.volume.name, limit, still.limit_setting());
        if still.reads_unheld() {
            log::warn!("{}; it is read after them", error.message);
            alone.push((index, (taken, prepared)));
        } else {
            results[index] = Some(Err(error));
        }
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

/// Volumes that are read as they are.
type Live<'a, W> = Numbered<(Taken<'a>, <W as Work>::Prepared)>;

/// What was made of a volume, and whether what writes to it was held meanwhile; its moment is not ended.
type ReadHeld<'a, W> = (Taken<'a>, (<W as Work>::Made, bool));

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
