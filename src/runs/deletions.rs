//! What a run deletes is in the store at once, and not only at the end of the run: the run may be
//! killed before it.

use std::sync::Arc;

use super::store::Store;
use crate::{
    clock::Clock,
    convoy::guards::{DeletionRecord, Observation},
    diagnostic,
    error::Result,
};

/// Records the deletions of one run.
#[derive(Debug)]
pub(super) struct Deletions {
    pub(super) store: Arc<Store>,
    pub(super) run: String,
    pub(super) clock: Arc<dyn Clock>,
}

impl Deletions {
    /// What can't be recorded now is recorded later: with the next deletion, or at the end of the run.
    fn say(&self, written: Result<()>) {
        if let Err(error) = written
            && self.store.is_news(false)
        {
            let why = diagnostic::in_one_line(&error);
            log::warn!("the run goes on, but what it deletes is not recorded: {why}");
        }
    }
}

impl DeletionRecord for Deletions {
    fn asks_to_remove(&self, daemon: &str, volume: &str) {
        self.say(self.store.removal_begins(daemon, volume, &self.run, self.clock.now()));
    }

    fn is_not_removed(&self, daemon: &str, volume: &str) {
        self.say(self.store.removal_is_off(daemon, volume));
    }

    fn deleted(&self, daemon: &str, observed: &[Observation]) -> bool {
        let written = self.store.deleted(daemon, observed, &self.run, self.clock.now());
        let is_written = written.is_ok();
        self.say(written);
        is_written
    }
}
