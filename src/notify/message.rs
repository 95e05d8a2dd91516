//! A message, ready for every channel. It holds no secret, so that it can lie in the outbox.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::webhook_formats::Content;
pub(crate) use crate::webhook_formats::Event;

/// What is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) event: Event,
    /// One line, of at most [`SUBJECT_COLUMNS`](super::texts::SUBJECT_COLUMNS) columns, without
    /// control characters.
    pub(crate) subject: String,
    /// The whole as plain text.
    pub(crate) text: String,
    /// The whole as HTML.
    pub(crate) html: String,
    /// The host that the message is about.
    pub(crate) host: String,
    /// When the message was made.
    #[serde(with = "timestamp")]
    pub(crate) time: Timestamp,
    /// The run that the message is about, as programs get it.
    pub(crate) run: Option<Value>,
    /// The id of that run.
    pub(crate) run_id: Option<String>,
    /// What a script wants posted in place of the webhook's usual form.
    pub(crate) body: Option<Value>,
    /// The e-mail addresses that still have to get the message; `None`: the configured ones.
    pub(crate) to: Option<Vec<String>>,
    /// The key of the open problem that the message reports.
    pub(crate) problem: Option<String>,
}

impl Message {
    /// The message as webhooks get it.
    pub(super) fn content(&self) -> Content<'_> {
        Content {
            event: self.event,
            subject: &self.subject,
            text: &self.text,
            host: &self.host,
            time: self.time,
            run: self.run.as_ref(),
            run_id: self.run_id.as_deref(),
            body: self.body.as_ref(),
        }
    }
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
