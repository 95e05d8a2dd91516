//! The walk over a volume's folder.

use std::{
    ffi::{CString, OsStr},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::{
    ReadSourceEntry, RusticResult,
    repofile::{Node, NodeType},
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat};

use super::{
    failures::ReadFailures,
    file::ListedFile,
    metadata::MetadataReader,
    open::{open_at, path_in_volume},
};
use crate::daemon::{repository::Backend, tree::folder::FOLDER};

/// A folder that is being walked.
struct Level {
    handle: Arc<OwnedFd>,
    /// The folder's path in the snapshot.
    shown: PathBuf,
    /// The names not visited yet, in reverse order.
    names: Vec<CString>,
}

/// The walk. A folder comes before its content. Names are in the order of their bytes, as in
/// rustic's trees.
pub(in crate::daemon) struct Walk {
    levels: Vec<Level>,
    /// The root, until the walk has returned it.
    first: Option<(Arc<OwnedFd>, PathBuf)>,
    root_failed: Option<io::Error>,
    failures: Arc<ReadFailures>,
    backend: Arc<Backend>,
    pub(super) metadata: MetadataReader,
}

impl Walk {
    pub(super) fn new(
        root: &Path,
        shown: &Path,
        failures: Arc<ReadFailures>,
        backend: Arc<Backend>,
    ) -> Self {
        let (first, root_failed) = match rustix::fs::open(root, FOLDER, Mode::empty()) {
            Ok(handle) => (Some((Arc::new(handle), shown.to_owned())), None),
            Err(error) => (None, Some(error.into())),
        };
        let metadata = MetadataReader::new();
        Self { levels: Vec::new(), first, root_failed, failures, backend, metadata }
    }

    /// The same walk, but all files look as if they had no extended attributes.
    pub(super) fn without_attributes(mut self) -> Self {
        self.metadata.attributes = false;
        self
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
        self.levels.push(Level { handle, shown: shown.to_owned(), names });
        Ok(())
    }

    fn root(
        &mut self,
        handle: Arc<OwnedFd>,
        shown: PathBuf,
    ) -> io::Result<ReadSourceEntry<ListedFile>> {
        let stat = rustix::fs::fstat(&*handle)?;
        let meta = self.metadata.read(&stat, &handle, c".")?;
        let node = Node::new_node(shown.file_name().unwrap_or_default(), NodeType::Dir, meta);
        self.enter(handle, &shown)?;
        Ok(ReadSourceEntry { path: shown, node, open: None })
    }

    /// Reads one entry of the folder on top of the stack.
    fn entry(
        &mut self,
        handle: &Arc<OwnedFd>,
        name: CString,
        path: &Path,
    ) -> io::Result<ReadSourceEntry<ListedFile>> {
        let stat = rustix::fs::statat(&**handle, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = kind(&stat, handle, &name)?;
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
            listed: (stat.st_dev, stat.st_ino),
            size: node.meta.size,
            failures: self.failures.clone(),
            backend: self.backend.clone(),
        });
        Ok(ReadSourceEntry { path: path.to_owned(), node, open })
    }
}

/// The kind of the file `name` in a folder.
fn kind(stat: &Stat, folder: &OwnedFd, name: &CString) -> io::Result<NodeType> {
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeType::File,
        FileType::Directory => NodeType::Dir,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            NodeType::from_link(Path::new(OsStr::from_bytes(target.as_bytes())))
        }
        FileType::Fifo => NodeType::Fifo,
        FileType::Socket => NodeType::Socket,
        FileType::CharacterDevice => NodeType::Chardev { device: stat.st_rdev },
        FileType::BlockDevice => NodeType::Dev { device: stat.st_rdev },
        FileType::Unknown => return Err(io::Error::other("it is of a kind that is not known")),
    })
}

impl Iterator for Walk {
    type Item = RusticResult<ReadSourceEntry<ListedFile>>;

    fn next(&mut self) -> Option<Self::Item> {
        // A missing volume is not an empty one: the volume's folder never counts as vanished.
        if let Some(error) = self.root_failed.take() {
            self.failures.fail(Path::new("."), &error);
        }
        if let Some((handle, shown)) = self.first.take() {
            match self.root(handle, shown) {
                Ok(entry) => {
                    self.failures.given(&entry.node);
                    return Some(Ok(entry));
                }
                Err(error) => self.failures.fail(Path::new("."), &error),
            }
        }
        loop {
            if let Some(error) = self.backend.failure() {
                self.failures.stop(error);
                return None;
            }
            let level = self.levels.last_mut()?;
            let Some(name) = level.names.pop() else {
                self.levels.pop();
                continue;
            };
            let handle = level.handle.clone();
            let path = level.shown.join(OsStr::from_bytes(name.as_bytes()));
            match self.entry(&handle, name, &path) {
                Ok(entry) => {
                    self.failures.given(&entry.node);
                    return Some(Ok(entry));
                }
                Err(error) => self.failures.record(path_in_volume(&path), &error),
            }
        }
    }
}
