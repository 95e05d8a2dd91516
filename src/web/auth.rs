//! Decides who may do what: tokens, the dashboard's session, and what a foreign page must not do
//! with a browser that is signed in.
//!
//! A request shows a token (`Authorization: Bearer ..`), or the cookie that signing in with a token
//! gave. A browser sends the cookie with any request, whichever page asked for it. So a request
//! with a cookie is checked further: its `Host` must be known (against DNS names that were pointed
//! at this address), and a request that changes something must come from the dashboard's own page.

mod gate;
mod gated;
mod origin;
mod role;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod wrong_tokens;

pub(crate) use gate::Gate;
pub(crate) use gated::Gated;
pub(crate) use role::{Access, Credential};
