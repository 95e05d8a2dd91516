//! The hold of one reading: begun just before what must be read at one moment, ended just after it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{
    around::Around,
    hold::{Hold, HoldEnded, NotHeld, told_of},
    holds::{Holds, with_its_hint},
    live,
    place::{Place, names},
    turns::Turn,
};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// What writes to places, to be held still while they are read. Nothing is held where the
/// configuration does not ask for it.
#[derive(Debug)]
pub(in crate::daemon) struct Still<'a> {
    holds: &'a Holds,
    places: Vec<&'a Place>,
    may_hold: OnceLock<bool>,
    is_wanted: OnceLock<bool>,
    /// How much of the limit readings need that are yet to come.
    needed: Mutex<Duration>,
    /// Whether a release is left to [`Still::end`].
    is_kept: AtomicBool,
    hold: Mutex<Option<Hold>>,
    /// The commands in containers that were begun, in the turn of the hold.
    around: Mutex<Option<(Around, Arc<Turn>)>>,
    stood: Mutex<Option<Stood>>,
    /// Why what was read in a hold is of no use.
    broken: Mutex<Option<Error>>,
}

/// How long writers stood still, in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Stood {
    /// In all, with the time that it took to hold and to release them.
    pub(in crate::daemon) milliseconds: u64,
    /// Each container, by its name.
    pub(in crate::daemon) containers: BTreeMap<String, u64>,
}

impl Stood {
    /// The parts of a record: the time in all, and that of each container.
    pub(in crate::daemon) fn told(stood: Option<Self>) -> (Option<u64>, BTreeMap<String, u64>) {
        stood.map_or_else(Default::default, |stood| (Some(stood.milliseconds), stood.containers))
    }
}

