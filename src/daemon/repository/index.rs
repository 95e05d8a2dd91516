//! What a repository has, and where: its index files in a compact form, 48 bytes a blob.

use std::{
    collections::HashSet,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustic_core::{FileType, Id, repofile::BlobType};

use super::{
    backend::Backend,
    cipher::{Coder, Hash, OVERHEAD, hash},
    index_file::{BlobEntry, Content, parse},
    limits::is_in_proportion,
    lost::Lost,
};
use crate::{
    daemon::threads::spawn,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How many index files are read at a time. At a bucket, waiting takes longer than reading.
const READERS: usize = 4;
/// So often is the index listed again because a file of it is gone before it was read.
const TRIES: usize = 3;
/// Marks packs of trees.
const TREE: u32 = 1 << 31;
/// Marks blobs that are lost.
const LOST: u32 = 1 << 30;
/// Where a blob lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: Id,
    pub(crate) offset: u32,
    pub(crate) length: u32,
    /// The length before compression; `None` if the blob is not compressed.
    pub(crate) raw_length: Option<NonZeroU32>,
}

impl Location {
    /// The length of what was backed up, in bytes.
    pub(crate) fn content_length(&self) -> u32 {
        self.raw_length.map_or(self.length.saturating_sub(OVERHEAD as u32), NonZeroU32::get)
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: Hash,
    /// The pack's place in the list, with [`TREE`] and [`LOST`].
    pack: u32,
    offset: u32,
    length: u32,
    raw_length: u32,
}

/// The first bytes of a blob's name, which nearly always decide, come before the name.
type Key<'a> = (bool, u64, &'a Hash);

fn key(is_tree: bool, id: &Hash) -> Key<'_> {
    let [a, b, c, d, e, f, g, h, ..] = *id;
    (is_tree, u64::from_be_bytes([a, b, c, d, e, f, g, h]), id)
}

impl Entry {
    fn key(&self) -> Key<'_> {
        key(self.pack & TREE != 0, &self.id)
    }

    fn place(&self) -> usize {
        (self.pack & !(TREE | LOST)) as usize
    }

    fn is_lost(&self) -> bool {
        self.pack & LOST != 0
    }
}

/// The blobs of a repository. Packs that are marked for deletion do not count as there.
///
/// A blob that is lost ([`Index::without`]) is not there for those who write and check. Those who read
/// may still try, where there is no other.
#[derive(Default, Clone, Debug)]
pub(crate) struct Index {
    /// By [`Entry::key`]. A blob that lies in several packs is there several times.
    entries: Vec<Entry>,
    /// With their sizes in bytes.
    packs: Vec<(Id, u64)>,
    /// Packs that are marked for deletion.
    marked: HashSet<Id>,
    /// Packs that have blobs which other packs have as well.
    twins: HashSet<Id>,
    /// With their sizes in bytes.
    files: Vec<(Id, u32)>,
    /// Files that can't be read.
    unread: Vec<UnreadFile>,
    lost: Arc<Lost>,
}

/// An index file that can't be read. It hides no other.
#[derive(Clone, Debug)]
pub(crate) struct UnreadFile {
    pub(crate) id: Id,
    /// In bytes.
    pub(crate) size: u32,
    pub(crate) error: Error,
    /// Whether it fits its name: then it never was a file of this repository, while a damaged one does
    /// not.
    pub(crate) is_foreign: bool,
}

