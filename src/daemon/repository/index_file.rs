//! What is in an index file.

use rustic_core::repofile::BlobType;
use serde::Deserialize;

use super::{cipher::OVERHEAD, hex_hash::HexHash};
use crate::error::{Error, ErrorKind, Result};

/// How many bytes the header of a pack has for a blob, and for one that is compressed. The header is
/// sealed, and its length comes after it.
pub(super) const HEADER_ENTRY: u64 = 37;
pub(super) const HEADER_ENTRY_COMPRESSED: u64 = 41;
pub(super) const HEADER_LENGTH: u64 = 4;

/// The size in bytes of a pack's file that has blobs of these lengths, and whether each is compressed.
pub(crate) fn pack_size(blobs: impl Iterator<Item = (u32, bool)>) -> u64 {
    let length = |(length, is_compressed)| {
        u64::from(length) + if is_compressed { HEADER_ENTRY_COMPRESSED } else { HEADER_ENTRY }
    };
    blobs.map(length).sum::<u64>() + OVERHEAD as u64 + HEADER_LENGTH
}

/// An index file.
#[derive(Deserialize)]
pub(super) struct Content {
    pub(super) packs: Vec<PackContent>,
    /// Packs that are marked for deletion. What is in them does not count as there.
    #[serde(default)]
    pub(super) packs_to_delete: Vec<MarkedPack>,
}

#[derive(Deserialize)]
pub(super) struct MarkedPack {
    pub(super) id: HexHash,
}

#[derive(Deserialize)]
pub(super) struct PackContent {
    pub(super) id: HexHash,
    pub(super) blobs: Vec<BlobEntry>,
    /// In bytes, if it is not what the blobs make.
    size: Option<u32>,
}

impl PackContent {
    /// The size of the pack's file in bytes.
    pub(super) fn size(&self) -> u64 {
        let length = |blob: &BlobEntry| (blob.length, blob.uncompressed_length != 0);
        self.size.map_or_else(|| pack_size(self.blobs.iter().map(length)), u64::from)
    }
}

#[derive(Deserialize)]
pub(super) struct BlobEntry {
    pub(super) id: HexHash,
    #[serde(rename = "type")]
    pub(super) kind: BlobType,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// 0 if the blob is not compressed.
    #[serde(default)]
    pub(super) uncompressed_length: u32,
}

/// Reads an index file that was opened.
///
/// # Errors
/// [`ErrorKind::Repository`] if it is none.
pub(super) fn parse(content: &[u8]) -> Result<Content> {
    serde_json::from_slice(content)
        .map_err(|error| Error::new(ErrorKind::Repository, format!("it is no index: {error}")))
}
