//! Packs: many blobs in one file. Its end is a sealed list of them, and the length of that list.

use std::{fmt::Write as _, num::NonZeroU32};

use jiff::Timestamp;
use rustic_core::{Id, repofile::BlobType};

use crate::{
    daemon::repository::{Coder, Hash, HexHash, SealedBlob, hash},
    error::{Error, Result},
};

/// More blobs don't go into one pack, as in rustic's.
const MOST_BLOBS: usize = 10_000;

/// A blob in a pack.
struct PackedBlob {
    id: Hash,
    length: u32,
    raw_length: Option<NonZeroU32>,
}

/// A pack that is being filled.
pub(super) struct OpenPack {
    kind: BlobType,
    content: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

impl OpenPack {
    pub(super) fn new(kind: BlobType, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { kind, content: buffer, blobs: Vec::new() }
    }

    pub(super) fn add(&mut self, id: Hash, blob: &SealedBlob<'_>) -> Result<()> {
        let length = u32::try_from(blob.sealed.len());
        let length = length.map_err(|_| Error::internal("a blob is longer than 4 GiB"))?;
        self.content.extend_from_slice(blob.sealed);
        self.blobs.push(PackedBlob { id, length, raw_length: blob.raw_length });
        Ok(())
    }

    /// Whether it has so many bytes, or no room for more blobs.
    pub(super) fn is_full(&self, size: usize) -> bool {
        self.content.len() >= size || self.blobs.len() >= MOST_BLOBS
    }

    /// The finished file, its name, and what the index says of it.
    pub(super) fn finish(mut self, coder: &Coder) -> Result<(Id, Vec<u8>, IndexedPack)> {
        let tree = u8::from(self.kind == BlobType::Tree);
        let mut header = Vec::new();
        for blob in &self.blobs {
            header.push(tree | if blob.raw_length.is_some() { 2 } else { 0 });
            header.extend_from_slice(&blob.length.to_le_bytes());
            if let Some(length) = blob.raw_length {
                header.extend_from_slice(&length.get().to_le_bytes());
            }
            header.extend_from_slice(&blob.id);
        }
        let header = coder.seal_header(&header)?;
        self.content.extend_from_slice(&header);
        let length = u32::try_from(header.len());
        let length = length.map_err(|_| Error::internal("the header of a pack is too long"))?;
        self.content.extend_from_slice(&length.to_le_bytes());
        let id = hash(&self.content);
        let indexed = IndexedPack::new(&id, self.kind, &self.blobs);
        Ok((Id::new(id), self.content, indexed))
    }
}

/// What the index says of a pack.
pub(super) struct IndexedPack {
    pub(super) json: String,
    pub(super) blobs: usize,
}

impl IndexedPack {
    fn new(id: &Hash, kind: BlobType, blobs: &[PackedBlob]) -> Self {
        let kind = if kind == BlobType::Tree { "tree" } else { "data" };
        let mut json = format!("{{\"id\":\"{}\",\"blobs\":[", HexHash(*id));
        let mut offset = 0_u64;
        for (at, blob) in blobs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let (id, length) = (HexHash(blob.id), blob.length);
            // Writing to a string does not fail.
            _ = write!(
                json,
                "{comma}{{\"id\":\"{id}\",\"type\":\"{kind}\",\"offset\":{offset},\"length\":{length}"
            );
            if let Some(length) = blob.raw_length {
                _ = write!(json, ",\"uncompressed_length\":{length}");
            }
            json.push('}');
            offset += u64::from(blob.length);
        }
        _ = write!(json, "],\"time\":\"{}\"}}", Timestamp::now());
        Self { json, blobs: blobs.len() }
    }
}
