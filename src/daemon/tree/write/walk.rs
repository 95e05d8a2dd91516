//! The walk over a backup. It creates folders and everything without content, and passes on the
//! content of files.

use std::{
    collections::HashMap,
    ffi::{CString, OsStr},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::{Arc, mpsc::SyncSender},
};

use rustic_core::{
    TreeId,
    repofile::{Metadata, Node, NodeType},
};
use rustix::fs::{AtFlags, Mode};

use super::{
    content::{ContentWriter, Work},
    metadata::MetadataWriter,
    path::{checked_name, failed, open_folder},
    special::make_special,
};
use crate::{
    daemon::tree::folder::FOLDER,
    error::{Error, ErrorKind, Result},
};

/// A folder that is complete except for its metadata.
pub(super) type CompleteFolder = (PathBuf, Metadata);

/// A folder that is being filled.
struct Level {
    handle: Arc<OwnedFd>,
    path: PathBuf,
    meta: Metadata,
    nodes: std::vec::IntoIter<Node>,
}

/// The walk over one backup.
pub(super) struct Walk<'a> {
    writer: &'a ContentWriter<'a>,
    metadata: MetadataWriter<'a>,
    root: Arc<OwnedFd>,
    queue: SyncSender<Work>,
    levels: Vec<Level>,
    /// The first name of each file with several names, by device and inode.
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<'a> Walk<'a> {
    /// A walk that restores to the folder `root`.
    pub(super) fn new(
        writer: &'a ContentWriter<'a>,
        metadata: MetadataWriter<'a>,
        root: Arc<OwnedFd>,
        queue: SyncSender<Work>,
    ) -> Self {
        Self { writer, metadata, root, queue, levels: Vec::new(), linked: HashMap::new() }
    }

    /// Restores the one folder in `tree`. Returns its folders, each after all folders inside it.
    /// Ends early if a thread has failed.
    pub(super) fn run(mut self, tree: TreeId) -> Result<Vec<CompleteFolder>> {
        self.enter_top(tree)?;
        let mut complete = Vec::new();
        while let Some(level) = self.levels.last_mut() {
            if self.writer.has_failed() {
                break;
            }
            match level.nodes.next() {
                Some(node) => self.restore(node)?,
                None => complete.extend(self.levels.pop().map(|level| (level.path, level.meta))),
            }
        }
        Ok(complete)
    }

    fn enter_top(&mut self, tree: TreeId) -> Result<()> {
        let top: Vec<_> = self.writer.nodes(&tree, Path::new("/"))?.collect();
        let [Node { subtree: Some(subtree), meta, .. }] = top.as_slice() else {
            return Err(Error::new(
                ErrorKind::Repository,
                "the backup does not hold exactly one folder",
            )
            .with_hint("it was not made by this program; restore it with \"restic restore\""));
        };
        let nodes = self.writer.nodes(subtree, Path::new("/"))?;
        let (handle, path, meta) = (self.root.clone(), PathBuf::new(), meta.clone());
        self.levels.push(Level { handle, path, meta, nodes });
        Ok(())
    }

    /// Restores one entry of the folder on top of the stack.
    fn restore(&mut self, node: Node) -> Result<()> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let name = checked_name(&node, &level.path)?;
        let path = level.path.join(OsStr::from_bytes(name.as_bytes()));
        let folder = level.handle.clone();
        let hard_link = (node.meta.links > 1).then_some((node.meta.device_id, node.meta.inode));
        if let Some(first) = hard_link.and_then(|id| self.linked.get(&id)) {
            return self.link(first, &folder, &name, &path);
        }
        let first = hard_link.map(|id| (id, path.clone()));
        let made = match &node.node_type {
            NodeType::Dir => self.enter(&folder, &name, path, node)?,
            NodeType::File => self.file(folder, name, path, node)?,
            _ => make_special(self.metadata, &folder, &name, &path, &node)?,
        };
        self.linked.extend(first.filter(|_| made));
        Ok(())
    }

    /// Creates another name for an existing file.
    fn link(&self, first: &Path, folder: &OwnedFd, name: &CString, path: &Path) -> Result<()> {
        let of_first = open_folder(&self.root, first.parent().unwrap_or(Path::new("")))?;
        let first = first.file_name().unwrap_or_default();
        rustix::fs::linkat(&*of_first, first, folder, name, AtFlags::empty()).map_err(failed(path))
    }

    /// Creates a folder, and puts it on top of the stack.
    fn enter(
        &mut self,
        parent: &OwnedFd,
        name: &CString,
        path: PathBuf,
        node: Node,
    ) -> Result<bool> {
        rustix::fs::mkdirat(parent, name, Mode::RWXU).map_err(failed(&path))?;
        let handle =
            rustix::fs::openat(parent, name, FOLDER, Mode::empty()).map_err(failed(&path))?;
        let Some(subtree) = &node.subtree else {
            let message = format!("the folder \"{}\" of the backup has no content", path.display());
            return Err(Error::new(ErrorKind::Repository, message));
        };
        let nodes = self.writer.nodes(subtree, &path)?;
        self.levels.push(Level { handle: Arc::new(handle), path, meta: node.meta, nodes });
        Ok(true)
    }

    /// Passes on a file. A file with several names is created here, because its next name is linked
    /// to it.
    fn file(&self, folder: Arc<OwnedFd>, name: CString, path: PathBuf, node: Node) -> Result<bool> {
        if node.meta.links <= 1 && ContentWriter::is_small(&node) {
            self.hand_out(Work::File { folder, name, path, node: Box::new(node) });
        } else {
            for part in self.writer.start(&folder, &name, path, node)? {
                self.hand_out(Work::Part(part));
            }
        }
        Ok(true)
    }

    fn hand_out(&self, work: Work) {
        // If all threads have ended, one of them has recorded why.
        let _ = self.queue.send(work);
    }
}
