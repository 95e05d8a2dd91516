//! The integration tests: the real binary, real sockets, real files.

mod bad_input;
mod command_line;
mod daemon_transcripts;
mod faults;
mod main_job;
mod support;
