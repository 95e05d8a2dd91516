//! The content of files: read, checked and written by several threads.

use std::{
    ffi::CString,
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::Receiver,
    },
};

use rustic_core::{
    DataId,
    repofile::{Metadata, Node},
};
use rustix::fs::{Mode, OFlags};

use super::{holes::write_with_holes, metadata::MetadataWriter, path::failed};
use crate::{
    daemon::repository::{Indexed, OpenRepository, guarded},
    error::{Error, ErrorKind, Result},
    files::write_error,
    progress::Piece,
    sync::lock,
};

/// How many pieces of a file one thread restores at a time. Several threads restore a large file.
const PIECES: usize = 8;

const DAMAGED: &str = "the repository is damaged: try an older or a newer backup; \"restic restore\" goes on past what it can't read";

/// A file that one or several threads are writing.
pub(super) struct OpenFile {
    file: File,
    meta: Metadata,
    path: PathBuf,
    /// The sum of the file's content, in bytes.
    size: u64,
    has_holes: AtomicBool,
    /// The number of parts that are not written yet. The thread that writes the last part sets the
    /// metadata.
    left: AtomicUsize,
}

/// A part of a file: some pieces, from `offset` on.
pub(super) struct Part {
    file: Arc<OpenFile>,
    offset: u64,
    pieces: Vec<DataId>,
}

/// A piece of work for a thread.
pub(super) enum Work {
    /// A whole small file with one name. Creating it and setting its metadata takes longer than
    /// writing its content, so one thread does everything.
    File { folder: Arc<OwnedFd>, name: CString, path: PathBuf, node: Box<Node> },
    /// A part of a file that already exists.
    Part(Part),
}

impl Work {
    fn path(&self) -> &Path {
        match self {
            Self::File { path, .. } => path,
            Self::Part(part) => &part.file.path,
        }
    }
}

/// Writes the content of files, and keeps the first failure of the restore.
pub(super) struct ContentWriter<'a> {
    repository: &'a OpenRepository,
    indexed: &'a Indexed,
    piece: &'a dyn Piece,
    metadata: MetadataWriter<'a>,
    failed: Mutex<Option<Error>>,
}

impl<'a> ContentWriter<'a> {
    pub(super) fn new(
        repository: &'a OpenRepository,
        indexed: &'a Indexed,
        piece: &'a dyn Piece,
        metadata: MetadataWriter<'a>,
    ) -> Self {
        Self { repository, indexed, piece, metadata, failed: Mutex::default() }
    }

    /// The entries of a folder in the backup.
    pub(super) fn nodes(
        &self,
        tree: &rustic_core::TreeId,
        path: &Path,
    ) -> Result<std::vec::IntoIter<Node>> {
        let pack = self.indexed.get_index_entry(tree).ok().map(|entry| entry.pack);
        let folder = self.indexed.get_tree(tree).map_err(|error| {
            let what = format!("cannot read the folder \"{}\" of the backup", path.display());
            with_hint(self.repository.damaged(&what, pack, &error))
        })?;
        Ok(folder.nodes.into_iter())
    }

    pub(super) fn fail(&self, error: Error) {
        lock(&self.failed).get_or_insert(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        lock(&self.failed).is_some()
    }

    pub(super) fn take_failure(&self) -> Option<Error> {
        lock(&self.failed).take()
    }

    /// Whether one thread creates the file and writes all of its content.
    pub(super) fn is_small(node: &Node) -> bool {
        node.content.as_ref().is_none_or(|pieces| pieces.len() <= PIECES)
    }

    /// Creates a file, and returns the parts of its content to write. A file without content is
    /// already finished.
    pub(super) fn start(
        &self,
        folder: &OwnedFd,
        name: &CString,
        path: PathBuf,
        node: Node,
    ) -> Result<Vec<Part>> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed(&path))?;
        let mut parts = Vec::new();
        let mut size = 0;
        for pieces in node.content.unwrap_or_default().chunks(PIECES) {
            parts.push((size, pieces.to_vec()));
            for piece in pieces {
                let entry =
                    self.indexed.get_index_entry(piece).map_err(|_| missing(piece, &path))?;
                size += u64::from(entry.data_length());
            }
        }
        let file = Arc::new(OpenFile {
            file: File::from(file),
            meta: node.meta,
            path,
            size,
            has_holes: AtomicBool::new(false),
            left: AtomicUsize::new(parts.len().max(1)),
        });
        if parts.is_empty() {
            self.finish(&file)?;
        }
        let part = |(offset, pieces)| Part { file: Arc::clone(&file), offset, pieces };
        Ok(parts.into_iter().map(part).collect())
    }

    /// Does the work in the queue, until the walk has ended.
    pub(super) fn work(&self, queue: &Mutex<Receiver<Work>>) {
        loop {
            let work = lock(queue).recv();
            let Ok(work) = work else { return };
            if self.has_failed() {
                // The rest of the queue must be taken out, because otherwise the walk would wait
                // for room in it.
                continue;
            }
            let what = format!("restoring \"{}\"", work.path().display());
            if let Err(error) = guarded(&what, || self.do_work(work)) {
                self.fail(error);
            }
        }
    }

    fn do_work(&self, work: Work) -> Result<()> {
        match work {
            Work::Part(part) => self.write(&part),
            Work::File { folder, name, path, node } => {
                let parts = self.start(&folder, &name, path, *node)?;
                parts.iter().try_for_each(|part| self.write(part))
            }
        }
    }

    fn write(&self, part: &Part) -> Result<()> {
        let file = &part.file;
        let mut offset = part.offset;
        for piece in &part.pieces {
            let content = self.read(piece, &file.path)?;
            let dug = write_with_holes(&file.file, &content, offset)
                .map_err(|error| write_error(&file.path, &error))?;
            if dug {
                file.has_holes.store(true, Ordering::Relaxed);
            }
            offset += content.len() as u64;
            self.piece.advance(content.len() as u64);
        }
        self.finish(file)
    }

    fn read(&self, piece: &DataId, path: &Path) -> Result<bytes::Bytes> {
        let what = format!("cannot read a piece of \"{}\"", path.display());
        let read = self.repository.piece(self.indexed, piece, &what);
        read.map_err(with_hint)
    }

    /// Counts a written part. The last part sets the file's remaining metadata.
    fn finish(&self, file: &OpenFile) -> Result<()> {
        if file.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return Ok(());
        }
        if file.has_holes.load(Ordering::Relaxed) {
            file.file.set_len(file.size).map_err(|error| write_error(&file.path, &error))?;
        }
        self.metadata.set_open(&file.file, &file.meta, &file.path)
    }
}

fn missing(piece: &DataId, path: &Path) -> Error {
    damaged(format!(
        "a piece of \"{}\" is missing in the repository ({})",
        path.display(),
        piece.to_hex().as_str()
    ))
}

fn damaged(message: String) -> Error {
    with_hint(Error::new(ErrorKind::Repository, message))
}

/// The error with what to do about damage, unless it already says what to do.
fn with_hint(error: Error) -> Error {
    if error.hint.is_some() { error } else { error.with_hint(DAMAGED) }
}
