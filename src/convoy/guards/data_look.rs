//! A look at the data of a backup. Convoy's lists and inspections read a backup's small description
//! only, and call a backup good whose data is missing.

use async_trait::async_trait;

use crate::convoy::BackupUrl;

/// What a look at a backup's data found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The data is there, and as far as it was read, it is whole.
    Whole {
        /// Its size in bytes where it lies, packed or not; `None` if the look does not tell.
        bytes: Option<u64>,
    },
    /// The backup can't be restored: why, as what can be said of it (`its data .. is missing`).
    Broken(String),
    /// The data can't be seen from here: why.
    Hidden(String),
}

/// How closely a backup's data is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// It is there, and its beginning and end are as they should be.
    Quick,
    /// Data that is not large is read as a whole.
    Thorough,
}

/// A good backup: its description was inspected, and its data is not known to be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) url: BackupUrl,
    /// Whether its data was looked at, and not only its description.
    pub(super) verified: bool,
}

/// Looks at the data of backups where their destination can be seen from this process.
#[async_trait]
pub(crate) trait DataLook: Send + Sync + std::fmt::Debug {
    /// Looks at one backup's data. It never fails: what can't be seen is [`Seen::Hidden`].
    async fn look(&self, url: &BackupUrl, depth: Depth) -> Seen;
}
