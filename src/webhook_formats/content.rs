//! What a webhook is notified of.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A run began.
    Started,
    /// A run went well, as before.
    Succeeded,
    /// A run failed, wholly or partly.
    Failed,
    /// A run went well after a failure that was reported.
    Recovered,
    /// A run ended in a way that is no failure: cancelled, or busy where a person asked.
    Ended,
    /// Something besides a run is wrong.
    Problem,
    /// A problem is resolved.
    Solved,
    /// Something is worth knowing.
    Information,
    /// Somebody tries the channels.
    Test,
}

impl Event {
    /// Whether somebody should look.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Problem)
    }

    /// Whether something is well.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Recovered | Self::Solved)
    }
}

/// A message, as far as a webhook needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) event: Event,
    /// One line without control characters.
    pub(crate) subject: &'a str,
    pub(crate) text: &'a str,
    pub(crate) host: &'a str,
    pub(crate) time: Timestamp,
    /// The run, as programs get it.
    pub(crate) run: Option<&'a Value>,
    pub(crate) run_id: Option<&'a str>,
    /// What a script wants posted in place of the format's own body.
    pub(crate) body: Option<&'a Value>,
}

/// A short name for a text: the first half of its SHA-256, in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of a text that is no longer than so many bytes.
pub(super) fn first_bytes(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
