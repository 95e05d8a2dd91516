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

use super::{cipher::Coder, open::OpenRepository};
use crate::{
    daemon::threads::spawn,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

/// How many are read at a time.
const READERS: usize = 4;

impl OpenRepository {
    /// The files of these snapshots, in any order.
    ///
    /// # Errors
    /// If one can't be read. [`ErrorKind::Repository`] if it is gone or damaged.
    pub(crate) fn snapshot_files(&self, ids: &[Id]) -> Result<Vec<SnapshotFile>> {
        let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(ids.len())));
        let read = || -> Result<()> {
            let coder = self.coder()?;
            while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                let file = self.snapshot_file(&coder, id)?;
                lock(&found).push(file);
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

    fn snapshot_file(&self, coder: &Coder, id: &Id) -> Result<SnapshotFile> {
        let sealed = self.backend().read_file(FileType::Snapshot, id)?;
        let unreadable = |why: String| {
            let (place, name) = (self.backend().location(), id.to_hex());
            let message = format!("\"{place}/snapshots/{}\": {why}", name.as_str());
            Error::new(ErrorKind::Repository, message)
                .with_hint("\"restic check\" tells how far the damage goes")
        };
        let text = coder.open_file(sealed.into()).map_err(|error| unreadable(error.message))?;
        let file: SnapshotFile = serde_json::from_slice(&text)
            .map_err(|error| unreadable(format!("it is no snapshot: {error}")))?;
        let id = SnapshotId::from(*id);
        // As the library does.
        Ok(SnapshotFile { id, original: file.original.or(Some(id)), ..file })
    }
}
