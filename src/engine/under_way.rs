//! Commands in containers that are under way. The end of the program waits for them for a while: what
//! one has begun, such as a maintenance mode, would stay in force.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::sync::lock;

static COUNT: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// A command that is under way, or what is to be done after one, until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct UnderWay(());

impl UnderWay {
    pub(crate) fn begin() -> Self {
        *lock(&COUNT) += 1;
        Self(())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *lock(&COUNT) -= 1;
        ENDED.notify_all();
    }
}

/// Waits until no command is under way, for this time at most. The result is how many still are.
pub(crate) fn wait_for_commands(within: Duration) -> usize {
    let begun = Instant::now();
    let mut count = lock(&COUNT);
    while *count > 0
        && let Some(left) = within.checked_sub(begun.elapsed())
    {
        count = ENDED.wait_timeout(count, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    *count
}
