//! Bringing to the disk what is restored, while the rest is still being restored. The sync at the
//! end then waits for little.

use std::{
    io,
    os::fd::OwnedFd,
    sync::{Condvar, Mutex, PoisonError},
};

use crate::sync::lock;

/// So many bytes are written between two syncs.
const EVERY: u64 = 128 << 20;

/// How much of what was written is not on the disk yet.
#[derive(Default)]
pub(super) struct Flush {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    unsynced: u64,
    closed: bool,
}

impl Flush {
    /// Counts what was written.
    pub(super) fn wrote(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.unsynced += bytes;
        if state.unsynced >= EVERY {
            self.changed.notify_all();
        }
    }

    /// Syncs the file system of this folder each time so much was written, until
    /// [`Flush::until_dropped`] says so. A failure counts: no later sync tells of it again.
    pub(super) fn run(&self, folder: &OwnedFd) -> io::Result<()> {
        loop {
            let mut state = lock(&self.state);
            while state.unsynced < EVERY && !state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.closed {
                return Ok(());
            }
            state.unsynced = 0;
            drop(state);
            rustix::fs::syncfs(folder)?;
        }
    }

    /// Syncing ends when what this returns is dropped.
    pub(super) fn until_dropped(&self) -> Flushing<'_> {
        Flushing(self)
    }
}

/// While this is there, what is written is synced.
pub(super) struct Flushing<'a>(&'a Flush);

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).closed = true;
        self.0.changed.notify_all();
    }
}
