//! Where a file has data. Holes are not read: a file of a virtual machine or a `lastlog` can be a
//! thousand times larger than its content.

use std::{fs::File, ops::Range};

use rustix::{
    fs::{SeekFrom, Stat, seek},
    io::Errno,
};

/// What is known of a file's holes.
pub(super) struct Holes<'a> {
    file: &'a File,
    size: u64,
    /// Whether the file may have holes: it has fewer blocks than bytes.
    sparse: bool,
    /// The hole that was found last.
    hole: Range<u64>,
}

impl<'a> Holes<'a> {
    pub(super) fn new(file: &'a File, stat: &Stat) -> Self {
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let used = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512);
        Self { file, size, sparse: used < size, hole: 0..0 }
    }

    /// How many bytes the hole that was found last has from here on.
    pub(super) fn left(&self, start: u64) -> u64 {
        self.hole.end.saturating_sub(start)
    }

    /// Whether there is nothing but a hole in this range.
    pub(super) fn is_hole(&mut self, range: Range<u64>) -> bool {
        if !self.sparse || range.end > self.size {
            return false;
        }
        if !self.hole.contains(&range.start) {
            // A file system that does not know holes says that everything is data.
            let data = match seek(self.file, SeekFrom::Data(range.start)) {
                Ok(data) => data,
                // There is no more data.
                Err(Errno::NXIO) => self.size,
                Err(_) => {
                    self.sparse = false;
                    return false;
                }
            };
            self.hole = range.start..data;
        }
        range.end <= self.hole.end
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn holes_are_where_nothing_was_written() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"island", 32 << 20).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        let mut holes = Holes::new(&file, &stat);
        assert!(holes.is_hole(0..1 << 20) && holes.is_hole(1 << 20..31 << 20));
        assert!(!holes.is_hole(31 << 20..33 << 20) && !holes.is_hole(32 << 20..33 << 20));
        assert!(holes.is_hole(40 << 20..64 << 20) && !holes.is_hole(60 << 20..65 << 20));
        file.write_all_at(&vec![1; 64 << 20], 0).unwrap();
        let stat = rustix::fs::fstat(&file).unwrap();
        assert!(!Holes::new(&file, &stat).is_hole(0..1));
    }
}
