//! A channel: one way by which messages reach people or services.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::error::{Error, Result};

/// The channels. The messages in the outbox name them, so a variant keeps its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChannelKind {
    Email,
    Webhook,
}

impl ChannelKind {
    pub(super) const ALL: [Self; 2] = [Self::Email, Self::Webhook];

    /// The name that messages to people use.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Email => "e-mail",
            Self::Webhook => "webhook",
        }
    }

    /// The name in the outbox.
    pub(super) fn word(self) -> String {
        format!("{self:?}").to_ascii_lowercase()
    }
}

/// An address that did not get a message, and the reason.
pub(super) type Refusal = (String, Error);

/// A channel that is on. Its settings are checked.
#[async_trait]
pub(super) trait Channel: Send + Sync {
    fn kind(&self) -> ChannelKind;

    /// Where messages go, for people, without secrets: `https://example.com (Slack's form)`.
    fn description(&self) -> String;

    /// Whether the channel gets every run, whatever `BKUP_.._ON` says. A watchdog does: it takes
    /// silence for a failure.
    fn wants_every_run(&self) -> bool {
        false
    }

    /// Sends a message, and returns the addresses that did not get it. `id` is the same in each
    /// attempt, so that the receiver can recognise a repetition.
    ///
    /// # Errors
    /// If no address got the message.
    async fn send(&self, id: &str, message: &Message) -> Result<Vec<Refusal>>;
}

/// The warning that no channel is on.
pub(crate) const NO_CHANNEL: &str = "nobody is told when a backup fails";

/// The short hint beside [`NO_CHANNEL`].
pub(crate) const NO_CHANNEL_HINT: &str = "set BKUP_EMAIL_ENABLED=true or BKUP_WEBHOOK_URL";

/// The hint beside [`NO_CHANNEL`] where there is room for more.
pub(crate) const NO_CHANNEL_LONG_HINT: &str =
    "set BKUP_EMAIL_ENABLED=true and the other BKUP_EMAIL_ settings, or BKUP_WEBHOOK_URL";

/// What people and programs see of a channel that is on.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChannelInfo {
    pub(crate) channel: ChannelKind,
    /// [`Channel::description`].
    pub(crate) to: String,
    /// Whether the channel gets every run, not only failures and recoveries.
    pub(crate) always: bool,
}