impl Index {
    /// The index as it is now. What is `known` is not read again, unless a file of it is gone or has
    /// another size. Files that can't be read are passed over ([`Index::unread`]).
    /// `coder` makes a coder for each thread.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn renewed(
        mut known: Arc<Self>,
        backend: &Backend,
        coder: &(dyn Fn() -> Result<Coder> + Sync),
    ) -> Result<Arc<Self>> {
        let list = || -> Result<HashSet<(Id, u32)>> {
            Ok(backend.files(FileType::Index)?.into_iter().collect())
        };
        let mut listed = list()?;
        for _ in 0..TRIES {
            let is_kept = known.files.iter().all(|file| listed.contains(file));
            known = if is_kept { known } else { Arc::default() };
            let read: HashSet<(Id, u32)> = known.files.iter().copied().collect();
            let new: Vec<(Id, u32)> = listed.difference(&read).copied().collect();
            if new.is_empty() && known.unread.is_empty() {
                return Ok(known);
            }
            let mut index = Arc::unwrap_or_clone(known);
            index.unread.clear();
            index.read(&new, backend, coder)?;
            known = Arc::new(index);
            if known.unread.is_empty() {
                break;
            }
            // Another host may replace an index file after it was listed and before it is read.
            listed = list()?;
            if known.unread.iter().all(|file| listed.contains(&(file.id, file.size))) {
                break;
            }
        }
        Ok(known)
    }

    /// What is in these files, with their sizes in bytes.
    ///
    /// # Errors
    /// If one can't be read.
    pub(crate) fn of(
        files: &[(Id, u32)],
        backend: &Backend,
        coder: &(dyn Fn() -> Result<Coder> + Sync),
    ) -> Result<Self> {
        let mut index = Self::default();
        index.read(files, backend, coder)?;
        match index.unread.pop() {
            Some(file) => Err(file.error),
            None => Ok(index),
        }
    }

    /// Adds what is in these files.
    fn read(
        &mut self,
        files: &[(Id, u32)],
        backend: &Backend,
        coder: &(dyn Fn() -> Result<Coder> + Sync),
    ) -> Result<()> {
        let (next, found) = (AtomicUsize::new(0), Mutex::new(&mut *self));
        let read = || -> Result<()> {
            let coder = coder()?;
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                match read_file(backend, *file, &coder)? {
                    Ok(content) => lock(&found).add(*file, content),
                    Err(unread) => lock(&found).unread.push(unread),
                }
            }
            Ok(())
        };
        thread::scope(|threads| {
            let readers: Vec<_> = (0..READERS.min(files.len()))
                .map(|_| spawn(threads, "index", read))
                .collect::<Result<_>>()?;
            readers.into_iter().try_for_each(|reader| {
                reader.join().unwrap_or_else(|_| Err(Error::internal("reading the index failed")))
            })
        })?;
        let packs = &self.packs;
        let at = |entry: &Entry| (packs.get(entry.place()).map(|pack| pack.0), entry.offset);
        self.entries.sort_unstable_by(|one, other| {
            one.key().cmp(&other.key()).then_with(|| at(one).cmp(&at(other)))
        });
        self.entries.dedup_by(|one, other| one.key() == other.key() && at(one) == at(other));
        let of_twins = self.entries.chunk_by(|one, other| one.key() == other.key());
        let of_twins = of_twins.filter(|twins| twins.len() > 1).flatten();
        self.twins = of_twins.filter_map(|entry| at(entry).0).collect();
        Ok(())
    }

    /// The same index, in which what is lost does not count as there.
    pub(crate) fn without(&self, lost: Arc<Lost>) -> Self {
        let mut index = Self { lost, ..self.clone() };
        let (lost, packs) = (&index.lost, &index.packs);
        for entry in &mut index.entries {
            entry.pack &= !LOST;
            if packs.get(entry.place()).is_some_and(|(pack, _)| lost.has(pack, entry.offset)) {
                entry.pack |= LOST;
            }
        }
        index
    }

    /// How many blobs there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn add(&mut self, file: (Id, u32), content: Content) {
        self.files.push(file);
        self.marked.extend(content.packs_to_delete.iter().map(|pack| Id::new(pack.id.0)));
        for pack in content.packs {
            let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX) & !(TREE | LOST);
            self.packs.push((Id::new(pack.id.0), pack.size()));
            let is_usable = |blob: &BlobEntry| {
                is_in_proportion(blob.kind, blob.length, blob.uncompressed_length)
            };
            self.entries.extend(pack.blobs.into_iter().filter(is_usable).map(|blob| Entry {
                id: blob.id.0,
                pack: if blob.kind == BlobType::Tree { number | TREE } else { number },
                offset: blob.offset,
                length: blob.length,
                raw_length: blob.uncompressed_length,
            }));
        }
    }

    /// All places of a blob.
    fn all(&self, kind: BlobType, id: &Hash) -> impl Iterator<Item = &Entry> {
        let key = key(kind == BlobType::Tree, id);
        let at = self.entries.partition_point(|entry| entry.key() < key);
        let rest = self.entries.get(at..).unwrap_or_default();
        rest.iter().take_while(move |entry| entry.key() == key)
    }

    /// Where the blob is there.
    fn entry(&self, kind: BlobType, id: &Hash) -> Option<&Entry> {
        self.all(kind, id).find(|entry| !entry.is_lost())
    }

    /// Whether the blob is there.
    pub(crate) fn has(&self, kind: BlobType, id: &Hash) -> bool {
        self.entry(kind, id).is_some()
    }

    /// The place of the blob's pack among all packs; `None` if the blob is not there.
    pub(crate) fn place(&self, kind: BlobType, id: &Hash) -> Option<usize> {
        self.entry(kind, id).map(Entry::place)
    }

    /// All packs, with their sizes in bytes.
    pub(crate) fn packs(&self) -> &[(Id, u64)] {
        &self.packs
    }

    /// Whether a pack is marked for deletion, though an index file may name it as well.
    pub(crate) fn is_marked(&self, pack: &Id) -> bool {
        self.marked.contains(pack)
    }

    /// All packs that index files name, or mark for deletion.
    pub(crate) fn known_packs(&self) -> HashSet<Id> {
        self.packs.iter().map(|(pack, _)| *pack).chain(self.marked.iter().copied()).collect()
    }

    /// Packs that have blobs which other packs have as well.
    pub(crate) fn twins(&self) -> &HashSet<Id> {
        &self.twins
    }

    /// The index files that were read, with their sizes in bytes.
    pub(crate) fn files(&self) -> &[(Id, u32)] {
        &self.files
    }

    /// The index files that can't be read.
    pub(crate) fn unread(&self) -> &[UnreadFile] {
        &self.unread
    }

    /// What does not count as there.
    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// The blobs in a pack, in the order of the pack.
    pub(crate) fn blobs_in(&self, pack: &Id) -> Vec<(BlobType, Hash, Location)> {
        let is_in =
            |entry: &&Entry| self.packs.get(entry.place()).is_some_and(|(id, _)| id == pack);
        let mut blobs = self.blobs(is_in);
        blobs.sort_unstable_by_key(|(_, _, at)| at.offset);
        blobs
    }

    /// The blobs that are lost, and lie nowhere else.
    pub(crate) fn lost_blobs(&self) -> Vec<(BlobType, Hash, Location)> {
        self.blobs(|entry| {
            let (is_tree, _, id) = entry.key();
            let kind = if is_tree { BlobType::Tree } else { BlobType::Data };
            entry.is_lost() && !self.has(kind, id)
        })
    }

    fn blobs(&self, is_one: impl Fn(&&Entry) -> bool) -> Vec<(BlobType, Hash, Location)> {
        let kind = |entry: &Entry| if entry.key().0 { BlobType::Tree } else { BlobType::Data };
        let blob = |entry: &Entry| Some((kind(entry), entry.id, self.location(entry)?));
        self.entries.iter().filter(is_one).filter_map(blob).collect()
    }

    /// All trees, one pack after the other, and in the order in which they lie there.
    pub(crate) fn trees(&self) -> Vec<(Hash, Location)> {
        let trees = self.entries.iter().filter(|entry| entry.key().0);
        let mut trees: Vec<_> =
            trees.filter_map(|entry| Some((entry.id, self.location(entry)?))).collect();
        trees.sort_unstable_by_key(|(_, at)| (at.pack, at.offset));
        trees
    }

    /// Where the blob lies, also if it is lost; `None` if it is in no index file.
    pub(crate) fn find(&self, kind: BlobType, id: &Hash) -> Option<Location> {
        self.location(self.entry(kind, id).or_else(|| self.all(kind, id).next())?)
    }

    /// All places where the blob lies, also if it is lost.
    pub(crate) fn find_all(&self, kind: BlobType, id: &Hash) -> Vec<Location> {
        self.all(kind, id).filter_map(|entry| self.location(entry)).collect()
    }

    fn location(&self, entry: &Entry) -> Option<Location> {
        Some(Location {
            pack: self.packs.get(entry.place())?.0,
            offset: entry.offset,
            length: entry.length,
            raw_length: NonZeroU32::new(entry.raw_length),
        })
    }
}

/// What is in an index file, or why that can't be read.
///
/// # Errors
/// If the storage fails.
fn read_file(
    backend: &Backend,
    (id, size): (Id, u32),
    coder: &Coder,
) -> Result<std::result::Result<Content, UnreadFile>> {
    let unread = |error: Error, is_foreign| {
        let (place, name) = (backend.location(), id.to_hex());
        let message = format!("\"{place}/index/{}\": {}", name.as_str(), error.message);
        let error = Error::new(ErrorKind::Repository, message);
        Ok(Err(UnreadFile { id, size, error, is_foreign }))
    };
    let sealed = match backend.read_whole(FileType::Index, &id) {
        Ok(sealed) => sealed,
        Err(error) if error.kind == ErrorKind::Repository => return unread(error, false),
        Err(error) => return Err(error),
    };
    let fits_its_name = Id::new(hash(&sealed)) == id;
    match coder.open_file(sealed.into()).and_then(|content| parse(&content)) {
        Ok(content) => Ok(Ok(content)),
        Err(error) => unread(error, fits_its_name),
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
