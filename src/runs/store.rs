//! The store of runs: one SQLite file in the data folder, which the command line and `serve` write
//! to at the same time.
//!
//! The file is opened at first use, and again after a failure or when the file was moved away. In
//! WAL mode with `synchronous=NORMAL` a write does not wait for the disk: after a power failure,
//! the last writes may be missing, but the file is whole. Code that must not fail with the store
//! goes through [`super::recording`].

mod backups;
mod cancelling;
mod finding;
mod learning;
mod looks;
mod made;
mod removals;
mod sources;
mod times;
mod totals;
mod volumes;
mod writing;

#[cfg(test)]
mod tests;

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, config::DbConfig,
};

use super::schema;
use crate::{
    error::{Error, ErrorKind, Result},
    files::rename_to_new,
    sync::lock,
};

pub(crate) use times::{EntryEvent, EntryRun, EntryTimes};
pub(super) use writing::{Change, Ending};

/// How long a write waits for the writes of other processes, which take milliseconds each.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const OTHER_FOLDER: &str = "or set BKUP_DATA_DIR to another folder";

/// The store of runs in a data folder. Every method blocks for a moment, and never waits longer
/// than [`LOCK_TIMEOUT`].
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// The signs of the runs that are alive.
    running: PathBuf,
    open: Mutex<Option<Open>>,
    /// The log already says that something is wrong with the store.
    troubled: AtomicBool,
    /// How many read-only runs were recorded since the last check whether they are too many.
    routine: AtomicUsize,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Device and inode, to notice that the path has another file now.
    file: (u64, u64),
}

/// How many statements are kept prepared: enough for all that are used repeatedly.
const KEPT_STATEMENTS: usize = 64;

/// Why the store could not be used.
enum Trouble {
    Sqlite(rusqlite::Error),
    Other(Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Store {
    /// The store in a data folder. The file is neither opened nor made yet.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            path: data_dir.join("runs.sqlite"),
            running: data_dir.join("running"),
            open: Mutex::default(),
            troubled: AtomicBool::new(false),
            routine: AtomicUsize::new(0),
        }
    }

    /// The folder with the signs of the runs that are alive.
    pub(super) fn running(&self) -> &Path {
        &self.running
    }

    /// Notes whether the store works. Returns whether that has changed.
    pub(super) fn is_news(&self, works: bool) -> bool {
        self.troubled.swap(!works, Ordering::Relaxed) == works
    }

    /// Whether the file exists. It does not before the first run.
    pub(crate) fn exists(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Moves a store that is certainly damaged aside and returns its new path, so that the next
    /// write makes a new store. `serve` calls this when it starts. The damaged file is never
    /// deleted.
    ///
    /// # Errors
    /// The store is damaged and can't be moved, or can't be used for another reason (it is
    /// read-only or of a newer version, the disk is full).
    pub(crate) fn mend(&self, now: Timestamp) -> Result<Option<PathBuf>> {
        let tried = if self.exists() {
            self.attempt(false, |connection| Ok(look_around(connection)?))
        } else {
            Ok(())
        };
        match tried {
            Ok(()) => self.write(|_| Ok(())).map(|()| None),
            Err(Trouble::Sqlite(error)) if is_damage(&error) => {
                *lock(&self.open) = None;
                let suffix = format!("damaged-{}", now.strftime("%Y%m%dT%H%M%SZ"));
                let aside = with_suffix(&self.path, &format!(".{suffix}"));
                rename_to_new(&self.path, &aside).map_err(|error| {
                    Error::io(
                        format_args!(
                            "the damaged store of runs \"{}\" can't be moved aside",
                            self.path.display()
                        ),
                        &error,
                    )
                    .with_hint("move it away by hand; a new one is begun then")
                })?;
                for part in ["-wal", "-shm"] {
                    // These files belong to the damaged store. SQLite would use them for the new
                    // one.
                    let _ =
                        rename_to_new(&with_suffix(&self.path, part), &with_suffix(&aside, part));
                }
                self.write(|_| Ok(())).map(|()| Some(aside))
            }
            Err(trouble) => Err(self.explain(trouble)),
        }
    }

    /// Reads from the store. A missing store is not made.
    fn read<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        self.attempt(false, |connection| Ok(act(connection)?))
            .map_err(|trouble| self.explain(trouble))
    }

