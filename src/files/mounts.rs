//! Mount points, as this process sees them.

use std::{
    ffi::OsString,
    fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, StatxFlags};

/// The mount points at `folder` and below it, in order. `folder` is a path without symbolic links.
///
/// # Errors
/// If the system's list of mounts can't be read.
pub(crate) fn mounts_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let list = fs::read("/proc/self/mountinfo")?;
    let mut found: Vec<_> = list
        .split(|byte| *byte == b'\n')
        .filter_map(mount_point)
        .filter(|mount| mount.starts_with(folder))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// The mount point in a line of `mountinfo`: its fifth field (see proc_pid_mountinfo(5)).
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let field = line.split(|byte| *byte == b' ').nth(4)?;
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    // Blanks, line ends and backslashes are written as a backslash and three octal digits.
    while let [first, after @ ..] = rest {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                path.push(byte);
                rest = &after[3..];
            }
            _ => {
                path.push(*first);
                rest = after;
            }
        }
    }
    Some(OsString::from_vec(path).into())
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
        let line = br"36 35 98:0 /mnt1 /a\040b\134c/mnt2 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/a b\c/mnt2")));
        assert_eq!(mount_point(b""), None);
        assert!(mounts_in(Path::new("/proc")).unwrap().contains(&PathBuf::from("/proc")));
        assert!(mounts_in(Path::new("/pro")).unwrap().is_empty());
    }
}
