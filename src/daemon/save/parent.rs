//! The newest snapshot of the same volume: files that look as they did then are not read again.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use rustic_core::{
    TreeId,
    repofile::{BlobType, Metadata, Node},
};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::shelf::Shelf;
use crate::{
    daemon::repository::{Backend, Coder, Hash, HexHash, Index},
    error::{Error, ErrorKind, Result},
};

/// The coarsest times of file systems. A file that was changed so shortly before the parent was
/// begun, or later, can have changed once more and look the same, so it is read again.
const COARSEST_TIME: SignedDuration = SignedDuration::from_secs(2);

/// The newest snapshot of the volume in the same repository.
#[derive(Debug, Clone, Copy)]
pub(in crate::daemon) struct Parent {
    pub(in crate::daemon) tree: TreeId,
    /// When the parent was begun.
    pub(in crate::daemon) begun: Timestamp,
}

impl Parent {
    /// What was changed then or later is read again.
    pub(super) fn settled_before(&self) -> Timestamp {
        self.begun.saturating_sub(COARSEST_TIME).unwrap_or(Timestamp::MIN)
    }
}

/// What the parent knows of a folder, by name.
pub(super) struct ParentFolder(Vec<ParentEntry>);

/// What the parent knows of a file.
pub(super) struct ParentEntry {
    name: Box<[u8]>,
    is_file: bool,
    mtime: Option<Timestamp>,
    ctime: Option<Timestamp>,
    inode: u64,
    device: u64,
    size: u64,
    chunks: Box<[Hash]>,
    subtree: Option<Box<Hash>>,
    pub(super) has_attributes: bool,
}

impl ParentEntry {
    /// The file's chunks, if the file is as it was.
    pub(super) fn unchanged(&self, now: &Metadata, settled_before: Timestamp) -> Option<&[Hash]> {
        let changed = now.mtime.max(now.ctime);
        // The number of a file is compared only on the same device, where that is known.
        let same_file = self.inode == now.inode
            || (self.device != 0 && now.device_id != 0 && self.device != now.device_id);
        let same = self.is_file
            && self.size == now.size
            && self.mtime == now.mtime
            && self.ctime == now.ctime
            && same_file
            && changed.is_some_and(|changed| changed < settled_before);
        same.then_some(&self.chunks)
    }

    /// The folder's tree, if it is one.
    pub(super) fn subtree(&self) -> Option<Hash> {
        self.subtree.as_deref().copied()
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

    fn of(entries: Entries) -> Self {
        let mut known = entries.nodes.unwrap_or_default();
        if !known.is_sorted_by(|one, other| one.name <= other.name) {
            known.sort_by(|one, other| one.name.cmp(&other.name));
        }
        Self(known)
    }

    /// What the parent knows under this name.
    pub(super) fn find(&self, name: &[u8]) -> Option<&ParentEntry> {
        let at = self.0.binary_search_by(|known| (*known.name).cmp(name)).ok()?;
        self.0.get(at)
    }
}

/// A tree. What is not needed here is not read.
#[derive(Deserialize)]
struct Entries {
    nodes: Option<Vec<ParentEntry>>,
}

impl<'de> Deserialize<'de> for ParentEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Entry::deserialize(from).map(Self::from)
    }
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

impl From<Entry<'_>> for ParentEntry {
    fn from(entry: Entry<'_>) -> Self {
        let name: Box<[u8]> = if entry.name.contains('\\') {
            let node = Node { name: entry.name.into_owned(), ..Node::default() };
            node.name().as_encoded_bytes().into()
        } else {
            entry.name.as_bytes().into()
        };
        Self {
            name,
            is_file: entry.kind == "file",
            mtime: entry.mtime,
            ctime: entry.ctime,
            inode: entry.inode,
            device: entry.device_id,
            size: entry.size,
            chunks: entry.content.into_iter().flatten().map(|chunk| chunk.0).collect(),
            has_attributes: entry.extended_attributes.is_some(),
            subtree: entry.subtree.map(|tree| Box::new(tree.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    fn meta() -> Metadata {
        Metadata { mtime: at(50), ctime: at(100), inode: 5, size: 3, ..Metadata::default() }
    }

    fn known(device: u64) -> ParentEntry {
        let text = format!(
            r#"{{"nodes":[{{"name":"b\\xff","type":"file","mtime":"1970-01-01T00:00:50Z","ctime":"1970-01-01T01:01:40+01:00",
            "inode":5,"device_id":{device},"size":3,"content":["{}"]}},{{"name":"a","type":"dir","content":null}}]}}"#,
            "07".repeat(32)
        );
        let mut folder = ParentFolder::of(serde_json::from_str(&text).unwrap());
        assert!(folder.find(b"a").is_some_and(|known| !known.is_file));
        assert!(folder.find(b"b").is_none());
        assert!(folder.find(b"b\xff").is_some());
        folder.0.remove(1)
    }

    #[test]
    fn a_file_is_unchanged_if_all_that_is_known_of_it_is() {
        let (known, later) = (known(0), Timestamp::from_second(1_000).unwrap());
        assert_eq!(known.unchanged(&meta(), later), Some(&[[7; 32]][..]));
        for changed in [
            Metadata { mtime: at(51), ..meta() },
            Metadata { ctime: at(101), ..meta() },
            Metadata { inode: 6, ..meta() },
            Metadata { size: 4, ..meta() },
        ] {
            assert!(known.unchanged(&changed, later).is_none(), "{changed:?}");
        }
    }

    #[test]
    fn a_file_changed_just_before_its_parent_was_begun_is_read_again() {
        let begun = |second| {
            let begun = Timestamp::from_second(second).unwrap();
            Parent { tree: TreeId::default(), begun }.settled_before()
        };
        for (second, unchanged) in [(99, false), (101, false), (102, false), (103, true)] {
            assert_eq!(known(0).unchanged(&meta(), begun(second)).is_some(), unchanged, "{second}");
        }
    }

    #[test]
    fn numbers_of_files_on_different_devices_tell_nothing() {
        let later = Timestamp::from_second(1_000).unwrap();
        let now = |device_id| Metadata { inode: 6, device_id, ..meta() };
        assert!(known(1).unchanged(&now(2), later).is_some());
        assert!(known(1).unchanged(&now(1), later).is_none());
        assert!(known(1).unchanged(&now(0), later).is_none());
    }
}
