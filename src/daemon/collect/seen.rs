//! What a collector sees of a repository: its snapshots, its index in a compact form (48 bytes a blob), and
//! its packs.
//!
//! The order matters. Snapshots are listed first: what a listed one needs is then in the index that is
//! read after that. Packs are listed last: what the index names is then in the list.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use jiff::Timestamp;
use rustic_core::{FileType, Id, TreeId, repofile::BlobType};

use super::index_file::{IndexFile, IndexPack};
use crate::{
    daemon::{
        repository::{Coder, Hash, HexHash, Listed, OpenRepository, SnapshotFiles, hash},
        threads::spawn,
    },
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// So many index files are read at a time.
const READERS: usize = 4;
/// Marks trees.
const TREE: u32 = 1 << 31;

/// The snapshots of a repository.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// All files in the list, whatever they are.
    pub(super) listed: HashSet<Id>,
    /// Those that could be read, with their trees.
    pub(super) trees: Vec<(Id, TreeId)>,
    /// Those that could not, and why.
    pub(super) unread: Vec<(Listed, Error)>,
}

impl Snapshots {
    /// Lists and reads them. A file that was not sealed with the repository's key never was one.
    ///
    /// # Errors
    /// If the storage fails.
    pub(super) fn read(repository: &OpenRepository) -> Result<Self> {
        let backend = repository.backend();
        let listed = backend.files_with_times(FileType::Snapshot)?;
        let ids: Vec<Id> = listed.iter().map(|file| file.id).collect();
        let SnapshotFiles { read, mut unread, foreign: _ } = repository.snapshot_files(&ids)?;
        if !unread.is_empty() {
            // Another host may delete a backup after it was listed and before it is read.
            backend.take_failure();
            let still = backend.files(FileType::Snapshot)?;
            let still: HashSet<Id> = still.into_iter().map(|(id, _)| id).collect();
            unread.retain(|(id, _)| still.contains(id));
        }
        let by_id: HashMap<Id, Listed> = listed.into_iter().map(|file| (file.id, file)).collect();
        Ok(Self {
            trees: read.into_iter().map(|file| (*file.id, file.tree)).collect(),
            unread: unread
                .into_iter()
                .filter_map(|(id, why)| Some((*by_id.get(&id)?, why)))
                .collect(),
            listed: ids.into_iter().collect(),
        })
    }

    /// When the newest of those was written that can't be read; `Some(None)` if that is not known.
    pub(super) fn newest_unread(&self) -> Option<Option<Timestamp>> {
        let written = self.unread.iter().map(|(file, _)| file.written);
        written.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)))
    }

    /// Whether there is one now that was not there then.
    ///
    /// # Errors
    /// If the storage fails.
    pub(super) fn has_new_ones(&self, repository: &OpenRepository) -> Result<bool> {
        let now = repository.backend().files(FileType::Snapshot)?;
        Ok(now.iter().any(|(id, _)| !self.listed.contains(id)))
    }
}

/// Where a blob lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: Hash,
    /// The pack's place in the list, with [`TREE`].
    pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) raw_length: u32,
}

impl Entry {
    fn key(&self) -> (bool, &Hash) {
        (self.is_tree(), &self.id)
    }

    pub(super) fn is_tree(&self) -> bool {
        self.pack & TREE != 0
    }

    /// The place of its pack.
    pub(super) fn pack(&self) -> usize {
        (self.pack & !TREE) as usize
    }

    pub(super) fn is_same_blob(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

/// A pack that is in the index, or in the list of packs, or both.
#[derive(Debug, Clone)]
pub(super) struct Pack {
    pub(super) id: Id,
    pub(super) is_tree: bool,
    /// Whether an index file names it.
    pub(super) is_named: bool,
    /// Whether an index file marks it for deletion.
    pub(super) is_marked: bool,
    /// How many blobs it has, as the index has it.
    pub(super) blobs: usize,
    /// Its size in bytes, as the index has it; 0 if it is not in the index.
    pub(super) size: u64,
    pub(super) listed: Option<Listed>,
    /// The hash of the first list of its blobs; `None` if no index file has one.
    list: Option<Hash>,
    /// Whether index files disagree about what is in it: all that any of them says counts, and it stays.
    pub(super) is_disputed: bool,
}

impl Pack {
    fn new(id: Id) -> Self {
        let (is_tree, is_named, is_marked) = (false, false, false);
        let (list, is_disputed) = (None, false);
        let (blobs, size, listed) = (0, 0, None);
        Self { id, is_tree, is_named, is_marked, blobs, size, listed, list, is_disputed }
    }

    /// Its size in bytes, as the storage has it; 0 if it is missing.
    pub(super) fn bytes(&self) -> u64 {
        self.listed.map_or(0, |listed| listed.size)
    }

    /// Whether its file is there, as the index has it.
    pub(super) fn is_whole(&self) -> bool {
        self.listed.is_some_and(|listed| listed.size == self.size)
    }
}

/// An index file.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) id: Id,
    /// When it was written, by the storage's clock.
    pub(super) written: Option<Timestamp>,
    pub(super) blobs: usize,
}

/// That an index file names or marks a pack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mention {
    pub(super) file: usize,
    pub(super) pack: usize,
    pub(super) is_mark: bool,
}

/// A repository's index and packs.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Those of one blob beside each other.
    pub(super) entries: Vec<Entry>,
    pub(super) packs: Vec<Pack>,
    pub(super) files: Vec<File>,
    pub(super) mentions: Vec<Mention>,
    places: HashMap<Id, u32>,
}