impl<'a> Still<'a> {
    pub(super) fn new(holds: &'a Holds, places: Vec<&'a Place>) -> Self {
        Self {
            holds,
            places,
            may_hold: OnceLock::new(),
            is_wanted: OnceLock::new(),
            needed: Mutex::default(),
            is_kept: AtomicBool::new(false),
            hold: Mutex::default(),
            around: Mutex::default(),
            stood: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// Whether anything may have to be held.
    fn may_hold(&self) -> bool {
        *self.may_hold.get_or_init(|| self.places.iter().any(|place| self.holds.may_hold(place)))
    }

    /// Whether anything may have to be held, or done before and after the files are read.
    pub(in crate::daemon) fn is_wanted(&self) -> bool {
        let has_commands = || self.holds.has_commands(&self.places);
        *self.is_wanted.get_or_init(|| self.may_hold() || has_commands())
    }

    /// How long all files may be read while they are held; for ever where nothing is.
    pub(in crate::daemon) fn limit(&self) -> Duration {
        if self.may_hold() { self.holds.limit_of(&self.places).0 } else { Duration::MAX }
    }

    /// How much of the limit other readings leave.
    pub(in crate::daemon) fn left(&self) -> Duration {
        self.limit().saturating_sub(*lock(&self.needed))
    }

    /// Keeps so much of the limit for a reading that is yet to come.
    pub(in crate::daemon) fn needs(&self, time: Duration) {
        let mut needed = lock(&self.needed);
        *needed = needed.saturating_add(time);
    }

    /// The setting that says how long they may be held.
    pub(in crate::daemon) fn limit_setting(&self) -> &'static str {
        self.holds.limit_of(&self.places).1
    }

    /// Whether the files are read as they are where what writes to them can't be held.
    pub(in crate::daemon) fn reads_unheld(&self) -> bool {
        self.places.iter().all(|place| self.holds.reads_unheld(place))
    }

    /// Makes writes through memory maps visible ([`live::write_out`]).
    pub(in crate::daemon) fn write_out(&self) {
        for place in &self.places {
            live::write_out(&place.folder);
        }
    }

    /// Runs the commands before, and holds, unless that was done. The result is whether anything is held.
    ///
    /// # Errors
    /// If a command fails, or the writers can't be held still, unless they are to be read as they are then.
    pub(in crate::daemon) fn hold(&self) -> Result<bool> {
        let mut hold = lock(&self.hold);
        if hold.is_none() {
            let turn = self.begin_around()?;
            *hold = match self.holds.hold(&self.places, turn) {
                // What stands still for nothing must not be passed over.
                Err(NotHeld { error, stands: false })
                    if self.reads_unheld() && error.kind != ErrorKind::Cancelled =>
                {
                    log::warn!(
                        "what writes to volume \"{}\" is not held still, so its files are read as they are: {error}",
                        names(&self.places)
                    );
                    None
                }
                held => held.map_err(|not_held| not_held.error)?,
            };
        }
        Ok(hold.is_some())
    }

    /// Runs the commands before, unless that was done. The result is whether any was to be run.
    ///
    /// # Errors
    /// If one fails.
    pub(in crate::daemon) fn begin(&self) -> Result<bool> {
        let is_begun = || lock(&self.around).is_some();
        if is_begun() {
            return Ok(false);
        }
        self.begin_around()?;
        Ok(is_begun())
    }

    /// [`Still::begin`]. The result is the turn in which the commands ran.
    fn begin_around(&self) -> Result<Option<Arc<Turn>>> {
        let Some(containers) = self.holds.containers.as_ref().filter(|_| !self.places.is_empty())
        else {
            return Ok(None);
        };
        let mut begun = lock(&self.around);
        if let Some((_, turn)) = &*begun {
            return Ok(Some(Arc::clone(turn)));
        }
        let volumes = names(&self.places);
        let turn = Arc::new(self.holds.turn(&volumes)?);
        // Commands may take long, and what an earlier hold left must not stand still for as long.
        self.holds.release_left();
        let around = containers.before(&self.places);
        let around = around.map_err(|error| told_of(&volumes, error))?;
        if !around.is_empty() {
            *begun = Some((around, Arc::clone(&turn)));
        }
        Ok(Some(turn))
    }

    /// Leaves releases to [`Still::end`], while others are to be read in the same hold.
    pub(in crate::daemon) fn keep(&self, is_kept: bool) {
        self.is_kept.store(is_kept, Ordering::Release);
    }

    /// Whether what is held is all that writes to the places, so that their files are of one moment.
    pub(in crate::daemon) fn is_of_all(&self) -> bool {
        lock(&self.hold).as_ref().is_some_and(Hold::is_of_all)
    }

    /// Releases what is held, and runs the commands after, unless that is left to [`Still::end`].
    ///
    /// # Errors
    /// If it could not be released, or was released too early: what was read is then of no use. If a
    /// command fails: what the one before did may still be so.
    pub(in crate::daemon) fn release(&self) -> Result<()> {
        if self.is_kept.load(Ordering::Acquire) { Ok(()) } else { self.release_now() }
    }

    /// [`Still::release`], also of what was left to this.
    ///
    /// # Errors
    /// As [`Still::release`], also if that failed before.
    pub(in crate::daemon) fn end(&self) -> Result<()> {
        self.release_now()?;
        lock(&self.broken).clone().map_or(Ok(()), Err)
    }

    fn release_now(&self) -> Result<()> {
        let released = self.release_hold();
        let after = self.end_around();
        if let (Err(_), Err(also)) = (&released, &after) {
            log::error!("{}", with_its_hint(also));
        }
        let ended = released.and(after);
        ended.inspect_err(|error| *lock(&self.broken) = Some(error.clone()))
    }

    fn end_around(&self) -> Result<()> {
        let Some((around, _turn)) = lock(&self.around).take() else { return Ok(()) };
        around.after().map_err(|error| told_of(&names(&self.places), error))
    }

    fn release_hold(&self) -> Result<()> {
        let Some(hold) = lock(&self.hold).take() else { return Ok(()) };
        let HoldEnded { milliseconds, containers } = hold.end()?;
        let mut stood = lock(&self.stood);
        let stood = stood.get_or_insert_default();
        stood.milliseconds += milliseconds;
        for (container, milliseconds) in containers {
            *stood.containers.entry(container).or_default() += milliseconds;
        }
        Ok(())
    }

    /// Whether what is held was released too early.
    pub(in crate::daemon) fn is_over(&self) -> bool {
        lock(&self.hold).as_ref().is_some_and(Hold::is_over)
    }

    /// How long writers stood still in all; `None` if they were not held.
    pub(in crate::daemon) fn stood(&self) -> Option<Stood> {
        lock(&self.stood).clone()
    }
}

impl Drop for Still<'_> {
    /// What was not released runs first: a command after runs in a container that runs.
    fn drop(&mut self) {
        drop(lock(&self.hold).take());
        if let Err(error) = self.end_around() {
            log::error!("{}", with_its_hint(&error));
        }
    }
}
