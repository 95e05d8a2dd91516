//! Notifies people and services of problems, and of their end, by e-mail (SMTP or Amazon SES) and a
//! webhook.
//!
//! From bottom to top:
//! - [`message`]: a message, ready for every channel; `report`: what a message on a run says;
//!   `texts`: its words.
//! - `problems`: the open problems and when each was reported, so that each is reported once;
//!   `outbox`: the messages that wait to be sent.
//! - `channel`: what a channel is; `email` with `smtp` and `ses`, and `webhook`: the channels;
//!   `slot`: the channels that are on, and which of them get a message.
//! - `delivery`: sends the messages in the outbox, and tries each for a day.
//! - `notifier`: decides what is reported, and to whom; `scripts`: the primitives `notify::` of
//!   scripts.
//!
//! A new channel is a file that implements `channel::Channel`, a row in `slot::CHANNELS` and a
//! variant of `ChannelKind`. [`crate::webhook_formats`] has the webhook's formats.

mod channel;
mod delivery;
mod email;
mod message;
mod notifier;
mod outbox;
mod problems;
mod report;
mod scripts;
mod ses;
mod slot;
mod smtp;
#[cfg(test)]
mod tests;
mod texts;
mod webhook;

pub(crate) use channel::{NO_CHANNEL, NO_CHANNEL_HINT, NO_CHANNEL_LONG_HINT};
pub(crate) use notifier::Notifier;
pub(crate) use outbox::Waiting;
pub(crate) use problems::{Problem, Repeat};
pub(crate) use report::RunReport;
