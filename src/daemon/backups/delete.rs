//! Deleting a backup, and freeing the space that only this backup used.

use std::time::Duration;

use jiff::Span;
use rustic_core::{FileType, PruneOptions, WriteBackend as _};

use super::{destination::DestinationRepository, marks, record::StoredUrl};
use crate::{
    clock::{Clock as _, SystemClock},
    convoy::refusal::required_is_missing,
    daemon::repository::{Beside, OpenRepository, guarded},
    error::{ErrorKind, Result},
};

/// Space is freed at most this often.
const PRUNE_INTERVAL: Duration = Duration::from_hours(24);
/// A younger pack is neither marked nor packed anew: it may be of a backup that is being made and is
/// not to be seen yet.
const KEEP_PACK_HOURS: i32 = 24;
/// So often is giving back space begun anew because another host has made a backup meanwhile.
const TRIES: usize = 3;
/// The name of the mark whose age tells when space was last freed.
const PRUNED: &str = "convoy-backups.pruned";

impl DestinationRepository {
    /// Removes a backup, as long as the `required` ones are there. Its space is freed a day later,
    /// because another host's backup may rely on the data until then.
    ///
    /// # Errors
    /// If there is no such backup, or it can't be removed. [`crate::error::ErrorKind::Guard`] if a
    /// required one is missing.
    pub(in crate::daemon) fn delete(
        &self,
        url: &StoredUrl<'_>,
        required: &[StoredUrl<'_>],
    ) -> Result<()> {
        self.refuse_roots()?;
        let repository = self.existing()?.ok_or_else(|| url.missing())?;
        let _deleting = self.begin_deletion(&repository)?;
        let found = self.catalogue.find(&repository, url)?;
        for required in required {
            if !self.catalogue.is_there(&repository, required)? {
                return Err(required_is_missing(&required.whole()));
            }
        }
        repository
            .backend()
            .remove(FileType::Snapshot, &found.id, false)
            .map_err(|error| repository.failure("cannot remove the backup", &error))?;
        self.catalogue.forget(found.id);
        let keep_away = || self.restic_lock(&repository, Beside::Nothing, Duration::ZERO);
        let give_back = || prune(&repository, keep_away);
        if let Err(error) = guarded("giving back space", give_back) {
            log::warn!("space of deleted backups was not given back: {error}");
        }
        Ok(())
    }
}

/// Marks unused data, and removes data that was marked a day ago. Runs at most once a day.
fn prune<L>(repository: &OpenRepository, keep_away: impl FnOnce() -> Result<L>) -> Result<()> {
    if repository.backend().marked(PRUNED)?.is_some_and(|age| age < PRUNE_INTERVAL) {
        return Ok(());
    }
    let _restic = keep_away()?;
    repository.forget_index();
    let now = SystemClock.now();
    let mut options = PruneOptions::default();
    options.keep_pack = Span::new().hours(KEEP_PACK_HOURS);
    options.keep_delete = marks::wait(repository, now)?;
    let mut tries = 0..TRIES;
    loop {
        match repository.collect(&options, now) {
            Err(error) if error.kind == ErrorKind::Busy && tries.next().is_some() => {
                log::debug!("giving back space begins anew: {error}");
                // Another host writes: what was marked just now is not removed at once.
                options.keep_delete = PruneOptions::default().keep_delete;
            }
            done => break done?,
        }
    }
    repository.backend().mark(PRUNED)
}
