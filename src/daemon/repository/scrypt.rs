//! scrypt (RFC 7914), which makes a key of a password, with the work spread over two threads.
//!
//! The library does one lane after the other, and each instruction waits for the one before it. Here,
//! two threads do two lanes each, whose instructions do not wait for each other. Four lanes at a time
//! would need four tables; so each keeps every fourth entry only, and computes the others again when
//! it needs them. That is as much memory and processor time as the library takes, in half the time.

#![expect(unsafe_code, reason = "what every x86-64 processor has must still be asked for")]

use std::thread;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use self::rows::Row;
use crate::daemon::threads;

/// So many lanes are computed at a time, two by each thread.
const LANES: usize = 4;
/// More memory is not taken for a table, in bytes.
const LARGEST_TABLE: usize = 256 << 20;

/// 64 bytes of a lane: a row is four of its words, and the rows are the diagonals of Salsa20.
type Block = [Row; 4];

/// The number of each word of a block, in the order of its rows.
const ORDER: [usize; 16] = [0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11];

/// scrypt's parameters N, r and p.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameters {
    pub(super) n: usize,
    pub(super) r: usize,
    pub(super) p: usize,
}

/// The 64 bytes that scrypt makes of a password. `None` for parameters that no repository has, and
/// where there is no second thread.
pub(super) fn scrypt(password: &[u8], salt: &[u8], parameters: Parameters) -> Option<[u8; 64]> {
    let Parameters { n, r, p } = parameters;
    let table = n.checked_mul(r)?.checked_mul(128)?;
    let is_usual = n.is_power_of_two() && n >= LANES && r > 0 && (1..=64).contains(&p);
    if !is_usual || table > LARGEST_TABLE {
        return None;
    }
    let mut content = vec![0; p * 128 * r];
    pbkdf2(password, salt, &mut content)?;
    let every = p.min(LANES).next_power_of_two();
    let mut lanes: Vec<&mut [u8]> = content.chunks_exact_mut(128 * r).collect();
    for some in lanes.chunks_mut(LANES) {
        let (one, other) = some.split_at_mut(some.len().min(2));
        thread::scope(|threads| {
            let work = || mix_lanes(other, n, every);
            let second = threads::spawn(threads, "key", work).ok();
            mix_lanes(one, n, every);
            second?.join().ok()
        })?;
    }
    let mut key = [0; 64];
    pbkdf2(password, &content, &mut key)?;
    Some(key)
}

/// Mixes one lane or two.
fn mix_lanes(lanes: &mut [&mut [u8]], n: usize, every: usize) {
    // SAFETY: every processor that runs this has the instructions (SSE2).
    unsafe {
        match lanes {
            [one, other] => mix([one, other], n, every),
            [one] => mix([one], n, every),
            _ => {}
        }
    }
}

/// ROMix of some lanes, whose instructions alternate.
#[target_feature(enable = "sse2")]
fn mix<const L: usize>(contents: [&mut [u8]; L], n: usize, every: usize) {
    let mut lanes: [Lane; L] = std::array::from_fn(|at| Lane::new(&*contents[at], n, every));
    for at in 0..n {
        lanes.iter_mut().for_each(|lane| lane.keep(at));
        mix_blocks(&mut lanes);
        lanes.iter_mut().for_each(|lane| std::mem::swap(&mut lane.state, &mut lane.output));
    }
    lanes.iter_mut().for_each(|lane| lane.look_up());
    while lanes.iter().any(|lane| lane.left > 0) {
        lanes.iter_mut().for_each(|lane| lane.prepare());
        mix_blocks(&mut lanes);
        lanes.iter_mut().for_each(|lane| lane.step());
    }
    for (content, lane) in contents.into_iter().zip(&lanes) {
        for (bytes, block) in content.chunks_exact_mut(64).zip(&lane.state) {
            write(block, bytes);
        }
    }
}

/// A lane while it is mixed.
struct Lane {
    /// Every so many entries of the table, one is kept.
    every: usize,
    table: Vec<Block>,
    n: usize,
    state: Vec<Block>,
    /// The entry that the state is mixed with next, after it was computed so many steps more.
    entry: Vec<Block>,
    steps: usize,
    /// How many entries the state is still to be mixed with.
    left: usize,
    input: Vec<Block>,
    output: Vec<Block>,
}

