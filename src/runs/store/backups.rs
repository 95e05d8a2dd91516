//! What is known of backups: the good ones, and those that can't be restored, are partial or in doubt.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{Store, learning::Learning, micros, number, sources, time};
use crate::{
    clock::CLOCK_TOLERANCE,
    convoy::guards::{Broken, KnownBackup, KnownBackups, KnownSources},
    error::{ErrorKind, Result},
    runs::record::{BadBackup, BadReason, GoodBackup},
};

/// How many backups of a volume are remembered: enough to see how their sizes grow.
const REMEMBERED_BACKUPS: u32 = 100;

impl KnownBackups for Store {
    fn of_volume(&self, daemon: &str, volume: &str) -> Result<Vec<KnownBackup>> {
        match self.read(|connection| known(connection, daemon, volume)) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    fn sources(&self, daemon: &str) -> Result<KnownSources> {
        match self.read(|connection| sources::known(connection, daemon)) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(KnownSources::default()),
            read => read,
        }
    }
}

fn known(
    connection: &Connection,
    daemon: &str,
    volume: &str,
) -> rusqlite::Result<Vec<KnownBackup>> {
    let sql = "SELECT url, snapshot_time, proven, made, verified, broken, broken_since, broken_by_reading, coalesce(partial, doubt), files, bytes,
        restored, former FROM backups WHERE daemon = ?1 AND volume = ?2";
    let read = |row: &Row<'_>| {
        let broken = match row.get::<_, Option<String>>(5)? {
            Some(why) => Some(Broken { why, since: time(row.get(6)?)?, by_reading: row.get(7)? }),
            None => None,
        };
        Ok(KnownBackup {
            url: row.get(0)?,
            snapshot_time: optional_time(row, 1)?,
            proven: time(row.get(2)?)?,
            made_here: row.get(3)?,
            verified: row.get(4)?,
            broken,
            doubt: row.get(8)?,
            files: row.get::<_, Option<i64>>(9)?.map(i64::unsigned_abs),
            bytes: row.get::<_, Option<i64>>(10)?.map(i64::unsigned_abs),
            restored: row.get(11)?,
            former: row.get(12)?,
        })
    };
    connection.prepare_cached(sql)?.query_map([daemon, volume], read)?.collect()
}

/// The good backups of a volume, the newest data first.
pub(super) fn good_backups(
    connection: &Connection,
    daemon: &str,
    volume: &str,
) -> rusqlite::Result<Vec<GoodBackup>> {
    // A daemon may not know the snapshot's time. Then the time of the proof orders the backups.
    let sql = "SELECT url, snapshot_time, proven, run, bytes, changed_files FROM backups
        WHERE daemon = ?1 AND volume = ?2 AND NOT former AND broken IS NULL AND partial IS NULL AND doubt IS NULL
        ORDER BY coalesce(snapshot_time, proven) DESC, proven DESC";
    connection.prepare_cached(sql)?.query_map([daemon, volume], as_good)?.collect()
}

fn as_good(row: &Row<'_>) -> rusqlite::Result<GoodBackup> {
    Ok(GoodBackup {
        url: row.get(0)?,
        snapshot_time: optional_time(row, 1)?,
        proven: time(row.get(2)?)?,
        run: row.get(3)?,
        bytes: row.get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
        changed_files: row.get::<_, Option<i64>>(5)?.map(i64::unsigned_abs),
    })
}

/// The backups of a volume that are broken, partial or in doubt, the newest data first.
pub(super) fn bad_backups(
    connection: &Connection,
    daemon: &str,
    volume: &str,
) -> rusqlite::Result<Vec<BadBackup>> {
    let sql = "SELECT url, snapshot_time, proven, run, bytes, changed_files, broken, broken_by_reading, partial, doubt FROM backups
        WHERE daemon = ?1 AND volume = ?2 AND NOT former AND coalesce(broken, partial, doubt) IS NOT NULL
        ORDER BY coalesce(snapshot_time, proven) DESC, proven DESC";
    let read = |row: &Row<'_>| {
        let (broken, inside): (Option<String>, bool) = (row.get(6)?, row.get(7)?);
        let partial: Option<String> = row.get(8)?;
        let (reason, why) = match (broken, partial) {
            (Some(why), _) if inside => (BadReason::BrokenInside, why),
            (Some(why), _) => (BadReason::Broken, why),
            (None, Some(why)) => (BadReason::Partial, why),
            (None, None) => (BadReason::Doubtful, row.get(9)?),
        };
        Ok(BadBackup { backup: as_good(row)?, reason, why })
    };
    connection.prepare_cached(sql)?.query_map([daemon, volume], read)?.collect()
}

fn optional_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(time).transpose()
}

/// A backup that a run inspected and found good.
pub(super) struct Inspected<'a> {
    pub(super) volume: &'a str,
    pub(super) url: &'a str,
    pub(super) snapshot_time: Option<Timestamp>,
    pub(super) bytes: Option<u64>,
    pub(super) files: Option<u64>,
    pub(super) changed_files: Option<u64>,
    /// Whether this run made it.
    pub(super) made: bool,
    pub(super) verified: bool,
}

