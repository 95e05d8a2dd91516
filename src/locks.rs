//! Locks that hold across threads and processes: one file per key in the data folder, locked with
//! `flock`.
//!
//! The system releases a lock when the holder's process ends, even after a crash. No stale lock can
//! remain.

use std::{
    fs::{File, OpenOptions, Permissions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::{
    error::{Error, ErrorKind, Result},
    scope,
};

/// The pause between two attempts of a run that waits for a lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);
/// So long does another one let who wants to be alone go first: that may wait for hours for a third.
const LETS_GO_FIRST: Duration = Duration::from_mins(1);
/// The permissions of a lock file in the data folder.
const LOCK_FILE_MODE: u32 = 0o600;
/// How many bytes of the holder's description are read. Other users may write to a lock file in a
/// shared folder, so its length is not trusted.
const MAX_HOLDER_LENGTH: u64 = 300;

/// Where the locks are, and how long to wait for one.
#[derive(Debug, Clone)]
pub(crate) struct Locks {
    folder: PathBuf,
    wait: Duration,
    holder: String,
}

/// Whether others may hold the same lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Any number of shared holders at a time.
    Shared,
    /// One holder alone.
    Exclusive,
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Locks {
    /// Locks in this folder, which is created when first needed. `holder` describes this process to
    /// those who wait for its locks, for example `backup`.
    pub(crate) fn new(
        folder: impl Into<PathBuf>,
        wait: Duration,
        holder: impl Into<String>,
    ) -> Self {
        Self { folder: folder.into(), wait, holder: holder.into() }
    }

    /// The folder of the lock files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the lock of `key` and takes it. Dropping the future gives up the wait.
    ///
    /// # Errors
    /// - [`ErrorKind::Busy`] if the lock does not come free in time; the message names the holder.
    /// - [`ErrorKind::Configuration`] if the lock file belongs to another user and can't be opened.
    /// - [`ErrorKind::Io`] if the lock file can't be created.
    pub(crate) async fn acquire(&self, key: &str, sharing: Sharing) -> Result<Lock> {
        let path = self.folder.join(file_name(key, "lock"));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|e| cannot_make(&path, &e))?;
        let lock = self.acquire_file(key, &path, LOCK_FILE_MODE, sharing).await?;
        lock.ok_or_else(|| cannot_make(&path, &std::io::ErrorKind::Unsupported.into()))
    }

    /// Takes the lock of `key` in this file, whose folder must exist. A new file, or one of this
    /// user's, gets the permissions `mode`, whatever the umask says. A symbolic link is not
    /// followed.
    ///
    /// Returns `None` where locking is impossible: the file system has no locks, or is read-only
    /// and does not have the file.
    ///
    /// # Errors
    /// As [`Locks::acquire`].
    pub(crate) async fn acquire_file(
        &self,
        key: &str,
        path: &Path,
        mode: u32,
        sharing: Sharing,
    ) -> Result<Option<Lock>> {
        match open(path, mode)? {
            Some(file) => self.take(key, path, (file, mode), sharing).await,
            None => {
                log::debug!(
                    "no lock for \"{key}\": \"{}\" is on a read-only file system",
                    path.display()
                );
                Ok(None)
            }
        }
    }

    /// The turn of who wants to be alone, or that of another one after it, so that it does not wait for
    /// ever where others come and go. It is given back once the lock is taken. `None` where there is
    /// none to be had: then the lock is taken as it comes.
    async fn turn(&self, path: &Path, mode: u32, sharing: Sharing) -> Option<File> {
        // Containers stand still for it.
        if sharing == Sharing::Shared && scope::is_in_a_hold() {
            return None;
        }
        let file = open(&path.with_extension("turn"), mode).ok().flatten()?;
        let wait = match sharing {
            Sharing::Exclusive => self.wait,
            Sharing::Shared => self.wait.min(LETS_GO_FIRST),
        };
        let start = Instant::now();
        loop {
            match attempt(&file, sharing) {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) if start.elapsed() < wait => {
                    tokio::time::sleep(LOCK_POLL_INTERVAL.min(wait)).await;
                }
                Err(_) => return None,
            }
        }
    }

    /// Takes the lock in this open file; `None` if the file system has no locks.
    async fn take(
        &self,
        key: &str,
        path: &Path,
        (mut file, mode): (File, u32),
        sharing: Sharing,
    ) -> Result<Option<Lock>> {
        let start = Instant::now();
        let mut said = false;
        let _turn = self.turn(path, mode, sharing).await;
        loop {
            match attempt(&file, sharing) {
                Ok(()) => {
                    self.sign(&mut file);
                    return Ok(Some(Lock { _file: file }));
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) if knows_no_locks(&error) => {
                    log::debug!("no lock for \"{key}\": \"{}\": {error}", path.display());
                    return Ok(None);
                }
                Err(TryLockError::Error(error)) => {
                    return Err(Error::io(
                        format_args!("cannot lock \"{}\"", path.display()),
                        &error,
                    ));
                }
            }
            let holder = holder(&mut file);
            if start.elapsed() >= self.wait {
                return Err(Error::new(
                    ErrorKind::Busy,
                    format!("\"{key}\" is in use by {holder}"),
                )
                .with_hint("try again when it has ended, or wait longer with BKUP_LOCK_WAIT"));
            }
            if !said {
                log::info!("waiting for \"{key}\", which is in use by {holder}");
                said = true;
            }
            tokio::time::sleep(LOCK_POLL_INTERVAL.min(self.wait)).await;
        }
    }

    /// Writes a description of the holder into the lock file, for those who wait. Errors are
    /// ignored: the lock holds without the description.
    fn sign(&self, file: &mut File) {
        let system = rustix::system::uname();
        let host = system.nodename().to_string_lossy();
        let text = format!("{} (process {} on {host})", self.holder, std::process::id());
        let _ = file
            .rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(text.as_bytes()));
    }
}

