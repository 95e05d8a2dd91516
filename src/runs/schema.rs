//! The tables of the store, and the migration of an older store.
//!
//! `user_version` counts the steps below that a store has had. A new step goes to the end. An
//! existing step never changes, because stores in use have had it.

use rusqlite::{Connection, TransactionBehavior};

/// The steps, oldest first: a store of version N has had the first N.
const STEPS: [&str; 5] = [FIRST, WAITING, TOTALS, DOES, BACKUPS];

/// The version that this program reads and writes.
pub(super) const VERSION: i64 = STEPS.len() as i64;

/// This release, which takes the last step: it and newer ones can read the store.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Times are microseconds since 1970 in UTC. The large columns of `runs` come last, because a list
/// does not need to read that far.
const FIRST: &str = "
CREATE TABLE runs (
    id TEXT NOT NULL PRIMARY KEY,
    script TEXT NOT NULL,
    status TEXT NOT NULL,
    trigger TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    took INTEGER,
    digest TEXT NOT NULL,
    origin TEXT NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    boot TEXT NOT NULL,
    entry_key TEXT,
    entry_line INTEGER,
    bytes INTEGER,
    lines_left_out INTEGER NOT NULL DEFAULT 0,
    cancel_by TEXT,
    cancel_at INTEGER,
    interruption_told INTEGER NOT NULL DEFAULT 0,
    routine INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    arguments TEXT NOT NULL,
    volumes_done TEXT NOT NULL,
    error TEXT,
    failures TEXT NOT NULL,
    plan TEXT,
    result TEXT
);
CREATE INDEX runs_unfinished ON runs (status) WHERE status IN ('running', 'interrupted');
CREATE INDEX runs_routine ON runs (id) WHERE routine;
CREATE TABLE run_volumes (
    volume TEXT NOT NULL,
    run TEXT NOT NULL,
    PRIMARY KEY (volume, run)
) WITHOUT ROWID;
CREATE INDEX run_volumes_run ON run_volumes (run);
CREATE TABLE lines (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    time INTEGER NOT NULL,
    level INTEGER NOT NULL,
    target TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (run, number)
) WITHOUT ROWID;
CREATE TABLE volumes (
    daemon TEXT NOT NULL,
    name TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    removed INTEGER,
    snapshot TEXT,
    snapshot_time INTEGER,
    PRIMARY KEY (daemon, name)
) WITHOUT ROWID;
CREATE TABLE good_backups (
    daemon TEXT NOT NULL,
    volume TEXT NOT NULL,
    url TEXT NOT NULL,
    snapshot_time INTEGER,
    proven INTEGER NOT NULL,
    run TEXT NOT NULL,
    bytes INTEGER,
    PRIMARY KEY (daemon, volume, url)
) WITHOUT ROWID;
CREATE TABLE times (
    name TEXT NOT NULL PRIMARY KEY,
    time INTEGER NOT NULL
) WITHOUT ROWID;
";

/// Runs that wait for their turn.
const WAITING: &str = "
DROP INDEX runs_unfinished;
CREATE INDEX runs_unfinished ON runs (status) WHERE status IN ('running', 'waiting', 'interrupted');
";

/// Counts of runs, which outlive the runs. `bucket` is the index of the run's duration in
/// `DURATION_BUCKETS`, or -1 for a run without a duration.
const TOTALS: &str = "
CREATE TABLE totals (
    script TEXT NOT NULL,
    status TEXT NOT NULL,
    bucket INTEGER NOT NULL,
    runs INTEGER NOT NULL,
    took INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (script, status, bucket)
) WITHOUT ROWID;
";

/// The declarations of a run's script. Of a run before this step, only the script's name is known:
/// the step assumes what the default script of that name declares.
///
/// The step makes the table anew: a column that is added stands behind the large ones, and lists
/// would read those too.
const DOES: &str = "
CREATE TABLE new_runs (
    id TEXT NOT NULL PRIMARY KEY,
    script TEXT NOT NULL,
    status TEXT NOT NULL,
    trigger TEXT NOT NULL,
    dry_run INTEGER NOT NULL,
    started INTEGER NOT NULL,
    ended INTEGER,
    took INTEGER,
    digest TEXT NOT NULL,
    origin TEXT NOT NULL,
    host TEXT NOT NULL,
    process INTEGER NOT NULL,
    boot TEXT NOT NULL,
    entry_key TEXT,
    entry_line INTEGER,
    bytes INTEGER,
    lines_left_out INTEGER NOT NULL DEFAULT 0,
    cancel_by TEXT,
    cancel_at INTEGER,
    interruption_told INTEGER NOT NULL DEFAULT 0,
    routine INTEGER NOT NULL DEFAULT 0,
    read_only INTEGER NOT NULL DEFAULT 0,
    does TEXT NOT NULL DEFAULT '[]',
    reason TEXT,
    arguments TEXT NOT NULL,
    volumes_done TEXT NOT NULL,
    error TEXT,
    failures TEXT NOT NULL,
    plan TEXT,
    result TEXT
);
INSERT INTO new_runs (rowid, id, script, status, trigger, dry_run, started, ended, took, digest, origin, host, process,
    boot, entry_key, entry_line, bytes, lines_left_out, cancel_by, cancel_at, interruption_told, routine, read_only, does,
    reason, arguments, volumes_done, error, failures, plan, result)
