//! What stays free on the disk that volumes share: their programs need it.

use std::{io, os::fd::AsFd, path::Path};

use rustix::fs::{StatVfs, fstatvfs, statvfs};

/// So much of a disk stays free: a twentieth, and at most 1 GiB.
const PART: u64 = 20;
const MOST: u64 = 1 << 30;

/// What the disk of a folder has free beyond the reserve, in bytes.
///
/// # Errors
/// If that can't be seen.
pub(crate) fn room(folder: &Path) -> io::Result<u64> {
    Ok(room_of(&statvfs(folder)?))
}

/// As [`room`], for the disk of an open file.
///
/// # Errors
/// If that can't be seen.
pub(crate) fn room_at(file: impl AsFd) -> io::Result<u64> {
    Ok(room_of(&fstatvfs(file)?))
}

fn room_of(disk: &StatVfs) -> u64 {
    let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
    let reserve = (bytes(disk.f_blocks) / PART).min(MOST);
    bytes(disk.f_bavail).saturating_sub(reserve)
}