impl Seen {
    /// Reads the index, and lists the packs.
    ///
    /// # Errors
    /// If the storage fails, or an index file can't be read: nothing is known then of the packs that it
    /// names. [`ErrorKind::Busy`] if one is gone that was listed.
    pub(super) fn of(repository: &OpenRepository) -> Result<Self> {
        let files = repository.backend().files_with_times(FileType::Index)?;
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(Self::default()));
        let read = || -> Result<()> {
            let coder = repository.coder()?;
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(content) = index_file(repository, &coder, &file.id)? {
                    lock(&seen).add(*file, content);
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
        let mut seen = seen.into_inner().unwrap_or_default();
        seen.entries.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        for listed in repository.backend().files_with_times(FileType::Pack)? {
            let place = seen.place_or_new(listed.id);
            seen.packs[place].listed = Some(listed);
        }
        Ok(seen)
    }

    /// The place of a pack.
    pub(super) fn place(&self, pack: &Id) -> Option<usize> {
        self.places.get(pack).map(|place| *place as usize)
    }

    fn place_or_new(&mut self, pack: Id) -> usize {
        let next = self.packs.len();
        let place = *self.places.entry(pack).or_insert(u32::try_from(next).unwrap_or(u32::MAX));
        if place as usize == next {
            self.packs.push(Pack::new(pack));
        }
        place as usize
    }

    pub(super) fn add(&mut self, file: Listed, content: IndexFile) {
        let number = self.files.len();
        self.files.push(File { id: file.id, written: file.written, blobs: content.blobs() });
        let named = content.packs.into_iter().map(|pack| (pack, false));
        let marked = content.packs_to_delete.into_iter().map(|pack| (pack, true));
        for (pack, is_mark) in named.chain(marked) {
            self.add_pack(number, &pack, is_mark);
        }
    }

    fn add_pack(&mut self, file: usize, pack: &IndexPack, is_mark: bool) {
        let place = self.place_or_new(Id::new(pack.id.0));
        self.mentions.push(Mention { file, pack: place, is_mark });
        let known = &mut self.packs[place];
        known.is_named |= !is_mark;
        known.is_marked |= is_mark;
        // Another index file may have marked it when it was in none.
        if known.blobs == 0 {
            known.size = pack.size();
        }
        if pack.blobs.is_empty() {
            return;
        }
        let list = list_of(pack);
        match known.list {
            Some(first) if first == list => return,
            Some(_) => known.is_disputed = true,
            None => known.list = Some(list),
        }
        let is_tree = pack.blobs.iter().all(|blob| blob.kind == BlobType::Tree);
        known.is_tree = is_tree && (known.blobs == 0 || known.is_tree);
        known.blobs += pack.blobs.len();
        let number = u32::try_from(place).unwrap_or(u32::MAX) & !TREE;
        self.entries.extend(pack.blobs.iter().map(|blob| Entry {
            id: blob.id.0,
            pack: if blob.kind == BlobType::Tree { number | TREE } else { number },
            offset: blob.offset,
            length: blob.length,
            raw_length: blob.uncompressed_length,
        }));
    }

    /// The number of the first entry of a blob.
    pub(super) fn find(&self, is_tree: bool, id: &Hash) -> Option<usize> {
        let at = self.entries.partition_point(|entry| entry.key() < (is_tree, id));
        self.entries.get(at).is_some_and(|entry| entry.key() == (is_tree, id)).then_some(at)
    }

    /// All entries of the blob whose first one this is.
    pub(super) fn same(&self, first: usize) -> &[Entry] {
        let rest = &self.entries[first..];
        let others = rest.iter().skip(1).take_while(|entry| entry.is_same_blob(&rest[0]));
        &rest[..=others.count()]
    }
}

/// The hash of what an index file says is in a pack, in whatever order.
fn list_of(pack: &IndexPack) -> Hash {
    let mut blobs: Vec<_> = pack.blobs.iter().collect();
    blobs.sort_unstable_by_key(|blob| (blob.offset, blob.id.0));
    let mut text = Vec::with_capacity(blobs.len() * 48);
    for blob in blobs {
        text.push(u8::from(blob.kind == BlobType::Tree));
        text.extend(blob.id.0);
        for number in [blob.offset, blob.length, blob.uncompressed_length] {
            text.extend(number.to_le_bytes());
        }
    }
    hash(&text)
}

/// What an index file says; `None` if it never was one of this repository.
///
/// # Errors
/// As [`Seen::of`].
pub(super) fn index_file(
    repository: &OpenRepository,
    coder: &Coder,
    id: &Id,
) -> Result<Option<IndexFile>> {
    let backend = repository.backend();
    let unreadable = |error: Error| {
        let name = HexHash(HexHash::of(id));
        let message = format!("\"{}/index/{name}\": {}", backend.location(), error.message);
        Error { message, ..error }
    };
    let sealed = match backend.read_file(FileType::Index, id) {
        Err(error) if error.kind == ErrorKind::Repository => {
            let is_gone = backend.size(FileType::Index, id)?.is_none();
            let kind = if is_gone { ErrorKind::Busy } else { ErrorKind::Repository };
            return Err(unreadable(Error { kind, ..error }));
        }
        sealed => sealed?,
    };
    if Id::new(hash(&sealed)) == *id && !coder.has_sealed(&sealed) {
        return Ok(None);
    }
    let text = coder.open_file(sealed.into()).map_err(unreadable)?;
    IndexFile::parse(&text).map(Some).map_err(unreadable)
}
