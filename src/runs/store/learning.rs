//! What every statement needs that learns from the observations of a run.

use rusqlite::{Params, Transaction};

/// A run of one daemon, within the transaction that records the run.
pub(super) struct Learning<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) daemon: &'a str,
    pub(super) run: &'a str,
    /// Microseconds since 1970, in UTC.
    pub(super) now: i64,
}

impl Learning<'_> {
    /// Executes a statement. The statement stays prepared, because every run repeats it.
    pub(super) fn execute(&self, sql: &str, given: impl Params) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(given)
    }
}
