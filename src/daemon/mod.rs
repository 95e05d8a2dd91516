//! The built-in daemon.
