//! HTTP: every script, the runs, the schedule and the dashboard over a socket that strangers can reach.
//!
//! From the outside in: [`server`] (connections, TLS, limits), [`auth`] (who may), [`routes`], which read what they are given
//! with [`body`] and answer what goes wrong with a [`problem`]. [`headers`] are on every answer. The program gives itself to them as a [`core::Core`].

pub mod core;
pub mod events;
mod query;
mod routes;
mod runs;
mod schedule;
mod scripts;
mod status;