impl Lane {
    #[target_feature(enable = "sse2")]
    fn new(content: &[u8], n: usize, every: usize) -> Self {
        let state: Vec<Block> = content.chunks_exact(64).map(|bytes| read(bytes)).collect();
        let zeros = vec![[Row::of([0; 4]); 4]; state.len()];
        Self {
            every,
            table: Vec::with_capacity(n / every * state.len()),
            n,
            entry: zeros.clone(),
            steps: 0,
            left: n,
            input: zeros.clone(),
            output: zeros,
            state,
        }
    }

    /// Keeps the state as an entry of the table, if this one is kept.
    #[target_feature(enable = "sse2")]
    fn keep(&mut self, at: usize) {
        if at.is_multiple_of(self.every) {
            self.table.extend_from_slice(&self.state);
        }
        self.input.copy_from_slice(&self.state);
    }

    /// Looks up the entry that the state names, or the one before it that was kept.
    #[target_feature(enable = "sse2")]
    fn look_up(&mut self) {
        let length = self.state.len();
        let at = self.state[length - 1][0].words()[0] as usize % self.n;
        let start = at / self.every * length;
        self.entry.copy_from_slice(&self.table[start..start + length]);
        self.steps = at % self.every;
    }

    #[target_feature(enable = "sse2")]
    fn prepare(&mut self) {
        if self.steps > 0 {
            std::mem::swap(&mut self.input, &mut self.entry);
            return;
        }
        for ((input, state), entry) in self.input.iter_mut().zip(&self.state).zip(&self.entry) {
            *input = xor(state, entry);
        }
    }

    #[target_feature(enable = "sse2")]
    fn step(&mut self) {
        if self.steps > 0 {
            std::mem::swap(&mut self.output, &mut self.entry);
            self.steps -= 1;
        } else if self.left > 0 {
            std::mem::swap(&mut self.output, &mut self.state);
            self.left -= 1;
            self.look_up();
        }
    }
}

/// BlockMix of the lanes' inputs.
#[target_feature(enable = "sse2")]
fn mix_blocks<const L: usize>(lanes: &mut [Lane; L]) {
    let length = lanes[0].input.len();
    let mut blocks: [Block; L] = std::array::from_fn(|lane| lanes[lane].input[length - 1]);
    for at in 0..length {
        for (block, lane) in blocks.iter_mut().zip(&*lanes) {
            *block = xor(block, &lane.input[at]);
        }
        salsa(&mut blocks);
        let to = at / 2 + at % 2 * (length / 2);
        for (block, lane) in blocks.iter().zip(&mut *lanes) {
            lane.output[to] = *block;
        }
    }
}

