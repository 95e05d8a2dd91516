//! Giving back the space of what no snapshot needs, at a destination and in the root's own repository.
//!
//! What is there is [`seen`] first: snapshots, the index, the packs. [`reach`] walks the snapshots' folders
//! and notes what they need. The [`plan`] says what becomes of each pack, what is there [twice](double) is
//! read before one of both goes, and the plan is [carried out](carry_out) in an order that leaves the repository whole wherever it is broken off, while other
//! hosts write.
//!
//! The form is restic's, and the marks are rustic's: both programs can be used beside this.

mod carry_out;
mod double;
mod index_file;
#[cfg(test)]
mod interleavings;
mod plan;
mod reach;
mod remove;
mod seen;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use rustic_core::{Id, repofile::BlobType};

pub(super) use self::plan::Sharing;
use self::{
    carry_out::Work,
    plan::{Facts, Fate, Plan, WAIT},
    reach::Reached,
    seen::{Seen, Snapshots},
};
use super::repository::OpenRepository;
use crate::error::{Error, ErrorKind, Result};

/// So often it is begun anew because another host has written meanwhile.
const TRIES: usize = 3;

/// What was given back, and what was found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// What was removed, in bytes.
    pub(super) removed: u64,
    /// What nothing needs and waits for its removal, in bytes.
    pub(super) marked: u64,
    /// When the first of that goes.
    pub(super) first_goes: Option<Timestamp>,
    /// The snapshots that can't be read, and why. What was there when they were written stays.
    pub(super) unread: Vec<(Id, Error)>,
    /// The snapshots that lack folders or pieces of files. What they still have stays.
    pub(super) broken: Vec<Id>,
    /// How many packs are missing that are needed.
    pub(super) missing_packs: usize,
    /// Packs with pieces that can't be read. They stay.
    pub(super) damaged_packs: Vec<Id>,
}

/// Gives back the space of what no snapshot needs.
///
/// # Errors
/// [`ErrorKind::Busy`] if other hosts wrote again and again meanwhile. Another kind if the repository can't be
/// read or written. What was removed until then is not needed.
pub(super) fn collect(repository: &OpenRepository, sharing: Sharing) -> Result<Collected> {
    let mut tries = 1..TRIES;
    let collected = loop {
        repository.backend().take_failure();
        match try_collect(repository, sharing) {
            Err(error) if error.kind == ErrorKind::Busy && tries.next().is_some() => {
                log::debug!("giving back space begins anew: {error}");
            }
            done => break done,
        }
    };
    repository.backend().take_failure();
    repository.forget_index();
    collected
}

fn try_collect(repository: &OpenRepository, sharing: Sharing) -> Result<Collected> {
    let now = repository.backend().now()?;
    let snapshots = Snapshots::read(repository)?;
    let seen = Seen::of(repository)?;
    let reached = Reached::by(&snapshots, &seen, repository)?;
    let config = repository.config();
    let full = |kind| u64::from(config.packsize(kind).0);
    let (piece_pack, tree_pack) = (full(BlobType::Data), full(BlobType::Tree));
    let unread = match reached.lacks_folders {
        true => Some(None),
        false => snapshots.newest_unread(),
    };
    let is_lacking = !reached.broken.is_empty();
    let facts = Facts { now, sharing, piece_pack, tree_pack, unread, is_lacking };
    let mut plan = Plan::of(&seen, &reached, &facts)?;
    // Nobody else writes index files to a root's own repository.
    if sharing.is_shared {
        double::keep_unproven(repository, (&seen, &reached), &mut plan, double::MOST_READ)?;
    }
    let mut work = Work {
        repository,
        snapshots: &snapshots,
        seen: &seen,
        facts: &facts,
        plan,
        removed: Vec::new(),
        damaged: Vec::new(),
    };
    work.carry_out()?;
    let Work { plan, removed, damaged, .. } = work;
    let bytes = |places: &mut dyn Iterator<Item = usize>| {
        places.map(|place| seen.packs[place].bytes()).sum::<u64>()
    };
    let marked = |fate| bytes(&mut plan.with(fate));
    let new = marked(Fate::Marked) + marked(Fate::Repacked);
    let first_mark = plan.first_mark().or((new > 0).then_some(now));
    Ok(Collected {
        removed: bytes(&mut removed.iter().copied()),
        marked: new + marked(Fate::Waits),
        first_goes: first_mark.and_then(|first| first.checked_add(WAIT).ok()),
        unread: snapshots.unread.into_iter().map(|(file, why)| (file.id, why)).collect(),
        broken: reached.broken,
        missing_packs: plan.missing,
        damaged_packs: damaged,
    })
}
