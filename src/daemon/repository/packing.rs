//! Compression at the level that pays.
//!
//! A higher level costs two to three times the time, and of some data gains nothing: where text and
//! numbers alternate, in what is compressed already. So of some blobs all levels are tried, and
//! those after it are compressed at the lowest one that was about as good as the best.

use std::io;

use zstd::{bulk::Compressor, zstd_safe::compress_bound};

/// The levels that are tried beside the repository's.
const QUICK: [i32; 2] = [-1, 1];
/// All levels are tried with one of so many blobs.
const TRIED: u32 = 64;
/// Smaller blobs tell little of the next ones.
const SMALLEST_TRIED: usize = 4 << 10;
/// A higher level pays if it saves at least so many of a hundred bytes.
const PAYS: usize = 2;
/// What can't be made smaller by so many of a hundred bytes tells nothing of the next blobs, but all
/// levels are tried again so much later.
const COMPRESSIBLE: usize = 5;
const TRIED_AGAIN: u32 = 4;
/// The levels are tried with the first bytes of a blob.
const SAMPLE: usize = 128 << 10;

/// Compresses the blobs of one thread.
pub(super) struct Packing {
    /// One for each level, the lowest first.
    compressors: Vec<Compressor<'static>>,
    /// The one that paid when all were tried last.
    chosen: usize,
    /// So many blobs are compressed before all levels are tried again.
    until_tried: u32,
    /// What a level makes of a sample.
    scratch: Vec<u8>,
}

impl Packing {
    /// Compresses at zstd's `level`, or at a lower one where that is as good.
    pub(super) fn new(level: i32) -> io::Result<Self> {
        let lower = QUICK.into_iter().filter(|lower| *lower < level);
        let compressors: Vec<_> =
            lower.chain([level]).map(Compressor::new).collect::<io::Result<_>>()?;
        let chosen = compressors.len() - 1;
        Ok(Self { compressors, chosen, until_tried: 0, scratch: Vec::new() })
    }

    /// Compresses into `space`, and returns how much of it was used.
    pub(super) fn pack(&mut self, raw: &[u8], space: &mut [u8]) -> io::Result<usize> {
        if self.until_tried == 0 && raw.len() >= SMALLEST_TRIED {
            self.try_levels(&raw[..raw.len().min(SAMPLE)])?;
        }
        self.until_tried = self.until_tried.saturating_sub(1);
        self.compressors[self.chosen].compress_to_buffer(raw, space)
    }

    /// Compresses at the level of the repository.
    pub(super) fn pack_thoroughly(&mut self, raw: &[u8], space: &mut [u8]) -> io::Result<usize> {
        let highest = self.compressors.len() - 1;
        self.compressors[highest].compress_to_buffer(raw, space)
    }

    /// Chooses the level for the next blobs.
    fn try_levels(&mut self, sample: &[u8]) -> io::Result<()> {
        self.scratch.resize(compress_bound(SAMPLE), 0);
        let scratch = &mut self.scratch[..];
        let mut size =
            |compressor: &mut Compressor<'_>| compressor.compress_to_buffer(sample, &mut *scratch);
        // The lowest level sees repetitions only, so the one after it tells whether anything helps.
        let second = 1.min(self.compressors.len() - 1);
        let of_second = size(&mut self.compressors[second])?;
        if of_second * 100 > sample.len() * (100 - COMPRESSIBLE) {
            self.until_tried = TRIED_AGAIN;
            return Ok(());
        }
        let levels = self.compressors.iter_mut().enumerate();
        let sizes = levels.map(|(at, it)| if at == second { Ok(of_second) } else { size(it) });
        let sizes: Vec<_> = sizes.collect::<io::Result<_>>()?;
        let best = sizes.iter().min().copied().unwrap_or_default();
        let is_good = |size: &usize| size * (100 - PAYS) <= best * 100;
        self.chosen = sizes.iter().position(is_good).unwrap_or(self.chosen);
        self.until_tried = TRIED;
        Ok(())
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
        assert_eq!(packing.chosen, 0, "the lowest level is as good");
        assert_eq!(packing.until_tried, TRIED - 1);
        for _ in 1..TRIED {
            pack(&mut packing, &words);
        }
        assert_eq!(packing.chosen, 0);
        let best = pack(&mut packing, &words);
        assert!(packing.chosen == 2 && best == pack(&mut packing, &words), "it is remembered");
    }

    #[test]
    fn what_can_not_be_compressed_or_is_short_tells_nothing() {
        let mut packing = Packing::new(3).unwrap();
        pack(&mut packing, &noise(50_000).collect::<Vec<_>>());
        pack(&mut packing, &b"text".repeat(100));
        pack(&mut packing, b"");
        assert!(packing.chosen == 2 && packing.until_tried < TRIED_AGAIN);
    }
}
