//! The walk over a backup. It creates folders and everything without content, and passes on the
//! content of files.

use std::{
    ffi::CString,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, mpsc::SyncSender},
};

use rustic_core::{
    DataId, TreeId,
    repofile::{BlobType, Metadata, Node, NodeType},
};
use rustix::fs::{AtFlags, Mode};

use super::{
    content::{ContentWriter, RESTORING, Work, missing, with_hint},
    file::RestoredFile,
    links::{FirstNames, identity},
    path::{checked_name, failed},
    special::make_special,
    trees::Trees,
    window::Window,
};
use crate::{
    daemon::{
        repository::{BlobReader, FolderEntries, Hash, HexHash, Index},
        tree::folder_handles::{MOST_LEVELS, TreeFolder},
    },
    error::{Error, ErrorKind, Result},
    files::write_error,
    scope,
};

/// Among so many entries the walk looks for folders that it comes to soon.
const LOOKED_AHEAD: usize = 1_000;

/// A folder that is complete except for its metadata.
pub(super) type CompleteFolder = (Arc<TreeFolder>, Metadata);

/// A folder that is being filled.
struct UnfilledFolder {
    folder: Arc<TreeFolder>,
    meta: Metadata,
    entries: FolderEntries,
    /// The name of the last entry.
    last: Option<CString>,
}

/// What the walk reads from.
pub(super) struct Source<'a> {
    pub(super) index: &'a Index,
    pub(super) trees: &'a Trees<'a>,
    pub(super) reader: BlobReader<'a>,
    /// Whether trees are read ahead.
    pub(super) ahead: bool,
}

/// The walk over one backup.
pub(super) struct Walk<'a> {
    writer: &'a ContentWriter<'a>,
    source: Source<'a>,
    root: Arc<TreeFolder>,
    queue: SyncSender<Work>,
    levels: Vec<UnfilledFolder>,
    firsts: FirstNames,
    window: Window,
}

impl<'a> Walk<'a> {
    /// A walk that restores to the folder `root`.
    pub(super) fn new(
        writer: &'a ContentWriter<'a>,
        source: Source<'a>,
        root: Arc<TreeFolder>,
        queue: SyncSender<Work>,
    ) -> Self {
        let (levels, firsts) = (Vec::new(), FirstNames::default());
        let window = Window::new(source.ahead);
        Self { writer, source, root, queue, levels, firsts, window }
    }

    /// Restores the one folder in `tree`. Returns its folders, each after all folders inside it.
    /// Ends early if a thread has failed.
    pub(super) fn run(mut self, tree: TreeId) -> Result<Vec<CompleteFolder>> {
        self.enter_top(tree)?;
        let mut complete = Vec::new();
        while let Some(level) = self.levels.last_mut() {
            if self.writer.has_failed() {
                return Ok(complete);
            }
            scope::goes_on(RESTORING)?;
            match level.entries.next().map_err(with_hint)? {
                Some(node) => self.restore(node)?,
                None => complete.extend(self.levels.pop().map(|level| (level.folder, level.meta))),
            }
        }
        self.hand_out(true);
        Ok(complete)
    }

    fn enter_top(&mut self, tree: TreeId) -> Result<()> {
        let root = Arc::clone(&self.root);
        let top = self.entries(&tree, &root)?;
        let [Node { subtree: Some(subtree), meta, .. }] = top.known() else {
            return Err(Error::new(
                ErrorKind::Repository,
                "the backup does not hold exactly one folder",
            )
            .with_hint("it was not made by this program; restore it with \"restic restore\""));
        };
        self.push(root, meta.clone(), subtree)
    }

    /// The entries of a folder in the backup.
    fn entries(&mut self, tree: &TreeId, folder: &TreeFolder) -> Result<FolderEntries> {
        let what = || {
            let path = folder.path();
            let path = if path == Path::new(".") { Path::new("/") } else { &path };
            format!("cannot read the folder \"{}\" of the backup", path.display())
        };
        let source = &mut self.source;
        source.trees.take(&of_tree(tree), &mut source.reader, &what).map_err(with_hint)
    }

    /// Puts a folder on top of the stack.
    fn push(&mut self, folder: Arc<TreeFolder>, meta: Metadata, subtree: &TreeId) -> Result<()> {
        let entries = self.entries(subtree, &folder)?;
        self.levels.push(UnfilledFolder { folder, meta, entries, last: None });
        if self.source.ahead {
            let levels = self.levels.iter().rev();
            let next = levels.flat_map(|level| level.entries.known()).take(LOOKED_AHEAD);
            self.source.trees.want(next.filter_map(|node| node.subtree.as_ref().map(of_tree)));
        }
        Ok(())
    }

