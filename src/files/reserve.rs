//! What is free on a disk, but for what is kept free for others: for programs in containers, and for this
//! one to tell what is wrong.

use std::{io, os::fd::AsFd, path::Path};

use rustix::fs::{StatVfs, fstatvfs, statvfs};

/// The part of a disk that is kept free, at most so many bytes.
const RESERVED_PART: u64 = 20;
const MOST_RESERVED: u64 = 1 << 30;
/// The part of the files and folders that a disk can have, at most so many.
const RESERVED_PART_OF_ENTRIES: u64 = 100;
const MOST_ENTRIES_RESERVED: u64 = 10_000;

/// What is free on a disk beyond the reserve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    /// Files and folders; `None` where the disk has no bound of its own.
    pub(crate) entries: Option<u64>,
}

impl Room {
    /// What is free on the disk of a folder.
    ///
    /// # Errors
    /// If that can't be seen.
    pub(crate) fn in_folder(folder: &Path) -> io::Result<Self> {
        Ok(Self::of(&statvfs(folder)?))
    }

    /// What is free on the disk of an open file.
    ///
    /// # Errors
    /// If that can't be seen.
    pub(crate) fn beside(file: impl AsFd) -> io::Result<Self> {
        Ok(Self::of(&fstatvfs(file)?))
    }

    pub(crate) fn of(disk: &StatVfs) -> Self {
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let reserve = (bytes(disk.f_blocks) / RESERVED_PART).min(MOST_RESERVED);
        let entries = (disk.f_files / RESERVED_PART_OF_ENTRIES).min(MOST_ENTRIES_RESERVED);
        Self {
            bytes: bytes(disk.f_bavail).saturating_sub(reserve),
            entries: (disk.f_files > 0).then(|| disk.f_favail.saturating_sub(entries)),
        }
    }
}
