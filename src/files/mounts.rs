//! Mount points, as this process sees them.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, StatxFlags};

use crate::mount_table;

/// The mount points at `folder` and below it, in order. `folder` is a path without symbolic links.
///
/// # Errors
/// If the system's list of mounts can't be read.
pub(crate) fn mounts_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mounts = mount_table::mounts()?;
    let mut found: Vec<_> =
        mount_table::at_or_below(&mounts, folder).map(|mount| mount.path.clone()).collect();
    found.sort();
    Ok(found)
}

/// The mount that an open folder is on. Two mounts of one device differ in `mount`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MountOf {
    device: u64,
    /// `None` on Linux before 5.8.
    mount: Option<u64>,
}

impl MountOf {
    /// Whether the system tells mounts of one device apart.
    pub(super) fn is_certain(self) -> bool {
        self.mount.is_some()
    }

    /// Whether the other one is known to be another mount, and not only another device on it, such
    /// as a subvolume of btrfs.
    pub(super) fn is_another_mount(self, other: Self) -> bool {
        self.mount != other.mount
    }

    /// The mount of an open folder, and the folder's inode on it.
    pub(super) fn folder(folder: &OwnedFd) -> io::Result<(Self, u64)> {
        let stat = rustix::fs::fstat(folder)?;
        let mount = rustix::fs::statx(folder, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
            .ok()
            .filter(|found| found.stx_mask & StatxFlags::MNT_ID.bits() != 0)
            .map(|found| found.stx_mnt_id);
        Ok((Self { device: stat.st_dev, mount }, stat.st_ino))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_list_of_mounts_is_read() {
        assert!(mounts_in(Path::new("/proc")).unwrap().contains(&PathBuf::from("/proc")));
        assert!(mounts_in(Path::new("/pro")).unwrap().is_empty());
    }
}
