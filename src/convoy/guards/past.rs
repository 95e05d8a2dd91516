//! A bucket as it was (`--as-of`): nothing is written then, and what is seen tells nothing of now.
//!
//! What a past backup proves holds for the past alone: the bucket may be empty now. So a run that looks at
//! one deletes and changes nothing, neither there nor here; it may only restore.

use super::run::Guards;
use crate::{
    convoy::{BackupUrl, Destination},
    error::{Error, Result},
};

impl Guards {
    /// All that has no time of its own is looked at as the configured destination is: if that is a bucket
    /// as it was, as it was then.
    pub(crate) fn looking_at(self, configured: Option<&Destination>) -> Self {
        let past = configured.filter(|destination| destination.time().is_some()).cloned();
        Self { past, ..self }
    }

    /// Refuses a write in a run that looks at a bucket as it was.
    ///
    /// # Errors
    /// A usage error, if so.
    pub(crate) fn is_of_now(&self, what: &str) -> Result<()> {
        self.past.as_ref().map_or(Ok(()), |past| refuse_past(what, past))
    }

    /// The backup as it was at the time at which the run looks, if the URL says no time.
    ///
    /// # Errors
    /// A usage error if the run looks at a time, and the backup is in no bucket.
    pub(super) fn at_its_time(&self, url: &BackupUrl) -> Result<BackupUrl> {
        self.past.as_ref().map_or_else(|| Ok(url.clone()), |past| url.clone().at_time_of(past))
    }

    /// As [`Self::at_its_time`], for a destination.
    pub(super) fn as_it_was(&self, destination: &Destination) -> Result<Destination> {
        match self.past.as_ref().and_then(Destination::time) {
            Some(time) if destination.time().is_none() => destination.clone().at_time(time),
            _ => Ok(destination.clone()),
        }
    }
}

/// Refuses a write to a bucket as it was, and one that relies on what was there.
///
/// # Errors
/// A usage error, if the destination is one.
pub(super) fn refuse_past(what: &str, destination: &Destination) -> Result<()> {
    if destination.time().is_none() {
        return Ok(());
    }
    let message = format!("can't {what}: nothing is written to the past, and \"{destination}\" is");
    Err(Error::usage(format!("{message} looked at as it was"))
        .with_hint("leave --as-of (BKUP_S3_AS_OF) out to write; a restore is possible with it"))
}
