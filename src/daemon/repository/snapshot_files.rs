//! Reading the files of snapshots, several at a time: at a bucket, waiting takes longer than reading.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustic_core::{
    FileType, Id,
    repofile::{SnapshotFile, SnapshotId},
};

use super::{
    cipher::{Coder, hash},
    limits::LARGEST_SNAPSHOT,
    open::OpenRepository,
};
use crate::{
    daemon::threads::spawn,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How many are read at a time.
const READERS: usize = 4;

/// What files of snapshots are.
#[derive(Debug, Default)]
pub(crate) struct SnapshotFiles {
    pub(crate) read: Vec<SnapshotFile>,
    /// Gone or damaged, and why they can't be read.
    pub(crate) unread: Vec<(Id, Error)>,
    /// What fits its name and was not sealed with the repository's key: it never was a snapshot of this
    /// repository, while a damaged file does not fit its name.
    pub(crate) foreign: Vec<Id>,
}

impl OpenRepository {
    /// The files of these snapshots, in any order.
    ///
    /// # Errors
    /// If the storage fails.
    pub(crate) fn snapshot_files(&self, ids: &[Id]) -> Result<SnapshotFiles> {
        let (next, found) = (AtomicUsize::new(0), Mutex::new(SnapshotFiles::default()));
        let read = || -> Result<()> {
            let coder = self.coder()?;
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.snapshot_file(&coder, id) {
                    Ok(Some(file)) => lock(&found).read.push(file),
                    Ok(None) => lock(&found).foreign.push(*id),
                    Err(error) if error.kind == ErrorKind::Repository => {
                        lock(&found).unread.push((*id, error));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        if let [_] = ids {
            read()?;
        } else {
            thread::scope(|threads| {
                let readers: Vec<_> = (0..READERS.min(ids.len()))
                    .map(|_| spawn(threads, "snapshots", read))
                    .collect::<Result<_>>()?;
                readers.into_iter().try_for_each(|reader| {
                    let ended = || Error::internal("reading the files of snapshots failed");
                    reader.join().unwrap_or_else(|_| Err(ended()))
                })
            })?;
        }
        Ok(found.into_inner().unwrap_or_default())
    }

    /// A snapshot's file; `None` if it never was one of this repository.
    fn snapshot_file(&self, coder: &Coder, id: &Id) -> Result<Option<SnapshotFile>> {
        let sealed = self.backend().read_file(FileType::Snapshot, id)?;
        let unreadable = |why: String| {
            let (place, name) = (self.backend().location(), id.to_hex());
            let message = format!("\"{place}/snapshots/{}\": {why}", name.as_str());
            Error::new(ErrorKind::Repository, message)
                .with_hint("this backup is lost, unless you put its file back from a copy; other backups are not: remove the file, and it is not named any more")
        };
        let fits_its_name = Id::new(hash(&sealed)) == *id;
        if fits_its_name && !coder.has_sealed(&sealed) {
            return Ok(None);
        }
        let text = coder
            .open_file_within(sealed.into(), LARGEST_SNAPSHOT)
            .map_err(|error| unreadable(error.message))?;
        let file: SnapshotFile = serde_json::from_slice(&text)
            .map_err(|error| unreadable(format!("it is no snapshot: {error}")))?;
        let id = SnapshotId::from(*id);
        // As the library does.
        Ok(Some(SnapshotFile { id, original: file.original.or(Some(id)), ..file }))
    }
}
