//! Listing all backups, and inspecting one.

use jiff::tz::TimeZone;

use super::{destination::DestinationRepository, prove::prove, record::StoredUrl};
use crate::{
    convoy::{Backup, Destination, Name, refusal::never_backed_up},
    daemon::repository::guarded,
    error::{ErrorKind, Result},
};

impl DestinationRepository {
    /// The backups at the destination, of one volume or of all.
    ///
    /// # Errors
    /// If a backup's file can't be read. For a volume without backups, Convoy's error.
    pub(in crate::daemon) fn list(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
        zone: &TimeZone,
    ) -> Result<Vec<Backup>> {
        let all = match self.existing()? {
            Some(repository) => self.catalogue.all(&repository)?,
            None => Vec::new(),
        };
        let listed: Vec<_> = all
            .iter()
            .map(|backup| &backup.record)
            .filter(|record| volume.is_none_or(|volume| record.volume == *volume))
            .map(|record| record.backup(destination, zone))
            .collect();
        match volume {
            Some(volume) if listed.is_empty() => Err(never_backed_up(volume.as_str())),
            _ => Ok(listed),
        }
    }

    /// One backup, after [`prove`] has proven that it is whole.
    ///
    /// # Errors
    /// If there is no such backup, or if some of its data is missing.
    pub(in crate::daemon) fn inspect(
        &self,
        url: &StoredUrl<'_>,
        zone: &TimeZone,
    ) -> Result<Backup> {
        let repository = self.existing()?.ok_or_else(|| url.missing())?;
        let found = self.catalogue.find_readable(&repository, url)?;
        let _gate = self.without_deletes();
        let _lock = self.reading_lock()?;
        repository.forget_index();
        guarded("checking the backup", || prove(&repository, found.tree)).map_err(|error| {
            let verdict = match error.kind {
                ErrorKind::Repository => "is not good",
                _ => "can't be looked at",
            };
            error.context(format!(
                "backup \"{}\" of volume \"{}\" {verdict}",
                url.backup, url.volume
            ))
        })?;
        Ok(found.record.backup(url.destination, zone))
    }
}