    /// Writes to the store, in one transaction. A missing store is made.
    fn write<T>(&self, act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T> {
        let attempt = |connection: &mut Connection| {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = act(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        self.attempt(true, attempt).map_err(|trouble| self.explain(trouble))
    }

    fn attempt<T>(
        &self,
        make: bool,
        act: impl FnOnce(&mut Connection) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let mut slot = lock(&self.open);
        if slot.as_ref().is_some_and(|open| file_id(&self.path).ok() != Some(open.file)) {
            *slot = None;
        }
        let open = match &mut *slot {
            Some(open) => open,
            None => slot.insert(self.open(make)?),
        };
        let acted = act(&mut open.connection);
        // Every error but "busy" leaves the connection in doubt.
        if let Err(Trouble::Sqlite(error)) = &acted
            && !matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            )
        {
            *slot = None;
        }
        acted
    }

    fn open(&self, make: bool) -> Result<Open, Trouble> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => {
                let error = Error::new(
                    ErrorKind::Io,
                    format!("the store of runs \"{}\" is a folder", self.path.display()),
                );
                return Err(Trouble::Other(
                    error.with_hint(format!("move it away, {OTHER_FOLDER}")),
                ));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && make => {
                self.make().map_err(Trouble::Other)?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Trouble::Other(Error::new(
                    ErrorKind::NotFound,
                    "there are no runs yet",
                )));
            }
            Err(error) => {
                let what = format!("cannot look at the store of runs \"{}\"", self.path.display());
                return Err(Trouble::Other(
                    Error::io(what, &error).with_hint(format!("mend that, {OTHER_FOLDER}")),
                ));
            }
        }
        let mut connection = self.connect()?;
        let there = schema::version(&connection)?;
        if there > schema::VERSION {
            let message = format!(
                "the store of runs \"{}\" is of version {there}, and this program knows only version {}",
                self.path.display(),
                schema::VERSION
            );
            let update = match schema::needed_release(&connection) {
                Some(release) => format!("update this program to {release} or newer"),
                None => "update this program".to_owned(),
            };
            return Err(Trouble::Other(
                Error::new(ErrorKind::Configuration, message)
                    .with_hint(format!("{update}, {OTHER_FOLDER}; nothing was changed")),
            ));
        }
        if there < schema::VERSION {
            into_wal(&connection)?;
            schema::migrate(&mut connection)?;
        }
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let file = file_id(&self.path).map_err(|error| {
            Trouble::Other(Error::io("the store of runs is gone again", &error))
        })?;
        Ok(Open { connection, file })
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let set_up = |connection: Connection| {
            connection.busy_timeout(LOCK_TIMEOUT)?;
            connection.set_prepared_statement_cache_capacity(KEPT_STATEMENTS);
            // With a checkpoint at its close, a command would wait for the disk before it ends. A
            // later writer that finds the write-ahead log long does the checkpoint.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            schema::version(&connection).map(|_| connection)
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let error = match Connection::open_with_flags(&self.path, flags).and_then(set_up) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => error,
            connected => return connected,
        };
        // On a read-only disk, SQLite can't make the files beside the store. If there are none, the
        // store is complete without them.
        if with_suffix(&self.path, "-wal").exists() {
            return Err(error);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let path =
            self.path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
            .and_then(set_up)
            .map_err(|_| error)
    }

    /// Makes the file for its owner alone. SQLite gives the files beside it the same permissions.
    fn make(&self) -> Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let made =
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| {
                fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)
            });
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io(
                format_args!("cannot make the store of runs \"{}\"", self.path.display()),
                &error,
            )
            .with_hint("set BKUP_DATA_DIR to a folder that can be written")),
            _ => Ok(()),
        }
    }

    fn explain(&self, trouble: Trouble) -> Error {
        let error = match trouble {
            Trouble::Other(error) => return error,
            Trouble::Sqlite(error) => error,
        };
        let say = |kind, what: &str, hint: String| {
            Error::new(
                kind,
                format!("the store of runs \"{}\" {what}: {error}", self.path.display()),
            )
            .with_hint(hint)
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => say(
                ErrorKind::Io,
                "is damaged",
                format!(
                    "move it away (\"serve\" does so when it starts), {OTHER_FOLDER}; a new one is begun then"
                ),
            ),
            Some(
                ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::AuthorizationForStatementDenied,
            ) => say(
                ErrorKind::Io,
                "can't be written",
                format!("let this user write to it and to its folder, {OTHER_FOLDER}"),
            ),
            Some(ErrorCode::DiskFull) => {
                say(ErrorKind::Io, "has no room", "make room on its disk".into())
            }
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => say(
                ErrorKind::Busy,
                "is locked by another program",
                format!("see which one has it open: fuser -v \"{}\"", self.path.display()),
            ),
            _ => say(
                ErrorKind::Io,
                "can't be used",
                format!("look at its disk and its permissions, {OTHER_FOLDER}"),
            ),
        }
    }
}

/// Switches the store to WAL mode. When two processes make the same store, SQLite answers "busy"
/// here at once instead of waiting, so this function tries again.
fn into_wal(connection: &Connection) -> rusqlite::Result<()> {
    let start = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && start.elapsed() < LOCK_TIMEOUT =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            set => return set,
        }
    }
}

/// Reads the newest row of every table, to find damage.
fn look_around(connection: &Connection) -> rusqlite::Result<()> {
    for (table, order) in [
        ("runs", "id"),
        ("run_volumes", "run"),
        ("lines", "run"),
        ("volumes", "name"),
        ("backups", "volume"),
        ("sources", "volume"),
        ("made_backups", "volume"),
        ("looked_at", "volume"),
        ("removals", "volume"),
        ("totals", "script"),
        ("times", "name"),
    ] {
        let mut statement = connection
            .prepare(&format!("SELECT * FROM {table} ORDER BY {order} DESC LIMIT 100"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
    }
    Ok(())
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn file_id(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A time in the store's form: microseconds since 1970.
fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// Reads a time of the store.
fn time(micros: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::from_microsecond(micros).map_err(|error| foreign(0, error))
}

/// A number in the store's form. Numbers above 2^63 - 1 become that limit.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The error for a value in the store that this program did not write.
fn foreign(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
