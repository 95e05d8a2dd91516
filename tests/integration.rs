//! The integration tests: the real binary, real sockets.

mod support;
