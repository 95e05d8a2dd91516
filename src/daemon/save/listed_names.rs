//! Which names were listed in which folders, in a fixed amount of memory: names that were not listed
//! seldom seem to be.

use std::{
    ffi::CStr,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::daemon::tree::folder_handles::FolderId;

/// A megabyte. After a million names, one in fifty others seems to be listed; after a hundred thousand,
/// one in a hundred thousand.
const WORDS: usize = 1 << 17;
/// So many bits are set for a name.
const BITS: u64 = 4;

/// Names in folders, which several workers add to.
pub(super) struct ListedNames(Box<[AtomicU64]>);

impl ListedNames {
    pub(super) fn new() -> Self {
        Self((0..WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn add(&self, folder: FolderId, name: &CStr) {
        for (word, bit) in places(folder, name) {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Whether the name was added, or seems so.
    pub(super) fn has(&self, folder: FolderId, name: &CStr) -> bool {
        places(folder, name).all(|(word, bit)| self.0[word].load(Ordering::Relaxed) & bit != 0)
    }
}

fn places(folder: FolderId, name: &CStr) -> impl Iterator<Item = (usize, u64)> {
    let mut hasher = DefaultHasher::new();
    (folder, name).hash(&mut hasher);
    let hash = hasher.finish();
    let (first, step) = (hash & u64::from(u32::MAX), hash >> 32 | 1);
    (0..BITS).map(move |number| {
        let bit = (first + number * step) % (64 * WORDS as u64);
        ((bit / 64) as usize, 1 << (bit % 64))
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use super::*;

    #[test]
    fn names_that_were_listed_are_known_and_hardly_any_other_seems_to_be() {
        let names = ListedNames::new();
        let name = |number: u32| CString::new(number.to_string()).unwrap();
        for number in 0..20_000 {
            names.add((1, 2), &name(number));
        }
        assert!((0..20_000).all(|number| names.has((1, 2), &name(number))));
        let seem = (0..20_000).filter(|number| names.has((1, 3), &name(*number))).count();
        assert!(seem < 5, "{seem}");
    }
}
