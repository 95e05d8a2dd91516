//! The content of files: read, checked and written by several threads.

use std::{
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Mutex, OnceLock, mpsc::Receiver},
};

use super::{
    file::RestoredFile,
    flush::Flush,
    holes::{is_zeros, write_with_holes},
    metadata::MetadataWriter,
    plan::{self, Wanted},
    room::RoomWatch,
};
use crate::{
    daemon::{
        repository::{BlobReader, OpenRepository, guarded},
        tree::folder_handles::FolderHandles,
    },
    error::{Error, ErrorKind, Result},
    files::write_error,
    progress::Piece,
    scope,
    sync::lock,
};

const DAMAGED: &str = "the repository is damaged: try an older or a newer backup; \"restic restore\" goes on past what it can't read";

/// What a run does that restores, for an error.
pub(super) const RESTORING: &str = "a backup was restored";

/// Where a piece goes: a file, and the offset in it.
pub(super) type Target = (Arc<RestoredFile>, u64);

pub(super) type Stretch = plan::Stretch<Target>;

/// A piece of work for a thread.
pub(super) enum Work {
    /// Files without content.
    Empty(Vec<Arc<RestoredFile>>),
    Stretch(Stretch),
}

impl Work {
    fn what(&self) -> String {
        let file = match self {
            Self::Empty(files) => files.first(),
            Self::Stretch(stretch) => stretch.pieces.first().map(|piece| &piece.to.0),
        };
        let path = file.map(|file| file.path()).unwrap_or_default();
        format!("restoring \"{}\"", path.display())
    }
}

/// Writes the content of files, and keeps the first failure of the restore.
pub(super) struct ContentWriter<'a> {
    repository: &'a OpenRepository,
    piece: &'a dyn Piece,
    pub(super) folders: &'a FolderHandles,
    pub(super) metadata: MetadataWriter<'a>,
    pub(super) flush: Flush,
    pub(super) room: RoomWatch,
    failed: OnceLock<Error>,
}

impl<'a> ContentWriter<'a> {
    pub(super) fn new(
        repository: &'a OpenRepository,
        piece: &'a dyn Piece,
        (folders, room): (&'a FolderHandles, RoomWatch),
        metadata: MetadataWriter<'a>,
    ) -> Self {
        Self {
            repository,
            piece,
            folders,
            metadata,
            flush: Flush::default(),
            room,
            failed: OnceLock::new(),
        }
    }

    pub(super) fn fail(&self, error: Error) {
        // Only the first failure counts.
        _ = self.failed.set(error);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    pub(super) fn into_failure(self) -> Option<Error> {
        self.failed.into_inner()
    }

    /// Brings what is written to the disk that this folder is on, until all is handed out.
    pub(super) fn bring_to_disk(&self, folder: &OwnedFd) {
        if let Err(error) = self.flush.run(folder) {
            self.fail(write_error(Path::new("."), &error));
        }
    }

    /// Does the work in the queue, until the walk has ended.
    pub(super) fn work(&self, queue: &Mutex<Receiver<Work>>, mut reader: BlobReader<'_>) {
        loop {
            let work = lock(queue).recv();
            let Ok(work) = work else { return };
            if self.has_failed() {
                // The rest of the queue must be taken out, because otherwise the walk would wait
                // for room in it.
                continue;
            }
            let done = guarded(&work.what(), || match &work {
                Work::Empty(files) => files.iter().try_for_each(|file| self.count(file)),
                Work::Stretch(stretch) => self.write(&mut reader, stretch),
            });
            if let Err(error) = done {
                self.fail(error);
            }
        }
    }

    /// Reads a stretch, and writes what is in it.
    fn write(&self, reader: &mut BlobReader<'_>, stretch: &Stretch) -> Result<()> {
        let Some(first) = stretch.pieces.first() else { return Ok(()) };
        let lost =
            |piece: &Wanted<Target>, error| with_hint(self.repository.lost(&piece.id, error));
        let mut whole = match reader.stretch(&stretch.pack, stretch.offset, stretch.length) {
            Ok(content) => Some(content),
            // What can't be read may be between the pieces.
            Err(error) if stretch.pieces.len() > 1 && is_of_a_disk(&error) => None,
            Err(error) => return Err(lost(first, error)),
        };
        let same =
            |one: &Wanted<Target>, other: &Wanted<Target>| one.at == other.at && one.id == other.id;
        for pieces in stretch.pieces.chunk_by(same) {
            scope::goes_on(RESTORING)?;
            let piece = &pieces[0];
            let mut alone;
            let sealed = match &mut whole {
                Some(content) => stretch.part(content, &piece.at),
                None => {
                    let read = reader.stretch(&stretch.pack, piece.at.offset, piece.at.length);
                    alone = read.map_err(|error| lost(piece, error))?;
                    alone.as_mut_slice()
                }
            };
            self.write_piece(reader, sealed, pieces)?;
        }
        Ok(())
    }

    /// Writes a piece to all its places.
    fn write_piece(
        &self,
        reader: &mut BlobReader<'_>,
        sealed: &mut [u8],
        pieces: &[Wanted<Target>],
    ) -> Result<()> {
        let Wanted { id, at, to: (first, _) } = &pieces[0];
        let what = || format!("cannot read a piece of \"{}\"", first.path().display());
        let content = reader.piece(sealed, (id, at), &what).map_err(with_hint)?;
        let is_hole = pieces.len() > 1 && is_zeros(content);
        for Wanted { to: (file, offset), .. } in pieces {
            let open = file.open(self.folders)?;
            let dug = if is_hole { Ok(true) } else { write_with_holes(&open, content, *offset) };
            if dug.map_err(|error| write_error(&file.path(), &error))? {
                file.left_out();
            }
            drop(open);
            self.piece.advance(content.len() as u64);
            self.flush.wrote(content.len() as u64);
            self.room.wrote(content.len() as u64)?;
            self.count(file)?;
        }
        Ok(())
    }

    fn count(&self, file: &RestoredFile) -> Result<()> {
        file.written(self.folders, self.metadata)
    }
}

/// Whether reading less may do, because this is no matter of the network.
fn is_of_a_disk(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::Repository | ErrorKind::Io)
}

pub(super) fn missing(piece: &str, path: &Path) -> Error {
    let path = path.display();
    let message = format!("a piece of \"{path}\" is missing in the repository ({piece})");
    with_hint(Error::new(ErrorKind::Repository, message))
}

/// The error with what to do about damage, unless it already says what to do.
pub(super) fn with_hint(error: Error) -> Error {
    if error.hint.is_some() { error } else { error.with_hint(DAMAGED) }
}
