//! The wish that a run should end, handed on through the store: whoever has it may be another
//! process than the run's.

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, micros, time};
use crate::{
    error::Result,
    runs::record::{CancelRequest, Cancelling},
};

impl Store {
    /// Asks a run to end (its full id); it looks each second. `by` is who wants it, in words.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub(crate) fn request_cancel(&self, id: &str, by: &str, now: Timestamp) -> Result<Cancelling> {
        self.mark_interrupted()?;
        self.write(|transaction| {
            let status = self.status(transaction, id)?;
            if !status.is_open() {
                return Ok(Cancelling::Ended(status));
            }
            // Who asked first is who it was.
            let sql = "UPDATE runs SET cancel_by = ?2, cancel_at = ?3 WHERE id = ?1 AND cancel_by IS NULL";
            transaction.execute(sql, params![id, by, micros(now)])?;
            Ok(Cancelling::Asked)
        })
    }

    /// Which runs that have not ended somebody wants to end, by id.
    ///
    /// # Errors
    /// Where the store can't be read.
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
