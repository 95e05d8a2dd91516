//! A file of a volume: listed first, opened when its turn comes, and then read.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::PathBuf,
    sync::Arc,
};

use rustix::io::Errno;

use super::failures::ReadFailures;
use crate::daemon::tree::open::{open_file, path_in_volume};

/// A listed file. It is opened when its turn comes, and not at all if it is unchanged.
pub(super) struct ListedFile {
    pub(super) folder: Arc<OwnedFd>,
    pub(super) name: CString,
    pub(super) path: PathBuf,
    pub(super) failures: Arc<ReadFailures>,
}

impl ListedFile {
    /// Opens the file; `None` if that failed, which is recorded.
    pub(super) fn open(self) -> Option<FileReader> {
        match self.open_file() {
            Ok(file) => Some(FileReader { file, path: self.path, failures: self.failures }),
            Err(error) => {
                self.failures.record(path_in_volume(&self.path), &error);
                None
            }
        }
    }

    fn open_file(&self) -> io::Result<File> {
        match open_file(&self.folder, &self.name) {
            Err(Errno::NXIO) => {
                Err(io::Error::other("it was replaced by something that is no file"))
            }
            opened => Ok(opened?.into()),
        }
    }
}

/// A file that is being read.
pub(super) struct FileReader {
    pub(super) file: File,
    path: PathBuf,
    failures: Arc<ReadFailures>,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        read.inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failures.record(path_in_volume(&self.path), error);
            }
        })
    }
}