impl Learning<'_> {
    /// Remembers a good backup. What only reading it whole had shown to be broken stays so. Only
    /// the newest [`REMEMBERED_BACKUPS`] of each volume stay.
    pub(super) fn good_backup(&self, backup: &Inspected<'_>) -> rusqlite::Result<()> {
        let snapshot_time = backup.snapshot_time.map(micros);
        // Inspecting an old backup does not make the backup newer.
        let proven = if backup.made { self.now } else { snapshot_time.unwrap_or(self.now) };
        let sql = "INSERT INTO backups (daemon, volume, url, snapshot_time, proven, run, bytes, files, made, verified, changed_files)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
            ON CONFLICT (daemon, volume, url) DO UPDATE SET
                snapshot_time = coalesce(excluded.snapshot_time, snapshot_time),
                bytes = coalesce(excluded.bytes, bytes), files = coalesce(excluded.files, files),
                changed_files = coalesce(excluded.changed_files, changed_files),
                made = max(made, excluded.made), verified = max(verified, excluded.verified), former = 0,
                broken = iif(broken_by_reading, broken, NULL),
                broken_since = iif(broken_by_reading, broken_since, NULL)";
        self.execute(
            sql,
            params![
                self.daemon,
                backup.volume,
                backup.url,
                snapshot_time,
                proven,
                self.run,
                backup.bytes.map(number),
                backup.files.map(number),
                backup.made,
                backup.verified,
                backup.changed_files.map(number),
            ],
        )?;
        self.forget_oldest(backup.volume)
    }

    /// Remembers that a backup can't be restored. `by_reading`: inspecting it does not show that.
    pub(super) fn broken_backup(
        &self,
        volume: &str,
        url: &str,
        why: &str,
        by_reading: bool,
    ) -> rusqlite::Result<()> {
        // A backup that was not known before may be another host's, and does not count as one of the
        // volume that has the name now.
        let sql = "INSERT INTO backups (daemon, volume, url, proven, run, broken, broken_since, broken_by_reading, former)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4, ?7, 1)
            ON CONFLICT (daemon, volume, url) DO UPDATE SET
                broken = excluded.broken, broken_since = coalesce(broken_since, excluded.broken_since),
                broken_by_reading = max(broken_by_reading, excluded.broken_by_reading)";
        self.execute(sql, params![self.daemon, volume, url, self.now, self.run, why, by_reading])?;
        self.forget_oldest(volume)
    }

    /// The whole backup was read, so nothing of it is broken. It may be another host's, so a backup
    /// that was not known before does not count as one of the volume that has the name now.
    pub(super) fn restored_backup(&self, volume: &str, url: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO backups (daemon, volume, url, proven, run, verified, restored, former)
            VALUES (?1, ?2, ?3, ?4, ?5, 1, 1, 1)
            ON CONFLICT (daemon, volume, url) DO UPDATE SET
                broken = NULL, broken_since = NULL, broken_by_reading = 0, verified = 1, restored = 1";
        self.execute(sql, params![self.daemon, volume, url, self.now, self.run])?;
        self.forget_oldest(volume)
    }

    /// A backup lacks files that could not be read. It stays so.
    pub(super) fn backup_is_partial(&self, url: &str, why: &str) -> rusqlite::Result<()> {
        self.execute("UPDATE backups SET partial = ?2 WHERE url = ?1", [url, why]).map(drop)
    }

    pub(super) fn deleted_backup(&self, url: &str) -> rusqlite::Result<()> {
        self.execute("DELETE FROM backups WHERE url = ?1", [url]).map(drop)
    }

    /// Remembers the backups of this name as those of a volume that had it before.
    pub(super) fn forget_backups(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "UPDATE backups SET former = 1 WHERE daemon = ?1 AND volume = ?2";
        self.execute(sql, [self.daemon, volume])?;
        self.forget_oldest(volume)
    }

    /// The backups of this name that this run has made are of the volume that has it now.
    pub(super) fn backups_are_its_own(&self, volume: &str) -> rusqlite::Result<()> {
        let sql =
            "UPDATE backups SET former = 0 WHERE daemon = ?1 AND volume = ?2 AND run = ?3 AND made";
        self.execute(sql, [self.daemon, volume, self.run]).map(drop)
    }

    /// Forgets the oldest of too many. Those that are dated in the future go first: they would stay
    /// the newest for years, and push out all others.
    fn forget_oldest(&self, volume: &str) -> rusqlite::Result<()> {
        let sql =
            "DELETE FROM backups WHERE daemon = ?1 AND volume = ?2 AND former = ?4 AND url NOT IN (
            SELECT url FROM backups WHERE daemon = ?1 AND volume = ?2 AND former = ?4
            ORDER BY proven > ?5, coalesce(snapshot_time, proven) DESC, proven DESC LIMIT ?3)";
        let last = time(self.now)?.saturating_add(CLOCK_TOLERANCE).map_or(i64::MAX, micros);
        for former in [false, true] {
            self.execute(sql, params![self.daemon, volume, REMEMBERED_BACKUPS, former, last])?;
        }
        Ok(())
    }
}
