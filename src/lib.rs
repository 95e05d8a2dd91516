//! `convoy-backups`: snapshots, backups, pruning and restores of Docker volumes, for Convoy and
//! without it.
//!
//! The map of the crate; dependencies point one way, downwards:
//!
//! - [`cli`]: the command line; [`demo`]: the main job end to end, for newcomers.
//! - [`app`]: the only place that wires things together.
//! - [`web`]: HTTP: connections, who may, answers.
//! - [`schedule`]: the crontab, when its lines are due, and the loop that starts them.
//! - [`runs`]: the one door through which every run goes.
//! - [`notify`]: being told: e-mail, webhook, the outbox.
//! - [`script`]: the host of Rhai scripts. [`retention`]: what to keep, and why. [`freshness`]:
//!   what is overdue.
//! - [`daemon`]: the built-in daemon, and the server that gives any daemon a Convoy socket.
//! - [`convoy`]: the volume daemon as everyone sees it: trait, model, client, guards, dry run.
//! - `command_words`, [`config`], [`logging`], [`terminal`], [`output`], [`diagnostic`]: settings
//!   in, words out.
//! - `service_manager`: telling systemd how far the program is.
//! - [`locks`], [`progress`], [`clock`], [`units`], [`text`], [`suggest`], [`error`]: what the
//!   others stand on.

pub mod app;
pub mod cli;
pub mod clock;
pub(crate) mod command_words;
pub mod config;
pub mod convoy;
pub mod daemon;
pub mod demo;
pub mod diagnostic;
pub mod error;
pub mod freshness;
pub mod locks;
pub mod logging;
pub mod notify;
pub mod output;
pub mod progress;
pub mod report;
pub mod retention;
pub mod runs;
pub mod schedule;
pub mod script;
pub(crate) mod service_manager;
pub mod suggest;
pub mod terminal;
pub mod text;
pub mod units;
pub mod web;

/// What unit tests share with the integration tests.
#[cfg(test)]
#[path = "../tests/support"]
mod support {
    pub mod faulty;
    pub mod socket;
    pub mod transcripts;
}
