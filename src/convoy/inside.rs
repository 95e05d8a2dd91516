//! What is inside a backup: what is asked for, and what is answered. Paths are relative to the volume's
//! folder, without a `/` at either end; an empty one is the folder itself. A name that is no UTF-8 is
//! shown with `U+FFFD`, and found by what is shown.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::error::Result;

/// The most entries of one answer.
pub(crate) const MOST_ENTRIES: usize = 50_000;

/// About so many bytes of paths and names an answer has at most.
pub(crate) const MOST_BYTES: usize = 12 << 20;

/// A question about what backups have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "What")]
pub(crate) enum Look {
    /// What a folder in a backup has, or what a file is.
    List(ListFiles),
    /// In which backups there are files with such names.
    Find(FindFiles),
    /// What differs between two backups, or a backup and its volume as it is now.
    Compare(Compare),
}

/// The answer to a [`Look`] of the same kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "What")]
pub(crate) enum Seen {
    List(ListedFiles),
    Find(FoundFiles),
    Compare(Differences),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListFiles {
    /// The backup's URL.
    #[serde(rename = "URL")]
    pub(crate) url: String,
    pub(crate) path: String,
    /// Whether what is in folders below is listed, too.
    #[serde(default)]
    pub(crate) below: bool,
    /// Only what comes after this path, in the order of the list.
    #[serde(default)]
    pub(crate) after: Option<String>,
    /// No more entries; [`MOST_ENTRIES`] at most.
    pub(crate) most: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListedFiles {
    /// What the path is.
    pub(crate) entry: FileEntry,
    /// What is in it, each folder before what is in it, sorted by the names' bytes.
    pub(crate) entries: Vec<FileEntry>,
    /// Whether there are more behind the last one.
    pub(crate) has_more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FindFiles {
    /// The destination's URL.
    #[serde(rename = "URL")]
    pub(crate) url: String,
    /// A pattern as of `--exclude`: of the name, or with a `/` in it of the path.
    pub(crate) pattern: String,
    /// Upper and lower case are the same.
    #[serde(default)]
    pub(crate) ignore_case: bool,
    /// Only in backups of this volume.
    #[serde(default)]
    pub(crate) volume: Option<String>,
    /// Only in backups of this time or later.
    #[serde(default)]
    pub(crate) since: Option<Timestamp>,
    /// No more files; [`MOST_ENTRIES`] at most.
    pub(crate) most: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundFiles {
    pub(crate) files: Vec<FoundFile>,
    /// Whether more were found.
    pub(crate) has_more: bool,
    /// How many backups were looked at.
    pub(crate) backups: usize,
    /// Backups that could not be looked at, or not at all of them, and why.
    pub(crate) failed: Vec<String>,
}

/// A file as it is in some backups of a volume, one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FoundFile {
    #[serde(flatten)]
    pub(crate) entry: FileEntry,
    pub(crate) volume: String,
    /// In how many backups it is the same.
    pub(crate) backups: usize,
    /// The first one and the last one of these.
    pub(crate) first: BackupOf,
    pub(crate) last: BackupOf,
}

/// A backup, and when its volume was so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BackupOf {
    #[serde(rename = "URL")]
    pub(crate) url: String,
    pub(crate) taken: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Compare {
    /// The backup's URL.
    #[serde(rename = "URL")]
    pub(crate) url: String,
    /// The URL of the other backup, at the same destination.
    pub(crate) with: String,
    /// Only what is at this path and below it.
    #[serde(default)]
    pub(crate) path: String,
    /// No more differences; [`MOST_ENTRIES`] at most.
    pub(crate) most: usize,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Differences {
    /// Sorted by path.
    pub(crate) files: Vec<Difference>,
    pub(crate) has_more: bool,
    /// How many there are of each kind, also of those that are left out.
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) changed: u64,
    /// Of these, only owner, mode, times or attributes changed.
    pub(crate) changed_metadata: u64,
    /// The bytes in files that were added, removed, and changed (as they are now).
    pub(crate) added_bytes: u64,
    pub(crate) removed_bytes: u64,
    pub(crate) changed_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Difference {
    pub(crate) change: Change,
    pub(crate) path: String,
    /// As it was; `None` if it is new.
    pub(crate) before: Option<FileEntry>,
    /// As it is in the other; `None` if it is gone.
    pub(crate) after: Option<FileEntry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    Added,
    Removed,
    /// The content is another one, or the kind.
    Changed,
    /// The content is the same.
    Metadata,
}

/// A file, folder, link or other thing in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FileEntry {
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
    /// The bytes of a file.
    pub(crate) size: u64,
    pub(crate) modified: Option<Timestamp>,
    /// The permissions, with set-user-id, set-group-id and sticky.
    pub(crate) mode: u32,
    #[serde(rename = "UID")]
    pub(crate) uid: u32,
    #[serde(rename = "GID")]
    pub(crate) gid: u32,
    /// The names of owner and group, where the host that made the backup knew them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<String>,
    /// Where a symbolic link leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EntryKind {
    File,
    Folder,
    Symlink,
    Fifo,
    Socket,
    Device,
}

/// What is wanted of a file or a folder in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ReadFile {
    /// The backup's URL.
    #[serde(rename = "URL")]
    pub(crate) url: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) form: Form,
    /// Of a file's content: from this byte on.
    #[serde(default)]
    pub(crate) offset: u64,
    /// So many bytes at most.
    #[serde(default)]
    pub(crate) length: Option<u64>,
}

/// The form in which a file or a folder is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Form {
    /// The content of a file.
    #[default]
    Content,
    /// A tar archive (pax) of a file, or of a folder and all below it.
    Tar,
}

/// What is read of a file or a folder, piece by piece.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) entry: FileEntry,
    /// How many bytes come; `None` if that is not known before.
    pub(crate) length: Option<u64>,
    /// It ends after the last piece, or with an error.
    pub(crate) pieces: mpsc::Receiver<Result<Bytes>>,
}
