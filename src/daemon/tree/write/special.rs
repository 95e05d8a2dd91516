//! Symlinks, FIFOs, devices and sockets.

use std::{
    ffi::{CString, OsStr, OsString},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use rustic_core::repofile::{Node, NodeType};
use rustix::{
    fs::{AtFlags, FileType, Mode, XattrFlags},
    io::Errno,
};

use super::{
    metadata::{MetadataWriter, mode_of, times},
    path::failed,
};
use crate::error::Result;

/// Creates a symlink, FIFO, device or socket with its metadata. `false` if this process is not
/// allowed to.
pub(super) fn make_special(
    metadata: MetadataWriter<'_>,
    folder: &OwnedFd,
    name: &CString,
    path: &Path,
    node: &Node,
) -> Result<bool> {
    let made = make(folder, name, node);
    let device = matches!(node.node_type, NodeType::Chardev { .. } | NodeType::Dev { .. });
    if device && made == Err(Errno::PERM) {
        metadata
            .warn(&format!("the device \"{}\" was not made: that needs CAP_MKNOD", path.display()));
        return Ok(false);
    }
    made.map_err(failed(path))?;
    set_metadata(metadata, folder, name, path, node)?;
    Ok(true)
}

fn make(folder: &OwnedFd, name: &CString, node: &Node) -> Result<(), Errno> {
    let make =
        |kind, device| rustix::fs::mknodat(folder, name, kind, Mode::RUSR | Mode::WUSR, device);
    match &node.node_type {
        NodeType::Symlink { .. } => rustix::fs::symlinkat(node.node_type.to_link(), folder, name),
        NodeType::Fifo => make(FileType::Fifo, 0),
        NodeType::Socket => make(FileType::Socket, 0),
        NodeType::Chardev { device } => make(FileType::CharacterDevice, *device),
        NodeType::Dev { device } => make(FileType::BlockDevice, *device),
        NodeType::Dir | NodeType::File => Ok(()),
    }
}

/// Sets the metadata of a file that can't be opened. The owner comes first, as for open files.
fn set_metadata(
    metadata: MetadataWriter<'_>,
    folder: &OwnedFd,
    name: &CString,
    path: &Path,
    node: &Node,
) -> Result<()> {
    let meta = &node.meta;
    let owned = metadata.owner(meta, path, |user, group| {
        rustix::fs::chownat(folder, name, user, group, AtFlags::SYMLINK_NOFOLLOW)
    })?;
    let mut through = OsString::from(format!("/proc/self/fd/{}/", folder.as_raw_fd()));
    through.push(OsStr::from_bytes(name.as_bytes()));
    let lost = metadata.attributes(meta, path, |name, value| {
        rustix::fs::lsetxattr(&through, name, value, XattrFlags::empty())
    })?;
    if let Some(mode) = mode_of(meta, owned, lost).filter(|_| !node.is_symlink()) {
        rustix::fs::chmodat(folder, name, mode, AtFlags::empty()).map_err(failed(path))?;
    }
    rustix::fs::utimensat(folder, name, &times(meta), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed(path))
}
