//! Where a repository's files are: in a folder or in a bucket, in restic's layout.

mod bucket;
mod folder;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use bytes::Bytes;
use rustic_core::{FileType, Id};

use crate::error::Result;
pub(crate) use bucket::Bucket;
pub(crate) use bucket::S3Options;
pub(crate) use folder::Folder;

/// The files of one repository. Each becomes visible as a whole or not at all.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// Where the repository is, in people's words.
    fn location(&self) -> String;

    /// Makes the folders that have to be there before files can be written.
    fn make(&self) -> Result<()>;

    /// All files of a kind, each with its size in bytes.
    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>>;

    /// A whole file. [`crate::error::ErrorKind::Repository`] where the file is not there.
    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes>;

    /// `length` bytes of a file, from `offset` on.
    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes>;

    /// Writes a file, durably. A config is never replaced: two hosts may make the repository at the
    /// same moment.
    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()>;

    /// Removes a file; one that is gone is no error.
    fn remove(&self, kind: FileType, id: &Id) -> Result<()>;

    /// A file's size in bytes, `None` where it is missing.
    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>>;

    /// The sizes of these packs in bytes; those that are missing are left out.
    fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        let size = |id: &Id| Ok(self.size(FileType::Pack, id)?.map(|size| (*id, size)));
        packs.iter().filter_map(|id| size(id).transpose()).collect()
    }

    /// Whether there are files of backups, for which there must be a config and keys.
    fn has_files(&self) -> Result<bool>;

    /// The keys that are there, with their ages where they are known.
    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>>;

    /// Removes the files that a process of this host left half written more than `age` ago; how
    /// many there were.
    fn remove_leftovers(&self, age: Duration) -> usize;

    /// How long ago a mark of this name was made; `None` where there is none.
    fn marked(&self, name: &str) -> Result<Option<Duration>>;

    /// Makes a mark of this name.
    fn mark(&self, name: &str) -> Result<()>;
}

/// A file's name within its repository.
fn file_name(kind: FileType, id: &Id) -> String {
    let name = id.to_hex();
    let name = name.as_str();
    match kind {
        FileType::Config => "config".to_owned(),
        FileType::Pack => format!("data/{}/{name}", &name[..2]),
        _ => format!("{}/{name}", kind.dirname()),
    }
}
