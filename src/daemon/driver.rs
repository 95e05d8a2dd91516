//! A driver: where the files of a volume are, and how they come there and go.
//!
//! What is remembered of a volume ([`super::state`]), its snapshots and its backups are the same
//! for every driver. A new driver is a file beside `vfs`, and a line in `Operations::open`.

mod vfs;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::error::Result;
pub(super) use vfs::Vfs;

/// Where the files of volumes are.
pub(super) trait Driver: fmt::Debug + Send + Sync {
    /// The word for it in Convoy's API: `vfs`.
    fn name(&self) -> &'static str;

    /// The folder with a volume's files, whether it is there or not.
    fn path(&self, volume: &str) -> PathBuf;

    /// Makes an empty volume, on disk when this returns.
    fn create(&self, volume: &str) -> Result<Created>;

    /// Moves a volume's files to `aside`, a path in the staging folder; `false` where there were
    /// none. The caller puts the staging folder on disk.
    fn take_away(&self, volume: &str, aside: &Path) -> Result<bool>;

    /// Makes the folder `staged`, in the staging folder, a volume's files, on disk when this
    /// returns. Nothing is replaced: [`io::ErrorKind::AlreadyExists`] where the volume has files.
    fn put_in_place(&self, staged: &Path, volume: &str) -> io::Result<()>;
}

/// What became of [`Driver::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    Empty,
    /// With the files that an earlier volume of that name left behind.
    WithFilesThatWereThere,
}