/// Salsa20/8.
#[inline]
#[target_feature(enable = "sse2")]
fn salsa<const L: usize>(blocks: &mut [Block; L]) {
    let begun = *blocks;
    for _ in 0..8 {
        for [a, b, _, d] in &mut *blocks {
            *b = b.xor(a.plus(*d).rotated::<7, 25>());
        }
        for [a, b, c, _] in &mut *blocks {
            *c = c.xor(b.plus(*a).rotated::<9, 23>());
        }
        for [_, b, c, d] in &mut *blocks {
            *d = d.xor(c.plus(*b).rotated::<13, 19>());
        }
        for [a, b, c, d] in &mut *blocks {
            *a = a.xor(d.plus(*c).rotated::<18, 14>());
            // Rows of the next round are columns of this one.
            let turned = (d.turned::<0b00_11_10_01>(), b.turned::<0b10_01_00_11>());
            (*b, *c, *d) = (turned.0, c.turned::<0b01_00_11_10>(), turned.1);
        }
    }
    for (row, begun) in blocks.iter_mut().flatten().zip(begun.iter().flatten()) {
        *row = row.plus(*begun);
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn xor([a, b, c, d]: &Block, [e, f, g, h]: &Block) -> Block {
    [a.xor(*e), b.xor(*f), c.xor(*g), d.xor(*h)]
}

#[target_feature(enable = "sse2")]
fn read(bytes: &[u8]) -> Block {
    let word = |row: usize, at: usize| {
        let from = 4 * ORDER[4 * row + at];
        u32::from_le_bytes(std::array::from_fn(|byte| bytes[from + byte]))
    };
    std::array::from_fn(|row| Row::of(std::array::from_fn(|at| word(row, at))))
}

#[target_feature(enable = "sse2")]
fn write(block: &Block, bytes: &mut [u8]) {
    let words = block.iter().flat_map(|row| row.words());
    for (word, to) in words.zip(ORDER) {
        bytes[4 * to..4 * to + 4].copy_from_slice(&word.to_le_bytes());
    }
}

/// PBKDF2 with HMAC-SHA256, one round.
fn pbkdf2(password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let keyed = Hmac::<Sha256>::new_from_slice(password).ok()?;
    for (number, part) in (1_u32..).zip(output.chunks_mut(32)) {
        let mut mac = keyed.clone();
        mac.update(salt);
        mac.update(&number.to_be_bytes());
        part.copy_from_slice(&mac.finalize().into_bytes()[..part.len()]);
    }
    Some(())
}

mod rows {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_or_si128, _mm_set_epi32, _mm_shuffle_epi32,
        _mm_slli_epi32, _mm_srli_epi32, _mm_xor_si128,
    };

    /// Four words, on which one instruction works.
    #[derive(Clone, Copy)]
    pub(super) struct Row(__m128i);

    impl Row {
        #[inline]
        #[target_feature(enable = "sse2")]
        pub(super) fn of(words: [u32; 4]) -> Self {
            let [a, b, c, d] = words.map(u32::cast_signed);
            Self(_mm_set_epi32(d, c, b, a))
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        pub(super) fn words(self) -> [u32; 4] {
            let rest = [self.turned::<1>(), self.turned::<2>(), self.turned::<3>()];
            let [b, c, d] = rest.map(|row| row.first());
            [self.first(), b, c, d]
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        fn first(self) -> u32 {
            _mm_cvtsi128_si32(self.0).cast_unsigned()
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        pub(super) fn xor(self, other: Self) -> Self {
            Self(_mm_xor_si128(self.0, other.0))
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        pub(super) fn plus(self, other: Self) -> Self {
            Self(_mm_add_epi32(self.0, other.0))
        }

        /// Each word rotated to the left by `BY` bits; the rest of its bits are `REST`.
        #[inline]
        #[target_feature(enable = "sse2")]
        pub(super) fn rotated<const BY: i32, const REST: i32>(self) -> Self {
            Self(_mm_or_si128(_mm_slli_epi32::<BY>(self.0), _mm_srli_epi32::<REST>(self.0)))
        }

        /// The words in another order: two bits of `FROM` for each.
        #[inline]
        #[target_feature(enable = "sse2")]
        pub(super) fn turned<const FROM: i32>(self) -> Self {
            Self(_mm_shuffle_epi32::<FROM>(self.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(password: &str, salt: &str, (n, r, p): (usize, usize, usize)) -> String {
        let parameters = Parameters { n, r, p };
        let key = scrypt(password.as_bytes(), salt.as_bytes(), parameters).unwrap();
        key.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_keys_are_those_of_the_rfc() {
        let first = made("", "", (16, 1, 1));
        assert!(first.starts_with("77d6576238657b203b19ca42c18a0497f16b4844e3074ae8"), "{first}");
        let second = made("password", "NaCl", (1024, 8, 16));
        assert!(second.starts_with("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830"), "{second}");
    }

    #[test]
    fn any_number_of_lanes_gives_the_librarys_key() {
        for p in 1..=9 {
            let (kdf, data, salt) = ("scrypt".to_owned(), Vec::new(), b"salt".to_vec());
            let (hostname, username, created) = (None, None, None);
            let file = rustic_core::repofile::KeyFile {
                hostname,
                username,
                created,
                kdf,
                n: 64,
                r: 3,
                p,
                data,
                salt,
            };
            let (encrypt, k, r) = file.kdf_key(&"secret").unwrap().to_keys();
            let parameters = Parameters { n: 64, r: 3, p: p as usize };
            let key = scrypt(b"secret", b"salt", parameters).unwrap();
            assert_eq!(key.to_vec(), [encrypt, k, r].concat(), "{p}");
        }
    }

    #[test]
    fn parameters_that_would_take_all_memory_are_left_to_the_library() {
        let key = |n, r, p| scrypt(b"secret", b"salt", Parameters { n, r, p });
        assert!(key(1 << 30, 8, 1).is_none() && key(usize::MAX, 8, 1).is_none());
        assert!(key(100, 8, 1).is_none() && key(64, 0, 1).is_none() && key(64, 8, 0).is_none());
    }
}
