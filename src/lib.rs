//! `convoy-backups`: snapshots, backups, pruning and restores of Docker volumes, for Convoy and
//! without it.
//!
//! The map of the crate, by floors from the top. A room uses rooms below it, and rooms on its own
//! floor where they don't use it; no files use each other in a circle. `tests/house.rs` reads this
//! map and checks both.
//!
//! 1. `cli`: words in, exit code out; the demo.
//! 2. `app`: wires everything together; the service.
//! 3. `web`: HTTP: connections, who may, answers, the dashboard.
//! 4. `status`: how safe each volume is.
//! 5. `schedule`: the crontab, when its lines are due, and the loop that starts them.
//! 6. `runs`, `notify`, `logging`: the entry point of every run and its record; alerts and how
//!    they are sent; console, file and syslog.
//! 7. `daemon`, `objectstore`, `script`, `config`, `output`, `command_words`: the built-in daemon;
//!    a look at the data of Convoy's backups; the host of Rhai scripts; settings; tables and JSON;
//!    the words of a command line.
//! 8. `convoy`, `webhook_formats`: a volume daemon as everyone sees it: trait, model, client,
//!    server, guards, dry run; the bodies of a webhook.
//! 9. `retention`, `run_words`, `exclude`, `terminal`, `diagnostic`, `engine`, `locks`, `s3`, `time_words`, `units`, `waiting`: rules and tools
//!    that know nothing of the above.
//! 10. `error`, `files`, `sync`, `scope`, `blocking`, `clock`, `mount_table`, `progress`, `text`, `suggest`, `service_manager`, `unix_http`: what
//!     everything stands on.

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
pub(crate) mod engine;
pub(crate) mod error;
pub(crate) mod exclude;
pub(crate) mod files;
pub(crate) mod locks;
pub(crate) mod logging;
pub(crate) mod mount_table;
pub(crate) mod notify;
pub(crate) mod objectstore;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod retention;
pub(crate) mod run_words;
pub(crate) mod runs;
pub(crate) mod s3;
pub(crate) mod schedule;
pub(crate) mod scope;
pub(crate) mod script;
pub(crate) mod service_manager;
pub(crate) mod status;
pub(crate) mod suggest;
pub(crate) mod sync;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod time_words;
pub(crate) mod units;
pub(crate) mod unix_http;
pub(crate) mod waiting;
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
    pub mod disk;
    pub mod engine;
    pub mod faulty;
    #[expect(dead_code, reason = "unit tests need a part of it")]
    pub mod smtp;
    pub mod socket;
    pub mod transcripts;
}
