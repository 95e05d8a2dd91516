//! A driver: where the files of a volume are, and how they are created, moved and removed.
//!
//! The state of a volume ([`super::state`]), its snapshots and its backups are the same for every
//! driver. A new driver is a file beside `vfs`, and a line in `Operations::open`.

mod vfs;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::moment::Place;
use crate::error::Result;
pub(super) use vfs::Vfs;

/// Manages the files of volumes.
pub(super) trait Driver: fmt::Debug + Send + Sync {
    /// The driver's name in Convoy's API: `vfs`.
    fn name(&self) -> &'static str;

    /// The folder for a volume's files, whether it exists or not.
    fn path(&self, volume: &str) -> PathBuf;

    /// The place of which a moment is taken to read the volume.
    fn place(&self, volume: &str) -> Place;

    /// Creates an empty volume. It is on disk when this returns.
    fn create(&self, volume: &str) -> Result<Created>;

    /// Moves a volume's files to `aside`, a path in the staging folder. `false` if the volume had
    /// no files. The caller syncs the staging folder.
    fn take_away(&self, volume: &str, aside: &Path) -> Result<bool>;

    /// Makes the folder `staged`, in the staging folder, the volume's files. They are on disk when
    /// this returns. Nothing is replaced: the error is [`io::ErrorKind::AlreadyExists`] if the
    /// volume has files.
    fn put_in_place(&self, staged: &Path, volume: &str) -> io::Result<()>;
}

/// The outcome of [`Driver::create`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    Empty,
    /// An earlier volume of that name left its files, and the new volume has them.
    WithFilesThatWereThere,
}
