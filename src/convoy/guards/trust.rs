//! Which backups make a deletion safe: everybody who can write to a destination can write backups
//! that look like this host's.

use super::{
    known::{KnownBackup, find},
    run::Guards,
};
use crate::{
    convoy::{Backup, BackupUrl},
    error::Result,
};

impl Guards {
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
            find(&known, url).is_some_and(KnownBackup::is_trusted)
                || memory.made.iter().any(|(_, made)| made.same_backup(url))
        };
        let trusted =
            backups.iter().filter(|backup| backup.url().is_ok_and(|url| is_trusted(&url)));
        Ok(trusted.cloned().collect())
    }
}
