//! The names in a folder, in the order of restic's trees.

use std::{
    ffi::{CStr, CString},
    io,
    ops::Range,
    os::fd::OwnedFd,
    sync::atomic::{AtomicUsize, Ordering},
};

use rustix::fs::Dir;

/// How often a folder is listed that changes each time, and a file read. A large file is read less often.
pub(super) const TRIES: u32 = 3;
/// So many entries of a folder one worker reads at a time.
const BATCH: usize = 32;

/// The names in a folder, each once. Workers take them in batches.
pub(super) struct Listing {
    /// All names, each with a zero after it.
    text: Vec<u8>,
    starts: Vec<u32>,
    taken: AtomicUsize,
    done: AtomicUsize,
}

impl Listing {
    /// Reads the names in a folder.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub(super) fn read(folder: &OwnedFd) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut starts = Vec::new();
        // Not opened again: the folder was opened so that reading it does not change its access time.
        let mut entries = Dir::new(folder.try_clone()?)?;
        // The place in the folder is shared with those that read it before.
        entries.rewind();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                starts.push(start(&text)?);
                text.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        Ok(Self::sorted(text, starts))
    }

    /// These names.
    ///
    /// # Errors
    /// If there are too many.
    pub(super) fn of(names: &[CString]) -> io::Result<Self> {
        let mut text = Vec::new();
        let mut starts = Vec::new();
        for name in names {
            starts.push(start(&text)?);
            text.extend_from_slice(name.to_bytes_with_nul());
        }
        Ok(Self::sorted(text, starts))
    }

    fn sorted(text: Vec<u8>, mut starts: Vec<u32>) -> Self {
        starts.sort_unstable_by(|one, other| name_at(&text, *one).cmp(name_at(&text, *other)));
        // A folder that changes while it is listed can list a name twice.
        starts.dedup_by(|one, other| name_at(&text, *one) == name_at(&text, *other));
        Self { text, starts, taken: AtomicUsize::new(0), done: AtomicUsize::new(0) }
    }

    pub(super) fn len(&self) -> u32 {
        // There are fewer names than bytes in the text, whose length fits.
        self.starts.len() as u32
    }

    /// Leaves out these names. Returns how many.
    pub(super) fn leave_out(&mut self, is_out: impl Fn(&CStr) -> bool) -> u64 {
        let (text, before) = (&self.text, self.starts.len());
        self.starts.retain(|start| !is_out(name_at(text, *start)));
        (before - self.starts.len()) as u64
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &CStr> {
        self.starts.iter().map(|start| name_at(&self.text, *start))
    }

    pub(super) fn name(&self, number: u32) -> &CStr {
        self.starts.get(number as usize).map_or(c"", |start| name_at(&self.text, *start))
    }

    /// The next entries that no worker has taken, and whether there are more after them.
    pub(super) fn take(&self) -> (Range<u32>, bool) {
        let start = self.taken.fetch_add(BATCH, Ordering::Relaxed).min(self.starts.len());
        let end = (start + BATCH).min(self.starts.len());
        (start as u32..end as u32, end < self.starts.len())
    }

    /// Counts entries that were read. Returns whether these were the last ones.
    pub(super) fn done(&self, entries: Range<u32>) -> bool {
        let before = self.done.fetch_add(entries.len(), Ordering::AcqRel);
        before + entries.len() == self.starts.len()
    }
}

fn start(text: &[u8]) -> io::Result<u32> {
    u32::try_from(text.len()).map_err(|_| io::Error::other("it has too many entries"))
}

fn name_at(text: &[u8], start: u32) -> &CStr {
    text.get(start as usize..)
        .and_then(|name| CStr::from_bytes_until_nul(name).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_listed_twice_is_there_once_and_names_are_sorted_by_their_bytes() {
        let mut text = Vec::new();
        let mut starts = Vec::new();
        for name in [c"b", c"a", c"b", c"\xc3\xa4", c"a-", c"B"] {
            starts.push(start(&text).unwrap());
            text.extend_from_slice(name.to_bytes_with_nul());
        }
        let listing = Listing::sorted(text, starts);
        let names: Vec<_> = (0..listing.len()).map(|number| listing.name(number)).collect();
        assert_eq!(names, [c"B", c"a", c"a-", c"b", c"\xc3\xa4"]);
        assert_eq!(listing.take(), (0..5, false));
        assert!(!listing.done(0..2) && listing.done(2..5));
    }
}
