//! Requests to cancel a run. They go through the store, because the process that asks may not be
//! the process of the run.

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, micros, time};
use crate::{
    error::Result,
    runs::record::{CancelRequest, Cancelling},
};

impl Store {
    /// Asks a run (by its full id) to end. The run's process reads requests each second. `by` is
    /// the person or program that asks, in words.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn request_cancel(&self, id: &str, by: &str, now: Timestamp) -> Result<Cancelling> {
        self.mark_interrupted()?;
        self.write(|transaction| {
            let status = self.status(transaction, id)?;
            if !status.is_open() {
                return Ok(Cancelling::Ended(status));
            }
            // The first request counts.
            let sql = "UPDATE runs SET cancel_by = ?2, cancel_at = ?3 WHERE id = ?1 AND cancel_by IS NULL";
            transaction.execute(sql, params![id, by, micros(now)])?;
            Ok(Cancelling::Asked)
        })
    }

    /// Returns the requests to cancel runs that have not ended, with the ids of the runs.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn cancel_requests(&self) -> Result<Vec<(String, CancelRequest)>> {
        self.read(|connection| {
            let sql = "SELECT id, cancel_by, cancel_at FROM runs
                WHERE status IN ('running', 'waiting') AND cancel_by IS NOT NULL";
            let mut statement = connection.prepare_cached(sql)?;
            let read = |row: &rusqlite::Row<'_>| {
                Ok((row.get(0)?, CancelRequest { by: row.get(1)?, at: time(row.get(2)?)? }))
            };
            statement.query_map([], read)?.collect()
        })
    }
}
