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

/// What to do after readings that took so long, if writers may be held for `limit`. What changed since the
/// last one is less than it read, so twice its time is enough.
fn next(took: &[Duration], limit: Duration) -> Next {
    match took {
        [.., last] if last.saturating_mul(2) <= limit => Next::Hold,
        all if all.len() >= READINGS => Next::GiveUp,
        // As much changes as is read.
        [.., before, last] if *last > before.saturating_mul(3) / 4 => Next::GiveUp,
        _ => Next::Read,
    }
}

/// Saves a source, with its writers held for as long as must be. What is new waits in the `spool` where
/// the repository is slow, and always while writers are held.
///
/// # Errors
/// As [`save::save`]; or, before anything is held, if what changes can't be read in the time that it may be
/// held, unless it is to be read as it is then.
pub(super) fn save_held(
    repository: &OpenRepository,
    source: Source<'_>,
    piece: &dyn Piece,
    spool: Option<&SpoolPlace>,
) -> Result<Saved> {
    let backend = repository.backend();
    let cancelled = &scope::is_ended;
    let files_still = source.files.still;
    let Some(still) = files_still.filter(|still| still.is_wanted()) else {
        // Files of a live moment are to be read in a short time.
        let place = spool.filter(|_| files_still.is_some());
        let _spooling = place.and_then(|place| backend.spool(place, false));
        return save::save(repository, source, piece, cancelled);
    };
    let shelf = spool.filter(|place| place.most > 0).and_then(shelf);
    let mut source = source;
    let mut earlier: Vec<Saved> = Vec::new();
    loop {
        let took: Vec<_> = earlier.iter().map(|saved| saved.read_for).collect();
        let next = if took.is_empty() { Next::Read } else { next(&took, still.limit()) };
        let piece = if took.is_empty() { piece } else { &NoProgress };
        let reading = Reading { shelf: shelf.as_ref(), may_count: next == Next::Hold };
        match next {
            Next::Hold => {
                let _spooling = spool.and_then(|place| backend.spool(place, true));
                let saved = save::save_again(repository, source, (piece, cancelled), reading)?;
                return Ok(saved.after(&earlier));
            }
            Next::GiveUp if !still.reads_unheld() => return Err(takes_too_long(still, &took)),
            Next::GiveUp => {
                let error = takes_too_long(still, &took);
                log::warn!("{}, so its files are read as they are", error.message);
                let unheld = Source { files: Files { still: None, ..source.files }, ..source };
                let _spooling = spool.and_then(|place| backend.spool(place, false));
                let reading = Reading { may_count: true, ..reading };
                let saved = save::save_again(repository, unheld, (piece, cancelled), reading)?;
                return Ok(saved.after(&earlier));
            }
            Next::Read => {
                let begun = Timestamp::now();
                // So that writes through memory maps give a new time from now on.
                still.write_out();
                let files = Files { still: None, ..source.files };
                let unheld = Source { files, extras: Extras::default(), ..source };
                let _spooling = spool.and_then(|place| backend.spool(place, false));
                let saved = save::save_again(repository, unheld, (piece, cancelled), reading)?;
                source.parent = Some(Parent { tree: saved.tree, begun });
                earlier.push(saved);
            }
        }
    }
}

/// `None` where there can't be one, so that trees are read from the repository.
fn shelf(place: &SpoolPlace) -> Option<Shelf> {
    let made = Shelf::new(&place.folder);
    made.inspect_err(|error| log::debug!("trees are read from the repository: {error}")).ok()
}

fn takes_too_long(still: &Still<'_>, took: &[Duration]) -> Error {
    let (volume, limit, setting) = (still.volume(), still.limit(), still.limit_setting());
    let took: Vec<_> = took.iter().map(|took| format!("{:.1} s", took.as_secs_f64())).collect();
    let message = format!(
        "volume \"{volume}\": what changes in it can't be read within {limit:?}, the longest that what writes to it may stand still; without a hold, reading took {}, each time only what had changed; nothing was held",
        took.join(", then ")
    );
    Error::new(ErrorKind::Timeout, message).with_hint(format!(
        "raise {setting}, or move the volume to a file system with moments (docs/moments.md); or let what writes to it run: the label convoy-backups.hold=none, or BKUP_DOCKER_UNHELD=live, and dump a database in it"
    ))
}

#[cfg(test)]
#[path = "unheld_tests.rs"]
mod tests;
