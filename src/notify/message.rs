//! What people are told, ready for every channel; it holds no secret, so that it can lie in the
//! outbox.

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
    /// A run went well after a failure that was told.
    Recovered,
    /// A run ended in a way that is no failure: cancelled, or busy where a person asked.
    Ended,
    /// Something is wrong that is no run.
    Problem,
    /// It is well again.
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

/// What people are told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    /// What it is about.
    pub(crate) event: Event,
    /// One line, of at most [`SUBJECT_COLUMNS`](super::texts::SUBJECT_COLUMNS) columns, without
    /// control characters.
    pub(crate) subject: String,
    /// The whole as plain text.
    pub(crate) text: String,
    /// The whole as HTML.
    pub(crate) html: String,
    /// The host it is about.
    pub(crate) host: String,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub(crate) time: Timestamp,
    /// The run it is about, as programs get it.
    pub(crate) run: Option<Value>,
    /// The id of that run.
    pub(crate) run_id: Option<String>,
    /// What a script wants posted in place of the webhook's usual form.
    pub(crate) body: Option<Value>,
    /// The e-mail addresses that still have to get it; `None`: the configured ones.
    pub(crate) to: Option<Vec<String>>,
    /// The key of the ongoing problem that this tells.
    pub(crate) problem: Option<String>,
}

/// Times as RFC 3339.
pub(super) mod timestamp {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
