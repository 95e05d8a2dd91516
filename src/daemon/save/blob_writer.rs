//! Keeps blobs: what the repository has, or another worker is writing, is not written again.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rustic_core::{
    Id,
    repofile::{BlobType, ConfigFile},
};

use super::{counts::Counter, pack_filler::PackFiller, pack_writer::PackWriter, shelf::Shelf};
use crate::{
    daemon::repository::{Coder, Hash, Index, hash},
    error::Result,
    sync::lock,
};

/// Into so many sets the blobs of a run are spread, so that workers seldom wait for each other.
const SETS: usize = 16;

/// How much was kept that was not there.
#[derive(Default)]
pub(super) struct Added {
    pub(super) blobs: Counter,
    /// In bytes, before compression.
    pub(super) raw: Counter,
    /// In bytes, as they lie in packs.
    pub(super) packed: Counter,
}

/// The blobs of one kind.
struct Kind<'a> {
    filler: PackFiller<'a>,
    /// What this run writes.
    claimed: [Mutex<HashSet<Hash>>; SETS],
    added: Added,
}

/// Keeps the blobs of one run.
pub(super) struct BlobWriter<'a> {
    index: &'a Index,
    data: Kind<'a>,
    trees: Kind<'a>,
    /// Which of the index's packs have something that was kept.
    needed: Vec<AtomicBool>,
    /// Trees that were kept, are in the index, and were not read in this run.
    unread: Mutex<HashSet<Hash>>,
    /// Where trees are kept for another reading.
    shelf: Option<&'a Shelf>,
}

impl<'a> BlobWriter<'a> {
    pub(super) fn new(index: &'a Index, config: &ConfigFile, writer: &'a PackWriter<'a>) -> Self {
        let kind = |kind| Kind {
            filler: PackFiller::new(kind, config.packsize(kind).0 as usize, writer),
            claimed: Default::default(),
            added: Added::default(),
        };
        let needed = index.packs().iter().map(|_| AtomicBool::new(false)).collect();
        let (data, trees) = (kind(BlobType::Data), kind(BlobType::Tree));
        Self { index, data, trees, needed, unread: Mutex::default(), shelf: None }
    }

    /// The same, and trees are also kept for another reading.
    pub(super) fn with_shelf(self, shelf: Option<&'a Shelf>) -> Self {
        Self { shelf, ..self }
    }

    fn kind(&self, kind: BlobType) -> &Kind<'a> {
        if kind == BlobType::Tree { &self.trees } else { &self.data }
    }

    pub(super) fn added(&self, kind: BlobType) -> &Added {
        &self.kind(kind).added
    }

    /// Keeps a blob, and returns its name.
    ///
    /// # Errors
    /// If a pack can't be written.
    pub(super) fn keep(&self, coder: &mut Coder, kind: BlobType, raw: &[u8]) -> Result<Hash> {
        let id = hash(raw);
        if self.has(kind, &id) {
            return Ok(id);
        }
        let (of_kind, set) = (self.kind(kind), usize::from(id[0]) % SETS);
        if !lock(&of_kind.claimed[set]).insert(id) {
            return Ok(id);
        }
        let blob = coder.seal_blob(kind, raw)?;
        if let Some(shelf) = self.shelf.filter(|_| kind == BlobType::Tree) {
            shelf.keep(id, blob.sealed);
        }
        let added = &of_kind.added;
        added.blobs.add(1);
        added.raw.add(raw.len() as u64);
        added.packed.add(blob.sealed.len() as u64);
        of_kind.filler.add(id, &blob)?;
        Ok(id)
    }

    /// Keeps the tree of a folder, and returns its name. `read` is the tree that was read of the
    /// folder in the parent.
    ///
    /// # Errors
    /// As [`BlobWriter::keep`].
    pub(super) fn keep_tree(
        &self,
        coder: &mut Coder,
        text: &[u8],
        read: Option<Hash>,
    ) -> Result<Hash> {
        let id = self.keep(coder, BlobType::Tree, text)?;
        if read != Some(id) && self.index.has(BlobType::Tree, &id) {
            lock(&self.unread).insert(id);
        }
        Ok(id)
    }

    /// Whether the repository has all of these chunks, which are kept then.
    pub(super) fn has_all(&self, chunks: &[Hash]) -> bool {
        chunks.iter().all(|id| self.has(BlobType::Data, id))
    }

    /// Whether the repository has a blob.
    pub(super) fn is_there(&self, kind: BlobType, id: &Hash) -> bool {
        self.index.has(kind, id)
    }

    /// Whether the repository has a blob. Its pack is needed then.
    fn has(&self, kind: BlobType, id: &Hash) -> bool {
        let needed = self.index.place(kind, id).and_then(|place| self.needed.get(place));
        // All workers look at it, so it is written once.
        if let Some(needed) = needed
            && !needed.load(Ordering::Relaxed)
        {
            needed.store(true, Ordering::Relaxed);
        }
        needed.is_some()
    }

    /// The packs in the index that have something that was kept, with their sizes in bytes.
    pub(super) fn needed(&self) -> HashMap<Id, u64> {
        let packs = self.needed.iter().zip(self.index.packs());
        packs.filter(|(needed, _)| needed.load(Ordering::Relaxed)).map(|(_, pack)| *pack).collect()
    }

    /// The trees that were kept, are in the index, and were not read in this run.
    pub(super) fn unread(&self) -> HashSet<Hash> {
        std::mem::take(&mut *lock(&self.unread))
    }

    /// Hands over the last packs.
    ///
    /// # Errors
    /// If an earlier one could not be written.
    pub(super) fn finish(&self) -> Result<()> {
        self.data.filler.finish()?;
        self.trees.filler.finish()
    }
}
