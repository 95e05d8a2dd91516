//! The host of Rhai scripts: finds a script, reads what it declares, checks its arguments, and runs
//! it within limits.
//!
//! From the top downwards; each file uses only what is below it:
//!
//! - `runner` is the one way to run a script; `resolver` keeps its imports inside the scripts'
//!   folders; `describe` shows a script as JSON; [`arguments`] checks what a script is given, on
//!   every way in.
//! - [`library`] finds scripts, built in or in the user's folder; `check` finds misspelt primitives
//!   before anything runs; `manifest` reads what a script declares.
//! - `errors` explains Rhai's errors in the words of scripts; `reference` lists all primitives.
//! - `engine` is the one place that builds an engine; `primitives` are the functions that scripts
//!   have; `thrown` is how they throw and catch errors.
//! - `running` is kept while a script runs, `threads` runs it; `host` is what a run gives its primitives,
//!   `message_sink` takes its messages to people, `outcome` is what it came to.
//! - `parameter` is what an argument must be; `effect` is what a script can do; `limits` hold for every script.

pub(crate) mod arguments;
mod check;
pub(crate) mod describe;

mod effect;
mod engine;
mod errors;
mod host;
pub(crate) mod library;
mod limits;
pub(crate) mod manifest;
mod message_sink;
mod outcome;
mod parameter;
mod primitives;
mod reference;
mod resolver;
mod runner;
mod running;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod threads;
mod thrown;

pub(crate) use arguments::Arguments;
pub(crate) use effect::Effect;
pub(crate) use host::{Host, Listener, RunIdentity, Settings, Silent};
pub(crate) use library::{Library, Listed, Origin, Script};
pub(crate) use message_sink::{Mail, MessageSink, NotifyLog, Post, Speaker};
pub(crate) use outcome::{Failure, Outcome};
pub(crate) use parameter::{Parameter, ParameterKind};
pub(crate) use reference::definitions;
pub(crate) use runner::run;
