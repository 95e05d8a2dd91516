//! The trees of folders. Where each read waits for the network, trees that the walk needs soon are
//! read ahead.

use std::{
    collections::HashMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use rustic_core::repofile::BlobType;

use crate::{
    daemon::repository::{BlobReader, FolderEntries, Hash, Index, guarded},
    error::Result,
    sync::lock,
};

/// So many trees that the walk comes to next are read ahead.
const NEXT: usize = 16;
/// How many trees are kept at most. The walk comes to those of the upper levels later.
const MOST_KEPT: usize = 256;
/// A larger tree, in bytes before compression, is not read ahead.
const LARGEST_AHEAD: u32 = 64 << 10;

/// The trees of one backup.
pub(super) struct Trees<'a> {
    index: &'a Index,
    ahead: Mutex<Ahead>,
    changed: Condvar,
}

/// What is read ahead.
#[derive(Default)]
struct Ahead {
    /// The last one is needed first.
    wanted: Vec<Hash>,
    /// `None` while it is being read.
    read: HashMap<Hash, Option<FolderEntries>>,
    closed: bool,
}

impl<'a> Trees<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        Self { index, ahead: Mutex::default(), changed: Condvar::new() }
    }

    /// The entries of a folder.
    ///
    /// # Errors
    /// If its tree can't be read: what was tried (`what`), and why it failed.
    pub(super) fn take(
        &self,
        tree: &Hash,
        reader: &mut BlobReader<'_>,
        what: &dyn Fn() -> String,
    ) -> Result<FolderEntries> {
        if let Some(nodes) = self.taken(tree) {
            return Ok(nodes);
        }
        reader.tree(self.index, tree, what)
    }

    /// What was read ahead; `None` if the tree is to be read now.
    fn taken(&self, tree: &Hash) -> Option<FolderEntries> {
        let mut ahead = lock(&self.ahead);
        ahead.wanted.retain(|wanted| wanted != tree);
        while matches!(ahead.read.get(tree), Some(None)) {
            ahead = self.wait(ahead);
        }
        ahead.read.remove(tree).flatten()
    }

    fn wait<'b>(&self, ahead: MutexGuard<'b, Ahead>) -> MutexGuard<'b, Ahead> {
        self.changed.wait(ahead).unwrap_or_else(PoisonError::into_inner)
    }

    /// Has these trees read ahead, the first of them first, as far as there is room.
    pub(super) fn want(&self, trees: impl Iterator<Item = Hash>) {
        let mut ahead = lock(&self.ahead);
        let room = MOST_KEPT.saturating_sub(ahead.read.len());
        let is_small = |tree: &Hash| {
            let at = self.index.find(BlobType::Tree, tree);
            at.is_some_and(|at| at.raw_length.map_or(at.length, |raw| raw.get()) <= LARGEST_AHEAD)
        };
        let mut wanted: Vec<_> = trees
            .filter(is_small)
            .take(NEXT)
            .filter(|tree| !ahead.read.contains_key(tree))
            .take(room)
            .collect();
        wanted.reverse();
        ahead.wanted = wanted;
        self.changed.notify_all();
    }

    /// Reads ahead until [`Trees::until_dropped`] says so.
    pub(super) fn read_ahead(&self, mut reader: BlobReader<'_>) {
        let mut ahead = lock(&self.ahead);
        while !ahead.closed {
            let Some(tree) = ahead.wanted.pop() else {
                ahead = self.wait(ahead);
                continue;
            };
            ahead.read.insert(tree, None);
            drop(ahead);
            // The walk reads again what can't be read, and tells why.
            let what = "reading a folder ahead";
            let read = guarded(what, || reader.tree(self.index, &tree, &|| what.to_owned()));
            ahead = lock(&self.ahead);
            match read {
                Ok(found) => ahead.read.insert(tree, Some(found)),
                Err(_) => ahead.read.remove(&tree),
            };
            self.changed.notify_all();
        }
    }

    /// Reading ahead ends when what this returns is dropped.
    pub(super) fn until_dropped(&self) -> ReadingAhead<'_> {
        ReadingAhead { ahead: &self.ahead, changed: &self.changed }
    }
}

/// While this is there, trees are read ahead.
pub(super) struct ReadingAhead<'a> {
    ahead: &'a Mutex<Ahead>,
    changed: &'a Condvar,
}

impl Drop for ReadingAhead<'_> {
    fn drop(&mut self) {
        lock(self.ahead).closed = true;
        self.changed.notify_all();
    }
}
