//! The folders of a tree on the way down, and their handles. A folder is opened through the
//! handle of the one above it and never through a symlink, so swapping a folder for a symlink can't
//! lead outside the tree. Only some handles are kept: a volume may be deeper than a process may
//! have files open.

use std::{
    collections::VecDeque,
    ffi::{CStr, CString, OsStr},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, Weak},
};

use rustix::fs::{CWD, Stat};

use crate::{daemon::tree::open::open_at, files::FOLDER, sync::lock};

/// How many handles of folders are kept. A process may have 1,024 files open, and has others.
const MOST_HANDLES: usize = 200;

/// How many folders may be in one another. The system has no bound, but what is deeper can't be handled by
/// most programs, and a forged backup could be of any depth.
pub(in crate::daemon) const MOST_LEVELS: usize = 20_000;

/// The device and the inode of a folder, or a file.
pub(in crate::daemon) type FolderId = (u64, u64);

/// A folder of the volume.
pub(in crate::daemon) struct TreeFolder {
    above: Option<Arc<Self>>,
    name: CString,
    /// A folder that is opened again must be the same one.
    id: FolderId,
    /// How many folders of the volume it is in.
    depth: usize,
    handle: Mutex<Option<Arc<OwnedFd>>>,
}

impl TreeFolder {
    pub(in crate::daemon) fn name(&self) -> &CStr {
        &self.name
    }

    /// How many folders of the volume it is in.
    pub(in crate::daemon) fn depth(&self) -> usize {
        self.depth
    }

    pub(in crate::daemon) fn id(&self) -> FolderId {
        self.id
    }

    /// This folder, and those above, up to the volume's own.
    fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |folder| folder.above.as_deref())
    }

    /// The names in the path in the volume.
    pub(in crate::daemon) fn names(&self) -> Vec<&CStr> {
        let below = self.upwards().filter(|folder| folder.above.is_some());
        let mut names: Vec<_> = below.map(|folder| &*folder.name).collect();
        names.reverse();
        names
    }

    /// The device of the volume's own folder.
    pub(in crate::daemon) fn top_device(&self) -> u64 {
        self.upwards().last().map_or(self.id.0, |top| top.id.0)
    }

    /// The path in the volume; `.` for the volume's own folder.
    pub(in crate::daemon) fn path(&self) -> PathBuf {
        let names = self.names();
        if names.is_empty() {
            return PathBuf::from(".");
        }
        names.iter().map(|name| OsStr::from_bytes(name.to_bytes())).collect()
    }

    /// The path in the volume of something in this folder.
    pub(in crate::daemon) fn path_of(&self, name: &CStr) -> PathBuf {
        let name = OsStr::from_bytes(name.to_bytes());
        if self.above.is_none() { PathBuf::from(name) } else { self.path().join(name) }
    }
}

impl Drop for TreeFolder {
    /// Not one call in the other for each level.
    fn drop(&mut self) {
        let mut above = self.above.take();
        while let Some(mut folder) = above.and_then(Arc::into_inner) {
            above = folder.above.take();
        }
    }
}

/// The handles of folders that are kept, the oldest first.
#[derive(Default)]
pub(in crate::daemon) struct FolderHandles {
    kept: Mutex<VecDeque<Weak<TreeFolder>>>,
}

/// A folder that was opened.
pub(in crate::daemon) struct OpenedFolder {
    pub(in crate::daemon) folder: Arc<TreeFolder>,
    pub(in crate::daemon) handle: Arc<OwnedFd>,
    pub(in crate::daemon) stat: Stat,
}

impl FolderHandles {
    /// Opens the volume's folder, whose handle is always kept.
    pub(in crate::daemon) fn root(&self, folder: &Path) -> io::Result<OpenedFolder> {
        let folder = CString::new(folder.as_os_str().as_bytes())?;
        let handle = Arc::new(open_at(CWD, &folder, FOLDER)?);
        open_folder(None, c".", handle)
    }

