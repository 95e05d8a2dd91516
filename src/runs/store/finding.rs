//! Reads runs: lists, one run by its id, the output and the log of a run.

use std::{collections::HashMap, time::Duration};

use rusqlite::{Connection, Row, params_from_iter, types::Value as Sql};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Store, foreign, micros, number, time};
use crate::{
    error::{Error, ErrorKind, Result},
    run_words::{RunStatus, Trigger},
    runs::{
        alive,
        record::{CancelRequest, Entry, Filter, Line, Output, RunRecord},
    },
    suggest,
};

/// The columns of a record, in the order in which [`record`] reads them.
const COLUMNS: &str = "id, script, status, trigger, dry_run, started, ended, took, digest, origin, host, process, boot, \
    entry_key, entry_line, bytes, lines_left_out, cancel_by, cancel_at, reason, arguments, volumes_done, error, failures, \
    read_only, does";

impl Store {
    /// Returns the runs that match a filter, the last recorded first: a run whose clock was wrong
    /// has its place among them, whatever its id. A run whose process has ended is
    /// shown as interrupted. The list is empty where there is no store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn list(&self, filter: &Filter) -> Result<Vec<RunRecord>> {
        let (conditions, values) = conditions(filter);
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE {conditions} ORDER BY rowid DESC");
        let read = self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query(params_from_iter(values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()?
                && found.len() < filter.limit.unwrap_or(usize::MAX)
            {
                let record = self.record(row)?;
                if filter.status.is_none_or(|status| status == record.status) {
                    found.push(record);
                }
            }
            Ok(found)
        });
        match read {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Vec::new()),
            read => read?.into_iter().map(|record| self.settled(record)).collect(),
        }
    }

    /// Returns the run with an id, or the only run whose id begins with it.
    ///
    /// # Errors
    /// A usage error if no run matches, or several do. Another error if the store can't be read.
    pub(crate) fn get(&self, id: &str) -> Result<RunRecord> {
        // No id has the largest character there is, so this end sorts after all ids with the
        // prefix.
        let end = format!("{id}\u{10ffff}");
        let sql =
            format!("SELECT {COLUMNS} FROM runs WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 4");
        let found: Result<Vec<RunRecord>> = self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([id, &end])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(self.record(row)?);
            }
            Ok(found)
        });
        let mut found = match found {
            Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        if found.first().is_some_and(|first| !id.is_empty() && (first.id == id || found.len() == 1))
        {
            return self.settled(found.swap_remove(0));
        }
        Err(if found.is_empty() || id.is_empty() {
            self.unknown(id)
        } else {
            ambiguous(id, &found)
        })
    }

    /// Returns a number that changes whenever another connection than this store's has written.
    ///
    /// # Errors
    /// The store can't be read, or does not exist yet.
    pub(crate) fn change_count(&self) -> Result<i64> {
        self.read(|connection| connection.query_row("PRAGMA data_version", [], |row| row.get(0)))
    }

    /// Returns the row number of the run that was recorded last. Row numbers grow in the order in
    /// which runs are recorded, which is not always the order of their ids.
    ///
    /// # Errors
    /// The store can't be read, or does not exist yet.
    pub(crate) fn last_row(&self) -> Result<i64> {
        self.read(|connection| {
            connection.query_row("SELECT coalesce(max(rowid), 0) FROM runs", [], |row| row.get(0))
        })
    }

    /// Counts the runs that go on or wait for their turn.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn open_runs(&self) -> Result<u64> {
        let filter = |status| Filter { status: Some(status), ..Filter::default() };
        let count = |status| self.list(&filter(status)).map(|runs| runs.len() as u64);
        Ok(count(RunStatus::Running)? + count(RunStatus::Waiting)?)
    }

    /// Returns the last run of each entry of the crontab, by the entry's key. The map is empty
    /// where there is no store yet.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn last_runs_of_entries(&self) -> Result<HashMap<String, RunRecord>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE rowid IN
                (SELECT max(rowid) FROM runs WHERE entry_key IS NOT NULL AND status <> 'skipped' GROUP BY entry_key)"
        );
        let read = self.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut found = HashMap::new();
            while let Some(row) = rows.next()? {
                let record = self.record(row)?;
                if let Some(entry) = &record.entry {
                    found.insert(entry.key.clone(), record);
                }
            }
            Ok(found)
        });
        match read {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(HashMap::new()),
            read => read,
        }
    }

    /// Returns the last row number, and the runs of the rows behind `row`. Routine runs are left
    /// out: they only read, have ended, and the crontab did not start them.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn runs_behind(&self, row: i64) -> Result<(i64, Vec<RunRecord>)> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE rowid > ?1 AND rowid <= ?2 AND NOT routine ORDER BY rowid"
        );
        self.read(|connection| {
            let last = "SELECT coalesce(max(rowid), 0) FROM runs";
            let last: i64 = connection.prepare_cached(last)?.query_row([], |row| row.get(0))?;
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([row, last])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(self.record(row)?);
            }
            Ok((last, found))
        })
    }

    /// Reads a record again if its process seems to be gone: the run may have ended after its row
    /// was read and before its process was checked.
    fn settled(&self, record: RunRecord) -> Result<RunRecord> {
        if record.status != RunStatus::Interrupted || record.ended.is_some() {
            return Ok(record);
        }
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = ?1");
        self.read(|connection| {
            connection.prepare_cached(&sql)?.query_row([&record.id], |row| self.record(row))
        })
    }

    fn unknown(&self, id: &str) -> Error {
        let error = Error::usage(format!("there is no run \"{id}\""));
        let newest = self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT id FROM runs ORDER BY id DESC LIMIT 1000")?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        });
        let newest = newest.unwrap_or_default();
        // Ids of the same day share a third of their letters. So only an almost equal id is
        // suggested.
        let near = suggest::nearest(id, newest.iter().map(String::as_str))
            .filter(|near| strsim::osa_distance(near, id) <= 3);
        error.with_hint(match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "see \"convoy-backups runs list\" for those there are".into(),
        })
    }

    /// Returns the output of a run, by its full id.
    ///
    /// # Errors
    /// The store can't be read, or there is no such run.
    pub(crate) fn output(&self, id: &str) -> Result<Output> {
        self.read(|connection| {
            let sql = "SELECT plan, result, deleted FROM runs WHERE id = ?1";
            connection.query_row(sql, [id], |row| {
                Ok(Output {
                    plan: optional_json(row, 0)?,
                    result: optional_json(row, 1)?,
                    deleted: json(row, 2)?,
                })
            })
        })
    }

    /// Returns at most `limit` lines of a run's log, behind the line with this number (0: from the
    /// first line).
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn lines(&self, id: &str, behind: u64, limit: usize) -> Result<Vec<Line>> {
        let sql = "SELECT number, time, level, target, text FROM lines WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let limit = number(u64::try_from(limit).unwrap_or(u64::MAX));
            let rows = statement.query_map(rusqlite::params![id, number(behind), limit], line)?;
            rows.collect()
        })
    }

    /// Returns the last lines of a run's log, oldest first.
    ///
    /// # Errors
    /// The store can't be read.
    pub(crate) fn last_lines(&self, id: &str, count: usize) -> Result<Vec<Line>> {
        let sql = "SELECT number, time, level, target, text FROM lines WHERE run = ?1 ORDER BY number DESC LIMIT ?2";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let limit = number(u64::try_from(count).unwrap_or(u64::MAX));
            let mut lines: Vec<_> = statement
                .query_map(rusqlite::params![id, limit], line)?
                .collect::<rusqlite::Result<_>>()?;
            lines.reverse();
            Ok(lines)
        })
    }

    /// Reads a record from a row with [`COLUMNS`].
    fn record(&self, row: &Row<'_>) -> rusqlite::Result<RunRecord> {
        let id: String = row.get(0)?;
        let status: String = row.get(2)?;
        let mut status =
            RunStatus::parse(&status).ok_or_else(|| foreign(2, Error::internal(status)))?;
        if status.is_open() && !alive::is_alive(self.running(), &id) {
            // The run may have ended since the row was read: see `settled`.
            status = RunStatus::Interrupted;
        }
        let trigger: String = row.get(3)?;
        let at = |column: usize| row.get::<_, Option<i64>>(column)?.map(time).transpose();
        let count = |column: usize| {
            Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(i64::unsigned_abs))
        };
        let key: Option<String> = row.get(13)?;
        let by: Option<String> = row.get(17)?;
        Ok(RunRecord {
            script: row.get(1)?,
            status,
            trigger: Trigger::parse(&trigger)
                .ok_or_else(|| foreign(3, Error::internal(trigger)))?,
            dry_run: row.get(4)?,
            started: time(row.get(5)?)?,
            ended: at(6)?,
            took: count(7)?.map(Duration::from_micros),
            digest: row.get(8)?,
            origin: row.get(9)?,
            host: row.get(10)?,
            process: row.get(11)?,
            boot: row.get(12)?,
            entry: key
                .map(|key| Ok::<_, rusqlite::Error>(Entry { key, line: row.get(14)? }))
                .transpose()?,
            bytes: count(15)?,
            lines_left_out: count(16)?.unwrap_or(0),
            cancel_requested: by.zip(at(18)?).map(|(by, at)| CancelRequest { by, at }),
            reason: row.get(19)?,
            arguments: json(row, 20)?,
            volumes_done: json(row, 21)?,
            error: optional_json(row, 22)?,
            failures: json(row, 23)?,
            read_only: row.get(24)?,
            does: json(row, 25)?,
            id,
        })
    }

    /// The status of a run as the store has it now. The run may belong to another process.
    pub(super) fn status(&self, connection: &Connection, id: &str) -> rusqlite::Result<RunStatus> {
        let status: String =
            connection
                .query_row("SELECT status FROM runs WHERE id = ?1", [id], |row| row.get(0))?;
        RunStatus::parse(&status).ok_or_else(|| foreign(0, Error::internal(status)))
    }
}

