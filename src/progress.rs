//! What long work tells of how far it has come; who shows it, and how, is the caller's business.

use std::sync::Arc;

/// Takes the progress of one piece of work at a time.
pub trait Progress: Send + Sync + std::fmt::Debug {
    /// A piece of work begins (`what`: "snapshot vol1"); `total` bytes where they are known from the start.
    fn begin(&self, what: &str, total: Option<u64>);
    /// The total, in bytes, once it is known.
    fn set_total(&self, total: u64);
    /// So many bytes more are done.
    fn advance(&self, bytes: u64);
    /// The piece of work is over, well or not.
    fn end(&self);
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn set_total(&self, _total: u64) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}

/// A shared [`NoProgress`].
pub fn none() -> Arc<dyn Progress> {
    Arc::new(NoProgress)
}
