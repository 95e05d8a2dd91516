//! What a snapshot reads: a volume's folder, walked with open folder handles, so that nothing
//! outside can be reached by swapping a folder for a symlink while the walk goes on.
//!
//! The library ignores what it can't read; so every failure is recorded here ([`ReadFailures`]),
//! and the snapshot fails when there was one. Only what vanished between listing and reading is
//! normal on a volume in use: it is counted. Mounts inside the volume are crossed, as `tar` does.
//! Sockets are kept as empty names, as restic does. Extended attributes, owners, times and link
//! counts are taken as they are; names of owners are not looked up, numbers are kept. A file that
//! grows while it is read ends at the size it had when it was listed; one that was replaced by
//! another in the meantime is read as far as that one goes.

mod failures;
mod file;
mod metadata;
mod open;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{ReadSource, RusticResult};

use self::{file::ListedFile, walk::Walk};
use crate::daemon::repository::Backend;
pub(in crate::daemon) use failures::ReadFailures;

/// A volume's folder as the library's source.
pub(in crate::daemon) struct VolumeSource {
    root: PathBuf,
    /// What the root is called in the snapshot: `/<volume>`.
    shown: PathBuf,
    failures: Arc<ReadFailures>,
    /// Once it failed to write, reading on is of no use.
    backend: Arc<Backend>,
}

impl VolumeSource {
    /// The folder `root`, shown in the snapshot as `/<volume>`.
    pub(in crate::daemon) fn new(
        root: &Path,
        volume: &str,
        failures: Arc<ReadFailures>,
        backend: Arc<Backend>,
    ) -> Self {
        Self { root: root.to_owned(), shown: Path::new("/").join(volume), failures, backend }
    }
}

impl ReadSource for VolumeSource {
    type Open = ListedFile;
    type Iter = Walk;

    /// Bytes in the volume's files, for progress; failures are left to the walk that counts.
    fn size(&self) -> RusticResult<Option<u64>> {
        let uncounted = Arc::new(ReadFailures::default());
        let walk = Walk::new(&self.root, &self.shown, uncounted, self.backend.clone());
        let files = walk.without_attributes().flatten().filter(|entry| entry.node.is_file());
        Ok(Some(files.map(|entry| entry.node.meta.size).sum()))
    }

    fn entries(&self) -> Walk {
        Walk::new(&self.root, &self.shown, self.failures.clone(), self.backend.clone())
    }
}
