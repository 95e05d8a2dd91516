//! Removes many files: at a bucket, each waits for an answer.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use rustic_core::{FileType, Id};

use crate::{
    daemon::{repository::OpenRepository, threads::spawn},
    error::{Error, Result},
};

/// So many are removed at a time at a bucket.
const FAR: usize = 8;

/// Removes these files. Missing ones are no error.
///
/// # Errors
/// If one can't be removed: others may be gone by then.
pub(super) fn remove_all(repository: &OpenRepository, kind: FileType, ids: &[Id]) -> Result<()> {
    let next = AtomicUsize::new(0);
    let remove = || -> Result<()> {
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            repository.backend().remove_file(kind, id)?;
        }
        Ok(())
    };
    if ids.len() < 2 || !repository.backend().is_far() {
        return remove();
    }
    thread::scope(|threads| {
        let removers: Vec<_> = (0..FAR.min(ids.len()))
            .map(|_| spawn(threads, "remove", remove))
            .collect::<Result<_>>()?;
        removers.into_iter().try_for_each(|remover| {
            remover.join().unwrap_or_else(|_| Err(Error::internal("removing files failed")))
        })
    })
}
