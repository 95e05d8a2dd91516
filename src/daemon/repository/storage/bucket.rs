//! A repository in an S3 bucket of Amazon or of another service.
//!
//! An object appears as a whole when its upload is complete, so nothing unfinished is ever visible.
//! A bucket has no locks; [`crate::daemon`]'s `backups` says what follows from that.

mod content;
mod windows;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use aws_sdk_s3::types::Object;
use bytes::Bytes;
use jiff::Timestamp;
use rustic_core::{FileType, Id};
use sha2::{Digest as _, Sha256};

use self::{
    content::read,
    windows::{WINDOW, Windows},
};
use super::{
    super::{hex_hash::HexHash, limits::largest_file},
    LARGEST_LOCK, LOCKS, Listed, Storage, file_name, lock_name, not_what_was_written,
};
use crate::{
    daemon::threads::spawn,
    error::{Error, ErrorKind, Result},
    s3::{Extent, ObjectLock, Objects, S3Options, age, size, time},
};

/// From this many packs on, listing all packs, 1,000 in an answer, is cheaper than asking for each.
const MANY_PACKS: usize = 10;

/// An object that is written to learn the service's time.
const CLOCK: &str = "convoy-backups.clock";
/// So often it is written, where other hosts remove it to learn the time themselves.
const MOST_CLOCKS: usize = 5;
/// An object that never is: whether it can be removed tells whether anything can.
const NOTHING: &str = "convoy-backups.nothing";

/// The place of a repository in a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    objects: Objects,
    windows: Arc<Windows>,
}

impl Bucket {
    /// The repository named `repository` under `path` in a bucket. Nothing is sent yet.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn new(options: &S3Options, bucket: &str, region: &str, path: &str) -> Result<Self> {
        let objects = Objects::new(options, bucket, region, path, "repository")?;
        Ok(Self { objects, windows: Arc::default() })
    }

    /// The same, as it was at a time: nothing can be written.
    pub(crate) fn at_time(self, at: Timestamp) -> Self {
        Self { objects: self.objects.at_time(at), ..self }
    }

    /// Refuses to write where the bucket is looked at as it was.
    ///
    /// # Errors
    /// A usage error, if so.
    pub(crate) fn refuse_past(&self) -> Result<()> {
        self.objects.refuse_past()
    }

    /// How files that must not vanish are locked.
    pub(crate) fn object_lock(&self) -> Option<ObjectLock> {
        self.objects.object_lock()
    }

    /// The files that were written and locked since the last call, by their names, and until when they are.
    pub(crate) fn take_locked(&self) -> BTreeMap<String, Timestamp> {
        self.objects.take_locked()
    }

    /// The name of a file.
    pub(crate) fn name(kind: FileType, id: &Id) -> String {
        file_name(kind, id)
    }

    /// Locks a file anew, for the whole time from now on. Returns until when it is locked; `None` if it is
    /// gone.
    ///
    /// # Errors
    /// If it can't be locked.
    pub(crate) fn lock_again(&self, kind: FileType, id: &Id) -> Result<Option<Timestamp>> {
        self.objects.lock_again(&file_name(kind, id))
    }

    /// Looks whether the service shows the lock of a file that was locked.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if not.
    pub(crate) fn check_locked(&self, kind: FileType, id: &Id) -> Result<()> {
        self.objects.check_locked(&file_name(kind, id))
    }

    /// Writes an empty object that is as old as this call. Where nothing may be overwritten, it can be all the
    /// same.
    fn put_anew(&self, name: &str) -> Result<()> {
        self.objects.remove(name)?;
        self.objects.put(name, Bytes::new(), Sha256::digest([]).into())
    }

    /// The sizes of a few packs, all of which are asked for at the same time.
    fn sizes_at_once(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        thread::scope(|threads| {
            let ask =
                |pack| spawn(threads, "sizes", move || (pack, self.size(FileType::Pack, &pack)));
            let asked = packs.iter().copied().map(ask).collect::<Result<Vec<_>>>()?;
            let mut sizes = HashMap::new();
            for answer in asked {
                let ended = |_| Error::internal("asking for the sizes of packs failed");
                let (pack, size) = answer.join().map_err(ended)?;
                sizes.extend(size?.map(|size| (pack, size)));
            }
            Ok(sizes)
        })
    }

    /// The objects of a folder.
    fn listed(&self, folder: &str) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        self.walk(folder, |id, object| {
            let written = object.last_modified().and_then(time);
            found.push(Listed { id, size: size(object), written });
            true
        })?;
        Ok(found)
    }

    /// Passes each object of a folder to `each`, until that returns `false`.
    fn walk(&self, folder: &str, mut each: impl FnMut(Id, &Object) -> bool) -> Result<()> {
        self.objects.list(folder, |name, object| {
            // An object with another name does not belong to the repository.
            let id = Some(name).filter(|name| name.len() == 64).and_then(|name| name.parse().ok());
            id.is_none_or(|id| each(id, object))
        })
    }
}

impl Storage for Bucket {
    fn location(&self) -> String {
        self.objects.location().to_owned()
    }

    fn make(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self, kind: FileType) -> Result<Vec<(Id, u32)>> {
        let short = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        if kind == FileType::Config {
            return Ok(self
                .objects
                .head("config")?
                .map(|(size, _)| (Id::default(), short(size)))
                .into_iter()
                .collect());
        }
        let mut found = Vec::new();
        self.walk(kind.dirname(), |id, object| {
            found.push((id, short(size(object))));
            true
        })?;
        Ok(found)
    }

