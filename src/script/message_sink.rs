//! What a script says to people, and who takes it.

use async_trait::async_trait;
use serde_json::Value;

use crate::error::Result;

/// Which script speaks to people, in which run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Speaker {
    /// The script's name.
    pub(crate) script: String,
    /// The run's id.
    pub(crate) run: String,
}

/// An e-mail that a script writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mail {
    /// The addresses; none: the configured ones.
    pub(crate) to: Vec<String>,
    /// The subject.
    pub(crate) subject: String,
    /// The plain text.
    pub(crate) text: String,
    /// The HTML in its place, for mail programs that show it; made from the text where there is
    /// none.
    pub(crate) html: Option<String>,
}

/// What a script posts to the webhook.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    /// The subject.
    pub(crate) subject: String,
    /// The text.
    pub(crate) text: String,
    /// JSON of the script's own, posted as it is where the webhook takes JSON.
    pub(crate) body: Option<Value>,
}

/// Takes what a script wants people to know. Whether people can be reached is no concern of the
/// script's: what can't be sent now is sent later.
#[async_trait]
pub(crate) trait MessageSink: Send + Sync {
    /// A run begins. `read_only`: it is a dry one, or its script writes nothing.
    fn run_started(&self, _speaker: &Speaker, _read_only: bool) {}

    /// Something is wrong and somebody should look.
    ///
    /// # Errors
    /// Where the message could not be handed over.
    async fn problem(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()>;

    /// Something is worth knowing.
    ///
    /// # Errors
    /// Where the message could not be handed over.
    async fn info(&self, speaker: &Speaker, subject: &str, text: &str) -> Result<()>;

    /// An e-mail of the script's own.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for an address that is none; or where the message could not be handed
    /// over.
    async fn email(&self, speaker: &Speaker, mail: Mail) -> Result<()>;

    /// Something for the configured webhook.
    ///
    /// # Errors
    /// Where the message could not be handed over.
    async fn webhook(&self, speaker: &Speaker, post: Post) -> Result<()>;
}

/// Tells the log.
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
