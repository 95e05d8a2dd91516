//! How files and folders of a volume are opened.

use std::{ffi::CStr, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

/// Opens without touching the access time where the system allows it (the owner, or root).
pub(super) fn open_at(folder: &OwnedFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
        other => other,
    }
}

/// `/<volume>/a/b` as the operator knows it: `a/b`.
pub(super) fn path_in_volume(shown: &Path) -> &Path {
    let mut parts = shown.components();
    parts.next();
    parts.next();
    parts.as_path()
}
