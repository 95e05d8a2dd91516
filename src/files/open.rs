//! Opening what others may have put there.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

/// Opens without changing the access time if the system allows it (for the owner, or root).
pub(crate) fn open_at(folder: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let folder = folder.as_fd();
    match rustix::fs::openat(folder, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(folder, name, flags, Mode::empty()),
        other => other,
    }
}

/// Opens a file for reading without changing the access time, as [`open_at`]. What is no regular file
/// is not opened, also if it takes the file's place just now: opening a device can do things, and
/// opening a pipe lets another program go on.
///
/// # Errors
/// [`Errno::NXIO`] if it is no regular file.
pub(crate) fn open_file(folder: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let folder = folder.as_fd();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // That opens nothing yet, and only names what is there.
    let named = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    is_file(&named)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let number = format!("/proc/self/fd/{}", named.as_raw_fd());
    let open = |flags| rustix::fs::open(&number, flags, Mode::empty());
    let opened = match open(flags | OFlags::NOATIME) {
        Err(Errno::PERM) => open(flags),
        opened => opened,
    };
    match opened {
        // Without /proc, and not because the file is gone: it has a handle.
        Err(Errno::NOENT) => {
            let file = open_at(folder, name, flags | OFlags::NOFOLLOW)?;
            is_file(&file).map(|()| file)
        }
        opened => opened,
    }
}

fn is_file(file: &OwnedFd) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
    if kind == FileType::RegularFile { Ok(()) } else { Err(Errno::NXIO) }
}
