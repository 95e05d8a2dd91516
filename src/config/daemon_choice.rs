//! The volume daemon that a configuration names.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::{convoy::identity, files::real_path};

/// The longest path of a Unix socket, in bytes.
pub(super) const LONGEST_SOCKET: usize = 107;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DaemonChoice {
    /// The daemon that listens on this socket.
    Socket(PathBuf),
    /// The built-in daemon with this root.
    Builtin(PathBuf),
}

impl DaemonChoice {
    /// `unix:///socket` or `builtin:/folder`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let absolute = |path: &str| {
            path.starts_with('/').then(|| Path::new(path).components().collect::<PathBuf>())
        };
        if let Some(path) = text.strip_prefix("unix://") {
            absolute(path)
                .filter(|path| path.parent().is_some() && path.as_os_str().len() <= LONGEST_SOCKET)
                .map(Self::Socket)
        } else {
            absolute(text.strip_prefix("builtin:")?)
                .filter(|path| path.parent().is_some())
                .map(Self::Builtin)
        }
    }
}

impl DaemonChoice {
    /// The key under which the store knows the daemon's volumes ([`crate::convoy::Daemon::identity`]).
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Socket(socket) => identity::of_socket(socket),
            Self::Builtin(root) => identity::of_root(root),
        }
    }

    /// Whether both are one daemon. The owner of a built-in daemon's root serves the root's own
    /// socket.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let is_of_root =
            |socket: &Path, root: &Path| real_path(socket) == real_path(root).join("convoy.sock");
        match (self, other) {
            (Self::Socket(socket), Self::Builtin(root))
            | (Self::Builtin(root), Self::Socket(socket)) => is_of_root(socket, root),
            _ => self.identity() == other.identity(),
        }
    }
}

impl fmt::Display for DaemonChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Builtin(path) => write!(f, "builtin:{}", path.display()),
        }
    }
}
