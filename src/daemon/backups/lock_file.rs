//! The lock in a destination's folder that other processes and hosts respect.
//!
//! `convoy-backups.lock` is held by all that reads or writes there (shared), and by who deletes (alone).
//! Locks of files are not fair: who wants to be alone would wait for ever where others come and go. So it
//! first takes `convoy-backups.turn`, and who comes later lets it go first, for a while.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    error::{Error, ErrorKind, Result},
    files::{Beneath, write_error},
    locks::knows_no_locks,
    scope,
    units::format_duration,
};

const LOCK: &str = "convoy-backups.lock";
const TURN: &str = "convoy-backups.turn";
/// The pause between two attempts to take a lock that another process holds.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// So long lets a newcomer one go first that waits to be alone: that may wait for hours for another.
const LETS_GO_FIRST: Duration = Duration::from_mins(1);

/// What a lock is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Reading or writing, beside others.
    Beside,
    /// Deleting, giving back room, or making the repository.
    Alone,
}

/// Takes a lock of the repository in `folder`, which is created if it is missing. `None` if the file
/// system has no locks. Who only reads or writes goes on with a warning if it can't be had.
///
/// # Errors
/// [`ErrorKind::Busy`] if another process holds the lock for longer than `wait`; another kind if the
/// folder can't be written, if the lock can't be had alone, or if the run is to end.
pub(super) fn lock_file(folder: &Path, use_for: Use, wait: Duration) -> Result<Option<File>> {
    let path = folder.join(LOCK);
    let made = fs::DirBuilder::new().mode(0o700).recursive(true).create(folder);
    // Others may write to the folder, also to the one that it is in.
    let at = made.and_then(|()| {
        let above = folder.parent().unwrap_or(folder);
        Beneath::of(above)?.folder_by_owner(folder.file_name().unwrap_or_default())
    });
    let at = at.map_err(|error| write_error(&path, &error))?;
    let file = at.open_or_create(LOCK).map_err(|error| write_error(&path, &error))?;
    let end = Instant::now() + wait;
    let _turn = turn(&at, use_for, end)?;
    match take(&file, use_for, end)? {
        Taken::Yes => Ok(Some(file)),
        Taken::Busy => Err(busy(&path, wait)),
        Taken::Never(error) => goes_on_without(&path, use_for, &error).map(|()| None),
    }
}

fn busy(path: &Path, wait: Duration) -> Error {
    let message = format!(
        "another process holds the destination's lock \"{}\" (waited {})",
        path.display(),
        format_duration(wait)
    );
    Error::new(ErrorKind::Busy, message).with_hint(
        "try again when its backup or deletion is over, or wait longer with BKUP_LOCK_WAIT",
    )
}

/// The turn of who wants to be alone, or that of a newcomer after it. It is given back once the lock is
/// taken. `None` where there is none to be had: then the lock is taken as it comes.
fn turn(folder: &Beneath, use_for: Use, end: Instant) -> Result<Option<File>> {
    let end = match use_for {
        Use::Alone => end,
        // Containers stand still for it.
        Use::Beside if scope::is_in_a_hold() => return Ok(None),
        Use::Beside => end.min(Instant::now() + LETS_GO_FIRST),
    };
    let Ok(file) = folder.open_or_create(TURN) else { return Ok(None) };
    Ok(matches!(take(&file, use_for, end)?, Taken::Yes).then_some(file))
}

enum Taken {
    Yes,
    Busy,
    /// The lock can't be had at all, and why.
    Never(io::Error),
}

/// Tries to take a lock, again and again until `end`.
///
/// # Errors
/// If the run is to end.
fn take(file: &File, use_for: Use, end: Instant) -> Result<Taken> {
    loop {
        let taken = match use_for {
            Use::Alone => file.try_lock(),
            Use::Beside => file.try_lock_shared(),
        };
        let failed = match taken {
            Ok(()) => return Ok(Taken::Yes),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => {
                Some(error)
            }
            Err(TryLockError::Error(error)) => return Ok(Taken::Never(error)),
        };
        if Instant::now() >= end {
            return Ok(failed.map_or(Taken::Busy, Taken::Never));
        }
        scope::goes_on("it waited for the lock of its destination")?;
        std::thread::sleep(POLL_INTERVAL.min(end.saturating_duration_since(Instant::now())));
    }
}

/// Says that a lock can't be had.
///
/// # Errors
/// If nothing may be done without it: a server that does not answer just now may have given the lock
/// to another host. Only a file system that knows no locks gives it to no one.
fn goes_on_without(path: &Path, use_for: Use, error: &io::Error) -> Result<()> {
    if use_for == Use::Alone && !knows_no_locks(error) {
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
        let without = |use_for, errno: Errno| {
            let path = Path::new("/backups/convoy-backups.lock");
            goes_on_without(path, use_for, &errno.into()).is_ok()
        };
        for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(without(Use::Alone, errno) && without(Use::Beside, errno), "{errno}");
        }
        for errno in [Errno::IO, Errno::STALE, Errno::INTR] {
            assert!(!without(Use::Alone, errno) && without(Use::Beside, errno), "{errno}");
        }
    }

    /// What takes a lock with a wait, on a thread of its own.
    fn waiting(folder: &Path, use_for: Use) -> std::thread::JoinHandle<Result<Option<File>>> {
        let folder = folder.to_owned();
        std::thread::spawn(move || lock_file(&folder, use_for, Duration::from_mins(1)))
    }

    fn is_free(path: &Path) -> bool {
        File::open(path).is_ok_and(|file| file.try_lock().is_ok())
    }

    #[test]
    fn who_wants_to_be_alone_gets_its_turn_among_others_that_never_pause() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock_file(folder.path(), Use::Beside, Duration::ZERO).unwrap();
        let alone = waiting(folder.path(), Use::Alone);
        let turn = folder.path().join(TURN);
        while !turn.exists() || is_free(&turn) {
            std::thread::yield_now();
        }
        // A newcomer goes behind it, though others hold the lock that it wants.
        let newcomer = waiting(folder.path(), Use::Beside);
        drop(held);
        let alone = alone.join().unwrap().unwrap();
        assert!(!newcomer.is_finished());
        drop(alone);
        newcomer.join().unwrap().unwrap().unwrap();
    }

    #[test]
    fn who_waits_for_a_lock_ends_with_its_run_and_says_how_long_it_waited() {
        let folder = tempfile::tempdir().unwrap();
        let _held = lock_file(folder.path(), Use::Alone, Duration::ZERO).unwrap();
        let run = scope::Scope::of("run-1");
        run.ended.cancel();
        let refused = scope::within(Some(run), || {
            lock_file(folder.path(), Use::Beside, Duration::from_mins(60)).unwrap_err()
        });
        assert_eq!(refused.kind, ErrorKind::Cancelled);
        let busy = lock_file(folder.path(), Use::Beside, Duration::ZERO).unwrap_err();
        assert_eq!(busy.kind, ErrorKind::Busy);
        assert!(busy.message.contains("convoy-backups.lock\" (waited 0s)"), "{busy}");
    }

    #[test]
    fn a_pipe_or_a_link_in_the_place_of_a_lock_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (path, precious) = (folder.path().join(LOCK), folder.path().join("p"));
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        lock_file(folder.path(), Use::Beside, Duration::ZERO).unwrap_err();
        assert!(!precious.exists());
        fs::remove_file(&path).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        lock_file(folder.path(), Use::Beside, Duration::ZERO).unwrap_err();
    }
}
