//! The flags for opening a folder to walk it: never through a symlink.

pub(super) use crate::files::FOLDER;
