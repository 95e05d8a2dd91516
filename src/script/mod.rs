//! The host of Rhai scripts: finds a script, reads its declaration, checks its arguments, and runs
//! it within limits.
//!
//! From top to bottom; each file uses only those below it:
//!
//! - `runner` runs a script; `resolver` keeps its imports inside the scripts' folders; `describe`
//!   shows a script as JSON; [`arguments`] checks arguments from every source.
//! - [`library`] finds scripts, built in or in the user's folder; `check` finds misspelt primitives
//!   before a script runs, and `captures` what the threads of `parallel` would lose; `manifest` reads
//!   declarations.
//! - `errors` explains Rhai's errors in the words of scripts; `reference` lists all primitives.
//! - `engine` is the one place that builds an engine; `primitives` are the functions that scripts
//!   can call; `thrown` is how scripts throw and catch errors; `sizes` gives them sizes as
//!   numbers.
//! - `running` is the state of a running script, and `threads` are the threads that scripts run on.
//!   `host` is what a run gives to its primitives, `message_sink` takes its messages to people, and
//!   `outcome` is how it ends.
//! - `parameter` describes an argument; `effect` is what a script can do to volumes; `limits` hold
//!   for every script; `type_names` are the names of types that a script's author knows.

pub(crate) mod arguments;
mod captures;
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
mod sizes;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod threads;
mod thrown;
mod type_names;

pub(crate) use arguments::Arguments;
pub(crate) use effect::Effect;
pub(crate) use host::{Host, Listener, RunIdentity, Settings, Silent};
pub(crate) use library::{Library, Listed, Origin, Script};
pub(crate) use message_sink::{Mail, MessageSink, NotifyLog, Post, Speaker};
pub(crate) use outcome::{Failure, Outcome};
pub(crate) use parameter::{Parameter, ParameterKind};
pub(crate) use reference::definitions;
pub(crate) use runner::run;
