//! The keys under which locks and the store know daemons: the same for every spelling of a path,
//! and whether the daemon is there or not.

use std::path::Path;

use crate::files::real_path;

/// The daemon that listens on this socket.
pub(crate) fn of_socket(socket: &Path) -> String {
    format!("Convoy at {}", real_path(socket).display())
}

/// The built-in daemon with this root.
pub(crate) fn of_root(root: &Path) -> String {
    format!("the built-in daemon at {}", real_path(root).display())
}
