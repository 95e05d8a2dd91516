//! When the last backups of each volume were made. `prune` deletes backups, and so what is left does
//! not say how often a volume is backed up.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::{learning::Learning, micros, time};
use crate::clock::CLOCK_TOLERANCE;

/// How many times are remembered of each volume: a fortnight of them, if there is a backup each hour
/// of each working day.
const REMEMBERED_TIMES: u32 = 200;

/// When runs of this host made the volume's last backups, the latest first.
pub(super) fn times(
    connection: &Connection,
    daemon: &str,
    volume: &str,
) -> rusqlite::Result<Vec<Timestamp>> {
    let sql = "SELECT time FROM made_backups WHERE daemon = ?1 AND volume = ?2 ORDER BY time DESC";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([daemon, volume], |row| time(row.get(0)?))?.collect()
}

impl Learning<'_> {
    /// Remembers that this run made a backup of the volume. Of too many times, those in the future
    /// go first, and then the earliest.
    pub(super) fn made_backup(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "INSERT OR IGNORE INTO made_backups (daemon, volume, time) VALUES (?1, ?2, ?3)";
        self.execute(sql, params![self.daemon, volume, self.now])?;
        let last = time(self.now)?.saturating_add(CLOCK_TOLERANCE).map_or(i64::MAX, micros);
        let sql = "DELETE FROM made_backups WHERE daemon = ?1 AND volume = ?2 AND time NOT IN (
            SELECT time FROM made_backups WHERE daemon = ?1 AND volume = ?2
            ORDER BY time > ?4, time DESC LIMIT ?3)";
        self.execute(sql, params![self.daemon, volume, REMEMBERED_TIMES, last]).map(drop)
    }

    /// The volume that has the name now is another one.
    pub(super) fn forget_made_backups(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM made_backups WHERE daemon = ?1 AND volume = ?2";
        self.execute(sql, [self.daemon, volume]).map(drop)
    }
}
