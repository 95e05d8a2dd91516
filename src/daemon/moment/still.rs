//! The hold of one reading: begun just before what must be read at one moment, ended just after it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use super::{
    around::Around,
    hold::{Hold, HoldEnded, NotHeld, told_of},
    holds::{Holds, with_its_hint},
    live,
    place::Place,
    turns::Turn,
};
use crate::{
    error::{ErrorKind, Result},
    sync::lock,
};

/// What writes to a place, to be held still while it is read. Nothing is held where the
/// configuration does not ask for it.
#[derive(Debug)]
pub(in crate::daemon) struct Still<'a> {
    holds: &'a Holds,
    place: &'a Place,
    is_wanted: OnceLock<bool>,
    hold: Mutex<Option<Hold>>,
    /// The commands in containers that were begun, in the turn of the hold.
    around: Mutex<Option<(Around, Arc<Turn>)>>,
    stood: Mutex<Option<Stood>>,
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
    pub(super) fn new(holds: &'a Holds, place: &'a Place) -> Self {
        let is_wanted = OnceLock::new();
        let (hold, around, stood) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { holds, place, is_wanted, hold, around, stood }
    }

    /// Whether anything may have to be held.
    pub(in crate::daemon) fn is_wanted(&self) -> bool {
        *self.is_wanted.get_or_init(|| self.holds.may_hold(self.place))
    }

    /// The name of the volume.
    pub(in crate::daemon) fn volume(&self) -> &str {
        &self.place.volume
    }

    /// How long the files may be read while it is held.
    pub(in crate::daemon) fn limit(&self) -> Duration {
        self.holds.limit_of(self.place).0
    }

    /// The setting that says so.
    pub(in crate::daemon) fn limit_setting(&self) -> &'static str {
        self.holds.limit_of(self.place).1
    }

    /// Whether the files are read as they are where what writes to them can't be held.
    pub(in crate::daemon) fn reads_unheld(&self) -> bool {
        self.holds.reads_unheld(self.place)
    }

    /// Makes writes through memory maps visible ([`live::write_out`]).
    pub(in crate::daemon) fn write_out(&self) {
        live::write_out(&self.place.folder);
    }

    /// Runs the commands before, and holds, unless that was done. The result is whether anything is held.
    ///
    /// # Errors
    /// If a command fails, or the writers can't be held still, unless they are to be read as they are then.
    pub(in crate::daemon) fn hold(&self) -> Result<bool> {
        let mut hold = lock(&self.hold);
        if hold.is_none() {
            let turn = self.begin_around()?;
            *hold = match self.holds.hold(self.place, turn) {
                // What stands still for nothing must not be passed over.
                Err(NotHeld { error, stands: false })
                    if self.holds.reads_unheld(self.place)
                        && error.kind != ErrorKind::Cancelled =>
                {
                    log::warn!(
                        "what writes to volume \"{}\" is not held still, so its files are read as they are: {error}",
                        self.place.volume
                    );
                    None
                }
                held => held.map_err(|not_held| not_held.error)?,
            };
        }
        Ok(hold.is_some())
    }

    /// Runs the commands before, unless that was done. The result is the turn in which they ran.
    fn begin_around(&self) -> Result<Option<Arc<Turn>>> {
        let Some(containers) = &self.holds.containers else { return Ok(None) };
        let mut begun = lock(&self.around);
        if let Some((_, turn)) = &*begun {
            return Ok(Some(Arc::clone(turn)));
        }
        let turn = Arc::new(self.holds.turn(self.place)?);
        // Commands may take long, and what an earlier hold left must not stand still for as long.
        self.holds.release_left();
        let around = containers.before(self.place);
        let around = around.map_err(|error| told_of(&self.place.volume, error))?;
        if !around.is_empty() {
            *begun = Some((around, Arc::clone(&turn)));
        }
        Ok(Some(turn))
    }

    /// Whether what is held is all that writes to the place, so that its files are of one moment.
    pub(in crate::daemon) fn is_of_all(&self) -> bool {
        lock(&self.hold).as_ref().is_some_and(Hold::is_of_all)
    }

    /// Releases what is held, and runs the commands after.
    ///
    /// # Errors
    /// If it could not be released, or was released too early: what was read is then of no use. If a
    /// command fails: what the one before did may still be so.
    pub(in crate::daemon) fn release(&self) -> Result<()> {
        let released = self.release_hold();
        let after = self.end_around();
        if let (Err(_), Err(also)) = (&released, &after) {
            log::error!("{}", with_its_hint(also));
        }
        released.and(after)
    }

    fn end_around(&self) -> Result<()> {
        let Some((around, _turn)) = lock(&self.around).take() else { return Ok(()) };
        around.after().map_err(|error| told_of(&self.place.volume, error))
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