SELECT rowid, id, script, status, trigger, dry_run, started, ended, took, digest, origin, host, process, boot, entry_key,
    entry_line, bytes, lines_left_out, cancel_by, cancel_at, interruption_told, routine, script IN ('backups', 'volumes'),
    CASE WHEN script IN ('backup', 'snapshot', 'prune') THEN json_array(script) ELSE '[]' END,
    reason, arguments, volumes_done, error, failures, plan, result
FROM runs ORDER BY rowid;
DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;
CREATE INDEX runs_unfinished ON runs (status) WHERE status IN ('running', 'waiting', 'interrupted');
CREATE INDEX runs_routine ON runs (id) WHERE routine;
";

/// What is known of each backup, good or bad. `made`: a run of this host made it. `verified`: its data
/// was looked at, not only its description. `broken`: why it can't be restored, and since when that
/// is known; `broken_by_reading`: only reading it whole showed that. `doubt`: why its source may
/// have been missing. `partial`: which files it lacks because they could not be read. `files`: the number of its files; `changed_files`: how many of them changed
/// while they were read. `restored`: a run of this host read it whole.
/// `former`: it is not known to be of the volume that has the name now. `runs.deleted`: what a run
/// deleted, however it ended; lists of runs don't read it. Of a volume, `created`: when its daemon
/// made it; `restored_from`: the URL of its first data.
///
/// `made_backups` has when a run of this host made each of a volume's last backups, also of those that
/// were deleted since. It begins with the last four that are left: of older ones, `prune` may have
/// deleted others between them. `looked_at` has when looks first and last saw each volume that no run
/// has seen yet.
/// `removals` has the volumes that a run asked a daemon to remove, and when, while nobody has seen whether
/// it did.
///
/// `sources` has, of each volume by what tells it from others of its name: why its newest copy is in
/// doubt, when that was taken and what it has; and up to when a person accepted a loss, with what
/// the volume had then. `snapshots` has what volumes had when runs took snapshots, where the daemon
/// does not tell.
///
/// Before this step, a backup that a run had only inspected had its snapshot's time as `proven`.
const BACKUPS: &str = "
ALTER TABLE good_backups RENAME TO backups;
ALTER TABLE backups ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backups ADD COLUMN verified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backups ADD COLUMN files INTEGER;
ALTER TABLE backups ADD COLUMN changed_files INTEGER;
ALTER TABLE backups ADD COLUMN broken TEXT;
ALTER TABLE backups ADD COLUMN broken_since INTEGER;
ALTER TABLE backups ADD COLUMN broken_by_reading INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backups ADD COLUMN doubt TEXT;
ALTER TABLE backups ADD COLUMN partial TEXT;
ALTER TABLE backups ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;
ALTER TABLE backups ADD COLUMN former INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN deleted TEXT NOT NULL DEFAULT '[]';
UPDATE backups SET made = coalesce(proven <> snapshot_time, 0);
ALTER TABLE volumes ADD COLUMN created INTEGER;
ALTER TABLE volumes ADD COLUMN restored_from TEXT;
CREATE TABLE sources (
    daemon TEXT NOT NULL,
    volume TEXT NOT NULL,
    source TEXT NOT NULL,
    doubt TEXT,
    taken INTEGER NOT NULL,
    extent TEXT NOT NULL,
    accepted INTEGER,
    accepted_extent TEXT,
    PRIMARY KEY (daemon, volume, source)
) WITHOUT ROWID;
CREATE TABLE snapshots (
    daemon TEXT NOT NULL,
    snapshot TEXT NOT NULL,
    volume TEXT NOT NULL,
    taken INTEGER NOT NULL,
    extent TEXT NOT NULL,
    PRIMARY KEY (daemon, snapshot)
) WITHOUT ROWID;
CREATE INDEX snapshots_volume ON snapshots (daemon, volume);
CREATE TABLE made_backups (
    daemon TEXT NOT NULL,
    volume TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (daemon, volume, time)
) WITHOUT ROWID;
INSERT OR IGNORE INTO made_backups (daemon, volume, time)
SELECT daemon, volume, proven FROM (
    SELECT *, row_number() OVER (PARTITION BY daemon, volume ORDER BY proven DESC) AS place
    FROM backups WHERE made
) WHERE place <= 4;
CREATE TABLE looked_at (
    daemon TEXT NOT NULL,
    volume TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    PRIMARY KEY (daemon, volume)
) WITHOUT ROWID;
CREATE TABLE removals (
    daemon TEXT NOT NULL,
    volume TEXT NOT NULL,
    run TEXT NOT NULL,
    asked INTEGER NOT NULL,
    PRIMARY KEY (daemon, volume)
) WITHOUT ROWID;
";

/// The version of a store; 0 for a new file.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes the steps that the store has not had. Several processes may call this at once.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let there = usize::try_from(version(&transaction)?).unwrap_or(0);
    for (index, step) in STEPS.iter().enumerate().skip(there) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(
            None,
            "user_version",
            i64::try_from(index + 1).unwrap_or(i64::MAX),
        )?;
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS needs (release TEXT NOT NULL); DELETE FROM needs",
    )?;
    transaction.execute("INSERT INTO needs (release) VALUES (?1)", [RELEASE])?;
    transaction.commit()
}

/// The release that took the last step of a store which may be a newer one's: it can read the store.
pub(super) fn needed_release(connection: &Connection) -> Option<String> {
    connection.query_row("SELECT release FROM needs", [], |row| row.get(0)).ok()
}
