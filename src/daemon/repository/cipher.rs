//! What a repository's files and blobs are made of: zstd in AES-256-CTR with Poly1305-AES, as
//! restic writes them.

use std::{
    io::{Cursor, Read as _},
    num::NonZeroU32,
};

use aes256ctr_poly1305aes::{
    Aes256CtrPoly1305Aes, Key, Nonce, Tag,
    aead::{AeadInPlace as _, generic_array::GenericArray},
};
use rustic_core::repofile::{BlobType, MasterKey};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use zstd::{bulk::Decompressor, zstd_safe::compress_bound};

use super::{
    limits::LARGEST_INDEX,
    opened_blob::{LARGE, OpenedBlob, is_packed},
    packing::Packing,
};
use crate::error::{Error, ErrorKind, Result};

/// The SHA-256 of a blob or a file.
pub(crate) type Hash = [u8; 32];

/// The bytes before sealed content (the nonce), and as many after it (the tag).
pub(super) const NONCE: usize = 16;
const TAG: usize = 16;
/// How many bytes longer sealed content is.
pub(super) const OVERHEAD: usize = NONCE + TAG;

/// The hash by which a repository names this content.
pub(crate) fn hash(content: &[u8]) -> Hash {
    Sha256::digest(content).into()
}

/// Encrypts and authenticates with a repository's key.
#[derive(Clone)]
struct Cipher(Aes256CtrPoly1305Aes);

impl Cipher {
    fn new(key: &MasterKey) -> Result<Self> {
        let parts = [key.encrypt.as_slice(), key.mac.k.as_slice(), key.mac.r.as_slice()];
        if parts.map(<[u8]>::len) != [32, 16, 16] {
            return Err(Error::new(ErrorKind::Repository, "the repository's key has a wrong size"));
        }
        Ok(Self(Aes256CtrPoly1305Aes::new(Key::from_slice(&parts.concat()))))
    }

    /// Seals what lies between [`NONCE`] free bytes and [`TAG`] free bytes.
    fn seal(&self, space: &mut [u8]) -> Result<()> {
        let (nonce, rest) = space.split_at_mut(NONCE);
        let (content, tag) = rest.split_at_mut(rest.len() - TAG);
        getrandom::fill(nonce)
            .map_err(|error| Error::internal(format!("no random numbers: {error}")))?;
        let made = self.0.encrypt_in_place_detached(Nonce::from_slice(nonce), &[], content);
        tag.copy_from_slice(&made.map_err(|_| Error::internal("encryption failed"))?);
        Ok(())
    }

    /// Opens sealed content in place.
    fn open<'a>(&self, sealed: &'a mut [u8]) -> Result<&'a mut [u8]> {
        if sealed.len() < OVERHEAD {
            return Err(damaged("it is too short"));
        }
        let (nonce, rest) = sealed.split_at_mut(NONCE);
        let (content, tag) = rest.split_at_mut(rest.len() - TAG);
        let tag: &Tag = GenericArray::from_slice(tag);
        self.0
            .decrypt_in_place_detached(Nonce::from_slice(nonce), &[], content, tag)
            .map_err(|_| damaged("it was changed, or sealed with another key"))?;
        Ok(content)
    }
}

fn not_unpacked() -> Error {
    damaged("it can't be decompressed")
}

/// The length of a blob that is better read piece by piece, in bytes.
fn large(raw_length: Option<NonZeroU32>) -> Option<usize> {
    raw_length.map(|length| length.get() as usize).filter(|length| *length > LARGE)
}

fn damaged(why: &str) -> Error {
    Error::new(ErrorKind::Repository, format!("content of the repository can't be read: {why}"))
        .with_hint("back up again, which stores what the volumes still have")
}

/// A blob as it lies in a pack.
pub(crate) struct SealedBlob<'a> {
    pub(crate) sealed: &'a [u8],
    /// The length before compression; `None` if it is not compressed.
    pub(crate) raw_length: Option<NonZeroU32>,
}

