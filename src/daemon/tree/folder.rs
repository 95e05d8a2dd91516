//! The flags for opening a folder to walk it: never through a symlink.

use rustix::fs::OFlags;

pub(super) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
