//! How many backups one process makes at a time at one destination. Who comes first gets the next free
//! slot.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    error::Result,
    scope::{self, Scope},
    sync::lock,
};

/// So many are made at a time: one that waits for its files or for the network leaves the processor to
/// the other, and memory for two can be had.
const SLOTS: usize = 2;
/// So often who waits looks whether its run goes on.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Default)]
pub(super) struct Slots {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: VecDeque<u64>,
    taken: Vec<(u64, Option<Scope>)>,
}

impl State {
    /// Whether this one is next, and there is a slot. What still hangs of a run that is over, as on a
    /// share that does not answer, takes none away from others.
    fn may_begin(&self, number: u64) -> bool {
        let is_over =
            |scope: &Option<Scope>| scope.as_ref().is_some_and(|scope| scope.ended.is_cancelled());
        let taken = self.taken.iter().filter(|(_, scope)| !is_over(scope)).count();
        taken < SLOTS && self.waiting.front() == Some(&number)
    }
}

/// A slot, until it is dropped.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    number: u64,
}

impl Slots {
    /// Waits for a slot.
    ///
    /// # Errors
    /// If the run is over, or is to end.
    pub(super) fn take(&self) -> Result<Slot<'_>> {
        let mut state = lock(&self.state);
        let number = state.next;
        state.next += 1;
        // Containers stand still for it.
        if scope::is_in_a_hold() {
            state.taken.push((number, scope::current()));
            return Ok(Slot { slots: self, number });
        }
        state.waiting.push_back(number);
        let mut is_told = false;
        while !state.may_begin(number) {
            if !is_told {
                log::info!("waiting for another backup to this destination");
                is_told = true;
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if let Err(error) = scope::goes_on("it waited for another backup") {
                state.waiting.retain(|waiting| *waiting != number);
                self.changed.notify_all();
                return Err(error);
            }
        }
        state.waiting.pop_front();
        state.taken.push((number, scope::current()));
        self.changed.notify_all();
        Ok(Slot { slots: self, number })
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.slots.state).taken.retain(|(number, _)| *number != self.number);
        self.slots.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn two_backups_are_made_at_a_time_and_the_next_one_begins_when_one_ends() {
        let slots = Slots::default();
        let (one, two) = (slots.take().unwrap(), slots.take().unwrap());
        let (begun, begins) = mpsc::channel();
        thread::scope(|threads| {
            threads.spawn(|| {
                let _slot = slots.take().unwrap();
                begun.send(()).unwrap();
            });
            while lock(&slots.state).waiting.is_empty() {
                thread::yield_now();
            }
            assert!(begins.try_recv().is_err());
            drop(one);
            begins.recv_timeout(Duration::from_secs(60)).unwrap();
        });
        drop(two);
        assert!(lock(&slots.state).taken.is_empty());
    }

    #[test]
    fn what_hangs_of_a_run_that_is_over_takes_no_slot_from_others_and_who_waits_can_be_cancelled() {
        let slots = Slots::default();
        let run = |name: &str| Scope::of(name);
        let (hangs, goes_on, waits) = (run("run-1"), run("run-2"), run("run-3"));
        let _one = scope::within(Some(hangs.clone()), || slots.take().unwrap());
        let _two = scope::within(Some(goes_on), || slots.take().unwrap());
        waits.ended.cancel();
        let refused = scope::within(Some(waits), || slots.take().map(drop).unwrap_err());
        assert_eq!(refused.kind, ErrorKind::Cancelled);
        hangs.ended.cancel();
        slots.take().unwrap();
    }
}
