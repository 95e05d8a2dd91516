//! Records deletions as they happen, so that they are known however the run ends.

use std::fmt;

use super::observations::Observation;

/// Records what a run deletes while the run goes on. What can't be recorded is not told to the run,
/// which goes on.
pub(crate) trait DeletionRecord: fmt::Debug + Send + Sync {
    /// The daemon is about to be asked to delete or to forget this volume. Unless one of the other
    /// methods follows, nobody has seen what came of it.
    fn asks_to_remove(&self, daemon: &str, volume: &str);
    /// The daemon has not removed the volume.
    fn is_not_removed(&self, daemon: &str, volume: &str);
    /// Something was deleted. `observed` is what the run has observed until then and is not on record
    /// yet, in order. Returns whether it is on record now.
    fn deleted(&self, daemon: &str, observed: &[Observation]) -> bool;
}
