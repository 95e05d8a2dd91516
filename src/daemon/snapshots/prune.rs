//! Freeing the space that only deleted snapshots, and those that failed, used.

use std::{
    fs,
    path::Path,
    sync::{TryLockError, TryLockResult},
    time::Duration,
};

use super::LocalRepository;
use crate::{
    daemon::{
        collect::{Sharing, collect},
        repository::{OpenRepository, guarded},
    },
    error::Result,
    files::{age, write_error, write_whole},
    sync::lock,
};

/// Up to this many packs (16 MiB each), unused space is freed at each deletion.
const PACKS_PRUNED_AT_EACH_DELETE: usize = 256;
/// With more packs, unused space is freed at most this often.
const PRUNE_INTERVAL: Duration = Duration::from_hours(24);

impl LocalRepository {
    /// Frees what a snapshot that failed has left, unless another one is being taken. What can't be freed is
    /// only a warning.
    pub(in crate::daemon) fn give_back(&self) {
        let Some(_writing) = free(self.writing.try_lock()) else { return };
        let open = lock(&self.open).clone();
        if let Some(Err(error)) = open.map(|repository| self.collect(&repository)) {
            log::warn!("space of a snapshot that failed was not given back: {error}");
        }
    }

    /// Frees space, unless a snapshot is being taken or a backup is being made.
    pub(super) fn prune(&self, repository: &OpenRepository) -> Result<()> {
        let Some(_writing) = free(self.writing.try_lock()) else { return Ok(()) };
        let marker = self.root.pruned();
        let recently = || {
            let modified = fs::metadata(&marker).and_then(|metadata| metadata.modified());
            modified.is_ok_and(|time| age(time) < PRUNE_INTERVAL)
        };
        if count_packs(&self.root.repository()) > PACKS_PRUNED_AT_EACH_DELETE && recently() {
            return Ok(());
        }
        self.collect(repository)?;
        write_whole(&marker, b"").map_err(|error| write_error(&marker, &error))
    }

    /// Frees space, unless a snapshot or a backup is being read. Only who holds `writing` calls this.
    fn collect(&self, repository: &OpenRepository) -> Result<()> {
        let Some(_gate) = free(self.gate.try_write()) else { return Ok(()) };
        // No other process uses this repository, so nothing must be kept for a day, unlike at a shared
        // destination.
        let sharing = Sharing { is_shared: false, is_locked: true };
        let collected = guarded("giving back space", || collect(repository, sharing))?;
        for (snapshot, why) in collected.unread {
            let name = snapshot.to_hex();
            log::warn!("what the damaged snapshot {} may need stays: {why}", name.as_str());
        }
        Ok(())
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
