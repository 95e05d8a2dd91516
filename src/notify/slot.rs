//! The channels that are on, and which of them get a message.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{
    channel::{Channel, ChannelInfo, ChannelKind, Refusal},
    email::Email,
    outbox::Waiting,
    webhook::Webhook,
};
use crate::{
    config::{Config, NotifyOn},
    error::{Error, ErrorKind, Result},
};

/// Makes a channel from the settings; `None` if the channel is off.
type Make = fn(&Config) -> Result<Option<Slot>>;

/// Every channel, in the order of lists.
const CHANNELS: &[Make] = &[
    |config| Ok(Email::new(config)?.map(|email| Slot::new(config.email.on, email))),
    |config| Ok(Webhook::new(&config.webhook)?.map(|hook| Slot::new(config.webhook.on, hook))),
];

/// The channels that the settings turn on.
///
/// # Errors
/// A configuration error that names the variable.
pub(super) fn slots(config: &Config) -> Result<Vec<Slot>> {
    CHANNELS.iter().filter_map(|make| make(config).transpose()).collect()
}

/// Which channels get a message. A watchdog is a service that expects a sign of every run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    /// All channels but watchdogs.
    People,
    /// Channels that get every run, watchdogs among them.
    EveryRun,
    /// Channels that get every run, but watchdogs.
    PeopleOfEveryRun,
    Watchdogs,
    Only(ChannelKind),
}

impl Reach {
    /// The same channels without watchdogs.
    pub(super) fn without_watchdogs(self) -> Self {
        match self {
            Self::All => Self::People,
            Self::EveryRun => Self::PeopleOfEveryRun,
            other => other,
        }
    }
}

/// A channel that is on.
pub(super) struct Slot {
    on: NotifyOn,
    channel: Arc<dyn Channel>,
    /// Held during a round, so that messages are sent one after the other, in their order.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Slot {
    fn new(on: NotifyOn, channel: impl Channel + 'static) -> Self {
        Self { on, channel: Arc::new(channel), turn: tokio::sync::Mutex::default() }
    }

    pub(super) fn kind(&self) -> ChannelKind {
        self.channel.kind()
    }

    pub(super) fn info(&self) -> ChannelInfo {
        ChannelInfo {
            channel: self.kind(),
            to: self.channel.description(),
            always: self.on == NotifyOn::Always || self.channel.wants_every_run(),
        }
    }

    pub(super) fn is_reached(&self, reach: Reach) -> bool {
        let is_watchdog = self.channel.wants_every_run();
        match reach {
            Reach::All => true,
            Reach::People => !is_watchdog,
            Reach::EveryRun => is_watchdog || self.on == NotifyOn::Always,
            Reach::PeopleOfEveryRun => !is_watchdog && self.on == NotifyOn::Always,
            Reach::Watchdogs => is_watchdog,
            Reach::Only(kind) => kind == self.kind(),
        }
    }

    /// Sends one message within this time, and returns the addresses that did not get it.
    pub(super) async fn attempt(&self, waiting: &Waiting, limit: Duration) -> Result<Vec<Refusal>> {
        // A panic in a library must not undo the success of the backup, so the attempt is a task of
        // its own. The task is aborted when the set is dropped.
        let mut task = JoinSet::new();
        let (channel, id) = (self.channel.clone(), waiting.id.clone());
        let message = waiting.message.clone();
        task.spawn(async move { channel.send(&id, &message).await });
        match tokio::time::timeout(limit, task.join_next()).await {
            Ok(Some(Ok(sent))) => sent,
            Ok(other) => Err(Error::internal(format!("sending ended unexpectedly: {other:?}"))),
            Err(_) => Err(Error::new(
                ErrorKind::Timeout,
                format!("no answer in {} seconds: {}", limit.as_secs(), self.channel.description()),
            )
            .with_hint("look at its address, its port and the network; a server that begins with TLS (SMTP on port 465) is silent to who does not")),
        }
    }
}
