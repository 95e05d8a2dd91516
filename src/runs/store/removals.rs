//! Deletions that are recorded before their run ends, and removals of volumes whose outcome no run
//! has seen: the run was killed, or ended while the daemon was at it.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction, params};

use super::{Store, learning::Learning, micros, time, volumes::learn};
use crate::{
    clock::is_in_future,
    convoy::guards::Observation,
    error::{ErrorKind, Result},
    runs::record::Deleted,
};

/// How long after a removal was asked for its volume counts as removed if it is not listed. Later,
/// something else took it away.
const REMOVAL_TAKES: SignedDuration = SignedDuration::from_hours(24);

impl Store {
    /// Records that a run is about to have a volume deleted or forgotten.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn removal_begins(
        &self,
        daemon: &str,
        volume: &str,
        run: &str,
        now: Timestamp,
    ) -> Result<()> {
        let sql =
            "INSERT OR REPLACE INTO removals (daemon, volume, run, asked) VALUES (?1, ?2, ?3, ?4)";
        self.write(|transaction| {
            transaction.execute(sql, params![daemon, volume, run, micros(now)]).map(drop)
        })
    }

    /// Records that the volume was not removed.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn removal_is_off(&self, daemon: &str, volume: &str) -> Result<()> {
        self.write(|transaction| forget(transaction, daemon, volume))
    }

    /// Records what a run that goes on has observed, with what it has deleted.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn deleted(
        &self,
        daemon: &str,
        observed: &[Observation],
        run: &str,
        now: Timestamp,
    ) -> Result<()> {
        self.write(|transaction| record(transaction, daemon, observed, run, now))
    }

    /// Settles what came of removals whose runs have ended, by the volumes that the daemon has listed
    /// since `now`: a listed one was not removed, unless that was asked for after `now`. Another one
    /// was, if that was asked for within a day.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub(crate) fn settle_removals(
        &self,
        daemon: &str,
        is_listed: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Result<()> {
        let open = match self.read(|connection| open_removals(connection, daemon)) {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(()),
            read => read?,
        };
        // Most looks find none, and write nothing.
        if open.is_empty() {
            return Ok(());
        }
        self.write(|transaction| {
            for (volume, run, asked) in open {
                let is_over = is_in_future(asked, now)
                    || now.duration_since(asked) > REMOVAL_TAKES
                    || is_listed(&volume) && asked <= now;
                if is_over {
                    forget(transaction, daemon, &volume)?;
                } else if !is_listed(&volume) {
                    let gone = Observation::VolumeGone { volume, forgotten: false };
                    record(transaction, daemon, &[gone], &run, now)?;
                }
            }
            Ok(())
        })
    }
}

/// The volumes whose removal was asked for, with the run that asked, and when.
fn open_removals(
    connection: &Connection,
    daemon: &str,
) -> rusqlite::Result<Vec<(String, String, Timestamp)>> {
    let sql = "SELECT volume, run, asked FROM removals WHERE daemon = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .query_map([daemon], |row| Ok((row.get(0)?, row.get(1)?, time(row.get(2)?)?)))?
        .collect()
}

fn forget(transaction: &Transaction<'_>, daemon: &str, volume: &str) -> rusqlite::Result<()> {
    let sql = "DELETE FROM removals WHERE daemon = ?1 AND volume = ?2";
    transaction.execute(sql, [daemon, volume]).map(drop)
}

fn record(
    transaction: &Transaction<'_>,
    daemon: &str,
    observed: &[Observation],
    run: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    learn(transaction, daemon, observed, run, now)?;
    for deleted in observed.iter().filter_map(Deleted::of) {
        let deleted = serde_json::to_string(&deleted).unwrap_or_default();
        let sql = "UPDATE runs SET deleted = json_insert(deleted, '$[#]', json(?2)) WHERE id = ?1";
        transaction.execute(sql, [run, &deleted])?;
    }
    Ok(())
}

impl Learning<'_> {
    /// The outcome of the removal of this volume is known: it is gone, or another one has its name.
    pub(super) fn removal_is_over(&self, volume: &str) -> rusqlite::Result<()> {
        forget(self.transaction, self.daemon, volume)
    }

    /// This run has seen the volume at this time, in microseconds. So no earlier run has removed it.
    pub(super) fn is_not_removed(&self, volume: &str, seen: i64) -> rusqlite::Result<()> {
        let sql =
            "DELETE FROM removals WHERE daemon = ?1 AND volume = ?2 AND run <> ?3 AND asked <= ?4";
        self.execute(sql, params![self.daemon, volume, self.run, seen]).map(drop)
    }
}
