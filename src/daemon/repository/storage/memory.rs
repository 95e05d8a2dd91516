//! A storage in memory, for tests: its clock is set, and each request can fail or wait.

use std::{collections::BTreeMap, fmt, sync::Mutex, time::Duration};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rustic_core::{FileType, Id};

use super::{Listed, Storage};
use crate::{
    error::{Error, ErrorKind, Result},
    sync::lock,
};

const KINDS: [FileType; 5] =
    [FileType::Config, FileType::Key, FileType::Pack, FileType::Index, FileType::Snapshot];

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    List(FileType),
    Read(FileType),
    Write(FileType),
    Remove(FileType),
}

impl Act {
    pub(crate) fn changes_something(self) -> bool {
        matches!(self, Self::Write(_) | Self::Remove(_))
    }
}

/// There is one config, whatever it is called.
fn key(kind: FileType, id: &Id) -> (&'static str, Id) {
    (kind.dirname(), if kind == FileType::Config { Id::default() } else { *id })
}

/// By their kinds and names, each with the time at which it was written.
type Files = BTreeMap<(&'static str, Id), (Bytes, Timestamp)>;
type Hook = Box<dyn Fn(Act) -> Result<()> + Send + Sync>;

/// The files of one repository, in memory. It has no locks.
pub(crate) struct Memory {
    files: Mutex<Files>,
    now: Mutex<Timestamp>,
    before: Hook,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    /// An empty storage. `before` is called before each request, which fails if it does.
    pub(crate) fn new(before: impl Fn(Act) -> Result<()> + Send + Sync + 'static) -> Self {
        let now = Mutex::new("2026-11-23T12:00:00Z".parse().unwrap());
        Self { files: Mutex::default(), now, before: Box::new(before) }
    }

    /// As it is now, with another hook.
    pub(crate) fn copy(&self, before: impl Fn(Act) -> Result<()> + Send + Sync + 'static) -> Self {
        let (files, now) = (lock(&self.files).clone(), *lock(&self.now));
        Self { files: Mutex::new(files), now: Mutex::new(now), before: Box::new(before) }
    }

    /// Writes all files to another storage.
    pub(crate) fn copy_to(&self, other: &dyn Storage) {
        other.make().unwrap();
        for ((folder, id), (content, _)) in &*lock(&self.files) {
            let kind = KINDS.into_iter().find(|kind| kind.dirname() == *folder).unwrap();
            other.write(kind, id, std::slice::from_ref(content)).unwrap();
        }
    }

    pub(crate) fn pass(&self, hours: i64) {
        let mut now = lock(&self.now);
        *now += SignedDuration::from_hours(hours);
    }

    /// Replaces what is in a file, as rot does.
    pub(crate) fn change(&self, kind: FileType, id: &Id, content: &'static [u8]) {
        let mut files = lock(&self.files);
        files.get_mut(&key(kind, id)).unwrap().0 = Bytes::from_static(content);
    }
}

impl Storage for Memory {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn make(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        Ok(self.list_written(kind)?.into_iter().map(|it| (it.id, it.size as u32)).collect())
    }

    fn list_written(&self, kind: FileType) -> Result<Vec<Listed>> {
        (self.before)(Act::List(kind))?;
        let files = lock(&self.files);
        let of_kind = files.iter().filter(|((of, _), _)| *of == kind.dirname());
        let listed = |((_, id), (content, written)): (&(_, Id), &(Bytes, Timestamp))| Listed {
            id: *id,
            size: content.len() as u64,
            written: Some(*written),
        };
        Ok(of_kind.map(listed).collect())
    }

    fn now(&self) -> Result<Timestamp> {
        Ok(*lock(&self.now))
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        (self.before)(Act::Read(kind))?;
        let content = lock(&self.files).get(&key(kind, id)).map(|(content, _)| content.clone());
        content.ok_or_else(|| Error::new(ErrorKind::Repository, "there is no such file"))
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        let content = self.read(kind, id)?;
        let (from, to) = (offset as usize, (offset + length) as usize);
        if to > content.len() {
            return Err(Error::new(ErrorKind::Repository, "the file is too short"));
        }
        Ok(content.slice(from..to))
    }

    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()> {
        (self.before)(Act::Write(kind))?;
        let now = *lock(&self.now);
        lock(&self.files).insert(key(kind, id), (parts.concat().into(), now));
        Ok(())
    }

    fn remove(&self, kind: FileType, id: &Id) -> Result<()> {
        (self.before)(Act::Remove(kind))?;
        lock(&self.files).remove(&key(kind, id));
        Ok(())
    }

    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        let files = lock(&self.files);
        Ok(files.get(&key(kind, id)).map(|(content, _)| content.len() as u64))
    }

    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        let written = lock(&self.files).get(&key(kind, id)).map(|(_, written)| *written);
        let age = |written| self.now().ok()?.duration_since(written).try_into().ok();
        Ok(written.and_then(age))
    }

    fn has_files(&self) -> Result<bool> {
        Ok(!self.list(FileType::Snapshot)?.is_empty())
    }

    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        Ok(self.list(FileType::Key)?.into_iter().map(|(id, _)| (id, None)).collect())
    }

    fn remove_leftovers(&self, _: Duration) -> usize {
        0
    }

    fn locks(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        Ok(Vec::new())
    }

    fn read_lock(&self, _: &Id) -> Result<Option<Bytes>> {
        Ok(None)
    }

    fn write_lock(&self, _: &Id, _: Bytes) -> Result<()> {
        Ok(())
    }

    fn remove_lock(&self, _: &Id) -> Result<()> {
        Ok(())
    }

    fn marked(&self, _: &str) -> Result<Option<Duration>> {
        Ok(None)
    }

    fn mark(&self, _: &str) -> Result<()> {
        Ok(())
    }
}
