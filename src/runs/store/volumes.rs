//! What is known of volumes: learned from the observations of the guards, not from the results of
//! scripts.

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, params};

use super::{
    Store,
    backups::{Inspected, bad_backups, good_backups},
    learning::Learning,
    made, micros, sources, time,
};
use crate::{
    convoy::guards::Observation,
    error::{ErrorKind, Result},
    runs::record::VolumeRecord,
};

/// In place of the id of a run, for what a look outside of runs learned.
const NO_RUN: &str = "";

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
    /// Learns what a look outside of runs observed at this daemon.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn learn(
        &self,
        daemon: &str,
        observed: &[Observation],
        now: Timestamp,
    ) -> Result<()> {
        self.write(|transaction| learn(transaction, daemon, observed, NO_RUN, now))
    }

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
    let sql = "SELECT daemon, name, first_seen, last_seen, removed, snapshot, snapshot_time, created, restored_from FROM volumes
        ORDER BY daemon, name";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut volumes = Vec::new();
    while let Some(row) = rows.next()? {
        let at = |column: usize| row.get::<_, Option<i64>>(column)?.map(time).transpose();
        let (daemon, name): (String, String) = (row.get(0)?, row.get(1)?);
        volumes.push(VolumeRecord {
            good_backups: good_backups(connection, &daemon, &name)?,
            bad_backups: bad_backups(connection, &daemon, &name)?,
            made: made::times(connection, &daemon, &name)?,
            doubt: sources::doubt(connection, &daemon, &name)?,
            daemon,
            name,
            first_seen: time(row.get(2)?)?,
            last_seen: time(row.get(3)?)?,
            removed: at(4)?,
            snapshot: row.get(5)?,
            snapshot_time: at(6)?,
            created: at(7)?,
            restored_from: row.get(8)?,
        });
    }
    Ok(volumes)
}

/// Updates what is known of volumes by the observations of a run, in their order.
pub(super) fn learn(
    transaction: &Transaction<'_>,
    daemon: &str,
    observed: &[Observation],
    run: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let learning = Learning { transaction, daemon, run, now: micros(now) };
    let mut current = Vec::new();
    for observation in observed {
        // The last list of a run may come after the backups that the run made of another volume.
        if let Observation::VolumeSeen { volume, seen, created, .. } = observation {
            if learning.is_outdated(volume, micros(*seen))? {
                continue;
            }
            learning.forget_another(volume, *created)?;
            learning.is_not_removed(volume, micros(*seen))?;
        }
        current.push(observation);
    }
    current.into_iter().try_for_each(|observation| learning.learn(observation))
}

