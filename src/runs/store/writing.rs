//! Writes runs: a record at the start and at the end, and the log in between. Deletes old runs.

use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde_json::Value;

use super::{Store, micros, number};
use crate::{
    clock::CLOCK_TOLERANCE,
    error::Result,
    run_words::{RunStatus, Trigger},
    runs::{
        alive,
        record::{Line, Output, RunRecord, Skipped},
    },
};

/// How long runs are kept at least.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How much of the record one look for old runs deletes at most: a clock that is wrong for a moment
/// must not throw all of it away.
const MOST_AT_ONCE: SignedDuration = SignedDuration::from_hours(24);
/// How many runs that are not routine are kept however old they are, with all runs after them: a
/// clock that is wrong must not empty the record of a host that has run for a day.
const FEWEST_RUNS: u32 = 1_000;
/// How many runs are kept at most.
const MAX_RUNS: u32 = 10_000;
/// How many routine runs are kept at most ([`is_routine`]): `volumes` once a minute must not push a
/// week-old backup out of the store.
const MAX_ROUTINE_RUNS: u32 = 1_000;
/// After how many routine runs the store is checked for too many of them. Some clients ask a
/// thousand times a second.
const ROUTINE_EVERY: usize = 500;
/// How often the store is checked for too many or too old runs.
const PRUNE_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The longest result that is kept, in bytes of JSON.
const LONGEST_RESULT: usize = 1 << 20;

/// The end of a run: the record and what else is known by then.
pub(crate) struct Ending<'a> {
    pub(crate) record: &'a RunRecord,
    pub(crate) output: &'a Output,
    /// The daemon's identity and the observations of the run. `None` in a dry run.
    pub(crate) observed: Option<(&'a str, &'a [crate::convoy::guards::Observation])>,
    pub(crate) lines: &'a [Line],
}

/// A change of a run to be written.
pub(crate) enum Change<'a> {
    /// The run began, or goes on with this record.
    Begin(&'a RunRecord),
    /// Further lines of the log of the run with this id.
    Lines(&'a str, &'a [Line]),
    /// The run ended. The beginning of the run may not have been written.
    End(Ending<'a>),
}

impl Store {
    /// Writes changes in one transaction: all or none. About once an hour, also deletes the oldest
    /// runs.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn apply(&self, changes: &[Change<'_>], now: Timestamp) -> Result<()> {
        self.write(|transaction| {
            for change in changes {
                match change {
                    Change::Begin(record) => save(transaction, record, &Output::default())?,
                    Change::Lines(run, lines) => append(transaction, run, lines)?,
                    Change::End(ending) => end(transaction, ending, now)?,
                }
            }
            if !changes.iter().any(|change| matches!(change, Change::End(_))) {
                return Ok(());
            }
            let routine = changes
                .iter()
                .filter(|change| matches!(change, Change::End(end) if is_routine(end.record)));
            let routine = routine.count();
            if self.routine.fetch_add(routine, Ordering::Relaxed) + routine >= ROUTINE_EVERY {
                self.routine.store(0, Ordering::Relaxed);
                prune_routine(transaction)?;
            }
            let pruned = super::times::get(transaction, "pruned")?;
            // A clock that was set back must not put pruning off for years.
            if pruned.is_none_or(|last| now.duration_since(last) >= PRUNE_EVERY || last > now) {
                prune(transaction, now)?;
                super::times::set(transaction, "pruned", now)?;
            }
            Ok(())
        })
    }

    /// Records runs that were due and did not begin. Returns their ids.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn skipped(&self, skipped: &[Skipped], now: Timestamp) -> Result<Vec<String>> {
        let record = |skipped: &Skipped| RunRecord {
            arguments: skipped.arguments.clone(),
            entry: Some(skipped.entry.clone()),
            ended: Some(skipped.due),
            status: RunStatus::Skipped,
            reason: Some(skipped.reason.clone()),
            does: skipped.does.clone(),
            ..RunRecord::new(
                crate::runs::id::next(now),
                skipped.script.clone(),
                Trigger::Cron,
                skipped.due,
            )
        };
        let records: Vec<RunRecord> = skipped.iter().map(record).collect();
        self.write(|transaction| {
            records.iter().try_for_each(|record| {
                save(transaction, record, &Output::default())?;
                super::totals::count(transaction, record)
            })
        })?;
        Ok(records.into_iter().map(|record| record.id).collect())
    }

    /// Deletes the runs that are older than 90 days, a day's at most, but none of the newest 1,000,
    /// and the oldest of more than 10,000. Runs that still go on stay.
    ///
    /// # Errors
    /// The store can't be written.
    #[cfg(test)]
    pub(crate) fn prune(&self, now: Timestamp) -> Result<()> {
        self.write(|transaction| prune(transaction, now))
    }

    /// Marks the runs whose process is gone as interrupted. Returns the interrupted runs that were
    /// not reported yet, oldest first.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn unreported_interruptions(&self) -> Result<Vec<RunRecord>> {
        self.mark_interrupted()?;
        let ids = "SELECT id FROM runs WHERE status = 'interrupted' AND NOT interruption_told ORDER BY id";
        let unreported: Vec<String> = self.read(|connection| {
            let mut statement = connection.prepare(ids)?;
            statement.query_map([], |row| row.get(0))?.collect()
        })?;
        if unreported.is_empty() {
            return Ok(Vec::new());
        }
        unreported.iter().map(|id| self.get(id)).collect()
    }

    /// Notes that the interruption of a run was reported.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn mark_interruption_reported(&self, id: &str) -> Result<()> {
        self.write(|transaction| {
            transaction
                .execute("UPDATE runs SET interruption_told = 1 WHERE id = ?1", [id])
                .map(drop)
        })
    }

    /// Marks the runs whose process is gone as interrupted. Returns how many there were.
    ///
    /// # Errors
    /// The store can't be written.
    pub(crate) fn mark_interrupted(&self) -> Result<usize> {
        let running: Vec<String> = self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT id FROM runs WHERE status IN ('running', 'waiting')")?;
            statement.query_map([], |row| row.get(0))?.collect()
        })?;
        let gone: Vec<_> =
            running.into_iter().filter(|id| !alive::is_alive(self.running(), id)).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let marked = self.write(|transaction| {
            let mut marked = 0;
            for id in &gone {
                // A run that ended since the check is not open any more, so it keeps its status.
                let mark = "UPDATE runs SET status = 'interrupted' WHERE id = ?1 AND status IN ('running', 'waiting')";
                if transaction.execute(mark, [id])? > 0 {
                    marked += 1;
                    let script =
                        transaction.query_row("SELECT script, dry_run FROM runs WHERE id = ?1", [id], |row| {
                            Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
                        })?;
                    super::totals::interrupted(transaction, &script.0, script.1)?;
                }
            }
            Ok(marked)
        })?;
        gone.iter().for_each(|id| alive::forget(self.running(), id));
        Ok(marked)
    }
}

