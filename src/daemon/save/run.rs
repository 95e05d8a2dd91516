//! What the workers of one run share.

use std::{
    ffi::CStr,
    io,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use rustix::io::Errno;

use super::{
    blob_writer::BlobWriter,
    content::{ChunkWork, ContentReader},
    counts::Counts,
    extra::Extras,
    listing::Listing,
    queue::Queue,
    second_look::SecondLook,
    shelf::Shelf,
    unfinished_folder::UnfinishedFolder,
};
use crate::{
    daemon::{
        moment::{Copies, Still},
        repository::{Backend, Hash, Index},
        tree::{
            folder_handles::{FolderHandles, TreeFolder},
            read::ReadFailures,
        },
    },
    error::Error,
    exclude::VolumeExcludes,
    progress::Piece,
    sync::lock,
};

/// What a worker can do next, beside a chunk of a large file.
pub(super) enum Task {
    /// Lists a folder in a folder.
    Folder(UnlistedFolder),
    /// Reads some entries of a folder.
    Entries(Arc<UnfinishedFolder>, Arc<Listing>),
}

/// A folder that was found and not listed yet.
pub(super) struct UnlistedFolder {
    pub(super) above: Arc<UnfinishedFolder>,
    /// Its number in the folder above.
    pub(super) number: u32,
    pub(super) name: std::ffi::CString,
    /// Its tree in the parent.
    pub(super) known: Option<Hash>,
}

/// What is called with the name of each file between reading it and looking whether it changed, and so
/// with [`LISTED`] for each folder. An error is as one of reading.
pub(super) type AfterReading<'a> = dyn Fn(&CStr) -> Result<(), Errno> + Sync + 'a;

/// Given in place of a file's name after a folder was listed; no file has this name.
pub(super) const LISTED: &CStr = c"";

/// What the workers of one run share.
pub(super) struct Run<'a> {
    pub(super) volume: &'a str,
    pub(super) backend: &'a Backend,
    pub(super) index: &'a Index,
    pub(super) blobs: &'a BlobWriter<'a>,
    /// Trees of an earlier reading, and for a later one.
    pub(super) shelf: Option<&'a Shelf>,
    pub(super) begun: Instant,
    /// How long the reading took, once it is over.
    pub(super) read_for: OnceLock<Duration>,
    pub(super) content: ContentReader<'a>,
    pub(super) piece: &'a dyn Piece,
    pub(super) folders: FolderHandles,
    pub(super) queue: Queue<ChunkWork, Task>,
    pub(super) counts: Counts,
    /// `None` where the files are of one moment: copies, or held still.
    pub(super) second_look: Option<SecondLook>,
    pub(super) failures: ReadFailures,
    /// What is read in place of what is in the folder now.
    pub(super) copies: Option<&'a Copies>,
    /// What is held still while files are read.
    pub(super) still: Option<&'a Still<'a>>,
    pub(super) extras: Extras<'a>,
    pub(super) excludes: Option<&'a VolumeExcludes>,
    /// Files that changed at this time or later are read again, whatever the parent says; `None` if
    /// there is no parent.
    pub(super) settled_before: Option<Timestamp>,
    /// The tree of the parent, if it was read.
    pub(super) parent_top: Option<Hash>,
    pub(super) after_reading: &'a AfterReading<'a>,
    pub(super) failure: Mutex<Option<Error>>,
    /// The tree of the snapshot, once it is kept.
    pub(super) tree: Mutex<Option<Hash>>,
}

impl Run<'_> {
    /// Lets what writes to the files go on. If it went on too early, that is why the run fails.
    pub(super) fn release(&self) {
        self.read_for.get_or_init(|| self.begun.elapsed());
        if let Err(error) = self.still.map_or(Ok(()), Still::release) {
            *lock(&self.failure) = Some(error);
        }
    }

    /// Records that something in a folder could not be read. What is gone is no failure: of files that
    /// are read as they are it is counted, and looked for again; but the moment had it, so it is told.
    pub(super) fn unread(&self, folder: &TreeFolder, name: &CStr, error: &io::Error) {
        let path = folder.path_of(name);
        let Some(look) = &self.second_look else { return self.lost(&path, error) };
        if error.kind() == io::ErrorKind::NotFound {
            look.doubts(folder.id());
        }
        self.failures.record(&path, error);
    }

    /// Records that what was there when it was listed could not be read. What is gone is told as
    /// changed.
    pub(super) fn lost(&self, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            self.counts.changed(path.to_owned());
        } else {
            self.failures.fail(path, error);
        }
    }

    /// Ends the run with this error, if it is the first.
    pub(super) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.queue.close();
    }
}
