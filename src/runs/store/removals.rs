//! Deletions that are recorded before their run ends, and removals of volumes whose outcome no run
//! has seen: the run was killed, or ended while the daemon was at it.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Store, learning::Learning, volumes::learn};
use crate::{convoy::guards::Observation, error::Result, runs::record::Deleted};

impl Store {
    /// Records that a run is about to have a volume deleted or forgotten.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn removal_begins(&self, daemon: &str, volume: &str, run: &str) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO removals (daemon, volume, run) VALUES (?1, ?2, ?3)";
        self.write(|transaction| transaction.execute(sql, [daemon, volume, run]).map(drop))
    }

    /// Records that the volume was not removed.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn removal_is_off(&self, daemon: &str, volume: &str) -> Result<()> {
        let sql = "DELETE FROM removals WHERE daemon = ?1 AND volume = ?2";
        self.write(|transaction| transaction.execute(sql, [daemon, volume]).map(drop))
    }

    /// Records what a run that goes on has deleted.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn deleted(
        &self,
        daemon: &str,
        deletion: &Observation,
        run: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|transaction| record(transaction, daemon, deletion, run, now))
    }

    /// Takes those of the volumes for removed that the daemon does not list any more, while a run that
    /// has ended was to remove them.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn settle_removals(
        &self,
        daemon: &str,
        unlisted: &[&str],
        now: Timestamp,
    ) -> Result<()> {
        self.write(|transaction| {
            for volume in unlisted {
                let sql = "SELECT run FROM removals WHERE daemon = ?1 AND volume = ?2";
                let run: Option<String> =
                    transaction.query_row(sql, [daemon, volume], |row| row.get(0)).optional()?;
                if let Some(run) = run {
                    let volume = (*volume).to_owned();
                    let gone = Observation::VolumeGone { volume, forgotten: false };
                    record(transaction, daemon, &gone, &run, now)?;
                }
            }
            Ok(())
        })
    }
}

fn record(
    transaction: &Transaction<'_>,
    daemon: &str,
    deletion: &Observation,
    run: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    learn(transaction, daemon, std::slice::from_ref(deletion), run, now)?;
    let Some(deleted) = Deleted::of(deletion) else { return Ok(()) };
    let deleted = serde_json::to_string(&deleted).unwrap_or_default();
    let sql = "UPDATE runs SET deleted = json_insert(deleted, '$[#]', json(?2)) WHERE id = ?1";
    transaction.execute(sql, [run, &deleted]).map(drop)
}

impl Learning<'_> {
    /// The outcome of the removal of this volume is known: it is gone, or another one has its name.
    pub(super) fn removal_is_over(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM removals WHERE daemon = ?1 AND volume = ?2";
        self.execute(sql, [self.daemon, volume]).map(drop)
    }

    /// This run has listed the volume. So no earlier run has removed it.
    pub(super) fn is_not_removed(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM removals WHERE daemon = ?1 AND volume = ?2 AND run <> ?3";
        self.execute(sql, params![self.daemon, volume, self.run]).map(drop)
    }
}
