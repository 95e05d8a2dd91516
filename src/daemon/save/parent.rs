//! The newest snapshot of the same volume: files that look as they did then are not read again.

use std::{borrow::Cow, fmt};

use jiff::Timestamp;
use rustic_core::{
    TreeId,
    repofile::{BlobType, Metadata, Node},
};
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess},
};

use super::shelf::Shelf;
use crate::{
    daemon::repository::{Backend, Coder, Hash, HexHash, Index},
    error::{Error, ErrorKind, Result},
};

/// The newest snapshot of the volume in the same repository.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Parent {
    pub(in crate::daemon) tree: TreeId,
    /// When the parent was begun.
    pub(in crate::daemon) begun: Timestamp,
}

/// What the parent knows of a folder, by name: as small as it gets, because a folder can have a million
/// files.
#[derive(Default)]
pub(super) struct ParentFolder {
    /// By their names.
    entries: Vec<KnownEntry>,
    names: Vec<u8>,
    /// The chunks of files, and the trees of folders.
    hashes: Vec<Hash>,
}

/// A file or a folder.
struct KnownEntry {
    name: (u32, u32),
    hashes: (u32, u32),
    times: Times,
    inode: u64,
    device: u64,
    size: u64,
    kind: Kind,
    has_attributes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Other,
}

/// When a file was modified and changed, each if it is known.
#[derive(PartialEq, Eq)]
struct Times {
    seconds: [i64; 2],
    nanoseconds: [i32; 2],
}

impl Times {
    fn of(modified: Option<Timestamp>, changed: Option<Timestamp>) -> Self {
        let times = [modified, changed];
        Self {
            seconds: times.map(|time| time.map_or(0, Timestamp::as_second)),
            nanoseconds: times.map(|time| time.map_or(i32::MIN, Timestamp::subsec_nanosecond)),
        }
    }
}

/// What the parent knows of one name.
#[derive(Clone, Copy)]
pub(super) struct ParentEntry<'a> {
    entry: &'a KnownEntry,
    hashes: &'a [Hash],
}

impl<'a> ParentEntry<'a> {
    /// The file's chunks, if the file is as it was.
    pub(super) fn unchanged(self, now: &Metadata, settled_before: Timestamp) -> Option<&'a [Hash]> {
        let changed = now.mtime.max(now.ctime);
        let was = self.entry;
        // The number of a file is compared only on the same device, where that is known.
        let same_file = was.inode == now.inode
            || (was.device != 0 && now.device_id != 0 && was.device != now.device_id);
        let same = was.kind == Kind::File
            && was.size == now.size
            && was.times == Times::of(now.mtime, now.ctime)
            && same_file
            && changed.is_some_and(|changed| changed < settled_before);
        same.then_some(self.hashes)
    }

    /// The folder's tree, if it is one.
    pub(super) fn subtree(self) -> Option<Hash> {
        self.hashes.first().copied().filter(|_| self.entry.kind == Kind::Folder)
    }

    pub(super) fn has_attributes(self) -> bool {
        self.entry.has_attributes
    }
}

impl ParentFolder {
    /// Reads a tree of the parent.
    ///
    /// # Errors
    /// If it is not there, or damaged.
    pub(super) fn read(
        tree: &Hash,
        index: &Index,
        (backend, shelf): (&Backend, Option<&Shelf>),
        coder: &mut Coder,
    ) -> Result<Self> {
        let wrong = |why: String| Error::new(ErrorKind::Repository, why);
        let at = index
            .find(BlobType::Tree, tree)
            .ok_or_else(|| wrong("it is missing in the index".to_owned()))?;
        let mut sealed = match shelf.and_then(|shelf| shelf.find(tree)) {
            Some(sealed) => sealed,
            None => Vec::from(backend.read_pack(&at.pack, at.offset, at.length)?),
        };
        if let Some(shelf) = shelf {
            shelf.keep(*tree, &sealed);
        }
        let (hash, parsed) = coder.parse_blob(&mut sealed, at.raw_length)?;
        // Any member of the repository can write an index that says otherwise.
        if hash != *tree {
            return Err(wrong("it is not what was backed up".to_owned()));
        }
        parsed.map(Self::of).map_err(|error| wrong(format!("it is no tree: {error}")))
    }

    fn of(tree: TreeOfParent) -> Self {
        let Self { mut entries, names, hashes } = tree.nodes.unwrap_or_default();
        let name = |entry: &KnownEntry| part(&names, entry.name);
        if !entries.is_sorted_by(|one, other| name(one) <= name(other)) {
            entries.sort_by(|one, other| name(one).cmp(name(other)));
        }
        Self { entries, names, hashes }
    }

