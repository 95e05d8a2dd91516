//! Fills packs, and hands them to the writer.

use std::sync::Mutex;

use rustic_core::repofile::BlobType;

use super::{open_pack::OpenPack, pack_writer::PackWriter};
use crate::{
    daemon::repository::{Hash, SealedBlob},
    error::Result,
    sync::lock,
};

/// Fills packs of one kind, and hands them to the writer.
pub(super) struct PackFiller<'a> {
    kind: BlobType,
    /// A pack is written when it has this many bytes.
    size: usize,
    writer: &'a PackWriter<'a>,
    open: Mutex<Option<OpenPack>>,
}

impl<'a> PackFiller<'a> {
    pub(super) fn new(kind: BlobType, size: usize, writer: &'a PackWriter<'a>) -> Self {
        Self { kind, size, writer, open: Mutex::default() }
    }

    /// Adds a blob. If the pack is full, and the writer has no room for it, this waits, and other
    /// workers wait here: so few packs are in memory.
    pub(super) fn add(&self, id: Hash, blob: &SealedBlob<'_>) -> Result<()> {
        let mut open = lock(&self.open);
        let pack =
            open.get_or_insert_with(|| OpenPack::new(self.kind, self.writer.buffer(self.size)));
        pack.add(id, blob)?;
        if !pack.is_full(self.size) {
            return Ok(());
        }
        open.take().map_or(Ok(()), |pack| self.writer.write(pack))
    }

    /// Hands over the last pack.
    pub(super) fn finish(&self) -> Result<()> {
        lock(&self.open).take().map_or(Ok(()), |pack| self.writer.write(pack))
    }
}
