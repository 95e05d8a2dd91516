//! What is known of volumes: learned from what the guards of each run saw, not from what scripts
//! return.

use jiff::Timestamp;
use rusqlite::{Connection, Params, Transaction, params};

use super::{Store, micros, number, time};
use crate::{
    convoy::guards::Observation,
    error::{ErrorKind, Result},
    runs::record::{GoodBackup, VolumeRecord},
};

/// So many good backups of a volume are remembered: enough to see how their sizes grow.
const REMEMBERED_BACKUPS: u32 = 100;

impl Store {
    /// All volumes that runs saw, by daemon and name; none where there is no store yet.
    ///
    /// # Errors
    /// Where the store can't be read.
    pub(crate) fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        match self.read(all) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }
}

impl Store {
    /// Somebody knows that this volume is gone: it is not missed any more. `false` where no run
    /// ever saw it, or it is known already. It is as before once it is seen again, but for its
    /// backups.
    ///
    /// # Errors
    /// Where the store can't be written.
    pub(crate) fn forget_volume(&self, daemon: &str, volume: &str, now: Timestamp) -> Result<bool> {
        let sql =
            "UPDATE volumes SET removed = ?3 WHERE daemon = ?1 AND name = ?2 AND removed IS NULL";
        self.write(|transaction| {
            Ok(transaction.execute(sql, params![daemon, volume, micros(now)])? > 0)
        })
    }
}

fn all(connection: &Connection) -> rusqlite::Result<Vec<VolumeRecord>> {
    let sql = "SELECT daemon, name, first_seen, last_seen, removed, snapshot, snapshot_time FROM volumes ORDER BY daemon, name";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut volumes = Vec::new();
    while let Some(row) = rows.next()? {
        let at = |column: usize| row.get::<_, Option<i64>>(column)?.map(time).transpose();
        let (daemon, name): (String, String) = (row.get(0)?, row.get(1)?);
        volumes.push(VolumeRecord {
            good_backups: good_backups(connection, &daemon, &name)?,
            daemon,
            name,
            first_seen: time(row.get(2)?)?,
            last_seen: time(row.get(3)?)?,
            removed: at(4)?,
            snapshot: row.get(5)?,
            snapshot_time: at(6)?,
        });
    }
    Ok(volumes)
}

fn good_backups(
    connection: &Connection,
    daemon: &str,
    volume: &str,
) -> rusqlite::Result<Vec<GoodBackup>> {
    // Where the daemon tells no time, the order in which they were proven is all there is.
    let sql = "SELECT url, snapshot_time, proven, run, bytes FROM good_backups WHERE daemon = ?1 AND volume = ?2
        ORDER BY coalesce(snapshot_time, proven) DESC, proven DESC";
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(GoodBackup {
            url: row.get(0)?,
            snapshot_time: row.get::<_, Option<i64>>(1)?.map(time).transpose()?,
            proven: time(row.get(2)?)?,
            run: row.get(3)?,
            bytes: row.get::<_, Option<i64>>(4)?.map(i64::unsigned_abs),
        })
    };
    statement.query_map([daemon, volume], read)?.collect()
}

