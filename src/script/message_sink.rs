//! Messages of a script to people, and who takes them.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::Result;

/// The script and the run that a message comes from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speaker {
    pub(crate) script: String,
    pub(crate) run: String,
}

/// An e-mail that a script sends.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    /// The addresses. Empty: the configured addresses.
    pub(crate) to: Vec<String>,
    pub(crate) subject: String,
    pub(crate) text: String,
    /// The HTML form of the text, for mail programs that show it. `None`: made from the text.
    pub(crate) html: Option<String>,
}

/// A message that a script posts to the webhook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    pub(crate) subject: String,
    pub(crate) text: String,
    /// The script's own JSON, posted unchanged if the webhook takes JSON.
    pub(crate) body: Option<Value>,
}

/// Takes a script's messages to people. A script need not care whether people can be reached: what
/// can't be sent now is sent later.
#[async_trait]
pub(crate) trait MessageSink: Send + Sync {
    /// A run begins. `read_only` is set for a dry run, and for a script that writes nothing.
    fn run_started(&self, _speaker: &Speaker, _read_only: bool) {}

    /// An alert: something is wrong and needs a look.
    ///
    /// # Errors
    /// If the message could not be handed over.
    async fn problem(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()>;

    /// News without a problem.
    ///
    /// # Errors
    /// If the message could not be handed over.
    async fn info(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()>;

    /// An e-mail that the script wrote.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Usage`] for a wrong address; another kind if the message could not be handed
    /// over.
    async fn email(&self, speaker: &Speaker, mail: Mail) -> Result<()>;

    /// A message for the configured webhook.
    ///
    /// # Errors
    /// If the message could not be handed over.
    async fn webhook(&self, speaker: &Speaker, post: Post) -> Result<()>;
}

/// Writes messages to the log instead of sending them.
pub(crate) struct NotifyLog;

#[async_trait]
impl MessageSink for NotifyLog {
    async fn problem(&self, _: &Speaker, subject: &str, text: &str) -> Result<()> {
        log::error!("{subject}: {text}");
        Ok(())
    }

    async fn info(&self, _: &Speaker, subject: &str, text: &str) -> Result<()> {
        log::info!("{subject}: {text}");
        Ok(())
    }

    async fn email(&self, _: &Speaker, mail: Mail) -> Result<()> {
        log::info!("{}: {}", mail.subject, mail.text);
        Ok(())
    }

    async fn webhook(&self, _: &Speaker, post: Post) -> Result<()> {
        log::info!("{}: {}", post.subject, post.text);
        Ok(())
    }
}
