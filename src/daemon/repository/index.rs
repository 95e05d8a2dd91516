//! What a repository has, and where: its index files in a compact form, 48 bytes a blob.

use std::{
    collections::HashSet,
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustic_core::{FileType, Id, repofile::BlobType};
use serde::{Deserialize, Deserializer, de};

use super::{
    backend::Backend,
    cipher::{Coder, Hash, OVERHEAD},
    limits::is_in_proportion,
};
use crate::{
    daemon::threads::spawn,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How many index files are read at a time. At a bucket, waiting takes longer than reading.
const READERS: usize = 4;
/// Marks packs of trees.
const TREE: u32 = 1 << 31;
/// How many bytes the header of a pack has for a blob, and for one that is compressed. The header is
/// sealed, and its length comes after it.
const HEADER_ENTRY: u64 = 37;
const HEADER_ENTRY_COMPRESSED: u64 = 41;
const HEADER_LENGTH: u64 = 4;

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
    /// The pack's place in the list, with [`TREE`].
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
        (self.pack & !TREE) as usize
    }
}

/// The blobs of a repository. Packs that are marked for deletion do not count as there.
#[derive(Default, Clone, Debug)]
pub(crate) struct Index {
    /// By [`Entry::key`].
    entries: Vec<Entry>,
    /// With their sizes in bytes.
    packs: Vec<(Id, u64)>,
    /// With their sizes in bytes.
    files: Vec<(Id, u32)>,
}