    /// What the parent knows under this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<ParentEntry<'_>> {
        let by_name = |entry: &KnownEntry| part(&self.names, entry.name).cmp(name);
        let entry = self.entries.get(self.entries.binary_search_by(by_name).ok()?)?;
        Some(ParentEntry { entry, hashes: part(&self.hashes, entry.hashes) })
    }

    /// Adds an entry. `None` if there is no room for its name or its hashes.
    fn add(&mut self, entry: Entry<'_>) -> Option<()> {
        let at = |length: usize| u32::try_from(length).ok();
        let (name, hashes) = (at(self.names.len())?, at(self.hashes.len())?);
        if entry.name.contains('\\') {
            let node = Node { name: entry.name.into_owned(), ..Node::default() };
            self.names.extend_from_slice(node.name().as_encoded_bytes());
        } else {
            self.names.extend_from_slice(entry.name.as_bytes());
        }
        let kind = match &*entry.kind {
            "file" => Kind::File,
            "dir" => Kind::Folder,
            _ => Kind::Other,
        };
        match kind {
            Kind::File => self.hashes.extend(entry.content.into_iter().flatten().map(|it| it.0)),
            Kind::Folder => self.hashes.extend(entry.subtree.map(|tree| tree.0)),
            Kind::Other => {}
        }
        self.entries.push(KnownEntry {
            name: (name, at(self.names.len())?),
            hashes: (hashes, at(self.hashes.len())?),
            times: Times::of(entry.mtime, entry.ctime),
            inode: entry.inode,
            device: entry.device_id,
            size: entry.size,
            kind,
            has_attributes: entry.extended_attributes.is_some(),
        });
        Some(())
    }
}

/// From one place up to another.
fn part<T>(all: &[T], (from, to): (u32, u32)) -> &[T] {
    all.get(from as usize..to as usize).unwrap_or_default()
}

/// A tree. What is not needed here is not read.
#[derive(Deserialize)]
struct TreeOfParent {
    #[serde(default, deserialize_with = "entries")]
    nodes: Option<ParentFolder>,
}

/// Reads one entry after the other: all of them in the form of the tree would take more memory.
fn entries<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<ParentFolder>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Option<ParentFolder>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the entries of a folder")
        }

        fn visit_unit<E: de::Error>(self) -> std::result::Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<S: SeqAccess<'de>>(
            self,
            mut entries: S,
        ) -> std::result::Result<Self::Value, S::Error> {
            let mut folder = ParentFolder::default();
            while let Some(entry) = entries.next_element()? {
                folder.add(entry).ok_or_else(|| de::Error::custom("it has too many entries"))?;
            }
            Ok(Some(folder))
        }
    }
    from.deserialize_any(Visitor)
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    mtime: Option<Timestamp>,
    ctime: Option<Timestamp>,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    device_id: u64,
    #[serde(default)]
    size: u64,
    extended_attributes: Option<IgnoredAny>,
    content: Option<Vec<HexHash>>,
    subtree: Option<HexHash>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::tree::settled::settled_before;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    fn meta() -> Metadata {
        Metadata { mtime: at(50), ctime: at(100), inode: 5, size: 3, ..Metadata::default() }
    }

    fn known(device: u64) -> ParentFolder {
        let text = format!(
            r#"{{"nodes":[{{"name":"b\\xff","type":"file","mtime":"1970-01-01T00:00:50Z","ctime":"1970-01-01T01:01:40+01:00",
            "inode":5,"device_id":{device},"size":3,"content":["{}"]}},{{"name":"a","type":"dir","content":null,"subtree":"{}"}}]}}"#,
            "07".repeat(32),
            "09".repeat(32)
        );
        let folder = ParentFolder::of(serde_json::from_str(&text).unwrap());
        assert!(folder.find(b"a").is_some_and(|known| known.subtree() == Some([9; 32])));
        assert!(folder.find(b"b").is_none());
        assert!(folder.find(b"b\xff").is_some_and(|known| known.subtree().is_none()));
        folder
    }

    fn unchanged(known: &ParentFolder, now: &Metadata, settled_before: Timestamp) -> bool {
        let chunks = known.find(b"b\xff").unwrap().unchanged(now, settled_before);
        assert!(chunks.is_none_or(|chunks| chunks == [[7; 32]]));
        chunks.is_some()
    }

    #[test]
    fn a_file_is_unchanged_if_all_that_is_known_of_it_is() {
        let (known, later) = (known(0), Timestamp::from_second(1_000).unwrap());
        assert!(unchanged(&known, &meta(), later));
        for changed in [
            Metadata { mtime: at(51), ..meta() },
            Metadata { ctime: at(101), ..meta() },
            Metadata { inode: 6, ..meta() },
            Metadata { size: 4, ..meta() },
            Metadata { mtime: None, ..meta() },
        ] {
            assert!(!unchanged(&known, &changed, later), "{changed:?}");
        }
    }

    #[test]
    fn a_file_changed_just_before_its_parent_was_begun_is_read_again() {
        let begun = |second| {
            let begun = Timestamp::from_second(second).unwrap();
            settled_before(begun, std::path::Path::new("/proc"))
        };
        for (second, is_unchanged) in [(99, false), (101, false), (102, false), (103, true)] {
            assert_eq!(unchanged(&known(0), &meta(), begun(second)), is_unchanged, "{second}");
        }
    }

    #[test]
    fn numbers_of_files_on_different_devices_tell_nothing() {
        let later = Timestamp::from_second(1_000).unwrap();
        let now = |device_id| Metadata { inode: 6, device_id, ..meta() };
        assert!(unchanged(&known(1), &now(2), later));
        assert!(!unchanged(&known(1), &now(1), later));
        assert!(!unchanged(&known(1), &now(0), later));
    }
}
