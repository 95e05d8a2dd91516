//! What our server tells beyond Convoy's API, so that nothing that a daemon knows is lost on a
//! socket.

use serde::{Deserialize, Serialize};

/// The field with the built-in daemon's id of a volume, in the volume's `DriverInfo` and in its
/// backups: names come back, ids don't. Convoy gives volumes no id.
pub(crate) const VOLUME_ID: &str = "VolumeID";

/// The header in which our server says what to do about an error; Convoy has none.
pub(crate) const HINT: &str = "convoy-backups-hint";

/// The header in which our server names an error's kind, as [`crate::error::ErrorKind::code`] does; Convoy has
/// none.
pub(crate) const KIND: &str = "convoy-backups-error";

/// What a daemon does beyond Convoy's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Capabilities {
    /// Deleting a volume's last backup on S3 also deletes the backups of all volumes whose names
    /// begin alike.
    pub(crate) deletes_by_prefix: bool,
    /// The daemon itself keeps backups and deletions at one destination apart, and its work ends
    /// with its process.
    pub(crate) locks_destinations: bool,
}

impl Capabilities {
    /// Convoy's: what asks for the most caution.
    pub(crate) const CONVOY: Self = Self { deletes_by_prefix: true, locks_destinations: false };
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::CONVOY
    }
}
