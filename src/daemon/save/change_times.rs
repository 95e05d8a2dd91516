//! Where a file's change time also tells of its extended attributes: they are not listed then for a
//! file that is as it was.

use std::os::fd::OwnedFd;

use rustix::fs::{Stat, fstatfs};

/// ext2 to ext4, XFS and btrfs. Others, as FUSE and older tmpfs, may change an attribute and no time.
const TELLING: [u64; 3] = [0xef53, 0x5846_5342, 0x9123_683e];

/// The device of a folder, if the change times of its files tell of their attributes.
pub(super) fn telling_device(folder: &OwnedFd, stat: &Stat) -> Option<u64> {
    let kind = fstatfs(folder).ok()?.f_type as u64 & 0xffff_ffff;
    TELLING.contains(&kind).then_some(stat.st_dev)
}
