//! Holes: zeros that are not written.

use std::{fs::File, io, os::unix::fs::FileExt as _};

/// The size of a hole's unit in bytes. It is the block size of most file systems.
const HOLE: usize = 4096;
const ZEROS: [u8; HOLE] = [0; HOLE];

/// Writes all blocks except those of zeros only, and returns whether any were left out.
pub(super) fn write_with_holes(file: &File, content: &[u8], offset: u64) -> io::Result<bool> {
    let mut dug = false;
    let mut run = 0..0;
    let mut at = 0;
    while at < content.len() {
        let into_block = usize::try_from((offset + at as u64) % HOLE as u64).unwrap_or(0);
        let end = (at + HOLE - into_block).min(content.len());
        if content[at..end] == ZEROS[..end - at] {
            dug = true;
            file.write_all_at(&content[run.clone()], offset + run.start as u64)?;
            run = end..end;
        } else {
            run.end = end;
        }
        at = end;
    }
    file.write_all_at(&content[run.clone()], offset + run.start as u64)?;
    Ok(dug)
}

/// Whether these are zeros only.
pub(super) fn is_zeros(content: &[u8]) -> bool {
    content.chunks(HOLE).all(|block| *block == ZEROS[..block.len()])
}
