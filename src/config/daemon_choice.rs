//! The volume daemon that a configuration names.

use std::{
    fmt,
    path::{Path, PathBuf},
};

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

impl fmt::Display for DaemonChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Builtin(path) => write!(f, "builtin:{}", path.display()),
        }
    }
}
