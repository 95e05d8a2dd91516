//! The built-in daemon.

pub mod server;
