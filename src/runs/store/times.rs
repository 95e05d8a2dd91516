//! Times that are remembered by a name: when an entry of the crontab was last due, and when the store was last pruned.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{Store, micros, time};
use crate::error::{ErrorKind, Result};

impl Store {
    /// When this entry of the crontab was last due and started, skipped or made up for; `None` where it never was.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub fn last_due(&self, entry: &str) -> Result<Option<Timestamp>> {
        match self.read(|connection| get(connection, &due(entry))) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            read => read,
        }
    }

    /// Remembers that this entry of the crontab was due.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub fn remember_due(&self, entry: &str, when: Timestamp) -> Result<()> {
        self.write(|transaction| set(transaction, &due(entry), when))
    }
}

fn due(entry: &str) -> String {
    format!("due {entry}")
}

pub(super) fn get(connection: &Connection, name: &str) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT time FROM times WHERE name = ?1";
    let found: Option<i64> = connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    found.map(time).transpose()
}

pub(super) fn set(connection: &Connection, name: &str, when: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO times (name, time) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET time = excluded.time";
    connection.execute(sql, params![name, micros(when)]).map(drop)
}
