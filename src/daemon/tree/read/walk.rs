//! The walk over a volume's folder.

use std::{
    ffi::{CString, OsStr},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{AtFlags, Dir, Mode};

use super::{
    failures::ReadFailures,
    file::ListedFile,
    metadata::{MetadataReader, kind_of},
    open::{open_at, path_in_volume},
};
use crate::files::FOLDER;

/// A folder that is being walked.
struct WalkedFolder {
    handle: Arc<OwnedFd>,
    /// The folder's path in the snapshot.
    shown: PathBuf,
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
pub(super) struct Walk {
    levels: Vec<WalkedFolder>,
    /// The root, until the walk has returned it.
    first: Option<(Arc<OwnedFd>, PathBuf)>,
    root_failed: Option<io::Error>,
    failures: Arc<ReadFailures>,
    pub(super) metadata: MetadataReader,
}

impl Walk {
    /// A walk over the folder `root`, which the snapshot shows as `shown`.
    pub(super) fn new(root: &Path, shown: &Path, failures: Arc<ReadFailures>) -> Self {
        let (first, root_failed) = match rustix::fs::open(root, FOLDER, Mode::empty()) {
            Ok(handle) => (Some((Arc::new(handle), shown.to_owned())), None),
            Err(error) => (None, Some(error.into())),
        };
        let metadata = MetadataReader::new();
        Self { levels: Vec::new(), first, root_failed, failures, metadata }
    }

    fn enter(&mut self, handle: Arc<OwnedFd>, shown: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&*handle)? {
            let entry = entry?;
            if entry.file_name() != c"." && entry.file_name() != c".." {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_unstable_by(|a, b| b.cmp(a));
        // A folder that changes meanwhile may list a name twice.
        names.dedup();
        self.levels.push(WalkedFolder { handle, shown: shown.to_owned(), names });
        Ok(())
    }

    fn root(&mut self, handle: Arc<OwnedFd>, shown: PathBuf) -> io::Result<Entry> {
        let stat = rustix::fs::fstat(&*handle)?;
        let meta = self.metadata.read(&stat, &handle, c".")?;
        let node = Node::new_node(shown.file_name().unwrap_or_default(), NodeType::Dir, meta);
        self.enter(handle, &shown)?;
        Ok(Entry { path: shown, node, open: None })
    }

    /// Reads one entry of the folder on top of the stack.
    fn entry(&mut self, handle: &Arc<OwnedFd>, name: CString, path: &Path) -> io::Result<Entry> {
        let stat = rustix::fs::statat(&**handle, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind_of(&stat, handle, &name)?;
        let meta = self.metadata.read(&stat, handle, &name)?;
        let node = Node::new_node(OsStr::from_bytes(name.as_bytes()), kind, meta);
        if node.is_dir() {
            let folder = open_at(handle, &name, FOLDER)?;
            self.enter(Arc::new(folder), path)?;
        }
        let open = node.is_file().then(|| ListedFile {
            folder: handle.clone(),
            name,
            path: path.to_owned(),
            failures: self.failures.clone(),
        });
        Ok(Entry { path: path.to_owned(), node, open })
    }
}

impl Iterator for Walk {
    type Item = Entry;

    fn next(&mut self) -> Option<Self::Item> {
        // A missing volume is not an empty one: the volume's folder never counts as vanished.
        if let Some(error) = self.root_failed.take() {
            self.failures.fail_all(Path::new("."), &error);
        }
        if let Some((handle, shown)) = self.first.take() {
            match self.root(handle, shown) {
                Ok(entry) => return Some(entry),
                Err(error) => self.failures.fail_all(Path::new("."), &error),
            }
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let handle = level.handle.clone();
            let path = level.shown.join(OsStr::from_bytes(name.as_bytes()));
            match self.entry(&handle, name, &path) {
                Ok(entry) => return Some(entry),
                Err(error) => self.failures.record(path_in_volume(&path), &error),
            }
        }
    }
}
