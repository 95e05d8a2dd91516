//! Deleting a backup.

use rustic_core::{FileType, WriteBackend as _};

use super::{destination::DestinationRepository, record::StoredUrl};
use crate::{convoy::refusal::required_is_missing, error::Result};

impl DestinationRepository {
    /// Removes a backup, as long as the `required` ones are there. Its space comes back later
    /// ([`DestinationRepository::give_back`]).
    ///
    /// # Errors
    /// If there is no such backup, or it can't be removed. [`crate::error::ErrorKind::Guard`] if a
    /// required one is missing.
    pub(in crate::daemon) fn delete(
        &self,
        url: &StoredUrl<'_>,
        required: &[StoredUrl<'_>],
    ) -> Result<()> {
        self.refuse_writing()?;
        let repository = self.existing()?.ok_or_else(|| url.missing())?;
        let deleting = self.begin_deletion(&repository)?;
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
        self.give_back_if_due(&repository, &deleting);
        Ok(())
    }
}
