//! An index file as the collector reads and writes it: restic's form, and rustic's list of packs that are
//! marked for deletion.

use rustic_core::repofile::BlobType;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    daemon::repository::{HexHash, pack_size},
    error::{Error, ErrorKind, Result},
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct IndexFile {
    pub(super) packs: Vec<IndexPack>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) packs_to_delete: Vec<IndexPack>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IndexPack {
    #[serde(serialize_with = "hexadecimal")]
    pub(super) id: HexHash,
    /// None where no index file named the pack when it was marked.
    pub(super) blobs: Vec<IndexBlob>,
    /// When it was written or marked, by the clock of the host that did so. It decides nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<String>,
    /// In bytes, if it is not what the blobs make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u32>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct IndexBlob {
    #[serde(serialize_with = "hexadecimal")]
    pub(super) id: HexHash,
    #[serde(rename = "type")]
    pub(super) kind: BlobType,
    pub(super) offset: u32,
    pub(super) length: u32,
    /// 0 if the blob is not compressed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) uncompressed_length: u32,
}

fn hexadecimal<S: Serializer>(hash: &HexHash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(length: &u32) -> bool {
    *length == 0
}

impl IndexPack {
    /// The size of the pack's file in bytes.
    pub(super) fn size(&self) -> u64 {
        let length = |blob: &IndexBlob| (blob.length, blob.uncompressed_length != 0);
        self.size.map_or_else(|| pack_size(self.blobs.iter().map(length)), u64::from)
    }
}

impl IndexFile {
    /// What an opened index file says.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is none.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text)
            .map_err(|error| Error::new(ErrorKind::Repository, format!("it is no index: {error}")))
    }

    pub(super) fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::internal(error.to_string()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.packs_to_delete.is_empty()
    }

    pub(super) fn blobs(&self) -> usize {
        self.packs.iter().chain(&self.packs_to_delete).map(|pack| pack.blobs.len()).sum()
    }
}
