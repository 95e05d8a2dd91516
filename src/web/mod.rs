//! HTTP: every script, the runs, the schedule and the dashboard over a socket that strangers can
//! reach.
//!
//! From the outside in: [`server`] (connections, TLS, limits), [`auth`] (who may), [`routes`],
//! which read what they are given with [`body`] and answer what goes wrong with a [`problem`].
//! [`headers`] are on every answer. The program gives itself to them as a [`core::Core`], and what
//! happens in it goes through the [`events::Hub`]; how far its runs are is in their [`progress`].

pub mod assets;
pub mod auth;
pub mod body;
pub mod core;
pub mod events;
pub mod headers;
mod metrics;
pub mod openapi;
pub mod problem;
pub mod progress;
mod query;
pub mod routes;
mod runs;
mod schedule;
mod scripts;
pub mod server;
mod status;
