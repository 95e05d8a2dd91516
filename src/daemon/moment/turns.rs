//! The turn of one hold. The same program may write to several volumes, and can be held once only: a
//! second hold would fail, and its release would free what is still being read under the first.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::sync::lock;

/// How often is looked whether to go on waiting.
const LOOK: Duration = Duration::from_millis(100);

/// Gives one turn at a time.
#[derive(Debug, Default)]
pub(super) struct Turns {
    is_taken: Mutex<bool>,
    freed: Condvar,
}

/// The turn, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Turns>);

impl Turns {
    /// Waits for the turn; `None` soon after `given_up` returns true.
    pub(super) fn wait(self: &Arc<Self>, given_up: &dyn Fn() -> bool) -> Option<Turn> {
        let mut is_taken = lock(&self.is_taken);
        while *is_taken {
            if given_up() {
                return None;
            }
            let waited = self.freed.wait_timeout(is_taken, LOOK);
            is_taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *is_taken = true;
        drop(is_taken);
        Some(Turn(Arc::clone(self)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.0.is_taken) = false;
        self.0.freed.notify_one();
    }
}
