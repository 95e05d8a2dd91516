//! Reads a volume's folder for a snapshot. The walk uses open folder handles, so swapping a folder
//! for a symlink during the walk can't lead it outside the volume.
//!
//! - rustic ignores what it can't read. So every failure is recorded here ([`ReadFailures`]), and
//!   the snapshot fails if there was one.
//! - Files that vanish between listing and reading are normal for a volume in use. They are
//!   counted.
//! - Mounts inside the volume are crossed, as `tar` does.
//! - Sockets are kept as empty names, as restic does.
//! - Extended attributes, owners, times and link counts are kept as they are. Owners are numbers;
//!   their names are not looked up.
//! - A file that grows while it is read ends at the size it had when it was listed. A file that was
//!   replaced by another one is read to the end of the new one.

mod compare;
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
pub(in crate::daemon) use compare::first_difference;
pub(in crate::daemon) use failures::ReadFailures;

/// A volume's folder as a source for rustic.
pub(in crate::daemon) struct VolumeSource {
    root: PathBuf,
    /// The name of the root in the snapshot: `/<volume>`.
    shown: PathBuf,
    failures: Arc<ReadFailures>,
    /// Once this failed to write, there is no use in reading on.
    backend: Arc<Backend>,
}

impl VolumeSource {
    /// The folder `root`, which the snapshot shows as `/<volume>`.
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

    /// The bytes in the volume's files, for progress. Failures are ignored here, because the real
    /// walk finds them again.
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
