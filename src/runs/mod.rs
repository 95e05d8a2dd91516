//! Runs: the one entry point of every run, the queue, and the store of what happened.
//!
//! A run goes through these phases:
//!
//! | phase | type | what happens |
//! |---|---|---|
//! | asked | [`RunRequest`] | the command line, the crontab or HTTP says what to run |
//! | queued | [`QueuedRun`] | [`enqueue`] gives an id, a ticket of the [`RunQueue`] and a record |
//! | running | `DueRun` | guards, dry run and deadline, the script on a thread |
//! | ended | [`FinishedRun`] | status, result, failures |
//! | recorded | [`record::RunRecord`] | in the [`Store`], by the [`Recorder`] |
//! | alerted | `notify::RunReport` | the notifier decides which alerts to send |
//!
//! [`RunEnvironment`] is what all runs of a process share.

mod alive;
mod deletions;
mod environment;
mod finished;
mod host;
mod id;
mod missing;
mod perform;
mod queue;
mod queued;
pub(crate) mod record;
mod recording;
mod request;
mod schema;
pub(crate) mod store;
#[cfg(test)]
mod tests;

pub(crate) use environment::RunEnvironment;
pub(crate) use finished::FinishedRun;
pub(crate) use queue::RunQueue;
pub(crate) use queued::{QueuedRun, enqueue, run};
pub(crate) use record::Entry;
pub(crate) use recording::Recorder;
pub(crate) use request::RunRequest;
pub(crate) use store::{EntryEvent, EntryRun, EntryTimes, Store};
