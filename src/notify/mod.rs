//! Notifying people and services, by e-mail (SMTP or Amazon SES) and a webhook, when something is
//! wrong and when it is well again.
//!
//! From bottom to top:
//! - [`message`]: a message, ready for every channel; `report`: a run as people are notified of it;
//!   `texts`: the words.
//! - `problems`: what is wrong and what of it was reported, so that nobody is notified twice;
//!   `outbox`: what still has to be sent.
//! - `channel`: what a channel is; `email` with `smtp` and `ses`, and `webhook`: the channels;
//!   `slot`: the list of them, and which of them get a message.
//! - `delivery`: sends what is in the outbox, again and again for a day.
//! - `notifier`: decides who is notified of what; `scripts`: what `notify::` of scripts does.
//!
//! A new channel is a file that implements `channel::Channel`, a row in `slot::CHANNELS` and a name
//! in [`ChannelKind`]. The forms of the webhook are in [`crate::webhook_formats`].

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
