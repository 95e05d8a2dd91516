//! Giving back space with the library's collector, while other hosts may write to the same
//! repository.
//!
//! The library lists the backups once, at its beginning, and judges the age of a pack by the date in
//! the index, which is by the clock of the host that wrote it. So it sees the files through
//! [`Watched`]: what a pack's date in the future hides, its file's age tells; and before the first old
//! index file is removed, the backups are listed again. If there is a new one, nothing is removed: what
//! the old index files name counts, though new ones mark it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rustic_core::{
    BytesList, FileType, Id, PruneOptions, ReadBackend, RusticResult, WriteBackend,
    repofile::{IndexFile, MasterKey},
};

use super::{backend::Backend, cipher::Coder, open::OpenRepository};
use crate::{
    clock::is_in_future,
    error::{Error, ErrorKind, Result},
    sync::lock,
};

impl OpenRepository {
    /// Marks unused data for deletion, and removes what was marked long enough ago, at the time
    /// `now`.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if a backup was made meanwhile: nothing was removed, and beginning anew
    /// helps. Another kind if the repository can't be read or written.
    pub(crate) fn collect(&self, options: &PruneOptions, now: Timestamp) -> Result<()> {
        self.backend().take_failure();
        let watched = Watched::new(self, now)?;
        let library = self.plain_over(Arc::new(watched))?;
        library
            .prune_plan(options)
            .and_then(|plan| library.prune(options, plan))
            .map_err(|error| self.failure("cannot give back space", &error))
    }
}

/// The files of a repository, as the collector sees them.
#[derive(Debug)]
struct Watched {
    backend: Arc<Backend>,
    key: MasterKey,
    level: Option<i32>,
    now: Timestamp,
    /// The backups, as they were listed first.
    listed: Mutex<Option<HashSet<Id>>>,
    /// Whether they are still all that there are, once that was looked at.
    is_still_all: Mutex<Option<bool>>,
}

impl Watched {
    fn new(repository: &OpenRepository, now: Timestamp) -> Result<Self> {
        let level = repository.config().zstd();
        let level = level
            .map_err(|error| repository.failure("cannot use the repository's settings", &error))?;
        Ok(Self {
            backend: repository.backend().clone(),
            key: repository.key().clone(),
            level,
            now,
            listed: Mutex::default(),
            is_still_all: Mutex::default(),
        })
    }

    /// An index file in which no pack is dated in the future: the library takes such a one for young
    /// until then. The age of its file dates it, or now, if that tells nothing.
    fn dated(&self, sealed: Bytes) -> Result<Bytes> {
        let mut coder = Coder::new(&self.key, self.level, false)?;
        let text = coder.open_file(sealed.to_vec())?;
        let unreadable = |error: serde_json::Error| {
            Error::new(ErrorKind::Repository, format!("it is no index: {error}"))
        };
        let mut index: IndexFile = serde_json::from_slice(&text).map_err(unreadable)?;
        let mut is_dated = true;
        for pack in &mut index.packs {
            if pack.time.is_some_and(|time| is_in_future(time, self.now)) {
                let age = self.backend.age(FileType::Pack, &pack.id)?.unwrap_or_default();
                let age = SignedDuration::try_from(age).unwrap_or_default();
                pack.time = Some(self.now.saturating_sub(age).unwrap_or(self.now));
                is_dated = false;
            }
        }
        if is_dated {
            return Ok(sealed);
        }
        let text = serde_json::to_vec(&index).map_err(unreadable)?;
        Ok(coder.seal_file(&text)?.into())
    }

    /// Looks, before the first old index file is removed, whether there is a backup that was not
    /// listed first.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if there is one.
    fn no_backup_is_new(&self) -> Result<()> {
        // All removals of index files wait for the first one's look.
        let mut is_still_all = lock(&self.is_still_all);
        if is_still_all.is_none() {
            let listed = lock(&self.listed).clone().unwrap_or_default();
            let now = self.backend.files(FileType::Snapshot)?;
            *is_still_all = Some(now.iter().all(|(id, _)| listed.contains(id)));
        }
        if *is_still_all == Some(true) {
            return Ok(());
        }
        let place = self.backend.location();
        let message = format!("a backup was made at \"{place}\" while space was to be given back");
        Err(Error::new(ErrorKind::Busy, message)
            .with_hint("it is tried again at the next deletion"))
    }
}

impl ReadBackend for Watched {
    fn location(&self) -> String {
        self.backend.location()
    }

    fn list(&self, kind: FileType) -> RusticResult<Vec<Id>> {
        let ids = self.backend.list(kind)?;
        if kind == FileType::Snapshot {
            lock(&self.listed).get_or_insert_with(|| ids.iter().copied().collect());
        }
        Ok(ids)
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.backend.list_with_size(kind)
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        let content = self.backend.read_full(kind, id)?;
        if kind != FileType::Index {
            return Ok(content);
        }
        let named = |error: Error| {
            let place = self.backend.location();
            error.context(format!("cannot read \"{place}/index/{}\"", id.to_hex().as_str()))
        };
        self.backend.told("an index file can't be read", self.dated(content).map_err(named))
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        is_cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.backend.read_partial(kind, id, is_cacheable, offset, length)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.backend.warmup_path(kind, id)
    }
}

impl WriteBackend for Watched {
    fn create(&self) -> RusticResult<()> {
        self.backend.create()
    }

    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        is_cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        self.backend.write_bytes(kind, id, is_cacheable, content)
    }

    fn remove(&self, kind: FileType, id: &Id, is_cacheable: bool) -> RusticResult<()> {
        if kind == FileType::Index {
            self.backend.told("an index file is not removed", self.no_backup_is_new())?;
        }
        self.backend.remove(kind, id, is_cacheable)
    }
}

#[cfg(test)]
mod tests {
    use rustic_core::repofile::Chunker;

    use super::*;

    #[test]
    fn no_index_file_is_removed_once_another_host_has_made_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let backend = Backend::in_folder(folder.path(), "host1");
        let repository = OpenRepository::create(backend, "secret", true, Chunker::Rabin).unwrap();
        let backend = repository.backend();
        let write = |kind| {
            let id = Id::random();
            backend.write_file(kind, &id, Bytes::from_static(b"sealed")).unwrap();
            id
        };
        let (first, second) = (write(FileType::Index), write(FileType::Index));
        write(FileType::Snapshot);
        let begin = || {
            let watched = Watched::new(&repository, Timestamp::UNIX_EPOCH).unwrap();
            watched.list(FileType::Snapshot).unwrap();
            watched
        };
        let watched = begin();
        write(FileType::Snapshot);
        for index in [first, second] {
            watched.remove(FileType::Index, &index, false).unwrap_err();
            assert_eq!(backend.take_failure().unwrap().kind, ErrorKind::Busy);
            assert!(backend.size(FileType::Index, &index).unwrap().is_some());
        }
        begin().remove(FileType::Index, &first, false).unwrap();
        assert!(backend.size(FileType::Index, &first).unwrap().is_none());
    }
}