/// The condition of a filter in SQL, and the values of its placeholders.
fn conditions(filter: &Filter) -> (String, Vec<Sql>) {
    let mut conditions = Vec::new();
    let mut values: Vec<Sql> = Vec::new();
    let mut add = |condition: &str, value: Sql| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(script) = &filter.script {
        add("script = ?", script.clone().into());
    }
    if let Some(since) = filter.since {
        add("started >= ?", micros(since).into());
    }
    if let Some(volume) = &filter.volume {
        add("id IN (SELECT run FROM run_volumes WHERE volume = ?)", volume.clone().into());
    }
    if let Some(before) = &filter.before {
        let row = "rowid < coalesce((SELECT rowid FROM runs WHERE id = ?), (SELECT max(rowid) + 1 FROM runs WHERE id < ?), 0)";
        add(row, before.clone().into());
    }
    if filter.without_read_only {
        conditions.push("(trigger = 'cron' OR NOT dry_run AND NOT read_only)".to_owned());
    }
    // A literal, not a placeholder: else SQLite does not use the index of open runs.
    conditions.extend(match filter.status {
        // The store may have an open run whose process is gone: `record` finds those.
        Some(RunStatus::Interrupted) => {
            Some("status IN ('running', 'waiting', 'interrupted')".to_owned())
        }
        Some(status) => Some(format!("status = '{status}'")),
        None => None,
    });
    if conditions.is_empty() {
        conditions.push("1".to_owned());
    }
    (conditions.join(" AND "), values)
}

fn ambiguous(id: &str, found: &[RunRecord]) -> Error {
    let some: Vec<_> = found.iter().take(3).map(|record| format!("\"{}\"", record.id)).collect();
    let more = if found.len() > 3 { " and others" } else { "" };
    Error::usage(format!("more than one run's id begins with \"{id}\": {}{more}", some.join(", ")))
        .with_hint("give more of it")
}

fn line(row: &Row<'_>) -> rusqlite::Result<Line> {
    let level: i64 = row.get(2)?;
    Ok(Line {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        time: time(row.get(1)?)?,
        level: log::Level::iter().find(|there| *there as i64 == level).unwrap_or(log::Level::Info),
        target: row.get(3)?,
        text: row.get(4)?,
    })
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| foreign(column, error))
}

fn optional_json(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Value>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| serde_json::from_str(&text).map_err(|error| foreign(column, error))).transpose()
}
