//! Where files are cut into chunks.
//!
//! restic does not care how a file was cut: it reads the list of chunks in a file's node. It cuts
//! its own files with a Rabin fingerprint, so that its chunks and ours are not shared in one
//! repository, as with every other way of cutting.
//!
//! - In repositories whose settings say `FixedSize` (all that were made before), chunks have the
//!   size in the settings.
//! - In others, a cut depends on the 64 bytes before it (a gear hash, FastCDC): after an insertion
//!   at the front of a dump or an archive, the cuts are where they were. The table of the hash comes
//!   from the repository's secret polynomial, so sizes of chunks tell nobody outside what a file is.

use rustic_core::repofile::{Chunker, ConfigFile};

use crate::error::{Error, ErrorKind, Result};

/// The settings of content-defined chunks are not those of restic's polynomial: half of each chunk
/// is skipped, the rest is on average as long. A large chunk costs memory in each worker.
const SHORTEST: usize = 512 << 10;
const LONGEST: usize = 4 << 20;
/// A cut is where these bits of the hash are all zero: on average 512 KiB after the shortest.
const BITS: u32 = 19;
/// The largest fixed size that is believed.
const LARGEST_FIXED: usize = 64 << 20;

/// How the files of one repository are cut.
pub(super) enum Chunks {
    Fixed(usize),
    Gear(Box<[u64; 256]>),
}

impl Chunks {
    /// As the repository's settings say.
    ///
    /// # Errors
    /// If they make no sense.
    pub(super) fn new(config: &ConfigFile) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Repository, "the repository's settings make no sense");
        match config.chunker() {
            Chunker::FixedSize if (1..=LARGEST_FIXED).contains(&config.chunk_size()) => {
                Ok(Self::Fixed(config.chunk_size()))
            }
            Chunker::FixedSize => Err(wrong()),
            Chunker::Rabin => Ok(Self::seeded(config.poly().map_err(|_| wrong())?)),
        }
    }

    fn seeded(seed: u64) -> Self {
        let mut state = seed;
        // SplitMix64 spreads the seed over the table.
        let mut draw = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ mixed >> 31
        };
        Self::Gear(Box::new(std::array::from_fn(|_| draw())))
    }

    /// No chunk but the last of a file is shorter.
    pub(super) fn shortest(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Gear(_) => SHORTEST,
        }
    }

    /// No chunk is longer. Zeros are cut into chunks of this size.
    pub(super) fn longest(&self) -> usize {
        match self {
            Self::Fixed(size) => *size,
            Self::Gear(_) => LONGEST,
        }
    }

    /// The length of the chunk at the start of `data`. `None` if it may be longer than `data`.
    /// `seen` bytes of it were looked at by an earlier call.
    pub(super) fn cut(&self, data: &[u8], seen: usize) -> Option<usize> {
        let longest = self.longest();
        if let Self::Gear(table) = self {
            // The hash is that of the last 64 bytes, whatever came before.
            let start = seen.max(SHORTEST);
            let warm = data.get(start - 64..start)?;
            let step = |hash: u64, byte: &u8| (hash << 1).wrapping_add(table[usize::from(*byte)]);
            let mut hash = warm.iter().fold(0, step);
            for (at, byte) in data[start..data.len().min(longest)].iter().enumerate() {
                hash = step(hash, byte);
                if hash >> (64 - BITS) == 0 {
                    return Some(start + at + 1);
                }
            }
        }
        (data.len() >= longest).then_some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 88_172_645_463_325_252_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next()).collect()
    }

    fn all(chunks: &Chunks, mut data: &[u8]) -> Vec<usize> {
        let mut cuts = Vec::new();
        while !data.is_empty() {
            let length = chunks.cut(data, 0).unwrap_or(data.len());
            cuts.push(length);
            data = &data[length..];
        }
        cuts
    }

    #[test]
    fn what_is_inserted_at_the_front_moves_no_later_cut() {
        let (chunks, data) = (Chunks::seeded(7), noise(20 << 20));
        let before = all(&chunks, &data);
        let after = all(&chunks, &[b"inserted", data.as_slice()].concat());
        assert!(before.len() > 10, "{before:?}");
        assert_eq!(before[3..], after[after.len() - before.len() + 3..]);
        let inner = &before[..before.len() - 1];
        assert!(inner.iter().all(|length| (SHORTEST..=LONGEST).contains(length)), "{before:?}");
        assert_ne!(before, all(&Chunks::seeded(8), &data), "the seed decides");
        let fixed = Chunks::Fixed(1 << 20);
        assert_eq!(all(&fixed, &data), [1 << 20; 20]);
    }

    #[test]
    fn a_cut_is_the_same_in_whatever_steps_the_data_comes() {
        let (chunks, data) = (Chunks::seeded(7), noise(4 << 20));
        let whole = chunks.cut(&data, 0).unwrap();
        let mut seen = 0;
        let found = (0..data.len()).step_by(100_000).find_map(|end| {
            let cut = chunks.cut(&data[..end], seen);
            seen = end;
            cut
        });
        assert_eq!(found, Some(whole));
        assert_eq!(chunks.cut(&data[..whole - 1], 0), None);
    }

    #[test]
    fn zeros_are_cut_into_the_longest_chunks() {
        for seed in [0, 1, 0x3da3_358b_4dc1_73, u64::MAX] {
            let chunks = Chunks::seeded(seed);
            assert_eq!(chunks.cut(&vec![0; LONGEST + 1], 0), Some(LONGEST));
        }
    }
}
