//! Files that are restored together: the pieces of all of them are read in the order in which they
//! lie in the packs.

use std::sync::Arc;

use super::{
    content::{Target, Work},
    file::RestoredFile,
    plan::{FAR_STRETCH, STRETCH, Wanted, stretches},
};
use crate::daemon::repository::{Hash, Location};

/// How many pieces the first window has. It is short, so that the threads begin soon. Each later
/// one is twice as long.
const FIRST: usize = 256;
/// How many pieces a window has at most.
const MOST: usize = 8192;
/// How many files of several pieces begin in a window. All of them may be open at the same time.
const MOST_LARGE: usize = 128;
/// How many files without content one thread makes at a time.
const EMPTY_AT_ONCE: usize = 64;

/// What has gathered.
pub(super) struct Window {
    pieces: Vec<Wanted<Target>>,
    empty: Vec<Arc<RestoredFile>>,
    large: usize,
    most: usize,
    longest: u64,
}

impl Window {
    /// An empty one. `is_far` says that each read waits for the network.
    pub(super) fn new(is_far: bool) -> Self {
        let longest = if is_far { FAR_STRETCH } else { STRETCH };
        Self { pieces: Vec::new(), empty: Vec::new(), large: 0, most: FIRST, longest }
    }

    /// Adds a piece of a file, which goes to this offset. `is_large` says that it is the first one
    /// of several.
    pub(super) fn add(
        &mut self,
        file: &Arc<RestoredFile>,
        (id, at, offset): (Hash, Location, u64),
        is_large: bool,
    ) {
        self.pieces.push(Wanted { id, at, to: (Arc::clone(file), offset) });
        self.large += usize::from(is_large);
    }

    /// Adds a file without content.
    pub(super) fn add_empty(&mut self, file: Arc<RestoredFile>) {
        self.empty.push(file);
    }

    pub(super) fn is_full(&self) -> bool {
        self.pieces.len() >= self.most || self.empty.len() >= self.most || self.large >= MOST_LARGE
    }

    /// Takes what has gathered, as pieces of work.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Work> + use<> {
        self.large = 0;
        self.most = (2 * self.most).min(MOST);
        let empty = std::mem::take(&mut self.empty);
        let empty: Vec<_> =
            empty.chunks(EMPTY_AT_ONCE).map(|some| Work::Empty(some.to_vec())).collect();
        let stretches = stretches(std::mem::take(&mut self.pieces), self.longest);
        empty.into_iter().chain(stretches.into_iter().map(Work::Stretch))
    }
}
