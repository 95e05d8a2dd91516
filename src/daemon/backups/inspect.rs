//! Listing all backups, and inspecting some.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{destination::DestinationRepository, prove::prove_all, record::StoredUrl};
use crate::{
    convoy::{Backup, Destination, Name, refusal::never_backed_up},
    daemon::repository::guarded,
    error::{Error, ErrorKind, Result},
};

impl DestinationRepository {
    /// The backups at the destination, of one volume or of all. A file that is damaged is named, and hides
    /// no other.
    ///
    /// # Errors
    /// If the storage fails. For a volume without backups, Convoy's error.
    pub(in crate::daemon) fn list(
        &self,
        destination: &Destination,
        volume: Option<&Name>,
        zone: &TimeZone,
    ) -> Result<Vec<Backup>> {
        let all = match self.existing()? {
            Some(repository) => self.catalogue.readable(&repository)?,
            None => Arc::default(),
        };
        let listed: Vec<_> = all
            .iter()
            .filter(|backup| volume.is_none_or(|volume| backup.record.volume == *volume))
            .map(|backup| backup.record.backup(destination, backup.origin, zone))
            .collect();
        match volume {
            Some(volume) if listed.is_empty() => Err(never_backed_up(volume.as_str())),
            _ => Ok(listed),
        }
    }

    /// One backup, after [`prove_all`] has proven that it is whole.
    ///
    /// # Errors
    /// If there is no such backup, or if some of its data is missing.
    pub(in crate::daemon) fn inspect(
        &self,
        url: &StoredUrl<'_>,
        zone: &TimeZone,
    ) -> Result<Backup> {
        let inspected = self.inspect_all(std::slice::from_ref(url), zone);
        match inspected.map_err(|error| refusal_of(url, error))?.pop() {
            Some(inspected) => inspected,
            None => Err(url.missing()),
        }
    }

    /// The first of these backups, at least one, after [`prove_all`] has proven which are whole.
    ///
    /// # Errors
    /// If the repository can't be read, or if it can't be determined what is missing.
    pub(in crate::daemon) fn inspect_all(
        &self,
        urls: &[StoredUrl<'_>],
        zone: &TimeZone,
    ) -> Result<Vec<Result<Backup>>> {
        let absent = |url: &StoredUrl<'_>| Err(url.missing());
        let Some(repository) = self.existing()? else {
            return Ok(urls.iter().map(absent).collect());
        };
        let found = self.catalogue.find_all_readable(&repository, urls)?;
        let _lock = self.reading_lock()?;
        let trees: Vec<_> = found.iter().flatten().map(|backup| backup.tree).collect();
        let proven = guarded("checking the backups", || match (urls, &trees[..]) {
            ([url], [tree]) if self.is_new_and_whole(&repository, url.backup, *tree) => {
                Ok(vec![Ok(())])
            }
            _ => prove_all(&repository, &self.damage, &trees),
        })?;
        let mut proven = proven.into_iter();
        let mut inspected = Vec::new();
        for (url, found) in urls.iter().zip(found) {
            inspected.push(match found {
                Err(error) => Err(error),
                Ok(found) => match proven.next() {
                    Some(Ok(())) => Ok(found.record.backup(url.destination, found.origin, zone)),
                    Some(Err(error)) => Err(refusal_of(url, error)),
                    None => break,
                },
            });
        }
        Ok(inspected)
    }
}

/// Names the backup in the reason why it can't be inspected.
fn refusal_of(url: &StoredUrl<'_>, error: Error) -> Error {
    let verdict = match error.kind {
        ErrorKind::Repository => "is not good",
        _ => "can't be looked at",
    };
    error.context(format!("backup \"{}\" of volume \"{}\" {verdict}", url.backup, url.volume))
}
