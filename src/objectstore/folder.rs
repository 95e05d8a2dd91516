//! An object store in a folder. What lies there was written by others: only regular files are
//! opened, and no symbolic link is followed to one.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::OFlags, io::Errno};

use super::{
    layout::FOLDER,
    place::{Content, Deadline, Found, Place},
};
use crate::{convoy::guards::Seen, files::is_lost};

/// Larger files are not read as a whole.
const CHEAP_SIZE: u64 = 64 << 20;

pub(super) struct Folder {
    root: PathBuf,
    deadline: Deadline,
}

impl Folder {
    /// The object store in the folder of a destination. Nothing is read yet.
    pub(super) fn new(destination: &Path, deadline: Deadline) -> Self {
        Self { root: destination.join(FOLDER), deadline }
    }

    fn metadata(&self, path: &str) -> Found<Option<u64>> {
        match self.root.join(path).symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata.len())),
            Ok(_) => Err(no_file(path)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed(&self.root, path, &error)),
        }
    }
}

impl Place for Folder {
    fn open(&self, path: &str) -> Found<Option<Box<dyn Content>>> {
        self.deadline.check()?;
        // A named pipe would wait for its other end.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = match options.open(self.root.join(path)) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(no_file(path));
            }
            Err(error) => return Err(failed(&self.root, path, &error)),
        };
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => {
                let (root, path) = (self.root.clone(), path.to_owned());
                let (size, deadline) = (metadata.len(), self.deadline);
                Ok(Some(Box::new(OpenFile { file, root, path, size, deadline })))
            }
            Ok(_) => Err(no_file(path)),
            Err(error) => Err(failed(&self.root, path, &error)),
        }
    }

    fn sizes(&self, _folder: &str, paths: &[String]) -> Found<Vec<Option<u64>>> {
        let size = |path: &String| {
            self.deadline.check()?;
            self.metadata(path)
        };
        paths.iter().map(size).collect()
    }

    fn cheap_size(&self) -> u64 {
        CHEAP_SIZE
    }
}

struct OpenFile {
    file: File,
    root: PathBuf,
    path: String,
    size: u64,
    deadline: Deadline,
}

impl Content for OpenFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> Found<Vec<u8>> {
        self.deadline.check()?;
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(left)];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            // It became shorter since it was opened.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Vec::new()),
            Err(error) => Err(failed(&self.root, &self.path, &error)),
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn no_file(path: &str) -> Seen {
    Seen::Hidden(format!("\"{FOLDER}/{path}\" is no regular file"))
}

/// What an error says: a disk that can't read a file has lost it, while a server that does not
/// answer or a user that may not look have not.
fn failed(root: &Path, path: &str, error: &io::Error) -> Seen {
    let what = format!("\"{FOLDER}/{path}\" can't be read: {error}");
    if is_lost(error, root) {
        return Seen::Broken(format!("its file {what}"));
    }
    Seen::Hidden(what)
}
