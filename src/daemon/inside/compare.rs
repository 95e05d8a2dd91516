//! What differs between two backups. Folders of the same content are not read.

use std::{cmp::Ordering, collections::VecDeque, os::unix::ffi::OsStrExt as _};

use rustic_core::{
    TreeId,
    repofile::{Metadata, Node},
};

use super::{
    entry::entry,
    view::{View, below, names, shown},
};
use crate::{
    convoy::inside::{Change, Difference, Differences, EntryKind, MOST_BYTES, MOST_ENTRIES},
    daemon::repository::{FolderEntries, OpenRepository},
    error::{Error, ErrorKind, Result},
};

/// What differs from the first backup to the second one, at the path and below.
///
/// # Errors
/// If a folder can't be read; [`ErrorKind::NotFound`] if neither has the path; if the run ends.
pub(in crate::daemon) fn compare(
    repository: &OpenRepository,
    (from, to): (&TreeId, &TreeId),
    path: &str,
    most: usize,
) -> Result<Differences> {
    let mut view = View::new(repository)?;
    let mut at = |tree| match view.at(tree, path) {
        Ok(node) => Ok(Ok(node)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Err(error)),
        Err(error) => Err(error),
    };
    let nodes = match (at(from)?, at(to)?) {
        (Err(error), Err(_)) => return Err(error),
        (before, after) => (before.ok(), after.ok()),
    };
    let path = names(path).collect::<Vec<_>>().join("/");
    let most = most.clamp(1, MOST_ENTRIES);
    let mut compared = Compared { told: Differences::default(), most, bytes: 0 };
    let mut levels = Vec::new();
    compared.pair(nodes, path, &mut view, &mut levels)?;
    while let Some(level) = levels.last_mut() {
        let Some(pair) = level.next()? else {
            levels.pop();
            continue;
        };
        let name = pair.0.as_ref().or(pair.1.as_ref()).map(|node| shown(&node.name()));
        let path = below(&level.path, &name.unwrap_or_default());
        compared.pair(pair, path, &mut view, &mut levels)?;
    }
    Ok(compared.told)
}

/// A folder as it was, and as it is.
struct Level {
    path: String,
    before: Sorted,
    after: Sorted,
}

impl Level {
    /// The next name of either, and what it was and is.
    fn next(&mut self) -> Result<Option<(Option<Node>, Option<Node>)>> {
        let order = match (self.before.peek()?, self.after.peek()?) {
            (None, None) => return Ok(None),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.name().as_bytes().cmp(after.name().as_bytes()),
        };
        let before = if order.is_le() { self.before.next.take() } else { None };
        let after = if order.is_ge() { self.after.next.take() } else { None };
        Ok(Some((before, after)))
    }
}

/// The entries of a folder, sorted by their names' bytes.
struct Sorted {
    entries: Entries,
    next: Option<Node>,
}

enum Entries {
    None,
    Sorted(VecDeque<Node>),
    /// Those of a huge folder, which this program wrote sorted.
    Many {
        entries: FolderEntries,
        last: Vec<u8>,
    },
}

impl Sorted {
    fn of(view: &mut View<'_>, node: Option<&Node>, path: &str) -> Result<Self> {
        let Some(subtree) = node.and_then(|node| node.subtree.as_ref()) else {
            return Ok(Self { entries: Entries::None, next: None });
        };
        let mut entries = view.entries(subtree, path)?;
        let entries = match &mut entries {
            FolderEntries::Few(nodes) => {
                let mut nodes: Vec<_> = nodes.collect();
                nodes.sort_by(|a, b| a.name().as_bytes().cmp(b.name().as_bytes()));
                Entries::Sorted(nodes.into())
            }
            FolderEntries::Many(_) => Entries::Many { entries, last: Vec::new() },
        };
        Ok(Self { entries, next: None })
    }

    fn peek(&mut self) -> Result<Option<&Node>> {
        if self.next.is_none() {
            self.next = match &mut self.entries {
                Entries::None => None,
                Entries::Sorted(nodes) => nodes.pop_front(),
                Entries::Many { entries, last } => {
                    let node = entries.next()?;
                    let name = node.as_ref().map(|node| node.name().as_bytes().to_vec());
                    if name.as_ref().is_some_and(|name| *name < *last) {
                        return Err(Error::new(
                            ErrorKind::Repository,
                            "a folder of the backup is not sorted, and too large to be sorted now",
                        ));
                    }
                    *last = name.unwrap_or_default();
                    node
                }
            };
        }
        Ok(self.next.as_ref())
    }
}

struct Compared {
    told: Differences,
    most: usize,
    /// In the paths that are told.
    bytes: usize,
}

impl Compared {
    /// Compares what is at one path, and enters a folder that differs.
    fn pair(
        &mut self,
        (before, after): (Option<Node>, Option<Node>),
        path: String,
        view: &mut View<'_>,
        levels: &mut Vec<Level>,
    ) -> Result<()> {
        let change = match (&before, &after) {
            (None, None) => return Ok(()),
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            (Some(before), Some(after)) => change(before, after),
        };
        if let Some(change) = change {
            self.tell(change, &path, before.as_ref(), after.as_ref());
        }
        let subtree = |node: &Option<Node>| node.as_ref().and_then(|node| node.subtree);
        if subtree(&before) != subtree(&after) {
            let of_before = Sorted::of(view, before.as_ref(), &path)?;
            let of_after = Sorted::of(view, after.as_ref(), &path)?;
            levels.push(Level { path, before: of_before, after: of_after });
        }
        Ok(())
    }

    fn tell(&mut self, change: Change, path: &str, before: Option<&Node>, after: Option<&Node>) {
        let told = |node: Option<&Node>| node.map(|node| entry(path.to_owned(), node));
        let (before, after) = (told(before), told(after));
        let size = |entry: &Option<_>| {
            entry.as_ref().map_or(0, |entry: &crate::convoy::inside::FileEntry| entry.size)
        };
        match change {
            Change::Added => {
                self.told.added += 1;
                self.told.added_bytes += size(&after);
            }
            Change::Removed => {
                self.told.removed += 1;
                self.told.removed_bytes += size(&before);
            }
            Change::Changed => {
                self.told.changed += 1;
                self.told.changed_bytes += size(&after);
            }
            Change::Metadata => self.told.changed_metadata += 1,
        }
        if self.told.files.len() == self.most || self.bytes > MOST_BYTES {
            self.told.has_more = true;
            return;
        }
        // It is there three times.
        self.bytes += 3 * path.len();
        self.told.files.push(Difference { change, path: path.to_owned(), before, after });
    }
}

/// How an entry changed. Of a folder, its time is no change: it only says that what is in it has changed.
fn change(before: &Node, after: &Node) -> Option<Change> {
    if before.node_type != after.node_type || before.content != after.content {
        return Some(Change::Changed);
    }
    let is_folder = super::entry::kind(&before.node_type) == EntryKind::Folder;
    (essential(&before.meta, is_folder) != essential(&after.meta, is_folder))
        .then_some(Change::Metadata)
}

/// Metadata without what says nothing of the file itself.
fn essential(meta: &Metadata, is_folder: bool) -> Metadata {
    let mtime = meta.mtime.filter(|_| !is_folder);
    let size = if is_folder { 0 } else { meta.size };
    Metadata {
        atime: None,
        ctime: None,
        mtime,
        size,
        inode: 0,
        device_id: 0,
        links: 0,
        ..meta.clone()
    }
}
