//! Who may: tokens, the dashboard's session, and what a page from elsewhere must not do with a
//! browser that is signed in.
//!
//! A request shows a token (`Authorization: Bearer ..`), or the cookie that signing in with a token
//! gave. A browser sends the cookie along whoever asked it to, so what comes with one is looked at
//! more closely: its `Host` must be known (against names that were bent to this address), and what
//! changes something must come from our own page.

mod gate;
mod gated;
mod origin;
mod role;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod tries;

pub(crate) use gate::Gate;
pub(crate) use gated::Gated;
pub(crate) use role::{Access, Credential};
