//! The progress of long work. The work reports it; the caller decides how to show it.

use std::sync::{Arc, Weak};

/// Receives the progress of work. Several pieces of work may run at a time, each with its own
/// count.
pub(crate) trait Progress: Send + Sync + std::fmt::Debug {
    /// A piece of work begins (`what`: "snapshot vol1"); `total` bytes where they are known from
    /// the start. It is over, well or not, when what comes back is dropped. Called on the thread
    /// that does the work, or waits for it.
    fn begin(&self, what: &str, total: Option<u64>) -> Arc<dyn Piece>;
}

/// One piece of work that is under way.
pub(crate) trait Piece: Send + Sync + std::fmt::Debug {
    /// The total, in bytes, once it is known.
    fn set_total(&self, total: u64);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _what: &str, _total: Option<u64>) -> Arc<dyn Piece> {
        Arc::new(Self)
    }
}

impl Piece for NoProgress {
    fn set_total(&self, _total: u64) {}
    fn advance(&self, _bytes: u64) {}
}

/// A shared [`NoProgress`].
pub(crate) fn none() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}

/// A piece of work without progress.
pub(crate) fn no_piece() -> Weak<dyn Piece> {
    Weak::<NoProgress>::new()
}
