//! The client of Convoy's unix socket.
