//! A folder that is being saved.

use std::{
    ffi::CString,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rustic_core::repofile::Metadata;

use super::{assembly::Assembly, parent::ParentFolder};
use crate::daemon::{repository::Hash, tree::folder_handles::TreeFolder};

/// A folder that is being saved.
pub(super) struct UnfinishedFolder {
    /// The folder above, and this one's number there; `None` for the volume's folder.
    pub(super) above: Option<(Arc<Self>, u32)>,
    pub(super) folder: Arc<TreeFolder>,
    pub(super) metadata: Metadata,
    /// The folder's device, if the change times of its files tell of their attributes.
    pub(super) telling_device: Option<u64>,
    pub(super) assembly: Mutex<Assembly>,
    /// What the parent knows of the folder's entries.
    pub(super) known: Option<ParentFolder>,
    /// The folder's tree in the parent.
    pub(super) parent_tree: Option<Hash>,
    /// The folders in this one: they are listed after all files were read.
    pub(super) folders: Mutex<Vec<(u32, CString, Option<Hash>)>>,
}

impl UnfinishedFolder {
    /// The folder's tree in the parent, if it was read.
    pub(super) fn read_tree(&self) -> Option<Hash> {
        self.parent_tree.filter(|_| self.known.is_some())
    }

    /// The path in the volume.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path()
    }
}

impl Drop for UnfinishedFolder {
    /// Not one call in the other for each level.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut unfinished) =
            above.and_then(|(unfinished, _)| Arc::into_inner(unfinished))
        {
            above = unfinished.above.take();
        }
    }
}
