//! The table `times`: when each entry of the crontab was due, and when the store was last pruned.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, micros, time};
use crate::error::{ErrorKind, Result};

/// What the store remembers of an entry of the crontab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryTimes {
    /// The entry's due times up to this one are dealt with: they ran, were skipped, or passed
    /// before the entry was in the crontab.
    pub(crate) due: Timestamp,
    /// The entry's run that began and is not known to have ended. At the start of the program, such
    /// a run was cut off with the process before.
    pub(crate) begun: Option<EntryRun>,
}

/// A run of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryRun {
    /// The time for which the run was due.
    pub(crate) due: Timestamp,
    /// The run is a second try: the first one, due at the same time, was cut off.
    pub(crate) again: bool,
}

/// What happens to an entry and must outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryEvent {
    /// The entry's due times up to this one are dealt with: they were missed for good, or passed
    /// before the entry was in the crontab.
    DealtWith(Timestamp),
    /// A run of the entry begins. The run's due time is dealt with from then on.
    Begun(EntryRun),
    /// The entry's run is over and was not cut off, or a run that was cut off is given up.
    Ended,
}

// The prefixes of the names of an entry's times; the entry's key follows.
const DUE: &str = "due ";
const BEGUN: &str = "begun ";
const AGAIN: &str = "again ";

impl Store {
    /// Returns what is remembered of the entries of the crontab, by their keys. The map is empty
    /// where there is no store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn entry_times(&self) -> Result<HashMap<String, EntryTimes>> {
        let all: Result<HashMap<String, Timestamp>> = self.read(|connection| {
            let mut statement = connection.prepare("SELECT name, time FROM times")?;
            statement.query_map([], |row| Ok((row.get(0)?, time(row.get(1)?)?)))?.collect()
        });
        let all = match all {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(HashMap::new()),
            all => all?,
        };
        let of_entry = |(name, due): (&String, &Timestamp)| {
            let key = name.strip_prefix(DUE)?;
            let begun = all.get(&format!("{BEGUN}{key}"));
            let again = all.get(&format!("{AGAIN}{key}"));
            let begun = begun.map(|due| EntryRun { due: *due, again: again == Some(due) });
            Some((key.to_owned(), EntryTimes { due: *due, begun }))
        };
        Ok(all.iter().filter_map(of_entry).collect())
    }

    /// Remembers events in their order, each with its entry's key, in one transaction: all or none.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn remember(&self, events: &[(&str, EntryEvent)]) -> Result<()> {
        self.write(|transaction| {
            for (key, event) in events {
                match event {
                    EntryEvent::DealtWith(due) => set(transaction, &format!("{DUE}{key}"), *due)?,
                    EntryEvent::Begun(EntryRun { due, again }) => {
                        // Later due times may have been missed while the run waited: the latest
                        // due time stays.
                        let dealt_with = get(transaction, &format!("{DUE}{key}"))?;
                        let latest = dealt_with.map_or(*due, |known| known.max(*due));
                        set(transaction, &format!("{DUE}{key}"), latest)?;
                        set(transaction, &format!("{BEGUN}{key}"), *due)?;
                        if *again {
                            set(transaction, &format!("{AGAIN}{key}"), *due)?;
                        }
                    }
                    EntryEvent::Ended => {
                        let sql = "DELETE FROM times WHERE name IN (?1, ?2)";
                        transaction
                            .execute(sql, [format!("{BEGUN}{key}"), format!("{AGAIN}{key}")])?;
                    }
                }
            }
            Ok(())
        })
    }
}

pub(super) fn get(connection: &Connection, name: &str) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT time FROM times WHERE name = ?1";
    let found: Option<i64> =
        connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    found.map(time).transpose()
}

pub(super) fn set(connection: &Connection, name: &str, when: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO times (name, time) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET time = excluded.time";
    connection.execute(sql, params![name, micros(when)]).map(drop)
}
