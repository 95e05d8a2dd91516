//! A message, ready for every channel. It holds no secret, because it lies in the outbox as a file.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::webhook_formats::Content;
pub(crate) use crate::webhook_formats::Event;

/// A message. The outbox keeps it as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) event: Event,
    /// One line, of at most [`SUBJECT_COLUMNS`](super::texts::SUBJECT_COLUMNS) columns, without
    /// control characters.
    pub(crate) subject: String,
    /// The whole message as plain text.
    pub(crate) text: String,
    /// The whole message as HTML.
    pub(crate) html: String,
    pub(crate) host: String,
    /// When the message was made, not sent.
    #[serde(with = "timestamp")]
    pub(crate) time: Timestamp,
    /// The run, as [`super::report::RunReport::to_json`] writes it.
    pub(crate) run: Option<Value>,
    pub(crate) run_id: Option<String>,
    /// The JSON that a script posts instead of the webhook's usual form.
    pub(crate) body: Option<Value>,
    /// The e-mail addresses that do not have the message yet; `None`: all configured ones.
    pub(crate) to: Option<Vec<String>>,
    /// The key of the problem that the message reports.
    pub(crate) problem: Option<String>,
}

impl Message {
    /// The parts of the message that webhooks get.
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

/// Times in JSON, as RFC 3339 in UTC.
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
