//! Giving back the space of deleted backups, and of what runs that failed have left.

use std::{sync::Arc, time::Duration};

use rustic_core::Id;

use super::destination::{Deleting, DestinationRepository, Locking};
use crate::{
    convoy::GivenBack,
    daemon::{
        collect::{Collected, Sharing, collect},
        repository::{Beside, OpenRepository, guarded},
    },
    error::Result,
};

/// A deletion gives back space itself only if nothing else has done so for this long: `prune` and the daily
/// upkeep of the service do.
const INTERVAL: Duration = Duration::from_hours(48);
/// The name of the mark whose age tells when space was last given back.
const DONE: &str = "convoy-backups.pruned";

impl DestinationRepository {
    /// Extends the locks of objects, and gives back what no backup needs, and says what that was. What is unused waits for a day, because
    /// another host's new backup may rely on it.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] if other hosts write again and again, or hold the lock;
    /// [`crate::error::ErrorKind::Denied`] if nothing may be removed. Another kind if the repository can't be read or written.
    pub(in crate::daemon) fn give_back(&self) -> Result<GivenBack> {
        self.refuse_writing()?;
        let Some(repository) = self.existing()? else { return Ok(GivenBack::default()) };
        self.keep_locked(&repository)?;
        let _locking = Locking(self);
        // Before anything is written that could not be removed.
        repository.backend().may_remove()?;
        let deleting = self.begin_deletion(&repository)?;
        let done = self.collect(&repository, &deleting, self.lock_wait())?;
        Ok(told(&repository, &done))
    }

    /// Gives back space after a deletion, if nothing has done so for days. A failure is a warning.
    pub(super) fn give_back_if_due(
        &self,
        repository: &Arc<OpenRepository>,
        deleting: &Deleting<'_>,
    ) {
        let is_due = || -> Result<bool> {
            Ok(repository.backend().marked(DONE)?.is_none_or(|age| age >= INTERVAL))
        };
        let done = is_due().and_then(|is_due| match is_due {
            true => self.collect(repository, deleting, Duration::ZERO).map(drop),
            false => Ok(()),
        });
        if let Err(error) = done {
            log::warn!("space of deleted backups was not given back: {error}");
        }
    }

    /// Gives back space. restic is waited for at most this long.
    fn collect(
        &self,
        repository: &Arc<OpenRepository>,
        deleting: &Deleting<'_>,
        wait: Duration,
    ) -> Result<Collected> {
        let restic = self.restic_lock(repository, Beside::Nothing, wait)?;
        let sharing = Sharing {
            is_shared: true,
            // Some shares are mounted with locks of this host's own.
            is_locked: deleting.is_alone() && !repository.backend().is_slow(),
            writes_since: restic.longest_other()?,
        };
        let done = guarded("giving back space", || collect(repository, sharing))?;
        // Without room for it, space is given back again at the next deletion.
        if let Err(error) = repository.backend().mark(DONE) {
            log::debug!("the time is not noted: {error}");
        }
        Ok(done)
    }
}

fn told(repository: &OpenRepository, done: &Collected) -> GivenBack {
    let place = repository.backend().location();
    let file = |folder: &str, id: &Id| format!("{place}/{folder}/{}", id.to_hex().as_str());
    let mut notes = Vec::new();
    for (id, why) in &done.unread {
        notes.push(format!(
            "\"{}\" can't be read, and what was there when it was written stays as long as it does: {}",
            file("snapshots", id),
            why.message
        ));
    }
    for id in &done.broken {
        notes.push(format!(
            "\"{}\" is the file of a backup that lacks something; what it still has stays",
            file("snapshots", id)
        ));
    }
    if done.missing_packs > 0 {
        notes.push(format!(
            "{} packs that backups need are missing at \"{place}\"",
            done.missing_packs
        ));
    }
    for id in &done.damaged_packs {
        let pack = file(&format!("data/{}", &id.to_hex().as_str()[..2]), id);
        notes.push(format!("\"{pack}\" is damaged, and stays"));
    }
    GivenBack {
        given_back: done.removed,
        waiting: done.marked,
        waits_until: done.first_goes,
        notes,
    }
}
