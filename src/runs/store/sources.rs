//! What is known of the sources of backups: which are in doubt, and which losses of data a person
//! accepted.

use std::collections::BTreeMap;

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
    /// Accepts that this volume lost data: its backups in doubt are good from now on, also where newer
    /// ones are not in doubt. Returns what was in doubt, for people, by daemon; nothing if no backup
    /// and no source of this name is in doubt.
    ///
    /// # Errors
    /// The store can't be read or written.
    pub(crate) fn accept_loss(
        &self,
        volume: &str,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>> {
        self.write(|transaction| {
            let doubts = doubts_of(transaction, volume)?;
            for daemon in doubts.iter().map(|(daemon, _)| daemon) {
                accept_sources(transaction, daemon, volume, now)?;
                let sql = "UPDATE backups SET doubt = NULL WHERE daemon = ?1 AND volume = ?2";
                transaction.execute(sql, [daemon, volume])?;
            }
            Ok(doubts)
        })
    }

    /// The volumes of which a source or a backup is in doubt, each once, sorted by name. Empty where
    /// there is no store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn volumes_in_doubt(&self) -> Result<Vec<String>> {
        let names = |connection: &Connection| {
            let sql = "SELECT volume FROM sources WHERE doubt IS NOT NULL
                UNION SELECT volume FROM backups WHERE doubt IS NOT NULL AND NOT former ORDER BY volume";
            let mut statement = connection.prepare(sql)?;
            statement.query_map([], |row| row.get(0))?.collect()
        };
        match self.read(names) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }
}

/// By daemon, what is in doubt of a volume: its source, else its newest backup in doubt.
fn doubts_of(connection: &Connection, volume: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut doubts: BTreeMap<String, String> = BTreeMap::new();
    for sql in [
        "SELECT daemon, doubt FROM sources WHERE volume = ?1 AND doubt IS NOT NULL ORDER BY taken DESC",
        "SELECT daemon, doubt FROM backups WHERE volume = ?1 AND doubt IS NOT NULL AND NOT former
            ORDER BY proven DESC",
    ] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([volume])?;
        while let Some(row) = rows.next()? {
            doubts.entry(row.get(0)?).or_insert(row.get(1)?);
        }
    }
    Ok(doubts.into_iter().collect())
}

/// Accepts what the volume's sources in doubt have; if none is in doubt any more, the copies
/// up to the one that was so last. What was accepted before stays accepted.
fn accept_sources(
    connection: &Connection,
    daemon: &str,
    volume: &str,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "SELECT source, extent, accepted_extent, doubt IS NOT NULL FROM sources
        WHERE daemon = ?1 AND volume = ?2 ORDER BY doubt IS NOT NULL DESC, taken DESC";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([daemon, volume])?;
    let mut is_first = true;
    while let Some(row) = rows.next()? {
        let (source, is_in_doubt): (String, bool) = (row.get(0)?, row.get(3)?);
        if !is_first && !is_in_doubt {
            break;
        }
        is_first = false;
        // An extent that can't be read says nothing.
        let extent = |text: String| serde_json::from_str::<Extent>(&text).unwrap_or_default();
        let before = row.get::<_, Option<String>>(2)?.map(extent).unwrap_or_default();
        // A doubt that has passed says nothing of what is enough from now on.
        let accepted = if is_in_doubt { lowest(before, extent(row.get(1)?)) } else { before };
        // By a date in the future, everything until then would be as it was meant.
        let sql = "UPDATE sources SET accepted = min(max(coalesce(accepted, taken), taken), ?5),
            accepted_extent = ?4, doubt = NULL
            WHERE daemon = ?1 AND volume = ?2 AND source = ?3";
        let accepted = serde_json::to_string(&accepted).unwrap_or_default();
        connection.execute(sql, params![daemon, volume, source, accepted, micros(now)])?;
    }
    Ok(())
}

/// The least of what was accepted before and what is accepted now; where it is mounted, as now.
fn lowest(before: Extent, now: Extent) -> Extent {
    let least = |before: Option<u64>, now: Option<u64>| before.into_iter().chain(now).min();
    Extent {
        files: least(before.files, now.files),
        bytes: least(before.bytes, now.bytes),
        mounts: now.mounts.or(before.mounts),
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
