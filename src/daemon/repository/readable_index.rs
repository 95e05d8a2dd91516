//! A repository's files as the library sees them where some index files can't be read: without these.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use rustic_core::{BytesList, FileType, Id, ReadBackend, RusticResult, WriteBackend};

use super::backend::Backend;

/// The files of a repository, with these index files only.
#[derive(Debug)]
pub(super) struct ReadableIndex {
    backend: Arc<Backend>,
    index_files: HashSet<Id>,
}

impl ReadableIndex {
    pub(super) fn new(backend: Arc<Backend>, index_files: HashSet<Id>) -> Self {
        Self { backend, index_files }
    }

    fn is_shown(&self, kind: FileType, id: &Id) -> bool {
        kind != FileType::Index || self.index_files.contains(id)
    }
}

impl ReadBackend for ReadableIndex {
    fn location(&self) -> String {
        self.backend.location()
    }

    fn list(&self, kind: FileType) -> RusticResult<Vec<Id>> {
        let mut ids = self.backend.list(kind)?;
        ids.retain(|id| self.is_shown(kind, id));
        Ok(ids)
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let mut ids = self.backend.list_with_size(kind)?;
        ids.retain(|(id, _)| self.is_shown(kind, id));
        Ok(ids)
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.backend.read_full(kind, id)
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

impl WriteBackend for ReadableIndex {
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
        self.backend.remove(kind, id, is_cacheable)
    }
}
