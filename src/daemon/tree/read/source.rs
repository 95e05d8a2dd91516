//! A volume's folder as a source for rustic.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{ReadSource, RusticResult};

use super::{failures::ReadFailures, file::ListedFile, walk::Walk};
use crate::daemon::repository::Backend;

/// A volume's folder as a source for rustic.
pub(in crate::daemon) struct VolumeSource {
    root: PathBuf,
    /// The name of the root in the snapshot: `/<volume>`.
    shown: PathBuf,
    pub(super) failures: Arc<ReadFailures>,
    /// Once this failed to write, there is no use in reading on.
    pub(super) backend: Arc<Backend>,
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
