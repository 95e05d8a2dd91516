//! The progress of long work. The work reports it; the caller decides how to show it.

use std::sync::Arc;

/// Receives the progress of long work. Several pieces of work may run at the same time, each with
/// its own count.
pub(crate) trait Progress: Send + Sync + std::fmt::Debug {
    /// Begins a piece of work, described by `what` ("snapshot vol1"). `total` is in bytes, if known
    /// from the start. The piece ends, successfully or not, when the returned value is dropped. The
    /// thread that does the work, or waits for it, makes the call.
    fn begin(&self, what: &str, total: Option<u64>) -> Arc<dyn Piece>;
}

/// One piece of work that is under way.
pub(crate) trait Piece: Send + Sync + std::fmt::Debug {
    /// The total, in bytes, once it is known.
    fn set_total(&self, total: u64);
    /// This many more bytes are done.
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
