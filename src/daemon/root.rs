//! The root: the one folder that holds everything of a daemon. Each path in it is named here.

use std::path::{Path, PathBuf};

/// The key of the root's own repository.
pub(crate) fn key_file(root: &Path) -> PathBuf {
    root.join("repository.key")
}
