//! A file that is being restored. Several threads may write its pieces.

use std::{
    ffi::{CStr, CString},
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use rustic_core::repofile::Metadata;
use rustix::fs::{Mode, OFlags};

use super::{metadata::MetadataWriter, path::failed};
use crate::{
    daemon::tree::{
        folder_handles::{FolderHandles, TreeFolder},
        mode::permissions,
    },
    error::Result,
    files::write_error,
    sync::lock,
};

/// A file that is being restored.
pub(super) struct RestoredFile {
    folder: Arc<TreeFolder>,
    name: CString,
    meta: Metadata,
    /// The sum of the file's content, in bytes.
    size: u64,
    /// Whether the file is there already, because other names are linked to it.
    is_made: bool,
    has_holes: AtomicBool,
    /// The number of pieces that are not written yet. The thread that writes the last one sets the
    /// metadata.
    left: AtomicUsize,
    open: Mutex<Option<Arc<File>>>,
}

impl RestoredFile {
    /// A file of `pieces` pieces, which is not made yet.
    pub(super) fn new(
        (folder, name): (Arc<TreeFolder>, CString),
        meta: Metadata,
        size: u64,
        pieces: usize,
    ) -> Self {
        Self {
            folder,
            name,
            meta,
            size,
            is_made: false,
            has_holes: AtomicBool::new(false),
            left: AtomicUsize::new(pieces.max(1)),
            open: Mutex::default(),
        }
    }

    /// Makes the file now, so that other names can be linked to it.
    pub(super) fn make(&mut self, folders: &FolderHandles) -> Result<()> {
        self.open_in(folders)?;
        self.is_made = true;
        Ok(())
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.name)
    }

    /// The file, which the first call makes. It stays open until it is finished.
    pub(super) fn open(&self, folders: &FolderHandles) -> Result<Arc<File>> {
        let mut open = lock(&self.open);
        if let Some(file) = &*open {
            return Ok(Arc::clone(file));
        }
        Ok(Arc::clone(open.insert(Arc::new(self.open_in(folders)?))))
    }

    fn open_in(&self, folders: &FolderHandles) -> Result<File> {
        let new = OFlags::CREATE | OFlags::EXCL;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = if self.is_made { flags } else { flags | new };
        let folder = folders.handle(&self.folder);
        let folder = folder.map_err(|error| write_error(&self.path(), &error))?;
        let name: &CStr = &self.name;
        let file = rustix::fs::openat(&*folder, name, flags, self.first_mode());
        file.map(File::from).map_err(|error| failed(&self.path())(error))
    }

    /// The mode to make the file with: the one that it gets in the end, if that lets its owner open it
    /// again. Nobody else can enter the folder meanwhile.
    fn first_mode(&self) -> Mode {
        let owner = Mode::RUSR | Mode::WUSR;
        let mode = self.meta.mode.map_or(owner, |mode| Mode::from_raw_mode(permissions(mode)));
        let mode = mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
        if mode.contains(owner) { mode } else { owner }
    }

    /// Says that zeros were left out.
    pub(super) fn left_out(&self) {
        self.has_holes.store(true, Ordering::Relaxed);
    }

    /// Counts a piece as written. The last one sets what remains to be set, and closes the file.
    pub(super) fn written(
        &self,
        folders: &FolderHandles,
        metadata: MetadataWriter<'_>,
    ) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        let file = self.open(folders)?;
        lock(&self.open).take();
        if self.has_holes.load(Ordering::Relaxed) {
            file.set_len(self.size).map_err(|error| write_error(&self.path(), &error))?;
        }
        metadata.set_open(&*file, &self.meta, &self.path())
    }
}
