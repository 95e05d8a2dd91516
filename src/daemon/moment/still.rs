//! The hold of one reading: begun just before what must be read at one moment, ended just after it.

use std::sync::Mutex;

use super::{
    hold::{Hold, Holds},
    place::Place,
};
use crate::{error::Result, sync::lock};

/// What writes to a place, to be held still while it is read. Nothing is held where the
/// configuration does not ask for it.
#[derive(Debug)]
pub(in crate::daemon) struct Still<'a> {
    /// `None` if nothing is to be held.
    holds: Option<&'a Holds>,
    place: &'a Place,
    hold: Mutex<Option<Hold>>,
    /// How long writers stood still, in milliseconds.
    stood: Mutex<Option<u64>>,
}

impl<'a> Still<'a> {
    pub(super) fn new(holds: Option<&'a Holds>, place: &'a Place) -> Self {
        Self { holds, place, hold: Mutex::default(), stood: Mutex::default() }
    }

    /// Whether anything is to be held.
    pub(in crate::daemon) fn is_wanted(&self) -> bool {
        self.holds.is_some()
    }

    /// Holds, unless that was done.
    ///
    /// # Errors
    /// If the writers can't be held still.
    pub(in crate::daemon) fn hold(&self) -> Result<()> {
        let Some(holds) = self.holds else { return Ok(()) };
        let mut hold = lock(&self.hold);
        if hold.is_none() {
            *hold = Some(holds.hold(self.place)?);
        }
        Ok(())
    }

    /// Releases what is held.
    ///
    /// # Errors
    /// If it could not be released, or was released too early: what was read is then of no use.
    pub(in crate::daemon) fn release(&self) -> Result<()> {
        let Some(hold) = lock(&self.hold).take() else { return Ok(()) };
        let took = u64::try_from(hold.end()?.as_millis()).unwrap_or(u64::MAX);
        *lock(&self.stood).get_or_insert(0) += took;
        Ok(())
    }

    /// Whether what is held was released too early.
    pub(in crate::daemon) fn is_over(&self) -> bool {
        lock(&self.hold).as_ref().is_some_and(Hold::is_over)
    }

    /// How long writers stood still in all, in milliseconds; `None` if they were not held.
    pub(in crate::daemon) fn stood(&self) -> Option<u64> {
        *lock(&self.stood)
    }
}
