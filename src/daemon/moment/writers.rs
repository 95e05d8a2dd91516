//! What writes to a volume, and how it is held still: a way to hold is a [`Writers`].

use std::{collections::BTreeMap, fmt, sync::Mutex, time::Duration};

use jiff::Timestamp;

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

    /// The note on a hold of what writes to any of these places now; `None` if nothing does. There are
    /// many only where [`super::containers`] hold.
    ///
    /// # Errors
    /// If that can't be told.
    fn note(&self, places: &[&Place]) -> Result<Option<Note>>;

    /// How long files may be read while what writes to them is held, if `usual` is how long the operator's
    /// commands may hold.
    fn reading_limit(&self, usual: Duration) -> Duration;

    /// How long what the note says may be held, if `usual` is how long the operator's commands may hold.
    fn limit(&self, note: &Note, usual: Duration) -> Duration;

    /// The setting that this is by.
    fn limit_setting(&self) -> &'static str;

    /// Holds what the note says; the note has what is held, or may be, when this returns. A failure may
    /// come half way: the release follows all the same. Ends soon after `stopped` returns true. `keep`
    /// writes the note to disk, before something is held that it does not say.
    fn hold(&self, note: &mut Note, holding: &Holding<'_>) -> Result<()>;

    /// Whether what failed to hold with this error may go on, and has to be ended.
    fn may_go_on(&self, error: &Error) -> bool;

    /// Ends what the hold of this note still does, if it was stopped or killed half way: it would
    /// hold after the release.
    ///
    /// # Errors
    /// If it goes on.
    fn end(&self, note: &Note) -> Result<()>;

    /// Releases what the note says; also what is held half way, or not at all. What goes on again is
    /// taken out of the note.
    ///
    /// # Errors
    /// If something may still stand still. The hint says what to do by hand.
    fn release(&self, note: &mut Note, standing: &Standing) -> Result<()>;

    /// Says so ([`Standing::is_broken`]) if something else wrote to the places in this stretch of time,
    /// while what the note says stood still.
    fn check(
        &self,
        held: &Note,
        places: &[&Place],
        time: (Timestamp, Timestamp),
        standing: &Standing,
    );
}

/// What a hold goes by.
pub(super) struct Holding<'a> {
    pub(super) limit: Duration,
    /// Whether it is to end.
    pub(super) stopped: &'a dyn Fn() -> bool,
    pub(super) standing: &'a Standing,
    /// Writes the note to disk.
    pub(super) keep: &'a dyn Fn(&Note) -> Result<()>,
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

    /// It does not stand still by this hold.
    pub(super) fn forgets(&self, container: &NotedContainer) {
        lock(&self.0).since.remove(&container.name);
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
