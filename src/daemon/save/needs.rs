//! What a saved tree relies on in its repository: with that, it is proven whole without reading it
//! again.
//!
//! While a folder is saved, every piece of its files is found in the index or written, and its tree
//! is the parent's, which was read, or written as well. So the tree is whole if nothing that was
//! found has been taken away since: the index files are still there, the packs have the sizes in the
//! index, and the few trees that were found and not read can be read.

use std::collections::{HashMap, HashSet};

use rustic_core::{FileType, Id, repofile::BlobType};

use super::{blob_writer::BlobWriter, pack_writer::PackWriter};
use crate::{
    daemon::repository::{BlobReader, Hash, Index, Location, OpenRepository},
    error::Result,
};

/// What a saved tree relies on.
#[derive(Debug)]
pub(in crate::daemon) struct Needs {
    index_files: Vec<Id>,
    /// With their sizes in bytes.
    packs: HashMap<Id, u64>,
    /// Trees that were not read, and where they are.
    trees: Vec<(Hash, Location)>,
}

impl Needs {
    pub(super) fn of(index: &Index, blobs: &BlobWriter<'_>, writer: &PackWriter<'_>) -> Self {
        let written = writer.take_written();
        let mut packs = blobs.needed();
        packs.extend(written.packs);
        let unread = blobs.unread();
        let found = |tree| Some((tree, index.find(BlobType::Tree, &tree)?));
        Self {
            index_files: index.files().chain(written.index_files).collect(),
            packs,
            trees: unread.into_iter().filter_map(found).collect(),
        }
    }

    /// Whether all of it is there. If not, a proof tells what is missing.
    ///
    /// # Errors
    /// If the repository can't be read.
    pub(in crate::daemon) fn are_met(&self, repository: &OpenRepository) -> Result<bool> {
        let backend = repository.backend();
        let listed = backend.files(FileType::Index)?;
        let listed: HashSet<Id> = listed.into_iter().map(|(id, _)| id).collect();
        if !self.index_files.iter().all(|file| listed.contains(file)) {
            return Ok(false);
        }
        if backend.pack_sizes(&self.packs.keys().copied().collect())? != self.packs {
            return Ok(false);
        }
        if self.trees.is_empty() {
            return Ok(true);
        }
        let mut reader = BlobReader::new(repository, &repository.config()?)?;
        let is_whole = |(tree, at): &(Hash, Location)| reader.has_tree(tree, at);
        Ok(self.trees.iter().all(is_whole))
    }
}
