//! Hashes in hexadecimal digits, as index files and names of files have them.

use std::fmt;

use rustic_core::Id;
use serde::{Deserialize, Deserializer, de};

use super::cipher::Hash;

/// The values of hexadecimal digits; those of all other bytes are greater than 15. An index has
/// millions of them.
const DIGITS: [u8; 256] = {
    let mut digits = [16; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

/// A hash that is written in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HexHash(pub(crate) Hash);

impl HexHash {
    /// The hash in an id of the library.
    pub(crate) fn of(id: &Id) -> Hash {
        // What the library writes is what this reads.
        Self::parse(id.to_hex().as_str()).map(|hash| hash.0).unwrap_or_default()
    }

    /// Reads 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut hash = Hash::default();
        if text.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let [high, low] = [pair[0], pair[1]].map(|digit| DIGITS[usize::from(digit)]);
            if high | low > 15 {
                return None;
            }
            *byte = high << 4 | low;
        }
        Some(Self(hash))
    }
}

impl<'de> Deserialize<'de> for HexHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = HexHash;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HexHash, E> {
                HexHash::parse(text).ok_or_else(|| E::custom("these are not 64 hexadecimal digits"))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

impl fmt::Display for HexHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}
