//! The lock in a destination's folder that other processes and hosts respect.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, ErrorKind, Result},
    files::write_error,
    locks::knows_no_locks,
};

/// The pause between two attempts to take a lock that another process holds.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Takes the lock of the repository in `folder`, which is created if it is missing: exclusive if
/// `alone`, otherwise shared. `None` if the file system has no locks. Who does not need the lock alone
/// goes on with a warning if it can't be had.
///
/// # Errors
/// [`ErrorKind::Busy`] if another process holds the lock for longer than `timeout`; another kind if
/// the folder can't be written, or if the lock can't be had `alone`.
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
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(error)) => {
                goes_on_without(&path, alone, &error)?;
                return Ok(None);
            }
        }
    }
}

/// Says that a lock can't be had.
///
/// # Errors
/// If nothing may be done without it: a server that does not answer just now may have given the lock
/// to another host. Only a file system that knows no locks gives it to no one.
fn goes_on_without(path: &Path, alone: bool, error: &io::Error) -> Result<()> {
    if alone && !knows_no_locks(error) {
        return Err(Error::io(format!("cannot lock \"{}\"", path.display()), error).with_hint(
            "nothing is deleted without this lock; look at the disk, or at the share's server",
        ));
    }
    log::warn!("\"{}\" can't be locked ({error}); going on without", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn nothing_is_deleted_without_a_lock_but_where_there_are_none() {
        let without = |alone, errno: Errno| {
            goes_on_without(Path::new("/backups/convoy-backups.lock"), alone, &errno.into()).is_ok()
        };
        for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(without(true, errno) && without(false, errno), "{errno}");
        }
        for errno in [Errno::IO, Errno::STALE] {
            assert!(!without(true, errno) && without(false, errno), "{errno}");
        }
    }
}
