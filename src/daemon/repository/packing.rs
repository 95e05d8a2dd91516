//! Compression at the level that pays.
//!
//! A higher level costs two to three times the time, and of some data gains nothing: where text and
//! numbers alternate, in what is compressed already. So of some blobs both levels are tried, and
//! those after it are compressed at the one that was worth it.

use std::io;

use zstd::{bulk::Compressor, zstd_safe::compress_bound};

const QUICK: i32 = 1;
/// Both levels are tried with one of so many blobs.
const TRIED: u32 = 32;
/// Smaller blobs tell little of the next ones.
const SMALLEST_TRIED: usize = 4 << 10;
/// The higher level pays if it saves at least so many of a hundred bytes.
const PAYS: usize = 2;
/// What can't be made smaller by so many of a hundred bytes tells nothing of the next blob.
const COMPRESSIBLE: usize = 5;

/// Compresses the blobs of one thread.
pub(super) struct Packing {
    quick: Compressor<'static>,
    thorough: Compressor<'static>,
    /// Whether the higher level was worth it when it was tried last.
    pays: bool,
    /// So many blobs are compressed before both levels are tried again.
    until_tried: u32,
    other: Vec<u8>,
}

impl Packing {
    /// Compresses at zstd's `level`, or at a lower one where that is as good.
    pub(super) fn new(level: i32) -> io::Result<Self> {
        Ok(Self {
            quick: Compressor::new(level.min(QUICK))?,
            thorough: Compressor::new(level)?,
            pays: true,
            until_tried: 0,
            other: Vec::new(),
        })
    }

    /// Compresses into `space`, and returns how much of it was used.
    pub(super) fn pack(&mut self, raw: &[u8], space: &mut [u8]) -> io::Result<usize> {
        if self.until_tried == 0 && raw.len() >= SMALLEST_TRIED {
            return self.try_both(raw, space);
        }
        self.until_tried = self.until_tried.saturating_sub(1);
        let compressor = if self.pays { &mut self.thorough } else { &mut self.quick };
        compressor.compress_to_buffer(raw, space)
    }

    /// Compresses at the level of the repository.
    pub(super) fn pack_thoroughly(&mut self, raw: &[u8], space: &mut [u8]) -> io::Result<usize> {
        self.thorough.compress_to_buffer(raw, space)
    }

    fn try_both(&mut self, raw: &[u8], space: &mut [u8]) -> io::Result<usize> {
        let quick = self.quick.compress_to_buffer(raw, space)?;
        if quick * 100 > raw.len() * (100 - COMPRESSIBLE) {
            return Ok(quick);
        }
        let bound = compress_bound(raw.len());
        if self.other.len() < bound {
            self.other.resize(bound, 0);
        }
        let thorough = self.thorough.compress_to_buffer(raw, &mut self.other[..])?;
        self.pays = thorough * 100 <= quick * (100 - PAYS);
        self.until_tried = TRIED - 1;
        if quick <= thorough {
            return Ok(quick);
        }
        space[..thorough].copy_from_slice(&self.other[..thorough]);
        Ok(thorough)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> impl Iterator<Item = u8> {
        let mut state = 88_172_645_463_325_252_u64;
        (0..length).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
    }

    fn pack(packing: &mut Packing, raw: &[u8]) -> usize {
        let mut space = vec![0; compress_bound(raw.len())];
        let used = packing.pack(raw, &mut space).unwrap();
        assert!(zstd::bulk::decompress(&space[..used], raw.len()).unwrap() == raw);
        used
    }

    #[test]
    fn the_higher_level_is_used_where_it_pays() {
        // Words from a small stock, and numbers beside a word that is always the same.
        let drawn: Vec<u8> = noise(100_000).collect();
        let words: Vec<u8> =
            drawn.iter().flat_map(|it| format!("{it:b} of {it} ").into_bytes()).collect();
        let numbers: Vec<u8> = drawn.chunks(8).flat_map(|it| [it, b"the text"].concat()).collect();
        let mut packing = Packing::new(3).unwrap();
        pack(&mut packing, &numbers);
        assert!(!packing.pays, "the lower level is as good");
        assert_eq!(packing.until_tried, TRIED - 1);
        for _ in 1..TRIED {
            pack(&mut packing, &words);
        }
        assert!(!packing.pays);
        let both = pack(&mut packing, &words);
        assert!(packing.pays && both == pack(&mut packing, &words), "it is remembered");
    }

    #[test]
    fn what_can_not_be_compressed_or_is_short_tells_nothing() {
        let mut packing = Packing::new(3).unwrap();
        pack(&mut packing, &noise(50_000).collect::<Vec<_>>());
        pack(&mut packing, &b"text".repeat(100));
        pack(&mut packing, b"");
        assert!(packing.pays && packing.until_tried == 0);
    }
}