    /// Opens a folder in another one.
    pub(in crate::daemon) fn enter(
        &self,
        above: &Arc<TreeFolder>,
        name: &CStr,
    ) -> io::Result<OpenedFolder> {
        let handle = Arc::new(open_at(&*self.handle(above)?, name, FOLDER)?);
        let opened = open_folder(Some(Arc::clone(above)), name, handle)?;
        self.keep(&opened.folder);
        Ok(opened)
    }

    /// The folder's handle. It is opened again if it was not kept.
    pub(in crate::daemon) fn handle(&self, folder: &Arc<TreeFolder>) -> io::Result<Arc<OwnedFd>> {
        let mut closed: Vec<&Arc<TreeFolder>> = Vec::new();
        let mut at = folder;
        let mut handle = loop {
            if let Some(handle) = &*lock(&at.handle) {
                break Arc::clone(handle);
            }
            closed.push(at);
            at = at.above.as_ref().ok_or_else(|| io::Error::other("the volume is closed"))?;
        };
        while let Some(folder) = closed.pop() {
            let again = Arc::new(open_at(&*handle, &folder.name, FOLDER)?);
            let stat = rustix::fs::fstat(&*again)?;
            if (stat.st_dev, stat.st_ino) != folder.id {
                return Err(io::Error::new(io::ErrorKind::NotFound, "it was moved"));
            }
            *lock(&folder.handle) = Some(Arc::clone(&again));
            self.keep(folder);
            handle = again;
        }
        Ok(handle)
    }

    fn keep(&self, folder: &Arc<TreeFolder>) {
        let mut kept = lock(&self.kept);
        kept.push_back(Arc::downgrade(folder));
        while kept.len() > MOST_HANDLES {
            if let Some(oldest) = kept.pop_front().and_then(|folder| folder.upgrade()) {
                lock(&oldest.handle).take();
            }
        }
    }
}

fn open_folder(
    above: Option<Arc<TreeFolder>>,
    name: &CStr,
    handle: Arc<OwnedFd>,
) -> io::Result<OpenedFolder> {
    let stat = rustix::fs::fstat(&*handle)?;
    let id = (stat.st_dev, stat.st_ino);
    let kept = Mutex::new(Some(Arc::clone(&handle)));
    let depth = above.as_ref().map_or(0, |above| above.depth + 1);
    let folder = Arc::new(TreeFolder { above, name: name.to_owned(), id, depth, handle: kept });
    Ok(OpenedFolder { folder, handle, stat })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of folders with more levels than handles are kept.
    fn deep(folders: &FolderHandles, root: &Path) -> Vec<OpenedFolder> {
        let mut chain = vec![folders.root(root).unwrap()];
        for _ in 0..2 * MOST_HANDLES {
            let last = chain.last().unwrap();
            rustix::fs::mkdirat(&*last.handle, "d", rustix::fs::Mode::RWXU).unwrap();
            let next = folders.enter(&last.folder, c"d").unwrap();
            chain.push(next);
        }
        chain
    }

    #[test]
    fn a_folder_whose_handle_was_not_kept_is_the_same_one_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let folders = FolderHandles::default();
        let chain = deep(&folders, folder.path());
        let early = &chain[5].folder;
        assert_eq!(early.path(), Path::new("d/d/d/d/d"));
        assert_eq!(early.path_of(c"f"), Path::new("d/d/d/d/d/f"));
        assert!(lock(&early.handle).is_none());
        let again = rustix::fs::fstat(&*folders.handle(early).unwrap()).unwrap();
        assert_eq!(again.st_ino, chain[5].stat.st_ino);

        std::fs::create_dir(folder.path().join("outside")).unwrap();
        for opened in &chain[1..] {
            lock(&opened.folder.handle).take();
        }
        std::fs::rename(folder.path().join("d"), folder.path().join("moved")).unwrap();
        std::os::unix::fs::symlink("outside", folder.path().join("d")).unwrap();
        folders.handle(early).unwrap_err();
        std::fs::remove_file(folder.path().join("d")).unwrap();
        std::fs::create_dir_all(folder.path().join("d/d/d/d/d")).unwrap();
        let error = folders.handle(early).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        // Levels that nobody removes one by one.
        crate::files::remove_all(folder.path()).unwrap();
    }
}
