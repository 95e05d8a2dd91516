//! `convoy-backups`: snapshots, backups, pruning and restores of Docker volumes, for Convoy and
//! without it.
//!
//! The map of the crate; dependencies point one way, downwards:
//!
//! - [`cli`]: the command line.
//! - [`app`]: the only place that wires things together.
//! - [`web`]: HTTP: connections, who may, answers.
//! - [`status`]: how safe each volume is.
//! - [`schedule`]: the crontab, when its lines are due, and the loop that starts them.
//! - [`runs`]: the one entry point of every run.
//! - [`notify`]: notifying people and services: problems, the outbox, e-mail, the webhook.
//! - [`script`]: the host of Rhai scripts. [`retention`]: what to keep, and why.
//! - [`daemon`]: the built-in daemon.
//! - [`convoy`]: the volume daemon as everyone sees it: trait, model, client, server,
//!   guards, dry run.
//! - `command_words`, [`config`], [`logging`], [`terminal`], [`output`], [`diagnostic`]: settings
//!   in, words out.
//! - [`webhook_formats`]: the forms in which a webhook is notified.
//! - `service_manager`: telling systemd how far the program is.
//! - `run_words`: how a run stands and who started it, as `runs`, `notify` and `web` call it.
//! - [`locks`], [`progress`], [`clock`], [`units`], [`text`], [`suggest`], [`error`]: what the
//!   others stand on.

#![warn(unreachable_pub)]

pub(crate) mod app;
pub(crate) mod blocking;
pub(crate) mod cli;
pub(crate) mod clock;
pub(crate) mod command_words;
pub(crate) mod config;
pub(crate) mod convoy;
pub(crate) mod daemon;
pub(crate) mod diagnostic;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod locks;
pub(crate) mod logging;
pub(crate) mod notify;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod retention;
pub(crate) mod run_words;
pub(crate) mod runs;
pub(crate) mod schedule;
pub(crate) mod scope;
pub(crate) mod script;
pub(crate) mod service_manager;
pub(crate) mod status;
pub(crate) mod suggest;
pub(crate) mod sync;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod units;
pub(crate) mod web;
pub(crate) mod webhook_formats;

// What `main.rs` and the integration tests use; nothing else is promised to anyone.
pub use cli::main;
pub use config::{SETTINGS, Setting};
pub use convoy::ApiTime;

/// What unit tests share with the integration tests.
#[cfg(test)]
#[path = "../tests/support"]
#[expect(unreachable_pub, reason = "the integration tests share these files")]
mod support {
    pub mod faulty;
    #[expect(dead_code, reason = "unit tests need a part of it")]
    pub mod smtp;
    pub mod socket;
    pub mod transcripts;
}
