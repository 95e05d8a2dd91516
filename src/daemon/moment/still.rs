//! The hold of one reading: begun just before what must be read at one moment, ended just after it.

use std::{
    collections::BTreeMap,
    path::Path,
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
    lent::Lending,
    live,
    place::{Place, names},
    turns::Turn,
};
use crate::{
    error::{ErrorKind, Result},
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
    /// The volumes that are held; `None` for all.
    only: Mutex<Option<Vec<String>>>,
    /// Whether a release is left to [`Still::end`].
    is_kept: AtomicBool,
    hold: Mutex<Option<Hold>>,
    /// The commands in containers that were begun, in the turn of the hold.
    around: Mutex<Option<(Around, Arc<Turn>)>>,
    stood: Mutex<Option<Stood>>,
    /// Why what is read is of no use, or nothing where it is read without the hold that failed.
    failed: Mutex<Option<Result<()>>>,
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
            only: Mutex::default(),
            is_kept: AtomicBool::new(false),
            hold: Mutex::default(),
            around: Mutex::default(),
            stood: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    /// Whether these places are held for a client, who then has them read.
    fn is_lent(&self) -> bool {
        self.holds.lent.to(&self.places).is_some()
    }

    /// Holds what writes to these volumes only, from now on. What failed before is no matter any more.
    pub(in crate::daemon) fn limit_to<'n>(&self, volumes: impl IntoIterator<Item = &'n str>) {
        // What a volume that failed has left is not the next one's.
        if let Err(error) = self.release_now() {
            log::error!("{}", with_its_hint(&error));
        }
        lock(&self.stood).take();
        *lock(&self.only) = Some(volumes.into_iter().map(str::to_owned).collect());
        *lock(&self.failed) = None;
    }

    /// The places that are held.
    fn held_places(&self) -> Vec<&'a Place> {
        let only = lock(&self.only);
        let is_held =
            |place: &&Place| only.as_ref().is_none_or(|only| only.contains(&place.volume));
        self.places.iter().copied().filter(is_held).collect()
    }

    /// Whether anything may have to be held.
    fn may_hold(&self) -> bool {
        *self.may_hold.get_or_init(|| self.places.iter().any(|place| self.holds.may_hold(place)))
    }

    /// Whether anything may have to be held, or done before and after the files are read.
    pub(in crate::daemon) fn is_wanted(&self) -> bool {
        let has_commands = || self.holds.has_commands(&self.places);
        *self.is_wanted.get_or_init(|| !self.is_lent() && (self.may_hold() || has_commands()))
    }

    /// How long all files may be read while they are held; for ever where nothing is.
    pub(in crate::daemon) fn limit(&self) -> Duration {
        if self.may_hold() { self.holds.limit_of(&self.places).0 } else { Duration::MAX }
    }

    /// The setting that says how long they may be held.
    pub(in crate::daemon) fn limit_setting(&self) -> &'static str {
        self.holds.limit_of(&self.places).1
    }

    /// Whether the files are read as they are where what writes to them can't be held.
    pub(in crate::daemon) fn reads_unheld(&self) -> bool {
        self.places.iter().all(|place| self.holds.reads_unheld(place))
    }

    /// Makes writes through memory maps in this folder visible ([`live::write_out`]).
    pub(in crate::daemon) fn write_out(&self, folder: &Path) {
        live::write_out(folder);
    }

    /// Runs the commands before, and holds, unless that was done. The result is whether anything is held.
    /// What failed is not tried again.
    ///
    /// # Errors
    /// If a command fails, or the writers can't be held still, unless they are to be read as they are then.
    pub(in crate::daemon) fn hold(&self) -> Result<bool> {
        let mut hold = lock(&self.hold);
        if hold.is_some() {
            return Ok(true);
        }
        if let Some(failed) = &*lock(&self.failed) {
            return failed.clone().map(|()| false);
        }
        let turn = self.begin_around()?;
        let places = self.held_places();
        let failed = match self.holds.hold(&places, turn) {
            Ok(held) => {
                *hold = held;
                return Ok(hold.is_some());
            }
            // What stands still for nothing must not be passed over.
            Err(NotHeld { error, stands: false })
                if self.reads_unheld() && error.kind != ErrorKind::Cancelled =>
            {
                log::warn!(
                    "what writes to volume \"{}\" is not held still, so its files are read as they are: {error}",
                    names(&places)
                );
                Ok(())
            }
            Err(not_held) => Err(not_held.error),
        };
        *lock(&self.failed) = Some(failed.clone());
        failed.map(|()| false)
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

    /// Runs the commands before, holds, and lends that to readings of these places that have this id, until
    /// the result is dropped. The result also has the containers that stand still.
    ///
    /// # Errors
    /// As [`Still::hold`].
    pub(super) fn lend(&self, id: &Arc<str>) -> Result<(Lending<'_>, Vec<String>)> {
        self.hold()?;
        let hold = lock(&self.hold);
        let containers = hold.as_ref().map(Hold::containers).unwrap_or_default();
        let held = hold.as_ref().map(Hold::lend);
        Ok((self.holds.lent.lend(id, &self.places, held), containers))
    }

    /// How long a hold may last.
    pub(super) fn hold_limit(&self) -> Duration {
        self.holds.limit_of(&self.places).0
    }

    /// [`Still::begin`]. The result is the turn in which the commands ran.
    fn begin_around(&self) -> Result<Option<Arc<Turn>>> {
        let Some(containers) = &self.holds.containers else { return Ok(None) };
        if self.places.is_empty() || self.is_lent() {
            return Ok(None);
        }
        let mut begun = lock(&self.around);
        if let Some((_, turn)) = &*begun {
            return Ok(Some(Arc::clone(turn)));
        }
        if let Some(Err(failed)) = &*lock(&self.failed) {
            return Err(failed.clone());
        }
        let places = self.held_places();
        let volumes = names(&places);
        let turn = Arc::new(self.holds.turn(&volumes)?);
        // Commands may take long, and what an earlier hold left must not stand still for as long.
        self.holds.release_left();
        let ran = match containers.before(&places, &self.holds.notes) {
            // It may have been done half way.
            Ok((around, Err(error))) => {
                if let Err(after) = self.run_after(around) {
                    log::error!("volume {volumes}: {}", with_its_hint(&after));
                }
                Err(error)
            }
            Ok((around, Ok(()))) => {
                if !around.is_empty() {
                    *begun = Some((around, Arc::clone(&turn)));
                }
                Ok(())
            }
            Err(error) => Err(error),
        };
        let ran = ran.map_err(|error| told_of(&volumes, error));
        ran.inspect_err(|error| *lock(&self.failed) = Some(Err(error.clone())))?;
        Ok(Some(turn))
    }

    /// Leaves releases to [`Still::end`], while others are to be read in the same hold, unless it is over.
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
        let is_left = self.is_kept.load(Ordering::Acquire) && !self.is_over();
        if is_left { Ok(()) } else { self.release_now() }
    }

    /// [`Still::release`], also of what was left to this.
    ///
    /// # Errors
    /// As [`Still::release`], also if that failed before.
    pub(in crate::daemon) fn end(&self) -> Result<()> {
        self.release_now()?;
        lock(&self.failed).clone().unwrap_or(Ok(()))
    }

    fn release_now(&self) -> Result<()> {
        let released = self.release_hold();
        let after = self.end_around();
        if let (Err(_), Err(also)) = (&released, &after) {
            log::error!("{}", with_its_hint(also));
        }
        let ended = released.and(after);
        ended.inspect_err(|error| *lock(&self.failed) = Some(Err(error.clone())))
    }

    fn end_around(&self) -> Result<()> {
        let Some((around, _turn)) = lock(&self.around).take() else { return Ok(()) };
        self.run_after(around).map_err(|error| told_of(&names(&self.held_places()), error))
    }

    /// Runs the commands after. Those that can't be run now are tried again.
    fn run_after(&self, around: Around) -> Result<()> {
        let (ran, left) = around.after();
        if let Some(left) = left
            && let Err(error) = self.holds.undo_later(left)
        {
            log::warn!("{error}");
        }
        ran
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

    /// How long writers stood still in all since this was asked last; `None` if they were not held.
    pub(in crate::daemon) fn stood(&self) -> Option<Stood> {
        lock(&self.stood).take()
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
