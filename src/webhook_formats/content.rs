//! The parts of a message that a webhook's format uses.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A run began.
    Started,
    /// A run succeeded, and had no open problem.
    Succeeded,
    /// A run failed or was partial.
    Failed,
    /// A run succeeded after a failure that was reported.
    Recovered,
    /// A run ended without failure or success: cancelled, or busy at a person's request.
    Ended,
    /// A problem that is not a run's.
    Problem,
    /// A problem is resolved, or made up for.
    Solved,
    /// A script's information for people.
    Information,
    /// A person tests the channels.
    Test,
}

impl Event {
    /// Whether the event asks people to act.
    pub(crate) fn is_bad(self) -> bool {
        matches!(self, Self::Failed | Self::Problem)
    }

    /// Whether the event is good news.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Recovered | Self::Solved)
    }
}

/// The parts of a message that a webhook's format uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) event: Event,
    /// One line without control characters.
    pub(crate) subject: &'a str,
    pub(crate) text: &'a str,
    pub(crate) host: &'a str,
    pub(crate) time: Timestamp,
    /// The run as JSON.
    pub(crate) run: Option<&'a Value>,
    pub(crate) run_id: Option<&'a str>,
    /// The JSON that a script posts instead of the format's own body.
    pub(crate) body: Option<&'a Value>,
}

/// The first half of the text's SHA-256, in hexadecimal digits.
pub(crate) fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The longest beginning of a text of at most this many bytes, cut between characters.
pub(super) fn first_bytes(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
