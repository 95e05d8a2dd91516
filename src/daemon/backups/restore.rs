//! Restoring a backup.

use std::path::Path;

use super::{
    destination::DestinationRepository,
    prove::prove,
    record::{Record, StoredUrl},
};
use crate::{
    daemon::{
        repository::guarded,
        tree::write::{self, RestoreWarnings},
    },
    error::{ErrorKind, Result},
};

impl DestinationRepository {
    /// What the tags of a backup say.
    ///
    /// # Errors
    /// If there is no such backup, or the repository can't be read.
    pub(in crate::daemon) fn recorded(&self, url: &StoredUrl<'_>) -> Result<Record> {
        let repository = self.existing()?.ok_or_else(|| url.missing())?;
        self.catalogue.find_readable(&repository, url).map(|found| found.record)
    }

    /// Restores a backup into an empty folder, as the files of `volume`. Returns what the backup's
    /// tags say.
    ///
    /// # Errors
    /// If there is no such backup, or if its data can't be read or written.
    pub(in crate::daemon) fn restore(
        &self,
        url: &StoredUrl<'_>,
        folder: &Path,
        volume: &str,
    ) -> Result<Record> {
        let repository = self.existing()?.ok_or_else(|| url.missing())?;
        let found = self.catalogue.find_readable(&repository, url)?;
        let _lock = self.reading_lock()?;
        repository.forget_index();
        self.prefer_what_is_there(&repository);
        let warnings = RestoreWarnings::default();
        let bytes = self.catalogue.bytes(found.tree);
        let told = found.record.extent.bytes;
        let piece = self.access.progress.begin(&format!("restore {volume}"), bytes);
        let restored = guarded("the restore", || {
            write::restore(&repository, (found.tree, told), folder, &*piece, &warnings)
        });
        drop(piece);
        repository.backend().take_failure();
        self.damage.found(&repository, &repository.take_unread());
        if restored.as_ref().is_err_and(|error| error.kind == ErrorKind::Repository) {
            // Remembers also folders that can't be read, and what is missing.
            let proven = guarded("the restore", || prove(&repository, &self.damage, found.tree));
            log::debug!("after the restore failed: {proven:?}");
            repository.backend().take_failure();
        }
        repository.forget_index();
        for warning in warnings.take() {
            log::warn!("restore of volume {volume}: {warning}");
        }
        restored.map(|()| found.record)
    }
}