impl Learning<'_> {
    fn learn(&self, observation: &Observation) -> rusqlite::Result<()> {
        match observation {
            Observation::VolumeSeen { volume, created, snapshot, .. } => {
                self.listed(volume, created.map(micros), snapshot.clone())
            }
            Observation::VolumeMade { volume, restored_from } => {
                // A new volume with an old name: what is known of the old volume does not hold.
                self.forget(volume)?;
                self.see(volume)?;
                let sql = "UPDATE volumes SET restored_from = ?3 WHERE daemon = ?1 AND name = ?2";
                self.execute(sql, params![self.daemon, volume, restored_from]).map(drop)
            }
            Observation::SnapshotMade { volume, snapshot, time, extent, seen_here } => {
                self.see(volume)?;
                self.is_not_removed(volume, micros(*time))?;
                // A snapshot that tells nothing settles no doubt.
                if !extent.is_unknown() {
                    self.source_is_good(volume)?;
                }
                if *seen_here {
                    self.snapshot_extent(volume, snapshot, *time, extent)?;
                }
                let sql = "UPDATE volumes SET snapshot = ?3, snapshot_time = ?4 WHERE daemon = ?1 AND name = ?2";
                self.execute(sql, params![self.daemon, volume, snapshot, micros(*time)]).map(drop)
            }
            Observation::SnapshotDeleted { volume, snapshot } => {
                self.forget_snapshot(snapshot)?;
                let sql = "UPDATE volumes SET snapshot = NULL, snapshot_time = NULL
                    WHERE daemon = ?1 AND name = ?2 AND snapshot = ?3";
                self.execute(sql, [self.daemon, volume, snapshot]).map(drop)
            }
            Observation::BackupGood {
                volume,
                url,
                snapshot_time,
                bytes,
                files,
                changed_files,
                stood: _,
                made,
                verified,
            } => {
                if *made {
                    self.is_not_removed(volume, snapshot_time.map_or(self.now, micros))?;
                    self.source_is_good(volume)?;
                    self.made_backup(volume)?;
                }
                self.good_backup(&Inspected {
                    volume,
                    url,
                    snapshot_time: *snapshot_time,
                    bytes: *bytes,
                    files: *files,
                    changed_files: *changed_files,
                    made: *made,
                    verified: *verified,
                })
            }
            Observation::BackupInDoubt { url, why, .. } => self.backup_in_doubt(url, why),
            Observation::BackupPartial { url, why, .. } => self.backup_is_partial(url, why),
            Observation::SourceInDoubt { volume, source, taken, extent, why } => {
                self.source_in_doubt((volume, source), *taken, extent, why)
            }
            Observation::BackupBroken { volume, url, why, by_reading } => {
                self.broken_backup(volume, url, why, *by_reading)
            }
            Observation::BackupRestored { volume, url } => self.restored_backup(volume, url),
            Observation::BackupDeleted { url, .. } => self.deleted_backup(url),
            Observation::VolumeGone { volume, .. } => {
                self.removal_is_over(volume)?;
                let sql = "UPDATE volumes SET removed = ?3 WHERE daemon = ?1 AND name = ?2";
                self.execute(sql, params![self.daemon, volume, self.now]).map(drop)
            }
        }
    }

    /// Whether another run has removed the volume since it was seen, or has seen a new one. A run that
    /// takes long learns at its end what it saw at its beginning.
    fn is_outdated(&self, volume: &str, seen: i64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM volumes WHERE daemon = ?1 AND name = ?2
            AND max(first_seen, coalesce(removed, first_seen)) BETWEEN ?3 + 1 AND ?4)";
        let of_volume = params![self.daemon, volume, seen, self.now];
        self.transaction.prepare_cached(sql)?.query_row(of_volume, |row| row.get(0))
    }

    /// Forgets a volume that was made at another time than the listed one: Docker or Convoy made
    /// another volume under its name. What this run has backed up is of that one.
    fn forget_another(&self, volume: &str, created: Option<Timestamp>) -> rusqlite::Result<()> {
        let sql = "DELETE FROM volumes WHERE daemon = ?1 AND name = ?2 AND created <> ?3";
        if self.execute(sql, params![self.daemon, volume, created.map(micros)])? > 0 {
            self.forget(volume)?;
            self.backups_are_its_own(volume)?;
        }
        Ok(())
    }

    /// The daemon listed the volume, with its newest snapshot.
    fn listed(
        &self,
        volume: &str,
        created: Option<i64>,
        snapshot: Option<(String, Option<Timestamp>)>,
    ) -> rusqlite::Result<()> {
        let (name, time) = snapshot.unzip();
        let sql = "UPDATE volumes SET last_seen = ?3, snapshot = ?4, snapshot_time = ?5, created = coalesce(?6, created)
            WHERE daemon = ?1 AND name = ?2 AND removed IS NULL";
        let time = time.flatten().map(micros);
        let listed = params![self.daemon, volume, self.now, name, time, created];
        // Most volumes are already known, so the update comes before the insert.
        if self.execute(sql, listed)? == 0 {
            self.see(volume)?;
            self.execute(sql, listed)?;
        }
        Ok(())
    }

    /// Notes that the volume exists. A removed volume that exists again is a new one.
    fn see(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM volumes WHERE daemon = ?1 AND name = ?2 AND removed IS NOT NULL";
        if self.execute(sql, [self.daemon, volume])? > 0 {
            self.forget(volume)?;
        }
        // A look may have seen it before.
        let sql =
            "INSERT INTO volumes (daemon, name, first_seen, last_seen) VALUES (?1, ?2, coalesce(
                (SELECT first_seen FROM looked_at WHERE daemon = ?1 AND volume = ?2), ?3), ?3)
            ON CONFLICT (daemon, name) DO UPDATE SET last_seen = excluded.last_seen";
        self.execute(sql, params![self.daemon, volume, self.now])?;
        self.execute(
            "DELETE FROM looked_at WHERE daemon = ?1 AND volume = ?2",
            [self.daemon, volume],
        )
        .map(drop)
    }

    fn forget(&self, volume: &str) -> rusqlite::Result<()> {
        let of_volume = [self.daemon, volume];
        self.execute("DELETE FROM volumes WHERE daemon = ?1 AND name = ?2", of_volume)?;
        self.source_is_good(volume)?;
        self.removal_is_over(volume)?;
        self.forget_made_backups(volume)?;
        self.forget_backups(volume)
    }
}
