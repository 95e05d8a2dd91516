//! Freeing the space that only deleted snapshots used.

use std::{
    fs,
    path::Path,
    sync::{TryLockError, TryLockResult},
    time::Duration,
};

use rustic_core::{LimitOption, PruneOptions};

use super::LocalRepository;
use crate::{
    daemon::repository::{OpenRepository, guarded},
    error::Result,
    files::{age, write_error, write_whole},
};

/// Up to this many packs (16 MiB each), unused space is freed at each deletion.
const PACKS_PRUNED_AT_EACH_DELETE: usize = 256;
/// With more packs, unused space is freed at most this often.
const PRUNE_INTERVAL: Duration = Duration::from_hours(24);

impl LocalRepository {
    /// Frees space, unless a snapshot is being taken or a backup is being made.
    pub(super) fn prune(&self, repository: &OpenRepository) -> Result<()> {
        let Some(_writing) = free(self.writing.try_lock()) else { return Ok(()) };
        let Some(_gate) = free(self.gate.try_write()) else { return Ok(()) };
        let marker = self.root.pruned();
        let recently = || {
            let modified = fs::metadata(&marker).and_then(|metadata| metadata.modified());
            modified.is_ok_and(|time| age(time) < PRUNE_INTERVAL)
        };
        if count_packs(&self.root.repository()) > PACKS_PRUNED_AT_EACH_DELETE && recently() {
            return Ok(());
        }
        repository.backend().take_failure();
        repository.forget_index();
        let mut options = PruneOptions::default();
        // No other process uses this repository, so nothing must be kept for a day, unlike at a
        // shared destination.
        options.instant_delete = true;
        options.max_unused = LimitOption::Percentage(5);
        guarded("giving back space", || {
            let library = repository.plain()?;
            library
                .prune_plan(&options)
                .and_then(|plan| library.prune(&options, plan))
                .map_err(|error| repository.failure("cannot give back space", &error))
        })?;
        write_whole(&marker, b"").map_err(|error| write_error(&marker, &error))
    }
}

/// The guard of a lock that is free. A panic while the lock was held is ignored.
fn free<T>(tried: TryLockResult<T>) -> Option<T> {
    match tried {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

pub(super) fn count_packs(repository: &Path) -> usize {
    let folders = fs::read_dir(repository.join("data")).into_iter().flatten().flatten();
    folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
}