fn end(transaction: &Transaction<'_>, ending: &Ending<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let record = ending.record;
    append(transaction, &record.id, ending.lines)?;
    save(transaction, record, ending.output)?;
    super::totals::count(transaction, record)?;
    match ending.observed {
        Some((daemon, observed)) => {
            super::volumes::learn(transaction, daemon, observed, &record.id, now)
        }
        None => Ok(()),
    }
}

/// Writes the record as it is now. A request to cancel the run stays: other processes write it.
pub(super) fn save(
    transaction: &Transaction<'_>,
    record: &RunRecord,
    output: &Output,
) -> rusqlite::Result<()> {
    const SAVE: &str = "
        INSERT INTO runs (id, script, status, trigger, dry_run, started, ended, took, digest, origin, host, process, boot,
            entry_key, entry_line, bytes, lines_left_out, routine, reason, arguments, volumes_done, error, failures, plan, result,
            read_only, does, deleted)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28)
        ON CONFLICT (id) DO UPDATE SET status = excluded.status, started = excluded.started, ended = excluded.ended, took = excluded.took,
            bytes = excluded.bytes, lines_left_out = excluded.lines_left_out, routine = excluded.routine,
            reason = excluded.reason, volumes_done = excluded.volumes_done, error = excluded.error, failures = excluded.failures,
            plan = excluded.plan, result = excluded.result, deleted = iif(excluded.deleted = '[]', deleted, excluded.deleted)";
    let routine = is_routine(record);
    transaction.prepare_cached(SAVE)?.execute(params![
        record.id,
        record.script,
        record.status.as_str(),
        record.trigger.as_str(),
        record.dry_run,
        micros(record.started),
        record.ended.map(micros),
        record.took.map(|took| number(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))),
        record.digest,
        record.origin,
        record.host,
        record.process,
        record.boot,
        record.entry.as_ref().map(|entry| &entry.key),
        record.entry.as_ref().map(|entry| entry.line),
        record.bytes.map(number),
        number(record.lines_left_out),
        routine,
        record.reason,
        Value::Object(record.arguments.clone()).to_string(),
        json(&record.volumes_done),
        record.error.as_ref().map(Value::to_string),
        json(&record.failures),
        output.plan.as_ref().map(bounded),
        output.result.as_ref().map(bounded),
        record.read_only,
        json(&record.does),
        json(&output.deleted),
    ])?;
    let mut of_volume = transaction
        .prepare_cached("INSERT OR IGNORE INTO run_volumes (volume, run) VALUES (?1, ?2)")?;
    for volume in record.volumes() {
        of_volume.execute([volume, &record.id])?;
    }
    Ok(())
}

