//! What a channel is: one way by which messages reach people or services.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::error::{Error, Result};

/// The channels by the names under which their messages wait on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChannelKind {
    Email,
    Webhook,
}

impl ChannelKind {
    pub(super) const ALL: [Self; 2] = [Self::Email, Self::Webhook];

    /// The name for people.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Email => "e-mail",
            Self::Webhook => "webhook",
        }
    }

    /// The name on disk.
    pub(super) fn word(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }
}

/// An address that did not get a message, and why.
pub(super) type Refusal = (String, Error);

/// A channel that is on, with its settings checked.
#[async_trait]
pub(super) trait Channel: Send + Sync {
    fn kind(&self) -> ChannelKind;

    /// Where the channel leads, for people: without secrets.
    fn description(&self) -> String;

    /// Whether the channel gets every run whatever `BKUP_.._ON` says: its service takes silence for
    /// a failure.
    fn wants_every_run(&self) -> bool {
        false
    }

    /// Sends a message; the addresses that did not get it. `id` stays the same at each attempt.
    ///
    /// # Errors
    /// Where no address got the message.
    async fn send(&self, id: &str, message: &Message) -> Result<Vec<Refusal>>;
}

/// Said where no channel is on.
pub(crate) const NO_CHANNEL: &str = "nobody is told when a backup fails";

/// The shortest way to turn a channel on.
pub(crate) const NO_CHANNEL_HINT: &str = "set BKUP_EMAIL_ENABLED=true or BKUP_WEBHOOK_URL";

/// How to turn a channel on, where there is room for it.
pub(crate) const NO_CHANNEL_LONG_HINT: &str =
    "set BKUP_EMAIL_ENABLED=true and the other BKUP_EMAIL_ settings, or BKUP_WEBHOOK_URL";

/// A channel that is on, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChannelInfo {
    pub(crate) channel: ChannelKind,
    /// Where the channel leads, without secrets.
    pub(crate) to: String,
    /// Whether the channel gets every run.
    pub(crate) always: bool,
}
