//! The content of a large blob, read piece by piece: what a folder with a million files is in a
//! repository is never in memory as a whole.

use std::io::{self, BufRead, BufReader, Read, Take};

use serde::de::DeserializeOwned;
use serde_json::Result as JsonResult;
use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder;

/// A blob of more bytes is large. Pieces of files are shorter: only the trees of huge folders are not.
pub(super) const LARGE: usize = 8 << 20;
/// So much is compared or hashed at a time.
const PIECE: usize = 128 << 10;

/// A SHA-256.
type Hash = [u8; 32];

/// An opened blob that is decompressed and hashed while it is read.
pub(super) struct OpenedBlob<P: BufRead> {
    content: Take<Decoder<'static, P>>,
    length: usize,
    read: usize,
    hasher: Sha256,
}

impl<P: BufRead> OpenedBlob<P> {
    /// What has this length when it is decompressed.
    ///
    /// # Errors
    /// If memory is short.
    pub(super) fn packed(packed: P, length: usize) -> io::Result<Self> {
        // One byte more tells that the length is wrong.
        let content = Decoder::with_buffer(packed)?.take(length as u64 + 1);
        Ok(Self { content, length, read: 0, hasher: Sha256::new() })
    }

    /// Reads what is left of it, and returns the hash of all of it; `None` if it is not as long as it
    /// should be.
    ///
    /// # Errors
    /// If it can't be decompressed.
    pub(super) fn hash(mut self) -> io::Result<Option<Hash>> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.read == self.length).then(|| self.hasher.finalize().into()))
    }

    /// Reads JSON from it, and the hash of all of it.
    ///
    /// # Errors
    /// As [`OpenedBlob::hash`].
    pub(super) fn json<T: DeserializeOwned>(self) -> io::Result<(Option<Hash>, JsonResult<T>)> {
        let mut content = BufReader::with_capacity(PIECE, self);
        let value = serde_json::from_reader(&mut content);
        Ok((content.into_inner().hash()?, value))
    }
}

impl<P: BufRead> Read for OpenedBlob<P> {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(piece)?;
        self.hasher.update(piece.get(..read).unwrap_or_default());
        self.read += read;
        Ok(read)
    }
}

/// Whether what was packed is this content.
pub(super) fn is_packed(packed: &[u8], content: &[u8]) -> bool {
    let same = || -> io::Result<bool> {
        let mut unpacked = BufReader::with_capacity(PIECE, Decoder::with_buffer(packed)?);
        let mut left = content;
        loop {
            let piece = unpacked.fill_buf()?;
            if piece.is_empty() {
                return Ok(left.is_empty());
            }
            let Some(rest) = left.strip_prefix(piece) else { return Ok(false) };
            let read = piece.len();
            left = rest;
            unpacked.consume(read);
        }
    };
    same().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_is_compared_to_its_last_byte() {
        let content: Vec<u8> = (0..50_000_u32).flat_map(u32::to_le_bytes).collect();
        let packed = zstd::bulk::compress(&content, 3).unwrap();
        assert!(is_packed(&packed, &content));
        let mut other = content.clone();
        *other.last_mut().unwrap() ^= 1;
        let longer = [&content[..], b"a"].concat();
        for other in [&other[..], &longer, &content[1..], &content[..content.len() - 1], b""] {
            assert!(!is_packed(&packed, other));
        }
        assert!(!is_packed(&packed[..packed.len() - 5], &content));
        assert!(!is_packed(b"no zstd", b""));
    }

    #[test]
    fn a_blob_of_another_length_has_no_hash() {
        let content = b"some text".repeat(50_000);
        let packed = zstd::bulk::compress(&content, 3).unwrap();
        let hash_of = |length| OpenedBlob::packed(&packed[..], length).unwrap().hash().unwrap();
        assert_eq!(hash_of(content.len()), Some(Sha256::digest(&content).into()));
        assert_eq!(hash_of(content.len() - 1), None);
        assert_eq!(hash_of(content.len() + 1), None);
        assert!(OpenedBlob::packed(&packed[..20], content.len()).unwrap().hash().is_err());
    }
}
