//! HTTP: scripts, runs, the schedule and the dashboard, over a socket that strangers can reach.
//!
//! From the outside in:
//! - [`server`]: connections, TLS, limits;
//! - [`auth`]: what a request may do;
//! - [`routes`]: the table of paths. A handler gets a `request`, reads its `query` and [`body`],
//!   and returns an `answer` or a [`problem`]; `run_answer` has what answers about runs share;
//! - [`openapi`]: the same table for clients; [`assets`]: the dashboard.
//!
//! [`headers`] are on every answer. The handlers see the program as a [`core::Core`]; the
//! [`events::Hub`] publishes what happens in it, and [`progress`] how far its runs are.

mod answer;
pub(crate) mod assets;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod core;
pub(crate) mod events;
pub(crate) mod headers;
mod metrics;
pub(crate) mod openapi;
pub(crate) mod problem;
pub(crate) mod progress;
mod query;
mod request;
pub(crate) mod routes;
mod run_answer;
mod runs;
mod schedule;
mod scripts;
pub(crate) mod server;
mod status;