impl Index {
    /// The index as it is now. What is `known` is not read again, unless a file of it is gone or has
    /// another size.
    /// `coder` makes a coder for each thread.
    ///
    /// # Errors
    /// If an index file can't be read.
    pub(crate) fn renewed(
        known: Arc<Self>,
        backend: &Backend,
        coder: &(dyn Fn() -> Result<Coder> + Sync),
    ) -> Result<Arc<Self>> {
        let listed: HashSet<(Id, u32)> = backend.files(FileType::Index)?.into_iter().collect();
        let is_kept = known.files.iter().all(|file| listed.contains(file));
        let known = if is_kept { known } else { Arc::default() };
        let read: HashSet<(Id, u32)> = known.files.iter().copied().collect();
        let new: Vec<(Id, u32)> = listed.difference(&read).copied().collect();
        if new.is_empty() {
            return Ok(known);
        }
        let mut index = Arc::unwrap_or_clone(known);
        index.read(&new, backend, coder)?;
        Ok(Arc::new(index))
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
        Ok(index)
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
            while let Some((id, _)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sealed = backend.read_file(FileType::Index, id)?;
                let content = coder.open_file(sealed.into()).and_then(|content| parse(&content));
                let content = content.map_err(|error| unreadable(backend, id, error))?;
                lock(&found).add(content);
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
        self.files.extend(files);
        self.entries.sort_unstable_by(|one, other| one.key().cmp(&other.key()));
        self.entries.dedup_by(|one, other| one.key() == other.key());
        Ok(())
    }

    /// How many blobs there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn add(&mut self, content: Content) {
        for pack in content.packs {
            let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX) & !TREE;
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

    fn entry(&self, kind: BlobType, id: &Hash) -> Option<&Entry> {
        let key = key(kind == BlobType::Tree, id);
        let at = self.entries.binary_search_by(|entry| entry.key().cmp(&key)).ok()?;
        self.entries.get(at)
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

    /// The index files that were read, with their sizes in bytes.
    pub(crate) fn files(&self) -> &[(Id, u32)] {
        &self.files
    }

    /// All trees, one pack after the other, and in the order in which they lie there.
    pub(crate) fn trees(&self) -> Vec<(Hash, Location)> {
        let trees = self.entries.iter().filter(|entry| entry.key().0);
        let mut trees: Vec<_> =
            trees.filter_map(|entry| Some((entry.id, self.location(entry)?))).collect();
        trees.sort_unstable_by_key(|(_, at)| (at.pack, at.offset));
        trees
    }

    /// Where the blob lies; `None` if it is not there.
    pub(crate) fn find(&self, kind: BlobType, id: &Hash) -> Option<Location> {
        self.location(self.entry(kind, id)?)
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

fn unreadable(backend: &Backend, id: &Id, error: Error) -> Error {
    let name = id.to_hex();
    let message = format!("\"{}/index/{}\": {}", backend.location(), name.as_str(), error.message);
    Error::new(ErrorKind::Repository, message)
        .with_hint("\"restic rebuild-index\" (from 0.17 on: \"repair index\") makes the index anew")
}

/// An index file. It also names packs to delete, which are left out.
#[derive(Deserialize)]
struct Content {
    packs: Vec<PackContent>,
}

#[derive(Deserialize)]
struct PackContent {
    id: HexHash,
    blobs: Vec<BlobEntry>,
    /// In bytes, if it is not what the blobs make.
    size: Option<u32>,
}

impl PackContent {
    /// The size of the pack's file in bytes.
    fn size(&self) -> u64 {
        let length = |blob: &BlobEntry| {
            let is_compressed = blob.uncompressed_length != 0;
            let entry = if is_compressed { HEADER_ENTRY_COMPRESSED } else { HEADER_ENTRY };
            u64::from(blob.length) + entry
        };
        let blobs = || self.blobs.iter().map(length).sum::<u64>();
        self.size.map_or_else(|| blobs() + OVERHEAD as u64 + HEADER_LENGTH, u64::from)
    }
}

#[derive(Deserialize)]
struct BlobEntry {
    id: HexHash,
    #[serde(rename = "type")]
    kind: BlobType,
    offset: u32,
    length: u32,
    /// 0 if the blob is not compressed.
    #[serde(default)]
    uncompressed_length: u32,
}

fn parse(content: &[u8]) -> Result<Content> {
    serde_json::from_slice(content)
        .map_err(|error| Error::new(ErrorKind::Repository, format!("it is no index: {error}")))
}

/// The values of hexadecimal digits; those of all other bytes are greater than 15. An index has
/// millions of them.
const DIGITS: [u8; 256] = {
    let mut digits = [16; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// A hash that is written in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HexHash(pub(crate) Hash);

impl HexHash {
    /// The hash in an id of the library.
    pub(crate) fn of(id: &Id) -> Hash {
        // What the library writes is what this reads.
        Self::parse(id.to_hex().as_str()).map(|hash| hash.0).unwrap_or_default()
    }

    /// Reads 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut hash = Hash::default();
        if text.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| DIGITS[usize::from(digit)]);
            if high | low > 15 {
                return None;
            }
            *byte = high << 4 | low;
        }
        Some(Self(hash))
    }
}

impl<'de> Deserialize<'de> for HexHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HexHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexHash, E> {
                HexHash::parse(text).ok_or_else(|| E::custom("these are not 64 hexadecimal digits"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl fmt::Display for HexHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_that_are_to_be_deleted_are_not_there() {
        let id = |letter: &str| letter.repeat(64);
        let pack = |pack: &str, blob: &str, kind: &str| {
            format!(
                r#"{{"id":"{}","blobs":[{{"id":"{}","type":"{kind}","offset":7,"length":38,"uncompressed_length":9}}]}}"#,
                id(pack),
                id(blob)
            )
        };
        let text = format!(
            r#"{{"supersedes":[],"packs":[{},{}],"packs_to_delete":[{}]}}"#,
            pack("1", "a", "data"),
            pack("2", "b", "tree"),
            pack("3", "c", "data")
        );
        let mut index = Index::default();
        index.add(parse(text.as_bytes()).unwrap());
        let hash = |letter: &str| HexHash::parse(&id(letter)).unwrap().0;
        assert!(index.has(BlobType::Data, &hash("a")) && index.has(BlobType::Tree, &hash("b")));
        assert!(!index.has(BlobType::Tree, &hash("a")) && !index.has(BlobType::Data, &hash("c")));
        let location = index.find(BlobType::Tree, &hash("b")).unwrap();
        assert_eq!((location.offset, location.length), (7, 38));
        assert_eq!(location.pack, Id::new(hash("2")));
        assert_eq!(location.raw_length, NonZeroU32::new(9));
        let place = index.place(BlobType::Tree, &hash("b")).unwrap();
        assert_eq!(index.packs()[place], (Id::new(hash("2")), 38 + 41 + 32 + 4));
        assert_eq!(HexHash(hash("b")).to_string(), id("b"));
        assert!(parse(b"[]").is_err());
    }
}
