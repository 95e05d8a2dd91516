//! HTTP: every script, the runs, the schedule and the dashboard over a socket that strangers can reach.
//!
//! From the outside in: [`server`] (connections, TLS, limits), [`auth`] (who may), then the routes, which read what they are given
//! with [`body`] and answer what goes wrong with a [`problem`]. [`headers`] are on every answer.

pub mod auth;
pub mod body;
pub mod headers;
pub mod problem;
pub mod server;
