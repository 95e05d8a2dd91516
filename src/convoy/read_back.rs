//! Reading the data of backups back: what is asked for, and what was found.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Name;

/// What of a destination's data is to be read back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadBack {
    /// What the backups of this volume need; everything if left out.
    pub(crate) volume: Option<Name>,
    /// What was read since then is not read again. Left out, nothing was.
    pub(crate) since: Option<Timestamp>,
    /// No more than about so many bytes.
    pub(crate) most: Option<u64>,
}

/// What was read back by one call, which reads for a short time only: the next one goes on with the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct WasReadBack {
    /// When this call began.
    pub(crate) began: Timestamp,
    /// How many packs were read.
    pub(crate) packs: u64,
    pub(crate) bytes: u64,
    /// How many bytes there are to read in all, whether they were read or not.
    pub(crate) all_bytes: u64,
    /// Whether nothing is left to read.
    pub(crate) is_all: bool,
    /// What is wrong with packs, a sentence for each.
    pub(crate) damaged: Vec<String>,
}
