//! Deleting a backup, and giving back the space that only it used.

use std::time::Duration;

use rustic_core::{FileType, PruneOptions, WriteBackend as _};

use super::{destination::DestinationRepository, record::StoredUrl};
use crate::{
    convoy::refusal::no_backup,
    daemon::repository::{OpenRepository, guarded},
    error::Result,
};

/// How often space is given back at most.
const PRUNE_INTERVAL: Duration = Duration::from_hours(24);
/// The mark that says when space was last given back.
const PRUNED: &str = "convoy-backups.pruned";

impl DestinationRepository {
    /// Removes a backup. Space comes back a day later: until then another host's backup may rely on
    /// it.
    ///
    /// # Errors
    /// Where there is no such backup, or it can't be removed.
    pub(in crate::daemon) fn delete(&self, url: &StoredUrl<'_>) -> Result<()> {
        self.refuse_roots()?;
        let _gate = self.alone();
        let repository = self.existing()?.ok_or_else(|| no_backup(url.volume, url.backup))?;
        let found = self.catalogue.find(&repository, url)?;
        let _lock = self.lock_file(true)?;
        repository
            .backend()
            .remove(FileType::Snapshot, &found.id, false)
            .map_err(|error| repository.failure("cannot remove the backup", &error))?;
        if let Err(error) = guarded("giving back space", || prune(&repository)) {
            log::warn!("space of deleted backups was not given back: {error}");
        }
        Ok(())
    }
}

/// Marks what is unused, and removes what was marked a day ago; at most once a day.
fn prune(repository: &OpenRepository) -> Result<()> {
    if repository.backend().marked(PRUNED)?.is_some_and(|age| age < PRUNE_INTERVAL) {
        return Ok(());
    }
    repository.forget_index();
    let options = PruneOptions::default();
    let plain = repository.plain()?;
    plain
        .prune_plan(&options)
        .and_then(|plan| plain.prune(&options, plan))
        .map_err(|error| repository.failure("cannot give back space", &error))?;
    repository.backend().mark(PRUNED)
}