/// Makes and opens blobs and files. Its buffers are used again, so each thread has its own.
pub(crate) struct Coder {
    cipher: Cipher,
    /// `None` in repositories of version 1.
    packing: Option<Packing>,
    decompressor: Decompressor<'static>,
    /// Whether each blob is opened again and compared, before it counts.
    verify: bool,
    sealed: Vec<u8>,
    opened: Vec<u8>,
    unpacked: Vec<u8>,
}

impl Coder {
    /// A coder for a repository with this key. `level` is zstd's; `None` for no compression.
    ///
    /// # Errors
    /// If the key is none of a repository, or memory is short.
    pub(crate) fn new(key: &MasterKey, level: Option<i32>, verify: bool) -> Result<Self> {
        let unusable = |error| Error::internal(format!("zstd can't be used: {error}"));
        Ok(Self {
            cipher: Cipher::new(key)?,
            packing: level.map(Packing::new).transpose().map_err(unusable)?,
            decompressor: Decompressor::new().map_err(unusable)?,
            verify,
            sealed: Vec::new(),
            opened: Vec::new(),
            unpacked: Vec::new(),
        })
    }

    /// Compresses and seals a blob.
    ///
    /// # Errors
    /// If what was sealed can't be opened again.
    pub(crate) fn seal_blob(&mut self, kind: BlobType, raw: &[u8]) -> Result<SealedBlob<'_>> {
        let too_long = |_| Error::internal("a blob is longer than 4 GiB");
        let length = u32::try_from(raw.len()).map_err(too_long)?;
        let space = compress_bound(raw.len()) + OVERHEAD;
        if self.sealed.len() < space {
            // Fresh zeros, which need no memory until they are written to: most of the space is not.
            self.sealed = vec![0; space];
        }
        let (used, raw_length) = match &mut self.packing {
            Some(packing) => {
                let space = &mut self.sealed[NONCE..];
                let used = match kind {
                    BlobType::Data => packing.pack(raw, space),
                    BlobType::Tree => packing.pack_thoroughly(raw, space),
                };
                let used =
                    used.map_err(|error| Error::internal(format!("zstd failed: {error}")))?;
                (used, NonZeroU32::new(length))
            }
            None => {
                self.sealed[NONCE..NONCE + raw.len()].copy_from_slice(raw);
                (raw.len(), None)
            }
        };
        let end = used + OVERHEAD;
        self.cipher.seal(&mut self.sealed[..end])?;
        if self.verify {
            self.verify_blob(end, raw)?;
        }
        Ok(SealedBlob { sealed: &self.sealed[..end], raw_length })
    }

    /// Data that can't be read again is no backup: memory and processors make mistakes.
    fn verify_blob(&mut self, end: usize, raw: &[u8]) -> Result<()> {
        self.opened.clear();
        self.opened.extend_from_slice(&self.sealed[..end]);
        let opened = self.cipher.open(&mut self.opened)?;
        let same = if self.packing.is_none() {
            opened == raw
        } else if raw.len() > LARGE {
            is_packed(opened, raw)
        } else {
            if self.unpacked.len() < raw.len() {
                self.unpacked.resize(raw.len(), 0);
            }
            let unpacked = &mut self.unpacked[..raw.len()];
            let length = self.decompressor.decompress_to_buffer(opened, unpacked);
            length.is_ok_and(|length| length == raw.len()) && unpacked == raw
        };
        if same {
            return Ok(());
        }
        let message = "what was packed is not what was read: the memory or the processor is faulty";
        Err(Error::new(ErrorKind::Repository, message))
    }

    /// The content of a blob that lies like this in a pack.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(crate) fn open_blob(
        &mut self,
        sealed: &[u8],
        raw_length: Option<NonZeroU32>,
    ) -> Result<Vec<u8>> {
        self.opened.clear();
        self.opened.extend_from_slice(sealed);
        let opened = self.cipher.open(&mut self.opened)?;
        let Some(length) = raw_length else { return Ok(opened.to_vec()) };
        let unpacked = self.decompressor.decompress(opened, length.get() as usize);
        unpacked
            .ok()
            .filter(|unpacked| unpacked.len() == length.get() as usize)
            .ok_or_else(not_unpacked)
    }

    /// As [`Coder::open_blob`], without a copy. What was sealed is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(crate) fn open_blob_in_place<'a>(
        &'a mut self,
        sealed: &'a mut [u8],
        raw_length: Option<NonZeroU32>,
    ) -> Result<&'a [u8]> {
        let opened = self.cipher.open(sealed)?;
        let Some(length) = raw_length else { return Ok(opened) };
        let length = length.get() as usize;
        if self.unpacked.len() < length {
            self.unpacked.resize(length, 0);
        }
        let unpacked = &mut self.unpacked[..length];
        match self.decompressor.decompress_to_buffer(&*opened, unpacked) {
            Ok(used) if used == length => Ok(unpacked),
            _ => Err(not_unpacked()),
        }
    }

    /// The hash of a blob's content. What was sealed is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(super) fn hash_blob(
        &mut self,
        sealed: &mut [u8],
        raw_length: Option<NonZeroU32>,
    ) -> Result<Hash> {
        match large(raw_length) {
            None => self.open_blob_in_place(sealed, raw_length).map(hash),
            Some(length) => {
                let opened = self.cipher.open(sealed)?;
                let hash = OpenedBlob::packed(&*opened, length).and_then(OpenedBlob::hash);
                hash.ok().flatten().ok_or_else(not_unpacked)
            }
        }
    }

    /// The hash of a blob's content, and the JSON that it is. What was sealed is lost.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(crate) fn parse_blob<T: DeserializeOwned>(
        &mut self,
        sealed: &mut [u8],
        raw_length: Option<NonZeroU32>,
    ) -> Result<(Hash, serde_json::Result<T>)> {
        match large(raw_length) {
            None => {
                let content = self.open_blob_in_place(sealed, raw_length)?;
                Ok((hash(content), serde_json::from_slice(content)))
            }
            Some(length) => {
                let opened = self.cipher.open(sealed)?;
                let read = OpenedBlob::packed(&*opened, length).and_then(OpenedBlob::json);
                let (hash, parsed) = read.map_err(|_| not_unpacked())?;
                Ok((hash.ok_or_else(not_unpacked)?, parsed))
            }
        }
    }

    /// What a large blob is before it is decompressed: from the position of the result on. `None` for
    /// one that is better opened as a whole.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(super) fn open_large(
        &self,
        sealed: &mut Vec<u8>,
        raw_length: Option<NonZeroU32>,
    ) -> Result<Option<(Hash, Cursor<Vec<u8>>)>> {
        let Some(length) = large(raw_length) else { return Ok(None) };
        let opened = self.cipher.open(sealed)?;
        let hash = OpenedBlob::packed(&*opened, length).and_then(OpenedBlob::hash);
        let hash = hash.ok().flatten().ok_or_else(not_unpacked)?;
        let mut packed = std::mem::take(sealed);
        packed.truncate(packed.len() - TAG);
        let mut packed = Cursor::new(packed);
        packed.set_position(NONCE as u64);
        Ok(Some((hash, packed)))
    }

    /// Seals the header of a pack, which is not compressed.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub(crate) fn seal_header(&self, header: &[u8]) -> Result<Vec<u8>> {
        let mut space = vec![0; NONCE];
        space.extend_from_slice(header);
        space.resize(header.len() + OVERHEAD, 0);
        self.cipher.seal(&mut space)?;
        Ok(space)
    }

    /// Opens the header of a pack.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(super) fn open_header(&self, mut sealed: Vec<u8>) -> Result<Vec<u8>> {
        self.cipher.open(&mut sealed).map(|opened| opened.to_vec())
    }

    /// Seals a file of the repository: an index or a snapshot.
    ///
    /// # Errors
    /// If memory is short, or there are no random numbers.
    pub(crate) fn seal_file(&mut self, content: &[u8]) -> Result<Vec<u8>> {
        let Some(packing) = &mut self.packing else { return self.seal_header(content) };
        // The version of the form comes first; without it, the content is not compressed.
        let mut packed = vec![2; 1 + compress_bound(content.len())];
        let used = packing
            .pack_thoroughly(content, &mut packed[1..])
            .map_err(|error| Error::internal(format!("zstd failed: {error}")))?;
        self.seal_header(&packed[..=used])
    }

    /// Whether this key has sealed a file, whatever is in it.
    pub(crate) fn has_sealed(&self, file: &[u8]) -> bool {
        self.cipher.open(&mut file.to_vec()).is_ok()
    }

    /// The content of a file of the repository: an index or a snapshot.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged.
    pub(crate) fn open_file(&self, sealed: Vec<u8>) -> Result<Vec<u8>> {
        self.open_file_within(sealed, LARGEST_INDEX)
    }

    /// As [`Coder::open_file`], of at most so many bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Repository`] if it is damaged, or larger.
    pub(super) fn open_file_within(&self, mut sealed: Vec<u8>, most: u64) -> Result<Vec<u8>> {
        let opened = self.cipher.open(&mut sealed)?;
        match opened {
            [b'{' | b'[', ..] => Ok(opened.to_vec()),
            [2, packed @ ..] => {
                let mut content = Vec::new();
                let unpacking = zstd::stream::read::Decoder::with_buffer(&*packed);
                let unpacked = unpacking
                    .and_then(|unpacked| unpacked.take(most + 1).read_to_end(&mut content))
                    .map_err(|_| not_unpacked())?;
                if unpacked as u64 > most {
                    return Err(damaged("it is out of all proportion"));
                }
                Ok(content)
            }
            _ => Err(damaged("its form is not known")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coder(level: Option<i32>) -> Coder {
        Coder::new(&MasterKey::new(), level, true).unwrap()
    }

    #[test]
    fn what_was_sealed_is_opened_and_what_was_changed_is_not() {
        for level in [Some(3), None] {
            let mut coder = coder(level);
            let raw = b"some text, some text, some text".repeat(100);
            let blob = coder.seal_blob(BlobType::Data, &raw).unwrap();
            let (mut sealed, length) = (blob.sealed.to_vec(), blob.raw_length);
            assert_eq!(length.is_some(), level.is_some());
            assert_eq!(coder.open_blob(&sealed, length).unwrap(), raw);
            let file = coder.seal_file(b"{\"packs\":[]}").unwrap();
            assert_eq!(coder.open_file(file).unwrap(), b"{\"packs\":[]}");
            let opened = coder.open_blob_in_place(&mut sealed.clone(), length).map(<[u8]>::to_vec);
            assert_eq!(opened.unwrap(), raw);
            sealed[20] ^= 1;
            assert_eq!(coder.open_blob(&sealed, length).unwrap_err().kind, ErrorKind::Repository);
            assert_eq!(coder.open_blob(&[1; 31], length).unwrap_err().kind, ErrorKind::Repository);
        }
    }

    #[test]
    fn a_file_that_unpacks_without_end_is_not_unpacked_to_its_end() {
        let mut coder = coder(Some(3));
        let file = coder.seal_file(&[b' '; 100_000]).unwrap();
        assert!(file.len() < 1000);
        assert_eq!(coder.open_file_within(file.clone(), 100_000).unwrap().len(), 100_000);
        let error = coder.open_file_within(file, 99_999).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Repository);
        assert!(error.message.contains("out of all proportion"), "{error}");
    }

    #[test]
    fn a_blob_that_can_not_be_read_again_is_noticed() {
        let mut coder = coder(Some(3));
        let end = coder.seal_blob(BlobType::Data, b"as it was read").unwrap().sealed.len();
        coder.verify_blob(end, b"as it was read").unwrap();
        let error = coder.verify_blob(end, b"as it was rEad").unwrap_err();
        assert!(error.message.contains("faulty"), "{error}");
    }
}
