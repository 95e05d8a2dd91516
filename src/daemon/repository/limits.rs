//! How large what is in a repository may be. Everyone who can write to a destination can put anything
//! there, so nothing of it is taken into memory before it is known to be in proportion.

use rustic_core::{FileType, repofile::BlobType};

/// The largest content of a snapshot's file, in bytes. One has about a thousand; restic writes each path
/// and pattern of its command line into it.
pub(super) const LARGEST_SNAPSHOT: u64 = 32 << 20;
/// The largest content of any other sealed file, in bytes. Programs write index files of some 10 MiB.
pub(super) const LARGEST_INDEX: u64 = 256 << 20;
/// The largest piece of a file, in bytes. restic's have 8 MiB at most; in rustic's, what was set.
const LARGEST_PIECE: u32 = 64 << 20;
/// The largest tree as it lies in a pack, in bytes: that of a folder with a million files has about
/// a tenth of it. It is decompressed piece by piece.
const LARGEST_TREE: u32 = 512 << 20;
/// What a sealed blob has beside its content, at most, in bytes.
const AROUND: u32 = 1 << 10;

/// How many bytes a file of this kind may have.
pub(super) fn largest_file(kind: FileType) -> u64 {
    match kind {
        FileType::Key | FileType::Config => 64 << 10,
        FileType::Snapshot => 16 << 20,
        FileType::Index => 128 << 20,
        FileType::Pack => u64::from(u32::MAX),
    }
}

/// Whether a blob of this kind may have these lengths: as it lies in a pack, and opened, if it is
/// compressed (else 0).
pub(super) fn is_in_proportion(kind: BlobType, length: u32, raw_length: u32) -> bool {
    match kind {
        BlobType::Data => length <= LARGEST_PIECE + AROUND && raw_length <= LARGEST_PIECE,
        BlobType::Tree => length <= LARGEST_TREE,
    }
}
