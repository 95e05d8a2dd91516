//! The lock in a destination's folder that other processes and hosts respect.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, ErrorKind, Result},
    files::write_error,
};

/// The pause between two attempts to take a lock that another process holds.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Takes the lock of the repository in `folder`, which is created if it is missing: exclusive if
/// `alone`, otherwise shared. `None` if the file system has no locks.
///
/// # Errors
/// [`ErrorKind::Busy`] if another process holds the lock for longer than `timeout`; another kind if
/// the folder can't be written.
pub(super) fn lock_file(folder: &Path, alone: bool, timeout: Duration) -> Result<Option<File>> {
    let path = folder.join("convoy-backups.lock");
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(folder);
    let opened = made.and_then(|()| options.open(&path));
    let file = opened.map_err(|error| write_error(&path, &error))?;
    let end = Instant::now() + timeout;
    loop {
        match if alone { file.try_lock() } else { file.try_lock_shared() } {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(POLL_INTERVAL)
            }
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("another process holds the destination's lock \"{}\"", path.display());
                return Err(Error::new(ErrorKind::Busy, message)
                    .with_hint("try again when its backup or delete is over"));
            }
            Err(TryLockError::Error(error)) => {
                log::warn!("\"{}\" can't be locked ({error}); going on without", path.display());
                return Ok(None);
            }
        }
    }
}