    fn list_written(&self, kind: FileType) -> Result<Vec<Listed>> {
        self.listed(kind.dirname())
    }

    fn now(&self) -> Result<Timestamp> {
        for _ in 0..MOST_CLOCKS {
            self.put_anew(CLOCK)?;
            if let Some(time) = self.objects.written_at(CLOCK)? {
                return Ok(time);
            }
        }
        let place = self.objects.location();
        let message = format!("\"{place}/{CLOCK}\" was written, and has no time");
        Err(Error::new(ErrorKind::Protocol, message)
            .with_hint("the service has to give the times of objects: update it, or take another"))
    }

    fn read(&self, kind: FileType, id: &Id) -> Result<Bytes> {
        let most = largest_file(kind);
        read(&self.objects, &file_name(kind, id), Extent::Whole { most })
    }

    fn read_part(&self, kind: FileType, id: &Id, offset: u32, length: u32) -> Result<Bytes> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        if kind != FileType::Pack || length > WINDOW {
            return read(&self.objects, &file_name(kind, id), Extent::Part(offset.into(), length));
        }
        let mut content = Vec::with_capacity(length as usize);
        while content.len() < length as usize {
            let at = offset + content.len() as u32;
            let start = at - at % WINDOW;
            let window = self.windows.read(&self.objects, id, start)?;
            let from = (at - start) as usize;
            let to = window.len().min(from + length as usize - content.len());
            if from >= to {
                let message = format!(
                    "\"{}\" at {} is too short",
                    file_name(kind, id),
                    self.objects.location()
                );
                return Err(Error::new(ErrorKind::Repository, message)
                    .with_hint("the repository has lost something: back up again, which stores what the volumes still have"));
            }
            if content.is_empty() && to - from == length as usize {
                return Ok(window.slice(from..to));
            }
            content.extend_from_slice(&window[from..to]);
        }
        Ok(content.into())
    }

    fn read_stretch(&self, pack: &Id, offset: u32, length: u32) -> Result<Bytes> {
        read(&self.objects, &file_name(FileType::Pack, pack), Extent::Part(offset.into(), length))
    }

    fn is_far(&self) -> bool {
        true
    }

    fn write(&self, kind: FileType, id: &Id, parts: &[Bytes]) -> Result<()> {
        let content = match parts {
            [whole] => whole.clone(),
            parts => parts.concat().into(),
        };
        let name = file_name(kind, id);
        if kind == FileType::Config {
            self.objects.put_new(&name, content)
        } else {
            // All other files are named by their content.
            self.objects.put_to_keep(&name, content, HexHash::of(id))
        }
    }

    fn write_waiting(&self, pack: &Id, file: &Path) -> Result<()> {
        let name = file_name(FileType::Pack, pack);
        match self.objects.put_file(&name, file, HexHash::of(pack))? {
            true => Ok(()),
            false => Err(not_what_was_written(file)),
        }
    }

    fn remove(&self, kind: FileType, id: &Id) -> Result<()> {
        self.windows.forget(id);
        self.objects.remove(&file_name(kind, id))
    }

    fn size(&self, kind: FileType, id: &Id) -> Result<Option<u64>> {
        Ok(self.objects.head(&file_name(kind, id))?.map(|(size, _)| size))
    }

    fn pack_sizes(&self, packs: &HashSet<Id>) -> Result<HashMap<Id, u64>> {
        if packs.len() < MANY_PACKS {
            return self.sizes_at_once(packs);
        }
        let mut sizes = HashMap::new();
        self.walk("data", |id, object| {
            if packs.contains(&id) {
                sizes.insert(id, size(object));
            }
            true
        })?;
        Ok(sizes)
    }

    fn age(&self, kind: FileType, id: &Id) -> Result<Option<Duration>> {
        self.objects.written_ago(&file_name(kind, id))
    }

    fn has_files(&self) -> Result<bool> {
        for folder in ["snapshots", "index", "data"] {
            let mut any = false;
            self.walk(folder, |_, _| {
                any = true;
                false
            })?;
            if any {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn keys(&self) -> Result<Vec<(Id, Option<Duration>)>> {
        let mut keys = Vec::new();
        self.walk("keys", |id, object| {
            keys.push((id, object.last_modified().and_then(age)));
            true
        })?;
        Ok(keys)
    }

    fn remove_leftovers(&self, _: Duration) -> usize {
        // An upload that did not finish leaves no object.
        0
    }

    fn locks(&self) -> Result<Vec<Listed>> {
        self.listed(LOCKS)
    }

    fn read_lock(&self, id: &Id) -> Result<Option<Bytes>> {
        match read(&self.objects, &lock_name(id), Extent::Whole { most: LARGEST_LOCK }) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind == ErrorKind::Repository => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write_lock(&self, id: &Id, content: Bytes) -> Result<()> {
        self.objects.put(&lock_name(id), content, HexHash::of(id))
    }

    fn remove_lock(&self, id: &Id) -> Result<()> {
        self.objects.remove(&lock_name(id))
    }

    fn marked(&self, name: &str) -> Result<Option<Duration>> {
        Ok(self.objects.head(name)?.and_then(|(_, age)| age))
    }

    fn mark(&self, name: &str) -> Result<()> {
        self.put_anew(name)
    }

    fn may_remove(&self) -> Result<()> {
        self.objects.remove(NOTHING)
    }
}
