//! What is known of volumes: learned from the observations of the guards, not from the results of
//! scripts.

use jiff::Timestamp;
use rusqlite::{Connection, Params, Transaction, params};

use super::{Store, micros, number, time};
use crate::{
    convoy::guards::Observation,
    error::{ErrorKind, Result},
    runs::record::{GoodBackup, VolumeRecord},
};

/// How many good backups of a volume are remembered: enough to see how their sizes grow.
const REMEMBERED_BACKUPS: u32 = 100;

impl Store {
    /// Returns all volumes that runs saw, sorted by daemon and name. The list is empty where there
    /// is no store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        match self.read(all) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }
}

impl Store {
    /// Marks a volume as removed on purpose, so that `status` no longer reports it as missing.
    /// Returns `false` if no run ever saw the volume, or it is already marked. A marked volume that
    /// is seen again counts as a new one.
    ///
    /// # Errors
    /// The store can't be written.
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
    // A daemon may not know the snapshot's time. Then the time of the proof orders the backups.
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

/// Updates what is known of volumes by the observations of a run, in their order.
pub(super) fn learn(
    transaction: &Transaction<'_>,
    daemon: &str,
    observed: &[Observation],
    run: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let volumes = Volumes { transaction, daemon, run, now: micros(now) };
    observed.iter().try_for_each(|observation| volumes.learn(observation))
}

/// The volumes of one daemon, within the transaction that records a run.
struct Volumes<'a> {
    transaction: &'a Transaction<'a>,
    daemon: &'a str,
    run: &'a str,
    /// Microseconds since 1970, in UTC.
    now: i64,
}

impl Volumes<'_> {
    fn learn(&self, observation: &Observation) -> rusqlite::Result<()> {
        match observation {
            Observation::VolumeSeen { volume, snapshot } => self.listed(volume, snapshot.clone()),
            Observation::VolumeMade { volume } => {
                // A new volume with an old name: what is known of the old volume does not hold.
                self.forget(volume)?;
                self.see(volume)
            }
            Observation::SnapshotMade { volume, snapshot, time } => {
                self.see(volume)?;
                let sql = "UPDATE volumes SET snapshot = ?3, snapshot_time = ?4 WHERE daemon = ?1 AND name = ?2";
                self.execute(sql, params![self.daemon, volume, snapshot, micros(*time)]).map(drop)
            }
            Observation::SnapshotDeleted { volume, snapshot } => {
                let sql = "UPDATE volumes SET snapshot = NULL, snapshot_time = NULL
                    WHERE daemon = ?1 AND name = ?2 AND snapshot = ?3";
                self.execute(sql, [self.daemon, volume, snapshot]).map(drop)
            }
            Observation::BackupGood { volume, url, snapshot_time, bytes, made } => {
                let snapshot_time = snapshot_time.map(micros);
                // Inspecting an old backup does not make the backup newer.
                let proven = if *made { self.now } else { snapshot_time.unwrap_or(self.now) };
                self.good_backup(volume, url, snapshot_time, proven, *bytes)
            }
            Observation::BackupDeleted { url, .. } => {
                self.execute("DELETE FROM good_backups WHERE url = ?1", [url]).map(drop)
            }
            Observation::VolumeGone { volume } => {
                let sql = "UPDATE volumes SET removed = ?3 WHERE daemon = ?1 AND name = ?2";
                self.execute(sql, params![self.daemon, volume, self.now]).map(drop)
            }
        }
    }

    /// The daemon listed the volume, with its newest snapshot.
    fn listed(
        &self,
        volume: &str,
        snapshot: Option<(String, Option<Timestamp>)>,
    ) -> rusqlite::Result<()> {
        let (name, time) = snapshot.unzip();
        let sql = "UPDATE volumes SET last_seen = ?3, snapshot = ?4, snapshot_time = ?5
            WHERE daemon = ?1 AND name = ?2 AND removed IS NULL";
        let listed = params![self.daemon, volume, self.now, name, time.flatten().map(micros)];
        // Most volumes are already known, so the update comes before the insert.
        if self.execute(sql, listed)? == 0 {
            self.see(volume)?;
            self.execute(sql, listed)?;
        }
        Ok(())
    }

    /// Remembers a good backup. Only the newest [`REMEMBERED_BACKUPS`] of each volume stay.
    fn good_backup(
        &self,
        volume: &str,
        url: &str,
        snapshot_time: Option<i64>,
        proven: i64,
        bytes: Option<u64>,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO good_backups (daemon, volume, url, snapshot_time, proven, run, bytes)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (daemon, volume, url) DO UPDATE SET
                snapshot_time = coalesce(excluded.snapshot_time, snapshot_time), bytes = coalesce(excluded.bytes, bytes)";
        let bytes = bytes.map(number);
        self.execute(
            sql,
            params![self.daemon, volume, url, snapshot_time, proven, self.run, bytes],
        )?;
        let sql = "DELETE FROM good_backups WHERE daemon = ?1 AND volume = ?2 AND url NOT IN (
            SELECT url FROM good_backups WHERE daemon = ?1 AND volume = ?2
            ORDER BY coalesce(snapshot_time, proven) DESC, proven DESC LIMIT ?3)";
        self.execute(sql, params![self.daemon, volume, REMEMBERED_BACKUPS]).map(drop)
    }

    /// Notes that the volume exists. A removed volume that exists again is a new one.
    fn see(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM volumes WHERE daemon = ?1 AND name = ?2 AND removed IS NOT NULL";
        if self.execute(sql, [self.daemon, volume])? > 0 {
            self.forget(volume)?;
        }
        let sql =
            "INSERT INTO volumes (daemon, name, first_seen, last_seen) VALUES (?1, ?2, ?3, ?3)
            ON CONFLICT (daemon, name) DO UPDATE SET last_seen = excluded.last_seen";
        self.execute(sql, params![self.daemon, volume, self.now]).map(drop)
    }

    fn forget(&self, volume: &str) -> rusqlite::Result<()> {
        let of_volume = [self.daemon, volume];
        self.execute("DELETE FROM volumes WHERE daemon = ?1 AND name = ?2", of_volume)?;
        let sql = "DELETE FROM good_backups WHERE daemon = ?1 AND volume = ?2";
        self.execute(sql, of_volume).map(drop)
    }

    /// Executes a statement. The statement stays prepared, because every run repeats it.
    fn execute(&self, sql: &str, given: impl Params) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(given)
    }
}
