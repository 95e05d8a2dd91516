//! Readings of volumes, and holds for clients, one after the other.
//!
//! Who reads has locks (of the volume, of the destination), and may wait for the turn to hold what writes.
//! A client that holds has its volumes read meanwhile, which wants the same locks: each would wait for the
//! other. So a client's hold begins when no reading goes on, and no other begins until it has ended. What
//! is read inside of it passes. Who came first goes first.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
    units::format_duration,
};

/// How often who waits looks whether its run goes on.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// Beside others.
    Reading,
    /// Alone.
    Hold,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: VecDeque<u64>,
    readings: usize,
    is_held: bool,
}

/// Lets nobody pass who has to wait for it, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    passing: Passing,
}

impl State {
    fn may_pass(&self, number: u64, passing: Passing) -> bool {
        let is_free = match passing {
            Passing::Reading => !self.is_held,
            Passing::Hold => !self.is_held && self.readings == 0,
        };
        is_free && self.waiting.front() == Some(&number)
    }
}

impl Gate {
    /// How many wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Waits until it may pass.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if it may not for longer than `wait`; [`ErrorKind::Cancelled`] if the run is to
    /// end.
    pub(super) fn pass(self: &Arc<Self>, passing: Passing, wait: Duration) -> Result<Pass> {
        let begun = Instant::now();
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        let mut is_told = false;
        while !state.may_pass(number, passing) {
            let given_up = match scope::goes_on("it waited for another run") {
                Ok(()) if begun.elapsed() >= wait => Err(busy(passing, wait)),
                goes_on => goes_on,
            };
            if let Err(error) = given_up {
                state.waiting.retain(|waiting| *waiting != number);
                self.changed.notify_all();
                return Err(error);
            }
            if !is_told {
                log::info!("waiting for {}", awaited(passing));
                is_told = true;
            }
            let look = LOOK.min(wait.saturating_sub(begun.elapsed()));
            let waited = self.changed.wait_timeout(state, look);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting.pop_front();
        match passing {
            Passing::Reading => state.readings += 1,
            Passing::Hold => state.is_held = true,
        }
        // The next one may pass as well.
        self.changed.notify_all();
        drop(state);
        Ok(Pass { gate: Arc::clone(self), passing })
    }
}

/// What keeps who is passing.
fn awaited(passing: Passing) -> &'static str {
    match passing {
        Passing::Reading => "another run that holds what writes to volumes (docker::quiesced)",
        Passing::Hold => "backups and snapshots of other runs to end, before anything is held",
    }
}

fn busy(passing: Passing, wait: Duration) -> Error {
    let message = format!("it waited for {} (for {})", awaited(passing), format_duration(wait));
    Error::new(ErrorKind::Busy, message)
        .with_hint("try again when they have ended, or wait longer with BKUP_LOCK_WAIT")
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.state);
        match self.passing {
            Passing::Reading => state.readings -= 1,
            Passing::Hold => state.is_held = false,
        }
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    const LATER: Duration = Duration::from_secs(60);

    fn waits(gate: &Arc<Gate>, passing: Passing) -> mpsc::Receiver<Pass> {
        let (passed, passes) = mpsc::channel();
        let waiting = lock(&gate.state).waiting.len();
        let at = Arc::clone(gate);
        thread::spawn(move || passed.send(at.pass(passing, LATER).unwrap()));
        while lock(&gate.state).waiting.len() == waiting {
            thread::yield_now();
        }
        passes
    }

    #[test]
    fn a_hold_begins_when_no_reading_goes_on_and_who_came_first_goes_first() {
        let gate = Arc::new(Gate::default());
        let one = gate.pass(Passing::Reading, LATER).unwrap();
        let two = gate.pass(Passing::Reading, LATER).unwrap();
        let hold = waits(&gate, Passing::Hold);
        let later = waits(&gate, Passing::Reading);
        drop((one, two));
        let held = hold.recv_timeout(LATER).unwrap();
        assert!(later.try_recv().is_err());
        drop(held);
        drop(later.recv_timeout(LATER).unwrap());
    }

    #[test]
    fn who_waits_too_long_or_whose_run_ends_is_told_and_keeps_nobody() {
        let gate = Arc::new(Gate::default());
        let reading = gate.pass(Passing::Reading, LATER).unwrap();
        let busy = gate.pass(Passing::Hold, Duration::ZERO).unwrap_err();
        assert_eq!(busy.kind, ErrorKind::Busy);
        let run = scope::Scope::of("run-1");
        run.ended.cancel();
        let ended = scope::within(Some(run), || gate.pass(Passing::Hold, LATER).unwrap_err());
        assert_eq!(ended.kind, ErrorKind::Cancelled);
        drop(gate.pass(Passing::Reading, Duration::ZERO).unwrap());
        drop(reading);
        drop(gate.pass(Passing::Hold, Duration::ZERO).unwrap());
    }
}
