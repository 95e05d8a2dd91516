//! A folder that is being saved.

use std::{
    ffi::CString,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rustic_core::repofile::Metadata;

use super::{assembly::Assembly, parent::ParentFolder};
use crate::daemon::{repository::Hash, tree::places::Place};

/// A folder that is being saved.
pub(super) struct Level {
    /// The folder above, and this one's number there; `None` for the volume's folder.
    pub(super) above: Option<(Arc<Self>, u32)>,
    pub(super) place: Arc<Place>,
    pub(super) metadata: Metadata,
    pub(super) assembly: Mutex<Assembly>,
    /// What the parent knows of the folder's entries.
    pub(super) known: Option<ParentFolder>,
    /// The folder's tree in the parent.
    pub(super) known_tree: Option<Hash>,
    /// The folders in this one: they are listed after all files were read.
    pub(super) folders: Mutex<Vec<(u32, CString, Option<Hash>)>>,
}

impl Level {
    /// The folder's tree in the parent, if it was read.
    pub(super) fn read_tree(&self) -> Option<Hash> {
        self.known_tree.filter(|_| self.known.is_some())
    }

    /// The path in the volume.
    pub(super) fn path(&self) -> PathBuf {
        self.place.path()
    }
}

impl Drop for Level {
    /// Not one call in the other for each level.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut level) = above.and_then(|(level, _)| Arc::into_inner(level)) {
            above = level.above.take();
        }
    }
}
