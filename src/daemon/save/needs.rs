//! What a saved tree relies on in its repository: with that, it is proven whole without reading all of
//! it again.
//!
//! While a folder is saved, every piece of its files is found in the index or written, and its tree
//! is the parent's, which was read, or written as well. So the tree is whole
//!
//! - if nothing that was found has been taken away since ([`Needs::are_met`]): the index files are
//!   still there, the packs have the sizes in the index, and the few trees that were found and not read
//!   can be read;
//! - and if what was written can be read ([`Needs::are_written`]): the new index files name every new
//!   piece, and every new tree is what it should be. That is looked at once.

use std::{
    collections::{HashMap, HashSet},
    thread,
};

use rustic_core::{FileType, Id, repofile::BlobType};

use super::{blob_writer::BlobWriter, pack_writer::PackWriter};
use crate::{
    daemon::{
        repository::{BlobReader, Hash, Index, Location, OpenRepository},
        threads::spawn,
    },
    error::{Error, Result},
};

/// What a saved tree relies on.
#[derive(Debug)]
pub(in crate::daemon) struct Needs {
    /// With their sizes in bytes, as those below.
    index_files: Vec<(Id, u32)>,
    packs: HashMap<Id, u64>,
    /// Whether one of them was marked for deletion at the beginning, and named as well.
    is_marked: bool,
    /// Trees that were not read, and where they are.
    trees: Vec<(Hash, Location)>,
    /// Of the index files, those that the run wrote.
    written: Vec<(Id, u32)>,
    /// How many pieces and trees it wrote.
    blobs: u64,
}

impl Needs {
    pub(super) fn of(index: &Index, blobs: &BlobWriter<'_>, writer: &PackWriter<'_>) -> Self {
        let written = writer.take_written();
        let mut packs = blobs.needed();
        packs.extend(written.packs);
        let unread = blobs.unread();
        let found = |tree| Some((tree, index.find(BlobType::Tree, &tree)?));
        let is_marked = packs.keys().any(|pack| index.is_marked(pack));
        let added = [BlobType::Data, BlobType::Tree].map(|kind| blobs.added(kind).blobs.get());
        Self {
            index_files: index.files().iter().chain(&written.index_files).copied().collect(),
            packs,
            is_marked,
            trees: unread.into_iter().filter_map(found).collect(),
            written: written.index_files,
            blobs: added.iter().sum(),
        }
    }

    /// With what an earlier reading of the same run wrote: the last one may take all of its trees as
    /// they are.
    pub(super) fn also_written(&mut self, earlier: &Self) {
        self.written.extend(&earlier.written);
        self.packs.extend(&earlier.packs);
        self.is_marked |= earlier.is_marked;
        self.blobs += earlier.blobs;
    }

    /// Whether an index file, with its size in bytes, was there at the beginning or was written by the run.
    pub(in crate::daemon) fn has_index_file(&self, file: &(Id, u32)) -> bool {
        self.index_files.contains(file)
    }

    /// Whether a pack that is relied on was marked for deletion at the beginning, and named as well: who
    /// marked it may be about to remove the index file that names it.
    pub(in crate::daemon) fn has_marked_pack(&self) -> bool {
        self.is_marked
    }

    /// Whether this pack is relied on.
    pub(in crate::daemon) fn has_pack(&self, pack: &Id) -> bool {
        self.packs.contains_key(pack)
    }

    /// Whether all of it is there. If not, a proof tells what is missing.
    ///
    /// # Errors
    /// If the repository can't be read.
    pub(in crate::daemon) fn are_met(&self, repository: &OpenRepository) -> Result<bool> {
        let backend = repository.backend();
        let has_index = || -> Result<bool> {
            let listed: HashSet<_> = backend.files(FileType::Index)?.into_iter().collect();
            Ok(self.index_files.iter().all(|file| listed.contains(file)))
        };
        let has_packs =
            || Ok(backend.pack_sizes(&self.packs.keys().copied().collect())? == self.packs);
        // Both at once, because each may wait for the network.
        let are_there = thread::scope(|threads| {
            let index = spawn(threads, "needs", has_index)?;
            let has_packs = has_packs();
            let ended = || Error::internal("looking at the index failed");
            Ok(index.join().unwrap_or_else(|_| Err(ended()))? && has_packs?)
        })?;
        if !are_there {
            return Ok(false);
        }
        if self.trees.is_empty() {
            return Ok(true);
        }
        let mut reader = BlobReader::new(repository)?;
        Ok(self.trees.iter().all(|(tree, at)| reader.has_tree(tree, at)))
    }

    /// Whether what was written can be read again: the index of it, and all trees. If not, a proof tells
    /// why.
    ///
    /// # Errors
    /// If the repository can't be read.
    pub(in crate::daemon) fn are_written(&self, repository: &OpenRepository) -> Result<bool> {
        let coder = || repository.coder();
        let index = Index::of(&self.written, repository.backend(), &coder)?;
        let is_known = |(pack, size): &(Id, u64)| self.packs.get(pack) == Some(size);
        if index.len() as u64 != self.blobs || !index.packs().iter().all(is_known) {
            return Ok(false);
        }
        let mut reader = BlobReader::new(repository)?;
        // A pack of trees is small, so it is read at once.
        for trees in index.trees().chunk_by(|(_, one), (_, other)| one.pack == other.pack) {
            let Some((_, last)) = trees.last() else { continue };
            let mut pack = reader.stretch(&last.pack, 0, last.offset + last.length)?;
            let is_whole = |(tree, at): &(Hash, Location)| {
                let sealed = pack
                    .get_mut(at.offset as usize..)
                    .and_then(|rest| rest.get_mut(..at.length as usize));
                sealed.is_some_and(|sealed| reader.is_blob(sealed, tree, at))
            };
            if !trees.iter().all(is_whole) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
