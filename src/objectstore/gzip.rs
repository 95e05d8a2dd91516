//! Whether bytes are what `gzip` made of an archive of `tar`, or of a block. It knows no files.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha512};

use super::layout::Checksum;

/// The length of a block of a volume in bytes.
pub(super) const BLOCK: usize = 2 << 20;
/// The length of what is read of the beginning.
pub(super) const HEAD: usize = 10;
/// The length of what is read of the end: the checksum and the length of what was packed.
pub(super) const TRAILER: usize = 8;
/// A shorter file is no gzip.
pub(super) const SHORTEST: u64 = (HEAD + 2 + TRAILER) as u64;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// `tar` writes blocks of this length, and two of them at the end.
const TAR_BLOCK: u64 = 512;
/// gzip packs at most so many bytes into one.
const MOST_PACKED: u64 = 1032;

/// Whether the beginning and the end of a file of `size` bytes are those of a packed archive.
pub(super) fn is_archive(size: u64, head: &[u8], trailer: &[u8]) -> bool {
    let Ok(length) = <[u8; 4]>::try_from(trailer.get(TRAILER - 4..).unwrap_or_default()) else {
        return false;
    };
    let length = u64::from(u32::from_le_bytes(length));
    // The trailer has the length without what is above 4 GiB.
    let is_known = size.saturating_mul(MOST_PACKED) <= u64::from(u32::MAX);
    let is_plausible = !is_known || (2 * TAR_BLOCK..=size * MOST_PACKED).contains(&length);
    size >= SHORTEST
        && begins_right(head)
        && length.is_multiple_of(TAR_BLOCK)
        && is_plausible
        // What a power cut leaves of a large file.
        && trailer.iter().any(|byte| *byte != 0)
}

/// Whether a file begins as `gzip`'s do.
pub(super) fn begins_right(head: &[u8]) -> bool {
    head.starts_with(&MAGIC)
}

/// Unpacks an archive, at most `most` bytes of it, and checks its checksum if that is reached.
///
/// # Errors
/// What is wrong with it, or the reader's own error.
pub(super) fn unpack(packed: impl Read, most: u64) -> io::Result<()> {
    let mut unpacked = MultiGzDecoder::new(packed).take(most);
    let length = io::copy(&mut unpacked, &mut io::sink())?;
    if length < most && (length < 2 * TAR_BLOCK || !length.is_multiple_of(TAR_BLOCK)) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no archive of tar"));
    }
    Ok(())
}

/// Whether this is a packed block with this checksum.
pub(super) fn is_block(packed: &[u8], checksum: &Checksum) -> bool {
    let mut block = Vec::with_capacity(BLOCK + 1);
    let unpacked = MultiGzDecoder::new(packed).take(BLOCK as u64 + 1).read_to_end(&mut block);
    unpacked.is_ok() && block.len() == BLOCK && Sha512::digest(&block).starts_with(&checksum.0)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn has_right_ends(file: &[u8]) -> bool {
        let trailer = file.len().saturating_sub(TRAILER);
        is_archive(file.len() as u64, &file[..HEAD.min(file.len())], &file[trailer..])
    }

    #[test]
    fn the_ends_of_a_file_tell_whether_it_is_whole() {
        let archive = packed(&[7; 10_240]);
        assert!(has_right_ends(&archive));
        // What a power cut leaves.
        let zeros = vec![0; archive.len()];
        let half_zeros = [&archive[..archive.len() / 2], &zeros[archive.len() / 2..]].concat();
        for wrong in [&[][..], &zeros, &half_zeros, &archive[..archive.len() - 1], &archive[..30]] {
            assert!(!has_right_ends(wrong), "{wrong:?}");
        }
        assert!(!has_right_ends(&packed(&[7; 10_241])), "no archive has this length");
        assert!(!has_right_ends(&packed(b"")));
        // More than 4 GiB: the length in the trailer says little.
        let head = &archive[..HEAD];
        assert!(is_archive(5 << 20, head, &[1, 2, 3, 4, 0, 2, 0, 0]));
        assert!(!is_archive(4_000_000, head, &[1, 2, 3, 4, 0, 2, 0, 0]));
        assert!(!is_archive(5 << 20, head, &[1, 2, 3, 4, 1, 2, 0, 0]));
        assert!(is_archive(5 << 30, head, &[1, 2, 3, 4, 0, 0, 0, 0]));
        assert!(!is_archive(5 << 30, head, &[0; TRAILER]));
    }

    #[test]
    fn an_archive_that_is_read_is_checked_by_its_checksum() {
        let archive = packed(&[7; 10_240]);
        unpack(&archive[..], u64::MAX).unwrap();
        let mut damaged = archive.clone();
        let checksum = damaged.len() - TRAILER;
        damaged[checksum] ^= 1;
        assert!(unpack(&damaged[..], u64::MAX).is_err());
        assert!(unpack(&archive[..archive.len() / 2], u64::MAX).is_err());
        assert!(unpack(&packed(b"no archive")[..], u64::MAX).is_err());
        // No more is unpacked than was said.
        unpack(&damaged[..], 10_240).unwrap();
    }

    #[test]
    fn a_block_is_what_its_name_says() {
        let content = vec![5; BLOCK];
        let digest = Sha512::digest(&content);
        let checksum = Checksum(digest[..32].try_into().unwrap());
        assert!(is_block(&packed(&content), &checksum));
        assert!(!is_block(&packed(&content), &Checksum([0; 32])));
        assert!(!is_block(&packed(&vec![5; BLOCK - 1]), &checksum));
        assert!(!is_block(&packed(&vec![5; BLOCK + 1]), &checksum));
        assert!(!is_block(b"", &checksum));
    }
}
