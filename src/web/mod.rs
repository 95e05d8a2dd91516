//! HTTP: every script, the runs, the schedule and the dashboard over a socket that strangers can
//! reach.
//!
//! From the outside in: [`server`] (connections, TLS, limits), [`auth`] (who may), [`routes`],
//! which read what they are given with [`body`] and answer what goes wrong with a [`problem`].
//! [`headers`] are on every answer. The program gives itself to them as a [`core::Core`], and what
//! happens in it goes through the [`events::Hub`]; how far its runs are is in their [`progress`].

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
