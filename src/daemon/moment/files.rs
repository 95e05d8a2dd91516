//! What a reader gets of a moment.

use std::path::Path;

use super::{reflink::Copies, still::Still};
use crate::exclude::VolumeExcludes;

/// The files of a moment, for a reader.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Files<'a> {
    pub(in crate::daemon) folder: &'a Path,
    /// What is to be read in place of what is in the folder now.
    pub(in crate::daemon) copies: Option<&'a Copies>,
    /// What writes to them, to be held while they are read.
    pub(in crate::daemon) still: Option<&'a Still<'a>>,
    /// What is left out of them.
    pub(in crate::daemon) excludes: Option<&'a VolumeExcludes>,
}

#[cfg(test)]
impl<'a> Files<'a> {
    /// The files in a folder as they are.
    pub(in crate::daemon) fn live(folder: &'a Path) -> Self {
        Self { folder, copies: None, still: None, excludes: None }
    }
}
