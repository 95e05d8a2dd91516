//! Knows whether the process of a run is still alive: the process holds a `flock` on one file for
//! each of its runs.
//!
//! The system drops the lock when the process ends, however it ends. A process id would not do:
//! containers that share a data folder have the same ids, and a restarted container is process 1
//! again.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The sign that a run is alive: a locked file. Dropping the value removes the file.
#[derive(Debug)]
pub(super) struct Alive {
    path: PathBuf,
    _file: File,
}

impl Alive {
    /// Makes and locks the file of a run. A missing folder is made.
    pub(super) fn new(folder: &Path, run: &str) -> io::Result<Self> {
        let path = folder.join(run);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                options.open(&path)?
            }
            opened => opened?,
        };
        file.lock()?;
        Ok(Self { path, _file: file })
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        // A file that stays is not locked, so the next reader of the run removes it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the process of a run is alive. A file that can't be checked counts as alive, because a
/// run must not be called interrupted by mistake.
pub(super) fn is_alive(folder: &Path, run: &str) -> bool {
    match File::open(folder.join(run)) {
        Ok(file) => {
            matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
        }
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Removes the file that an ended process left of a run.
pub(super) fn forget(folder: &Path, run: &str) {
    let _ = std::fs::remove_file(folder.join(run));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_alive_as_long_as_its_process_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let running = folder.path().join("running");
        assert!(!is_alive(&running, "run-1"), "no folder, no run");
        let alive = Alive::new(&running, "run-1").unwrap();
        assert!(is_alive(&running, "run-1") && !is_alive(&running, "run-2"));
        drop(alive);
        assert!(!is_alive(&running, "run-1"));
        assert_eq!(std::fs::read_dir(&running).unwrap().count(), 0);
        // What kill -9 leaves: the file without the lock.
        std::fs::write(running.join("run-3"), "").unwrap();
        assert!(!is_alive(&running, "run-3"));
    }
}
