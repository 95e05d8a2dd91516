//! Opening the files and folders of a volume.

use std::{
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// Opens without changing the access time if the system allows it (for the owner, or root).
pub(in crate::daemon) fn open_at(
    folder: impl AsFd,
    name: &CStr,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let folder = folder.as_fd();
    match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
        other => other,
    }
}

/// Converts `/<volume>/a/b` to the path in the volume, `a/b`, which an operator knows.
pub(super) fn path_in_volume(shown: &Path) -> &Path {
    let mut parts = shown.components();
    parts.next();
    parts.next();
    parts.as_path()
}