fn attempt(file: &File, sharing: Sharing) -> std::result::Result<(), TryLockError> {
    match sharing {
        Sharing::Shared => file.try_lock_shared(),
        Sharing::Exclusive => file.try_lock(),
    }
}

/// Opens a lock file; `None` if the file is missing and the file system is read-only.
fn open(path: &Path, mode: u32) -> Result<Option<File>> {
    use std::io::ErrorKind as Io;
    match open_or_make(path, mode) {
        Err(error) if error.kind() == Io::ReadOnlyFilesystem && !path.exists() => Ok(None),
        Err(error)
            if matches!(error.kind(), Io::PermissionDenied | Io::ReadOnlyFilesystem)
                && path.exists() =>
        {
            // `flock` works on a file that can only be read. The holder's description then can't be
            // written.
            File::open(path).map(Some).map_err(|_| {
                Error::configuration(format!("the lock file \"{}\" belongs to another user", path.display()))
                    .with_hint("run this program as one user on a host, or give each user a BKUP_DATA_DIR and a destination of its own")
            })
        }
        opened => opened.map(Some).map_err(|error| cannot_make(path, &error)),
    }
}

fn open_or_make(path: &Path, mode: u32) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    // The holder's description is written into this file. Following a link that another user placed
    // there would write it into another file.
    options
        .read(true)
        .write(true)
        .mode(mode)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let file = match options.clone().create_new(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => options.open(path)?,
        opened => opened?,
    };
    // The umask may have removed permissions, and older versions made the file for its owner only.
    // Errors are ignored: another user's file can't be changed, and some file systems have no
    // permissions.
    if file.metadata()?.permissions().mode() & 0o777 != mode {
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
    Ok(file)
}

/// Whether the file system does not support locks at all (some network and FUSE ones).
pub(crate) fn knows_no_locks(error: &std::io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| matches!(errno, Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS))
}

fn cannot_make(path: &Path, error: &std::io::Error) -> Error {
    Error::io(format_args!("cannot make the lock file \"{}\"", path.display()), error)
        .with_hint("set BKUP_DATA_DIR to a folder that can be written")
}

fn holder(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = file.rewind().and_then(|()| file.take(MAX_HOLDER_LENGTH).read_to_end(&mut bytes));
    let text: String =
        String::from_utf8_lossy(&bytes).chars().filter(|letter| !letter.is_control()).collect();
    if text.is_empty() { "another run".into() } else { text }
}

