//! Reading a volume whose writers are to be held while its files are read as they are: how long that
//! takes must be known before anything stands still.
//!
//! All is read without a hold first, and again what changed meanwhile, until that is fast enough. Then
//! the writers are held, and what changed since is read once more. If it never is fast enough, nothing is
//! held at all.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    moment::{Files, Still},
    repository::{OpenRepository, SpoolPlace},
    save::{self, Extras, Parent, Reading, Saved, Shelf, Source},
};
use crate::{
    error::{Error, ErrorKind, Result},
    progress::{NoProgress, Piece},
    scope,
};

/// So often is read without a hold at most.
const READINGS: usize = 4;

/// What comes after some readings without a hold.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Hold,
    Read,
    GiveUp,
}

/// What to do after readings that took so long, if writers may be held for `limit`.
fn next(took: &[Duration], limit: Duration) -> Next {
    match took {
        [.., last] if enough_after(*last) <= limit => Next::Hold,
        all if all.len() >= READINGS => Next::GiveUp,
        // As much changes as is read.
        [.., before, last] if *last > before.saturating_mul(3) / 4 => Next::GiveUp,
        _ => Next::Read,
    }
}

/// How long the reading after one that took so long lasts at most. What changed since is less than what
/// that one read.
fn enough_after(took: Duration) -> Duration {
    took.saturating_mul(2)
}

/// Where a volume is saved.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) repository: &'a OpenRepository,
    /// Where what is new waits: where the repository is slow, and always while writers are held.
    pub(super) spool: Option<&'a SpoolPlace>,
}

/// What was read of a volume before what writes to it is held.
pub(super) struct Unheld {
    shelf: Option<Shelf>,
    parent: Option<Parent>,
    earlier: Vec<Saved>,
    /// The last reading, where it is to be read without a hold.
    last: Option<Saved>,
}

impl Unheld {
    /// Reads a source until what changes in it can be read in the time that its writers may be held. Where
    /// nothing is to be held, nothing is read.
    ///
    /// # Errors
    /// As [`save::save`]; or if it can't be read in that time, unless it is to be read as it is then.
    pub(super) fn read(to: Target<'_>, source: Source<'_>, piece: &dyn Piece) -> Result<Self> {
        let (parent, earlier, last) = (source.parent, Vec::new(), None);
        let Some(still) = source.files.still.filter(|still| still.is_wanted()) else {
            return Ok(Self { shelf: None, parent, earlier, last });
        };
        let shelf = to.spool.filter(|place| place.most > 0).and_then(shelf);
        let mut unheld = Self { shelf, parent, earlier, last };
        loop {
            let piece = if unheld.earlier.is_empty() { piece } else { &NoProgress };
            unheld.read_more(to, source, piece)?;
            let took: Vec<_> = unheld.earlier.iter().map(|saved| saved.read_for).collect();
            let last = took.last().copied().unwrap_or_default();
            match next(&took, still.left()) {
                Next::Read => {}
                Next::Hold => {
                    still.needs(enough_after(last));
                    return Ok(unheld);
                }
                Next::GiveUp => {
                    let error = takes_too_long(still, source.volume, &took);
                    if !still.reads_unheld() {
                        return Err(error);
                    }
                    log::warn!("{}, so its files are read as they are", error.message);
                    still.begin()?;
                    let files = Files { still: None, ..source.files };
                    let source = Source { files, ..source };
                    unheld.last = Some(unheld.save_as(to, source, (&NoProgress, true))?);
                    return Ok(unheld);
                }
            }
        }
    }

    /// Reads once more what changed since, without a hold.
    ///
    /// # Errors
    /// As [`save::save`].
    pub(super) fn again(mut self, to: Target<'_>, source: Source<'_>) -> Result<Self> {
        if self.last.is_none() && !self.earlier.is_empty() {
            self.read_more(to, source, &NoProgress)?;
        }
        Ok(self)
    }

    /// Whether its files were read as they are, without a hold.
    pub(super) fn is_complete(&self) -> bool {
        self.last.is_some()
    }

    /// Saves the source, with its writers held for as long as must be.
    ///
    /// # Errors
    /// As [`save::save`].
    pub(super) fn save(
        self,
        to: Target<'_>,
        source: Source<'_>,
        piece: &dyn Piece,
    ) -> Result<Saved> {
        let still = source.files.still;
        let saved = match self.last {
            Some(saved) => {
                still.map_or(Ok(()), Still::release)?;
                saved
            }
            None if self.earlier.is_empty() => {
                let source = Source { parent: self.parent, ..source };
                // Files of a live moment are to be read in a short time.
                let spool = to.spool.filter(|_| still.is_some());
                let _spooling = spool.and_then(|place| to.repository.backend().spool(place, false));
                save::save(to.repository, source, piece, &scope::is_ended)?
            }
            None => self.save_as(to, source, (&NoProgress, true))?,
        };
        Ok(saved.after(&self.earlier))
    }

    fn read_more(&mut self, to: Target<'_>, source: Source<'_>, piece: &dyn Piece) -> Result<()> {
        let begun = Timestamp::now();
        // So that writes through memory maps give a new time from now on.
        if let Some(still) = source.files.still {
            still.write_out();
        }
        let files = Files { still: None, ..source.files };
        let unheld = Source { files, extras: Extras::default(), ..source };
        let saved = self.save_as(to, unheld, (piece, false))?;
        self.parent = Some(Parent { tree: saved.tree, begun });
        self.earlier.push(saved);
        Ok(())
    }

    /// As one of several readings. `may_count`: whether it may be the last.
    fn save_as(
        &self,
        to: Target<'_>,
        source: Source<'_>,
        (piece, may_count): (&dyn Piece, bool),
    ) -> Result<Saved> {
        let source = Source { parent: self.parent, ..source };
        let is_held = source.files.still.is_some();
        let _spooling = to.spool.and_then(|place| to.repository.backend().spool(place, is_held));
        let reading = Reading { shelf: self.shelf.as_ref(), may_count };
        save::save_again(to.repository, source, (piece, &scope::is_ended), reading)
    }
}

/// `None` where there can't be one, so that trees are read from the repository.
fn shelf(place: &SpoolPlace) -> Option<Shelf> {
    let made = Shelf::new(&place.folder);
    made.inspect_err(|error| log::debug!("trees are read from the repository: {error}")).ok()
}

fn takes_too_long(still: &Still<'_>, volume: &str, took: &[Duration]) -> Error {
    let (limit, left, setting) = (still.limit(), still.left(), still.limit_setting());
    let took: Vec<_> = took.iter().map(|took| format!("{:.1} s", took.as_secs_f64())).collect();
    let others = if left == limit {
        String::new()
    } else {
        format!(" (of which the volumes that are held with it leave {:.1} s)", left.as_secs_f64())
    };
    let message = format!(
        "volume \"{volume}\": what changes in it can't be read within {limit:?}, the longest that what writes to it may stand still{others}; without a hold, reading took {}, each time only what had changed; nothing was held",
        took.join(", then ")
    );
    Error::new(ErrorKind::Timeout, message).with_hint(format!(
        "raise {setting}, or move the volume to a file system with moments (docs/moments.md); or let what writes to it run: the label convoy-backups.hold=none, or BKUP_DOCKER_UNHELD=live, and dump a database in it"
    ))
}

#[cfg(test)]
#[path = "unheld_tests.rs"]
mod tests;
