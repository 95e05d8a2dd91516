//! Which backups make a deletion safe: everybody who can write to a destination can write backups
//! that look like this host's.

use super::{group::Whose, known::KnownBackup, run::Guards};
use crate::{
    convoy::{Backup, BackupUrl},
    error::Result,
};

impl Guards {
    /// Those of these backups of one volume of which the newest good one stays, although another one
    /// may be newer: the trusted ones, if the backups are this host's. `None`: this does not hold for
    /// them. If any host's may go, a volume that is gone needs no trusted one, as there can be none
    /// any more.
    ///
    /// # Errors
    /// As [`Self::known_backups`].
    pub(super) fn trusted_of(
        &self,
        backups: &[Backup],
        whose: Whose,
        of_any_host: bool,
    ) -> Result<Option<Vec<Backup>>> {
        if !whose.is_this_hosts() {
            return Ok(None);
        }
        let trusted = self.trusted(backups)?;
        let needs_none = of_any_host && whose != Whose::Own && trusted.is_empty();
        Ok((!needs_none).then_some(trusted))
    }

    /// Those of these backups of one volume that this host made or restored, in their order. Without
    /// a memory, all of them.
    ///
    /// # Errors
    /// As [`Self::known_backups`].
    pub(super) fn trusted(&self, backups: &[Backup]) -> Result<Vec<Backup>> {
        let volume = backups.first().map_or("", Backup::volume);
        // A backup of EBS may not name its volume.
        if self.known.is_none() || volume.is_empty() {
            return Ok(backups.to_owned());
        }
        let known = self.known_backups(volume)?;
        let memory = self.memory();
        let is_trusted = |url: &BackupUrl| {
            known.get(url).is_some_and(KnownBackup::is_trusted)
                || memory.made.iter().any(|(_, made)| made.same_backup(url))
        };
        let trusted =
            backups.iter().filter(|backup| backup.url().is_ok_and(|url| is_trusted(&url)));
        Ok(trusted.cloned().collect())
    }
}
