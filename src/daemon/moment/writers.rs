//! What writes to a volume, and how it is held still: a way to hold is a [`Writers`].

use std::{collections::BTreeMap, fmt, sync::Mutex, time::Duration};

use super::{
    notes::{Note, NotedContainer},
    place::Place,
};
use crate::{
    error::{Error, Result},
    sync::lock,
};

/// Holds and releases what writes to volumes.
pub(super) trait Writers: fmt::Debug + Send + Sync {
    /// Whether something that writes to this place may have to be held.
    fn may_hold(&self, place: &Place) -> bool;

    /// The note on a hold of what writes to this place now; `None` if nothing does.
    ///
    /// # Errors
    /// If that can't be told.
    fn note(&self, place: &Place) -> Result<Option<Note>>;

    /// Holds what the note says; the note has what is held when this returns. A failure may come half
    /// way: the release follows all the same. Ends soon after `stopped` returns true.
    fn hold(
        &self,
        note: &mut Note,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
        standing: &Standing,
    ) -> Result<()>;

    /// Whether what failed to hold with this error may go on, and hold later.
    fn may_go_on(&self, error: &Error) -> bool;

    /// Ends what the hold of this note still does, if it was stopped or killed half way: it would
    /// hold after the release.
    ///
    /// # Errors
    /// If it goes on.
    fn end(&self, note: &Note) -> Result<()>;

    /// Releases what the note says; also what is held half way, or not at all.
    ///
    /// # Errors
    /// If it may still stand still. The hint says what to do by hand.
    fn release(&self, note: &Note, standing: &Standing) -> Result<()>;
}

/// Since when containers stood still, and for how long.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<Stood>);

#[derive(Debug, Default)]
struct Stood {
    since: BTreeMap<String, std::time::Instant>,
    milliseconds: BTreeMap<String, u64>,
    /// Why not all of them stood still until the release.
    broken: Option<String>,
}

impl Standing {
    pub(super) fn begins(&self, container: &NotedContainer) {
        lock(&self.0).since.insert(container.name.clone(), std::time::Instant::now());
    }

    pub(super) fn ends(&self, container: &NotedContainer) {
        let mut stood = lock(&self.0);
        if let Some(since) = stood.since.remove(&container.name) {
            let took = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            stood.milliseconds.insert(container.name.clone(), took);
        }
    }

    /// Says that something wrote before the release.
    pub(super) fn is_broken(&self, why: String) {
        lock(&self.0).broken.get_or_insert(why);
    }

    pub(super) fn broken(&self) -> Option<String> {
        lock(&self.0).broken.clone()
    }

    /// For how long each container stood still, in milliseconds.
    pub(super) fn milliseconds(&self) -> BTreeMap<String, u64> {
        lock(&self.0).milliseconds.clone()
    }
}
