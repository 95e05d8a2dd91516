//! Backups that are looked into.

use std::{fs::File, sync::Arc};

use jiff::Timestamp;
use rustic_core::TreeId;

use super::{destination::DestinationRepository, record::StoredUrl};
use crate::{
    convoy::{BackupUrl, Destination},
    daemon::{inside::InBackup, repository::OpenRepository},
    error::Result,
};

/// A repository that is looked into. Others that give back room are held off, if possible.
pub(in crate::daemon) struct Looking {
    pub(in crate::daemon) repository: Arc<OpenRepository>,
    _lock: Option<File>,
}

impl DestinationRepository {
    /// The repository with a backup, and the backup's tree.
    ///
    /// # Errors
    /// If there is no such backup, or if it can't be read.
    pub(in crate::daemon) fn look_into(&self, url: &StoredUrl<'_>) -> Result<(Looking, TreeId)> {
        let repository = self.existing()?.ok_or_else(|| url.missing())?;
        let found = self.catalogue.find_readable(&repository, url)?;
        let looking = Looking { repository, _lock: self.reading_lock()? };
        Ok((looking, found.tree))
    }

    /// The backups at the destination, of one volume or of all, of this time or later; `None` if there is
    /// no repository.
    ///
    /// # Errors
    /// If the storage fails.
    pub(in crate::daemon) fn look_through(
        &self,
        destination: &Destination,
        (volume, since): (Option<&str>, Option<Timestamp>),
    ) -> Result<Option<(Looking, Vec<InBackup>)>> {
        let Some(repository) = self.existing()? else { return Ok(None) };
        let all = self.catalogue.readable(&repository)?;
        let is_wanted = |taken| since.is_none_or(|since| taken >= since);
        let wanted = all
            .iter()
            .filter(|backup| volume.is_none_or(|volume| backup.record.volume.as_str() == volume))
            .filter(|backup| is_wanted(backup.record.snapshot_created));
        let backups = wanted.map(|backup| {
            let record = &backup.record;
            let url = BackupUrl::stored(destination, &record.backup, &record.volume).to_string();
            let (volume, taken) = (record.volume.to_string(), record.snapshot_created);
            let snapshot = record.snapshot.to_string();
            InBackup { volume, url, taken, snapshot, tree: backup.tree }
        });
        let backups = backups.collect();
        Ok(Some((Looking { repository, _lock: self.reading_lock()? }, backups)))
    }
}
