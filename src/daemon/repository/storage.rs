//! Where a repository's files are: in a folder or in a bucket. The layout is restic's.

mod bucket;
mod cached;
mod folder;
#[cfg(test)]
mod memory;

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    path::Path,
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::{FileType, Id};

use super::cipher::hash;
use crate::error::{Error, ErrorKind, Result};
pub(crate) use bucket::Bucket;
pub(crate) use cached::Cached;
pub(crate) use folder::Folder;
#[cfg(test)]
pub(crate) use memory::{Act, Memory};

/// A file in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Id,
    /// In bytes.
    pub(crate) size: u64,
    /// When it was written, by the storage's clock ([`Storage::now`]); `None` if that is not known.
    pub(crate) written: Option<Timestamp>,
}

/// The files of one repository. A file becomes visible as a whole or not at all.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// Where the repository is, for people.
    fn location(&self) -> String;

    /// Creates the folders that must exist before files can be written.
    fn make(&self) -> Result<()>;

    /// All files of a kind, with their sizes in bytes.
    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>>;

    /// The names of all files of a kind, for lists that are taken often.
    fn names(&self, kind: FileType) -> Result<Vec<Id>> {
        Ok(self.list(kind)?.into_iter().map(|(id, _)| id).collect())
    }

    /// As [`Storage::list`], with the times at which the files were written.
    fn list_written(&self, kind: FileType) -> Result<Vec<Listed>>;

    /// The time by the clock that tells when files are written: a share's server and a bucket have one of
    /// their own. Who may not remove files can't be told it by a bucket.
    fn now(&self) -> Result<Timestamp>;

    /// A whole file. The error is [`crate::error::ErrorKind::Repository`] if the file is missing.
    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes>;

    /// `length` bytes of a file, from `offset` on.
    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes>;

    /// As [`Storage::read_part`], for a large part of a pack that is read once. Less may come if the
    /// pack is too short.
    fn read_stretch(&self, pack: &Id, offset: u32, length: u32) -> Result<Bytes> {
        self.read_part(FileType::Pack, pack, offset, length)
    }

    /// Whether each read waits for an answer over the network.
    fn is_far(&self) -> bool {
        false
    }

    /// Whether writing takes longer than to a disk of this machine.
    fn is_slow(&self) -> bool {
        self.is_far()
    }

    /// Writes a file durably. A config is never replaced, because two hosts may create the
    /// repository at the same moment.
    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()>;

    /// Writes a pack durably that waits in a file, if it is still what its name says.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Io`] if it can't be read, is not what was written, or can't be written.
    fn write_waiting(&self, pack: &Id, file: &Path) -> Result<()> {
        let content = fs::read(file).map_err(|error| {
            Error::io(format!("cannot read \"{}\" in the spool", file.display()), &error)
        })?;
        if Id::new(hash(&content)) != *pack {
            return Err(not_what_was_written(file));
        }
        self.write(FileType::Pack, pack, &[content.into()])
    }

    /// Removes a file. A missing file is not an error.
    fn remove(&self, kind: FileType, id: &Id) -> Result<()>;

    /// Whether files may be removed at all, as far as can be told without removing one that counts.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Denied`] if not; another kind if the storage can't tell.
    fn may_remove(&self) -> Result<()> {
        Ok(())
    }

    /// A file's size in bytes; `None` if the file is missing.
    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>>;

    /// How long ago a file was written, by the storage's clock. `None` if the file is missing, or if
    /// that time is still to come.
    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>>;

    /// The sizes of these packs in bytes. Missing packs are left out.
    fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        let size = |id: &Id| Ok(self.size(FileType::Pack, id)?.map(|size| (*id, size)));
        packs.iter().filter_map(|id| size(id).transpose()).collect()
    }

    /// Whether there are files of backups. Such files need a config and keys.
    fn has_files(&self) -> Result<bool>;

    /// All keys, with their ages if these are known.
    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>>;

    /// Removes unfinished files that a process of this host left more than `age` ago, and returns
    /// how many there were.
    fn remove_leftovers(&self, age: Duration) -> usize;

    /// restic's locks.
    fn locks(&self) -> Result<Vec<Listed>>;

    /// A lock of restic's; `None` if it is gone, or larger than [`LARGEST_LOCK`].
    fn read_lock(&self, id: &Id) -> Result<Option<Bytes>>;

    /// Writes a lock of restic's.
    fn write_lock(&self, id: &Id, content: Bytes) -> Result<()>;

    /// Removes a lock of restic's. A missing one is not an error.
    fn remove_lock(&self, id: &Id) -> Result<()>;

    /// The age of the mark with this name; `None` if there is no such mark.
    fn marked(&self, name: &str) -> Result<Option<Duration>>;

    /// Sets the mark with this name.
    fn mark(&self, name: &str) -> Result<()>;
}

/// The folder of restic's locks.
const LOCKS: &str = "locks";
/// The largest lock of restic's that is read, in bytes. One has some 200.
const LARGEST_LOCK: u64 = 16 * 1024;

/// The name of a lock of restic's in its repository.
fn lock_name(id: &Id) -> String {
    format!("{LOCKS}/{}", id.to_hex().as_str())
}

/// The name of a file in its repository.
fn file_name(kind: FileType, id: &Id) -> String {
    let name = id.to_hex();
    let name = name.as_str();
    match kind {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{name}", &name[..2]),
        _ => format!("{}/{name}", kind.dirname()),
    }
}

/// The error for a pack that waits in a file and has changed.
fn not_what_was_written(file: &Path) -> Error {
    let message = format!("\"{}\" in the spool is not what was written", file.display());
    Error::new(ErrorKind::Io, message)
        .with_hint("look at the disk's health; BKUP_SPOOL_MAX=0 does without a spool")
}