    /// Restores one entry of the folder on top of the stack.
    fn restore(&mut self, node: Node) -> Result<()> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let folder = Arc::clone(&level.folder);
        let name = checked_name(&node, &folder)?;
        // Version 0.1.0 kept what a folder listed twice as two entries. Names are sorted.
        if level.last.as_ref() == Some(&name) {
            let path = folder.path_of(&name);
            log::warn!("the backup has \"{}\" twice; the first one is restored", path.display());
            return Ok(());
        }
        level.last = Some(name.clone());
        self.writer.room.makes()?;
        let identity = identity(&node);
        if let Some(first) = identity.and_then(|identity| self.firsts.find(&identity)) {
            return self.link(first, &folder, &name);
        }
        let made = match &node.node_type {
            NodeType::Dir => return self.enter(&folder, &name, node),
            NodeType::File => {
                self.file((Arc::clone(&folder), name.clone()), node, identity.is_some())?;
                true
            }
            _ => {
                let handle = self.handle(&folder)?;
                let path = folder.path_of(&name);
                make_special(self.writer.metadata, &handle, &name, &path, &node)?
            }
        };
        if let Some(identity) = identity.filter(|_| made) {
            self.firsts.add(identity, folder, name);
        }
        Ok(())
    }

    fn handle(&self, folder: &Arc<TreeFolder>) -> Result<Arc<OwnedFd>> {
        self.writer.folders.handle(folder).map_err(|error| write_error(&folder.path(), &error))
    }

    /// Creates another name for an existing file.
    fn link(
        &self,
        (first, first_name): &(Arc<TreeFolder>, CString),
        folder: &Arc<TreeFolder>,
        name: &CString,
    ) -> Result<()> {
        let (of_first, of_link) = (self.handle(first)?, self.handle(folder)?);
        rustix::fs::linkat(&*of_first, first_name, &*of_link, name, AtFlags::empty())
            .map_err(|error| failed(&folder.path_of(name))(error))
    }

    /// Creates a folder, and puts it on top of the stack.
    fn enter(&mut self, above: &Arc<TreeFolder>, name: &CString, node: Node) -> Result<()> {
        let path = || above.path_of(name);
        if above.depth() >= MOST_LEVELS {
            let message = format!("the backup has more than {MOST_LEVELS} folders in one another");
            return Err(Error::new(ErrorKind::Repository, message).with_hint(
                "the repository was tampered with: no backup of this program is so deep",
            ));
        }
        rustix::fs::mkdirat(&*self.handle(above)?, name, Mode::RWXU)
            .map_err(|error| failed(&path())(error))?;
        let entered = self.writer.folders.enter(above, name);
        let folder = entered.map_err(|error| write_error(&path(), &error))?.folder;
        let Some(subtree) = &node.subtree else {
            let message =
                format!("the folder \"{}\" of the backup has no content", path().display());
            return Err(Error::new(ErrorKind::Repository, message));
        };
        self.push(folder, node.meta, subtree)
    }

    /// Passes on a file. A file with several names is created here, because its next name is linked
    /// to it.
    fn file(&mut self, at: (Arc<TreeFolder>, CString), node: Node, has_names: bool) -> Result<()> {
        let content = node.content.unwrap_or_default();
        let index = self.source.index;
        let find = |piece: &DataId| {
            let hex = piece.to_hex();
            let found = HexHash::parse(hex.as_str())
                .and_then(|id| Some((id.0, index.find(BlobType::Data, &id.0)?)));
            found.ok_or_else(|| missing(hex.as_str(), &at.0.path_of(&at.1)))
        };
        // Twice, because a file that is nearly all holes may have a million pieces.
        let lengths = content.iter().map(|piece| Ok(u64::from(find(piece)?.1.content_length())));
        let size = lengths.sum::<Result<u64>>()?;
        let mut file = RestoredFile::new(at.clone(), node.meta, size, content.len());
        if has_names {
            file.make(self.writer.folders)?;
        }
        let file = Arc::new(file);
        if content.is_empty() {
            self.window.add_empty(Arc::clone(&file));
        }
        let (is_large, mut start) = (content.len() > 1, 0);
        for (number, piece) in content.iter().enumerate() {
            let (id, location) = find(piece)?;
            self.window.add(&file, (id, location, start), is_large && number == 0);
            start += u64::from(location.content_length());
            if self.window.is_full() {
                self.hand_out(false);
            }
        }
        if self.window.is_full() {
            self.hand_out(false);
        }
        Ok(())
    }

    /// Hands out what has gathered. `is_last` says that nothing comes after it.
    fn hand_out(&mut self, is_last: bool) {
        for work in self.window.take(is_last) {
            // If all threads have ended, one of them has recorded why.
            if self.writer.has_failed() || self.queue.send(work).is_err() {
                return;
            }
        }
    }
}

fn of_tree(tree: &TreeId) -> Hash {
    HexHash::of(tree)
}
