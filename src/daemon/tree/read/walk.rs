//! The walk over a volume's folder. Only some handles of folders are kept: a volume may be deeper than a
//! process may have files open.

use std::{
    cell::RefCell,
    collections::HashMap,
    ffi::{CString, OsStr},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{AtFlags, Dir};

use super::{
    failures::ReadFailures,
    file::ListedFile,
    metadata::{MetadataReader, kind_of},
};
use crate::{
    daemon::tree::{
        folder_handles::{FolderHandles, OpenedFolder, TreeFolder},
        left_out::LeftOut,
        open::path_in_volume,
    },
    exclude::VolumeExcludes,
};

/// Folders whose content is left out but for these names, by their paths in the snapshot.
pub(super) type Emptied = Rc<RefCell<HashMap<PathBuf, Vec<CString>>>>;

/// A folder that is being walked.
struct WalkedFolder {
    folder: Arc<TreeFolder>,
    /// The names not visited yet, in reverse order.
    names: Vec<CString>,
}

/// What was found in the volume.
pub(super) struct Entry {
    /// The path in the snapshot.
    pub(super) path: PathBuf,
    pub(super) node: Node,
    /// How to open a file.
    pub(super) open: Option<ListedFile>,
}

/// The walk. A folder comes before its content. Names are in the order of their bytes, as in
/// rustic's trees.
pub(super) struct Walk<'a> {
    folders: FolderHandles,
    levels: Vec<WalkedFolder>,
    /// The path of the last level in the snapshot.
    shown: PathBuf,
    /// The root, until the walk has returned it.
    first: Option<io::Result<OpenedFolder>>,
    failures: Arc<ReadFailures>,
    pub(super) metadata: MetadataReader,
    excludes: Option<&'a VolumeExcludes>,
    emptied: Emptied,
}

impl<'a> Walk<'a> {
    /// A walk over the folder `root`, which the snapshot shows as `shown`.
    pub(super) fn new(
        root: &Path,
        shown: &Path,
        failures: Arc<ReadFailures>,
        excludes: Option<&'a VolumeExcludes>,
    ) -> Self {
        let folders = FolderHandles::default();
        let first = Some(folders.root(root));
        let (levels, metadata, shown) = (Vec::new(), MetadataReader::new(), shown.to_owned());
        let emptied = Emptied::default();
        Self { folders, levels, shown, first, failures, metadata, excludes, emptied }
    }

    /// The folders so far whose content is left out.
    pub(super) fn emptied(&self) -> Emptied {
        Rc::clone(&self.emptied)
    }

    fn enter(&mut self, opened: &OpenedFolder, shown: PathBuf) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&*opened.handle)? {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        if let Some(left_out) = self.excludes.map(|excludes| LeftOut::of(excludes, opened)) {
            names.retain(|name| !left_out.has(name));
            let stays = left_out.stays();
            stays.map(|stays| self.emptied.borrow_mut().insert(shown.clone(), stays));
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        // A folder that changes meanwhile may list a name twice.
        names.dedup();
        self.levels.push(WalkedFolder { folder: Arc::clone(&opened.folder), names });
        self.shown = shown;
        Ok(())
    }

    fn root(&mut self, opened: &OpenedFolder) -> io::Result<Entry> {
        let meta = self.metadata.read(&opened.stat, &opened.handle, c".")?;
        let shown = self.shown.clone();
        let node = Node::new_node(shown.file_name().unwrap_or_default(), NodeType::Dir, meta);
        self.enter(opened, shown.clone())?;
        Ok(Entry { path: shown, node, open: None })
    }

    /// Reads one entry of the folder on top of the stack.
    fn entry(&mut self, folder: &Arc<TreeFolder>, name: CString, path: &Path) -> io::Result<Entry> {
        let handle = self.folders.handle(folder)?;
        let stat = rustix::fs::statat(&*handle, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind_of(&stat, &handle, &name)?;
        let meta = self.metadata.read(&stat, &handle, &name)?;
        let node = Node::new_node(OsStr::from_bytes(name.as_bytes()), kind, meta);
        if node.is_dir() {
            let opened = self.folders.enter(folder, &name)?;
            self.enter(&opened, path.to_owned())?;
        }
        let open = node.is_file().then(|| ListedFile {
            folder: handle,
            name,
            path: path.to_owned(),
            failures: self.failures.clone(),
        });
        Ok(Entry { path: path.to_owned(), node, open })
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Self::Item> {
        // A missing volume is not an empty one: the volume's folder never counts as vanished.
        if let Some(opened) = self.first.take() {
            match opened.and_then(|opened| self.root(&opened)) {
                Ok(entry) => return Some(entry),
                Err(error) => self.failures.fail_all(Path::new("."), &error),
            }
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                self.shown.pop();
                continue;
            };
            let folder = Arc::clone(&level.folder);
            let path = self.shown.join(OsStr::from_bytes(name.as_bytes()));
            match self.entry(&folder, name, &path) {
                Ok(entry) => return Some(entry),
                Err(error) => self.failures.record(path_in_volume(&path), &error),
            }
        }
    }
}