/// Takes over what a run saw, in the order in which it saw it.
pub(super) fn learn(
    transaction: &Transaction<'_>,
    daemon: &str,
    observed: &[Observation],
    run: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let now = micros(now);
    for observation in observed {
        match observation {
            Observation::VolumeSeen { volume, snapshot } => {
                let (name, time) = snapshot.clone().unzip();
                let sql = "UPDATE volumes SET last_seen = ?3, snapshot = ?4, snapshot_time = ?5
                    WHERE daemon = ?1 AND name = ?2 AND removed IS NULL";
                let seen = params![daemon, volume, now, name, time.flatten().map(micros)];
                // Mostly it is known.
                if execute(transaction, sql, seen)? == 0 {
                    see(transaction, daemon, volume, now)?;
                    execute(transaction, sql, seen)?;
                }
            }
            Observation::VolumeMade { volume } => {
                // Another one than that which had the name before: what is known of that one is not
                // true of it.
                forget(transaction, daemon, volume)?;
                see(transaction, daemon, volume, now)?;
            }
            Observation::SnapshotMade { volume, snapshot, time } => {
                see(transaction, daemon, volume, now)?;
                let sql = "UPDATE volumes SET snapshot = ?3, snapshot_time = ?4 WHERE daemon = ?1 AND name = ?2";
                execute(transaction, sql, params![daemon, volume, snapshot, micros(*time)])?;
            }
            Observation::SnapshotDeleted { volume, snapshot } => {
                let sql = "UPDATE volumes SET snapshot = NULL, snapshot_time = NULL
                    WHERE daemon = ?1 AND name = ?2 AND snapshot = ?3";
                execute(transaction, sql, [daemon, volume, snapshot])?;
            }
            Observation::BackupGood { volume, url, snapshot_time, bytes, made } => {
                let sql = "INSERT INTO good_backups (daemon, volume, url, snapshot_time, proven, run, bytes)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                    ON CONFLICT (daemon, volume, url) DO UPDATE SET
                        snapshot_time = coalesce(excluded.snapshot_time, snapshot_time), bytes = coalesce(excluded.bytes, bytes)";
                let snapshot_time = snapshot_time.map(micros);
                // To look at an old backup makes it no newer.
                let proven = if *made { now } else { snapshot_time.unwrap_or(now) };
                execute(
                    transaction,
                    sql,
                    params![daemon, volume, url, snapshot_time, proven, run, bytes.map(number)],
                )?;
                let sql =
                    "DELETE FROM good_backups WHERE daemon = ?1 AND volume = ?2 AND url NOT IN (
                    SELECT url FROM good_backups WHERE daemon = ?1 AND volume = ?2
                    ORDER BY coalesce(snapshot_time, proven) DESC, proven DESC LIMIT ?3)";
                execute(transaction, sql, params![daemon, volume, REMEMBERED_BACKUPS])?;
            }
            Observation::BackupDeleted { url, .. } => {
                execute(transaction, "DELETE FROM good_backups WHERE url = ?1", [url])?;
            }
            Observation::VolumeGone { volume } => {
                let sql = "UPDATE volumes SET removed = ?3 WHERE daemon = ?1 AND name = ?2";
                execute(transaction, sql, params![daemon, volume, now])?;
            }
        }
    }
    Ok(())
}

/// The volume is there. One that was removed and is there again is another one.
fn see(
    transaction: &Transaction<'_>,
    daemon: &str,
    volume: &str,
    now: i64,
) -> rusqlite::Result<()> {
    let sql = "DELETE FROM volumes WHERE daemon = ?1 AND name = ?2 AND removed IS NOT NULL";
    if execute(transaction, sql, [daemon, volume])? > 0 {
        forget(transaction, daemon, volume)?;
    }
    let sql = "INSERT INTO volumes (daemon, name, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3)
        ON CONFLICT (daemon, name) DO UPDATE SET last_seen = excluded.last_seen";
    execute(transaction, sql, params![daemon, volume, now]).map(drop)
}

fn forget(transaction: &Transaction<'_>, daemon: &str, volume: &str) -> rusqlite::Result<()> {
    execute(transaction, "DELETE FROM volumes WHERE daemon = ?1 AND name = ?2", [daemon, volume])?;
    execute(
        transaction,
        "DELETE FROM good_backups WHERE daemon = ?1 AND volume = ?2",
        [daemon, volume],
    )
    .map(drop)
}

/// Does what is done often: its statement is kept.
fn execute(
    transaction: &Transaction<'_>,
    sql: &str,
    given: impl Params,
) -> rusqlite::Result<usize> {
    transaction.prepare_cached(sql)?.execute(given)
}
