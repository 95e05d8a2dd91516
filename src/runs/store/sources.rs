//! What is known of the sources of backups: which are in doubt, and which losses of data a person
//! accepted.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{Store, learning::Learning, micros, time};
use crate::{
    convoy::{
        Extent,
        guards::{AcceptedLoss, KnownSources},
    },
    error::{ErrorKind, Result},
};

/// Of how many snapshots of a volume is remembered what the volume had.
const REMEMBERED_SNAPSHOTS: u32 = 100;

impl Store {
    /// Accepts that this volume lost data: its backups in doubt are good from now on. Returns what
    /// was in doubt, for people, by daemon; nothing if no source of this name is in doubt.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub(crate) fn accept_loss(&self, volume: &str) -> Result<Vec<(String, String)>> {
        self.write(|transaction| {
            let sql = "SELECT daemon, doubt FROM sources WHERE volume = ?1 AND doubt IS NOT NULL";
            let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            let mut statement = transaction.prepare(sql)?;
            let doubts =
                statement.query_map([volume], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
            for (daemon, _) in &doubts {
                let sql =
                    "UPDATE sources SET accepted = taken, accepted_extent = extent, doubt = NULL
                    WHERE daemon = ?1 AND volume = ?2 AND doubt IS NOT NULL";
                transaction.execute(sql, [daemon, volume])?;
                let sql = "UPDATE backups SET doubt = NULL WHERE daemon = ?1 AND volume = ?2";
                transaction.execute(sql, [daemon, volume])?;
            }
            Ok(doubts)
        })
    }

    /// The volumes whose source is in doubt, each once, sorted by name. Empty where there is no
    /// store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn volumes_in_doubt(&self) -> Result<Vec<String>> {
        let names = |connection: &Connection| {
            let sql = "SELECT DISTINCT volume FROM sources WHERE doubt IS NOT NULL ORDER BY volume";
            let mut statement = connection.prepare(sql)?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        match self.read(names) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }
}

/// What is known of the sources of a daemon's backups.
pub(super) fn known(connection: &Connection, daemon: &str) -> rusqlite::Result<KnownSources> {
    let sql = "SELECT volume, source, accepted, accepted_extent FROM sources
        WHERE daemon = ?1 AND accepted IS NOT NULL";
    let read = |row: &Row<'_>| {
        Ok(AcceptedLoss {
            volume: row.get(0)?,
            source: row.get(1)?,
            until: time(row.get(2)?)?,
            // An extent that can't be read says nothing.
            extent: serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default(),
        })
    };
    let mut statement = connection.prepare_cached(sql)?;
    let accepted = statement.query_map([daemon], read)?.collect::<rusqlite::Result<_>>()?;
    let sql = "SELECT url, doubt FROM backups WHERE daemon = ?1 AND doubt IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let doubts = statement.query_map([daemon], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let doubts = doubts.collect::<rusqlite::Result<_>>()?;
    let sql = "SELECT snapshot, extent FROM snapshots WHERE daemon = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| {
        let extent = serde_json::from_str(&row.get::<_, String>(1)?).unwrap_or_default();
        Ok((row.get(0)?, extent))
    };
    let extents = statement.query_map([daemon], read)?.collect::<rusqlite::Result<_>>()?;
    Ok(KnownSources { accepted, doubts, extents })
}

/// Why the volume's newest copy is in doubt.
pub(super) fn doubt(
    connection: &Connection,
    daemon: &str,
    volume: &str,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT doubt FROM sources WHERE daemon = ?1 AND volume = ?2 AND doubt IS NOT NULL
        ORDER BY taken DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([daemon, volume])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

impl Learning<'_> {
    /// The newest copy of a volume is in doubt.
    pub(super) fn source_in_doubt(
        &self,
        (volume, source): (&str, &str),
        taken: Timestamp,
        extent: &Extent,
        why: &str,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO sources (daemon, volume, source, doubt, taken, extent) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
            ON CONFLICT (daemon, volume, source) DO UPDATE SET
                doubt = excluded.doubt, taken = excluded.taken, extent = excluded.extent";
        let extent = serde_json::to_string(extent).unwrap_or_default();
        let given = params![self.daemon, volume, source, why, micros(taken), extent];
        self.execute(sql, given).map(drop)
    }

    /// Remembers what a volume had when a snapshot was taken. Only the newest
    /// [`REMEMBERED_SNAPSHOTS`] of each volume stay.
    pub(super) fn snapshot_extent(
        &self,
        volume: &str,
        snapshot: &str,
        taken: Timestamp,
        extent: &Extent,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT OR REPLACE INTO snapshots (daemon, snapshot, volume, taken, extent)
            VALUES (?1, ?2, ?3, ?4, ?5)";
        let extent = serde_json::to_string(extent).unwrap_or_default();
        self.execute(sql, params![self.daemon, snapshot, volume, micros(taken), extent])?;
        let sql = "DELETE FROM snapshots WHERE daemon = ?1 AND volume = ?2 AND snapshot NOT IN (
            SELECT snapshot FROM snapshots WHERE daemon = ?1 AND volume = ?2 ORDER BY taken DESC, snapshot DESC LIMIT ?3)";
        self.execute(sql, params![self.daemon, volume, REMEMBERED_SNAPSHOTS]).map(drop)
    }

    pub(super) fn forget_snapshot(&self, snapshot: &str) -> rusqlite::Result<()> {
        let sql = "DELETE FROM snapshots WHERE daemon = ?1 AND snapshot = ?2";
        self.execute(sql, [self.daemon, snapshot]).map(drop)
    }

    /// A backup's source may have been missing.
    pub(super) fn backup_in_doubt(&self, url: &str, why: &str) -> rusqlite::Result<()> {
        self.execute("UPDATE backups SET doubt = ?2 WHERE url = ?1", [url, why]).map(drop)
    }

    /// A newer copy of the volume is good, or the volume is another one now. What was accepted of
    /// the former volume stays, for its backups.
    pub(super) fn source_is_good(&self, volume: &str) -> rusqlite::Result<()> {
        let sql = "UPDATE sources SET doubt = NULL WHERE daemon = ?1 AND volume = ?2";
        self.execute(sql, [self.daemon, volume]).map(drop)
    }
}
