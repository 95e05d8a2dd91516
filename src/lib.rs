//! `convoy-backups`: snapshots, backups, pruning and restores of Docker volumes, for Convoy and without it.
//!
//! The map of the crate; dependencies point one way, downwards:
//!
//! - [`convoy`]: the volume daemon as everyone sees it: trait, model, client, guards, dry run.
//! - [`daemon`]: the built-in daemon, and the server that gives any daemon a Convoy socket.
//! - [`script`]: the host of Rhai scripts. [`retention`]: what to keep, and why.
//! - [`config`], [`diagnostic`], [`progress`], [`clock`], [`units`], [`error`]: what the others stand on.

pub mod clock;
pub mod config;
pub mod convoy;
pub mod daemon;
pub mod diagnostic;
pub mod error;
pub mod progress;
pub mod retention;
pub mod script;
pub mod units;

/// What unit tests share with the integration tests.
#[cfg(test)]
#[path = "../tests/support"]
mod support {
    pub mod faulty;
    pub mod socket;
    pub mod transcripts;
}