/// Whether a run is routine: it only read, has ended, and the crontab did not start it. The status
/// does not matter: a thousand failed reads must not push backups out of the store.
fn is_routine(record: &RunRecord) -> bool {
    let only_reads = record.dry_run || record.read_only;
    let read = only_reads || record.status == RunStatus::Done && record.volumes_done.is_empty();
    read && record.trigger != Trigger::Cron && !record.status.is_open()
}

fn append(transaction: &Transaction<'_>, run: &str, lines: &[Line]) -> rusqlite::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    // The same lines may come again after a failure that may have come after the write.
    let sql = "INSERT OR IGNORE INTO lines (run, number, time, level, target, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = transaction.prepare_cached(sql)?;
    for line in lines {
        let level = line.level as i64;
        statement.execute(params![
            run,
            number(line.number),
            micros(line.time),
            level,
            line.target,
            line.text
        ])?;
    }
    Ok(())
}

/// Deletes the oldest of too many routine runs.
fn prune_routine(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    const GONE: &str = "SELECT id FROM runs WHERE routine
        AND rowid <= (SELECT rowid FROM runs WHERE routine ORDER BY rowid DESC LIMIT 1 OFFSET ?1)";
    let gone = transaction
        .prepare_cached(GONE)?
        .query_map([MAX_ROUTINE_RUNS], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    throw_away(transaction, &gone)
}

/// Deletes old runs, if enough newer ones stay, and the oldest of too many. What is old goes by the order in which runs were
/// recorded: their own dates may be wrong. All runs before the first one that is dated young enough
/// are old, and so a run dated in the future goes with its neighbours.
fn prune(transaction: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    const GONE: &str = "
        SELECT id FROM runs WHERE status NOT IN ('running', 'waiting') AND (
            rowid < coalesce(
                (SELECT min(rowid) FROM runs WHERE started >= ?1 AND started <= ?2),
                (SELECT max(rowid) + 1 FROM runs WHERE started < ?1))
                AND rowid <= (SELECT rowid FROM runs WHERE NOT routine ORDER BY rowid DESC LIMIT 1 OFFSET ?5)
            OR rowid <= (SELECT rowid FROM runs ORDER BY rowid DESC LIMIT 1 OFFSET ?3)
            OR routine AND rowid <= (SELECT rowid FROM runs WHERE routine ORDER BY rowid DESC LIMIT 1 OFFSET ?4))";
    let last = now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX);
    let oldest = "SELECT started FROM runs WHERE started <= ?1 ORDER BY rowid LIMIT 1";
    let oldest: Option<i64> =
        transaction.prepare(oldest)?.query_row([micros(last)], |row| row.get(0)).optional()?;
    let kept_from = now.checked_sub(KEPT_FOR).unwrap_or(Timestamp::MIN);
    let kept_from = match oldest.map(super::time).transpose()? {
        Some(oldest) => kept_from.min(oldest.saturating_add(MOST_AT_ONCE).unwrap_or(oldest)),
        None => Timestamp::MIN,
    };
    let gone: Vec<String> = transaction
        .prepare(GONE)?
        .query_map(
            params![micros(kept_from), micros(last), MAX_RUNS, MAX_ROUTINE_RUNS, FEWEST_RUNS],
            |row| row.get(0),
        )?
        .collect::<rusqlite::Result<_>>()?;
    throw_away(transaction, &gone)
}

fn throw_away(transaction: &Transaction<'_>, gone: &[String]) -> rusqlite::Result<()> {
    for (table, column) in [("lines", "run"), ("run_volumes", "run"), ("runs", "id")] {
        let mut delete =
            transaction.prepare_cached(&format!("DELETE FROM {table} WHERE {column} = ?1"))?;
        for id in gone {
            delete.execute([id])?;
        }
    }
    Ok(())
}

/// The JSON of a value, or `{"NotKept": .., "Bytes": ..}` if it is longer than [`LONGEST_RESULT`].
fn bounded(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= LONGEST_RESULT {
        return text;
    }
    serde_json::json!({ "NotKept": "it was too long", "Bytes": text.len() }).to_string()
}

fn json<T: serde::Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).unwrap_or_else(|_| "[]".into())
}
