//! Counts of runs, made when runs end. The counts stay when the runs are deleted.

use std::{collections::BTreeMap, time::Duration};

use rusqlite::{Transaction, params};

use super::{Store, foreign, number};
use crate::{
    error::{Error, ErrorKind, Result},
    run_words::RunStatus,
    runs::record::{DURATION_BUCKETS, Durations, RunRecord, Totals},
};

/// The bucket of a run that has no duration.
const NO_BUCKET: i64 = -1;

impl Store {
    /// Returns all counts. They are empty where there is no store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn totals(&self) -> Result<Totals> {
        let read = self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT script, status, bucket, runs, took, bytes FROM totals")?;
            let mut rows = statement.query([])?;
            let mut runs: BTreeMap<(String, RunStatus), u64> = BTreeMap::new();
            let mut durations: BTreeMap<String, Durations> = BTreeMap::new();
            let mut backup_bytes = 0_u64;
            while let Some(row) = rows.next()? {
                let (script, status): (String, String) = (row.get(0)?, row.get(1)?);
                let status =
                    RunStatus::parse(&status).ok_or_else(|| foreign(1, Error::internal(status)))?;
                let unsigned = |column: usize| row.get::<_, i64>(column).map(i64::unsigned_abs);
                let (bucket, count) = (row.get::<_, i64>(2)?, unsigned(3)?);
                backup_bytes = backup_bytes.saturating_add(unsigned(5)?);
                *runs.entry((script.clone(), status)).or_default() += count;
                if let Some(bucket) =
                    usize::try_from(bucket).ok().filter(|bucket| *bucket <= DURATION_BUCKETS.len())
                {
                    let of_script = durations
                        .entry(script.clone())
                        .or_insert_with(|| Durations { script, ..Durations::default() });
                    of_script.counts[bucket] += count;
                    of_script.seconds += Duration::from_micros(unsigned(4)?).as_secs_f64();
                }
            }
            let runs =
                runs.into_iter().map(|((script, status), count)| (script, status, count)).collect();
            Ok(Totals { runs, durations: durations.into_values().collect(), backup_bytes })
        });
        match read {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Totals::default()),
            read => read,
        }
    }
}

/// Counts a run that ended.
pub(super) fn count(transaction: &Transaction<'_>, record: &RunRecord) -> rusqlite::Result<()> {
    if record.dry_run {
        return Ok(());
    }
    add(transaction, &record.script, record.status, record.took, record.bytes)
}

/// Counts a run that was interrupted.
pub(super) fn interrupted(
    transaction: &Transaction<'_>,
    script: &str,
    dry_run: bool,
) -> rusqlite::Result<()> {
    if dry_run { Ok(()) } else { add(transaction, script, RunStatus::Interrupted, None, None) }
}

fn add(
    transaction: &Transaction<'_>,
    script: &str,
    status: RunStatus,
    took: Option<Duration>,
    bytes: Option<u64>,
) -> rusqlite::Result<()> {
    let seconds = took.map(|took| took.as_secs_f64());
    let bucket = |seconds: f64| {
        DURATION_BUCKETS
            .iter()
            .position(|limit| seconds <= *limit)
            .unwrap_or(DURATION_BUCKETS.len())
    };
    let bucket =
        seconds.map_or(NO_BUCKET, |seconds| i64::try_from(bucket(seconds)).unwrap_or(NO_BUCKET));
    let took = took.map_or(0, |took| number(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)));
    let sql = "INSERT INTO totals (script, status, bucket, runs, took, bytes) VALUES (?1, ?2, ?3, 1, ?4, ?5)
        ON CONFLICT DO UPDATE SET runs = runs + 1, took = took + excluded.took, bytes = bytes + excluded.bytes";
    let bytes = bytes.map_or(0, number);
    transaction
        .prepare_cached(sql)?
        .execute(params![script, status.as_str(), bucket, took, bytes])
        .map(drop)
}
