//! The integration tests: the real binary, real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod daemon_transcripts;
mod faulty_daemon;
