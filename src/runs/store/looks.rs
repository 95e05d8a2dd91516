//! When looks first saw the volumes that no run has seen yet: from then on, their first backups are
//! waited for. Such a volume has no record, as it may come and go without a run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::{Store, micros, time};
use crate::{
    clock::is_in_future,
    error::{ErrorKind, Result},
};

/// How long a volume that looks do not see any more is remembered: a list may be short once, and then
/// the volume would be new again.
const REMEMBERED_UNSEEN: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How often it is written that a volume is still seen.
const SEEN_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// A volume that no run has seen.
struct Look {
    first_seen: Timestamp,
    last_seen: Timestamp,
}

impl Store {
    /// Remembers that a look sees these volumes of the daemon, which no run has seen yet, and forgets
    /// those that none has seen for a month. Returns when each of `volumes` was first seen; a time in
    /// the future, from a clock that was wrong, becomes `now`.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub(crate) fn look_at(
        &self,
        daemon: &str,
        volumes: &BTreeSet<&str>,
        now: Timestamp,
    ) -> Result<BTreeMap<String, Timestamp>> {
        let mut known = match self.read(|connection| looks(connection, daemon)) {
            Err(error) if error.kind == ErrorKind::NotFound => BTreeMap::new(),
            read => read?,
        };
        let is_forgotten = |look: &Look| now.duration_since(look.last_seen) > REMEMBERED_UNSEEN;
        let forgotten: Vec<String> = known
            .iter()
            .filter(|(name, look)| !volumes.contains(name.as_str()) && is_forgotten(look))
            .map(|(name, _)| name.clone())
            .collect();
        known.retain(|name, look| {
            volumes.contains(name.as_str()) && !is_in_future(look.first_seen, now)
        });
        let is_written = |name: &str| {
            known.get(name).is_some_and(|look| {
                now.duration_since(look.last_seen) < SEEN_EVERY
                    && !is_in_future(look.last_seen, now)
            })
        };
        let first_seen = |name: &str| known.get(name).map_or(now, |look| look.first_seen);
        let seen: Vec<&str> = volumes.iter().copied().filter(|name| !is_written(name)).collect();
        // Most looks find nothing new, and write nothing.
        if !(seen.is_empty() && forgotten.is_empty()) {
            self.write(|transaction| {
                let sql = "DELETE FROM looked_at WHERE daemon = ?1 AND volume = ?2";
                for name in &forgotten {
                    transaction.execute(sql, [daemon, name])?;
                }
                let sql = "INSERT OR REPLACE INTO looked_at (daemon, volume, first_seen, last_seen) VALUES (?1, ?2, ?3, ?4)";
                let mut statement = transaction.prepare(sql)?;
                for name in seen {
                    let (first, last) = (micros(first_seen(name)), micros(now));
                    statement.execute(params![daemon, name, first, last])?;
                }
                Ok(())
            })?;
        }
        Ok(volumes.iter().map(|name| ((*name).to_owned(), first_seen(name))).collect())
    }
}

fn looks(connection: &Connection, daemon: &str) -> rusqlite::Result<BTreeMap<String, Look>> {
    let sql = "SELECT volume, first_seen, last_seen FROM looked_at WHERE daemon = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let look = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, Look { first_seen: time(row.get(1)?)?, last_seen: time(row.get(2)?)? }))
    };
    statement.query_map([daemon], look)?.collect()
}
