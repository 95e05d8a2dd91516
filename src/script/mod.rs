//! The host of Rhai scripts: finds a script, reads what it declares, checks its arguments, and runs
//! it within limits.
//!
//! - [`library`] finds scripts (built in, or in the user's folder); [`manifest`] reads what one
//!   declares; [`arguments`] checks what it is given, whoever gives it; `check` finds misspelt
//!   primitives before anything runs.
//! - `engine` is the one place that builds an engine; [`primitives`] are the functions that scripts
//!   have; `resolver` keeps imports inside the scripts' folders; `errors` translates Rhai's errors
//!   into this crate's.
//! - [`host`] is what a run gives its primitives, and [`run`] is the one way to run a script.

pub(crate) mod arguments;
mod check;
pub(crate) mod describe;
mod engine;
mod errors;
pub(crate) mod host;
pub(crate) mod library;
pub(crate) mod manifest;
pub(crate) mod primitives;
mod resolver;
mod runner;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod threads;

pub(crate) use arguments::Arguments;
pub(crate) use host::{
    Failure, Host, Listener, Mail, MessageSink, NotifyLog, Outcome, Post, RunInfo, Settings,
    Silent, Speaker, Status,
};
pub(crate) use library::{Library, Listed, Origin, Script};
pub(crate) use manifest::{Parameter, ParameterKind};
pub(crate) use primitives::definitions;
pub(crate) use runner::run;
