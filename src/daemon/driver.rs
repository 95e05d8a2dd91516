//! A driver: where the files of a volume are, and who makes and removes them.
//!
//! The state of a volume ([`super::state`]), its snapshots and its backups are the same for every
//! driver. `vfs` makes volumes when it is told to; `folder` finds them in the configuration. A
//! driver that finds its volumes elsewhere (an engine's) finds others at each call of
//! [`Driver::found`].

mod all;
mod folder;
mod overlap;
mod vfs;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::moment::Place;
use crate::error::Result;
pub(super) use all::Drivers;
pub(super) use folder::Folders;
pub(super) use overlap::{SameFolder, refuse_destination};
pub(super) use vfs::{Created, Vfs};

/// Knows where the files of volumes are.
pub(super) trait Driver: fmt::Debug + Send + Sync {
    /// The driver's name in Convoy's API: `vfs`.
    fn name(&self) -> &'static str;

    /// The folder for a volume's files, whether it exists or not.
    fn path(&self, volume: &str) -> PathBuf;

    /// The place of which a moment is taken to read the volume.
    fn place(&self, volume: &str) -> Place;

    /// The volumes that are there without having been made here, with their folders.
    fn found(&self) -> Vec<(&str, &Path)> {
        Vec::new()
    }

    /// Looks whether a volume's files can be read now, and are its own.
    ///
    /// # Errors
    /// Why not, for people.
    fn check(&self, volume: &str) -> Result<()>;

    /// What [`Driver::check`] would say, as far as that can be told at once: a share whose server
    /// does not answer is not looked at.
    fn problem(&self, _volume: &str) -> Option<String> {
        None
    }
}
