//! A file of a volume: listed first, opened when its turn comes, and then read.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
};

use rustic_core::{ErrorKind as RusticKind, ReadSourceOpen, RusticError, RusticResult};
use rustix::fs::{FileType, OFlags};

use super::{
    failures::ReadFailures,
    open::{open_at, path_in_volume},
};
use crate::daemon::repository::Backend;

/// A listed file. It is opened when its turn comes, and not at all if it is unchanged.
pub(in crate::daemon) struct ListedFile {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) name: CString,
    pub(super) path: PathBuf,
    /// The device and the inode of the listed file.
    pub(super) listed: (u64, u64),
    pub(super) size: u64,
    pub(super) failures: Arc<ReadFailures>,
    pub(super) backend: Arc<Backend>,
}

impl ReadSourceOpen for ListedFile {
    type Reader = FileReader;

    fn open(self) -> RusticResult<FileReader> {
        match self.open_file() {
            Ok((file, left)) => Ok(FileReader {
                file,
                left,
                path: self.path,
                failures: self.failures,
                backend: self.backend,
            }),
            Err(error) => {
                self.failures.record(path_in_volume(&self.path), &error);
                self.failures.taken_back();
                let what = "a file can't be opened";
                Err(RusticError::with_source(RusticKind::InputOutput, what, error))
            }
        }
    }
}

impl ListedFile {
    /// Opens the file, and returns how many bytes of it to read. If another file took the name
    /// since the listing, the listed size does not apply. Programs do this when they write a new
    /// file and rename it.
    fn open_file(&self) -> io::Result<(File, u64)> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = open_at(&self.folder, &self.name, flags)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it was replaced by something that is no file"));
        }
        let same = (stat.st_dev, stat.st_ino) == self.listed;
        Ok((file.into(), if same { self.size } else { u64::try_from(stat.st_size).unwrap_or(0) }))
    }
}

/// A file that is being read. Reading ends at the listed size.
pub(in crate::daemon) struct FileReader {
    pub(super) file: File,
    /// The bytes that remain to be read.
    pub(super) left: u64,
    pub(super) path: PathBuf,
    pub(super) failures: Arc<ReadFailures>,
    pub(super) backend: Arc<Backend>,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.backend.failure() {
            self.failures.stop(error);
            return Err(io::Error::other("the repository can't be written"));
        }
        let length = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        match self.file.read(&mut buffer[..length]) {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failures.record(path_in_volume(&self.path), &error);
                Err(error)
            }
        }
    }
}