/// A file name for any key: the key's letters and digits make it recognisable, and a hash makes it
/// unique.
pub(crate) fn file_name(key: &str, ending: &str) -> String {
    // FNV-1a, because it is stable between versions of the program and of the compiler. The hashers
    // of std are not.
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let readable: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(80).collect();
    format!("{readable}-{hash:016x}.{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locks(folder: &Path) -> Locks {
        Locks::new(folder.join("locks"), Duration::ZERO, "a test")
    }

    #[tokio::test]
    async fn an_exclusive_lock_keeps_everyone_else_out_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let locks = locks(folder.path());
        let held = locks.acquire("vfs:///backups", Sharing::Exclusive).await.unwrap();
        for sharing in [Sharing::Shared, Sharing::Exclusive] {
            let error = locks.acquire("vfs:///backups", sharing).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Busy);
            assert!(error.message.contains("a test (process"), "{error}");
            let system = rustix::system::uname();
            let host = system.nodename().to_str().unwrap();
            assert!(error.message.contains(&format!(" on {host})")), "{error}");
        }
        locks.acquire("vfs:///others", Sharing::Exclusive).await.unwrap();
        drop(held);
        locks.acquire("vfs:///backups", Sharing::Exclusive).await.unwrap();
    }

    #[tokio::test]
    async fn shared_locks_go_together_and_keep_an_exclusive_one_out() {
        let folder = tempfile::tempdir().unwrap();
        let locks = locks(folder.path());
        let _one = locks.acquire("key", Sharing::Shared).await.unwrap();
        let _two = locks.acquire("key", Sharing::Shared).await.unwrap();
        assert_eq!(
            locks.acquire("key", Sharing::Exclusive).await.unwrap_err().kind,
            ErrorKind::Busy
        );
    }

    #[tokio::test]
    async fn a_lock_file_in_a_shared_folder_can_be_written_by_all_and_one_in_the_data_folder_only_by_its_owner()
     {
        let folder = tempfile::tempdir().unwrap();
        let locks = locks(folder.path());
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let shared = folder.path().join("shared.lock");
        locks.acquire_file("key", &shared, 0o666, Sharing::Exclusive).await.unwrap();
        assert_eq!(mode(&shared), 0o666);
        // A file of an older version, which other users could not open.
        std::fs::set_permissions(&shared, Permissions::from_mode(0o600)).unwrap();
        locks.acquire_file("key", &shared, 0o666, Sharing::Exclusive).await.unwrap();
        assert_eq!(mode(&shared), 0o666);
        locks.acquire("key", Sharing::Exclusive).await.unwrap();
        assert_eq!(mode(&locks.folder().join(file_name("key", "lock"))), 0o600);
    }

    #[test]
    fn only_a_file_system_without_locks_is_gone_on_without_one() {
        for (errno, none) in [
            (Errno::NOLCK, true),
            (Errno::OPNOTSUPP, true),
            (Errno::NOSYS, true),
            (Errno::BADF, false),
        ] {
            assert_eq!(knows_no_locks(&errno.into()), none, "{errno}");
        }
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_a_lock_file_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, lock) = (folder.path().join("precious"), folder.path().join("shared.lock"));
        std::fs::write(&precious, "words").unwrap();
        std::os::unix::fs::symlink(&precious, &lock).unwrap();
        locks(folder.path())
            .acquire_file("key", &lock, 0o666, Sharing::Exclusive)
            .await
            .unwrap_err();
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "words");
    }

    #[tokio::test]
    async fn what_others_wrote_into_a_lock_file_is_shown_without_control_characters_and_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared.lock");
        std::fs::write(&path, format!("\u{1b}[2Jsomebody\n{}", "x".repeat(5000))).unwrap();
        let shown = holder(&mut File::open(&path).unwrap());
        assert!(shown.starts_with("[2Jsomebodyx") && shown.len() < 400, "{shown:?}");
    }

    #[tokio::test]
    async fn who_wants_to_be_alone_gets_its_turn_among_others_that_never_pause() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks { wait: Duration::from_secs(60), ..locks(folder.path()) };
        let wait = |sharing| {
            let locks = locks.clone();
            tokio::spawn(async move { locks.acquire("key", sharing).await.unwrap() })
        };
        let held = locks.acquire("key", Sharing::Shared).await.unwrap();
        let alone = wait(Sharing::Exclusive);
        let turn = locks.folder().join(file_name("key", "turn"));
        while open(&turn, LOCK_FILE_MODE).unwrap().unwrap().try_lock().is_ok() {
            tokio::task::yield_now().await;
        }
        let another = wait(Sharing::Shared);
        drop(held);
        let alone = alone.await.unwrap();
        assert!(!another.is_finished());
        drop(alone);
        another.await.unwrap();
    }

    #[tokio::test]
    async fn a_waiting_run_gets_its_turn() {
        let folder = tempfile::tempdir().unwrap();
        let locks = Locks { wait: Duration::from_secs(60), ..locks(folder.path()) };
        let held = locks.acquire("key", Sharing::Exclusive).await.unwrap();
        let waiting = tokio::spawn({
            let locks = locks.clone();
            async move { locks.acquire("key", Sharing::Exclusive).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap().unwrap();
    }
}
