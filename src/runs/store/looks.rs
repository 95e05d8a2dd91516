//! When looks first saw the volumes that no run has seen yet: from then on, their first backups are
//! waited for. Such a volume has no record, as it may come and go without a run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{Store, micros, time};
use crate::{
    clock::is_in_future,
    error::{ErrorKind, Result},
};

impl Store {
    /// Remembers that a look sees these volumes of the daemon, which no run has seen yet, and forgets
    /// those that it does not see any more. Returns when each was first seen; a time in the future,
    /// from a clock that was wrong, becomes `now`.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub(crate) fn look_at(
        &self,
        daemon: &str,
        volumes: &BTreeSet<&str>,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Timestamp>> {
        let known = match self.read(|connection| first_looks(connection, daemon)) {
            Err(error) if error.kind == ErrorKind::NotFound => BTreeMap::new(),
            read => read?,
        };
        let first_seen = |name: &&str| {
            let known = known.get(*name).copied().filter(|first| !is_in_future(*first, now));
            ((*name).to_owned(), known.unwrap_or(now))
        };
        let first_looks: BTreeMap<_, _> = volumes.iter().map(first_seen).collect();
        // Most looks find nothing new, and write nothing.
        if first_looks == known {
            return Ok(known);
        }
        self.write(|transaction| {
            transaction.execute("DELETE FROM looked_at WHERE daemon = ?1", [daemon])?;
            let sql = "INSERT INTO looked_at (daemon, volume, first_seen) VALUES (?1, ?2, ?3)";
            let mut statement = transaction.prepare(sql)?;
            for (name, first) in &first_looks {
                statement.execute(params![daemon, name, micros(*first)])?;
            }
            Ok(())
        })?;
        Ok(first_looks)
    }
}

fn first_looks(
    connection: &Connection,
    daemon: &str,
) -> rusqlite::Result<BTreeMap<String, Timestamp>> {
    let sql = "SELECT volume, first_seen FROM looked_at WHERE daemon = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([daemon], |row| Ok((row.get(0)?, time(row.get(1)?)?)))?.collect()
}
