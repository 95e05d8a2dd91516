//! Files that are restored together: the pieces of all of them are read in the order in which they
//! lie in the packs.

use std::sync::Arc;

use super::{
    content::{Target, Work},
    file::RestoredFile,
    plan::{Largest, Wanted, stretches},
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
    is_far: bool,
}

impl Window {
    /// An empty one. `is_far` says that each read waits for the network.
    pub(super) fn new(is_far: bool) -> Self {
        Self { pieces: Vec::new(), empty: Vec::new(), large: 0, most: FIRST, is_far }
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

    /// Takes what has gathered, as pieces of work. Where each read waits for the network, the pack of
    /// the last piece is left for the next window, unless this is the last one: more of it may be wanted.
    pub(super) fn take(&mut self, is_last: bool) -> impl Iterator<Item = Work> + use<> {
        self.large = 0;
        self.most = (2 * self.most).min(MOST);
        let empty = std::mem::take(&mut self.empty);
        let empty: Vec<_> =
            empty.chunks(EMPTY_AT_ONCE).map(|some| Work::Empty(some.to_vec())).collect();
        let mut pieces = std::mem::take(&mut self.pieces);
        if self.is_far
            && !is_last
            && let Some(last) = pieces.last().map(|piece| piece.at.pack)
            && pieces.iter().any(|piece| piece.at.pack != last)
        {
            self.pieces = pieces.extract_if(.., |piece| piece.at.pack == last).collect();
        }
        let largest = if self.is_far { Largest::FAR } else { Largest::NEAR };
        let stretches = stretches(pieces, largest);
        empty.into_iter().chain(stretches.into_iter().map(Work::Stretch))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;

    use rustic_core::{Id, repofile::Metadata};

    use super::*;
    use crate::daemon::tree::folder_handles::FolderHandles;

    /// How many pieces of which packs each stretch has, of pieces in these packs.
    fn taken(window: &mut Window, packs: &[u8], is_last: bool) -> Vec<(Id, usize)> {
        let folder = tempfile::tempdir().unwrap();
        let folder = FolderHandles::default().root(folder.path()).unwrap().folder;
        for (number, pack) in packs.iter().enumerate() {
            let at = (Arc::clone(&folder), CString::default());
            let file = Arc::new(RestoredFile::new(at, Metadata::default(), 10, 1));
            let pack = Id::new([*pack; 32]);
            let offset = 10 * number as u32;
            let at = Location { pack, offset, length: 10, raw_length: None };
            window.add(&file, ([0; 32], at, 0), false);
        }
        let stretches = window.take(is_last).map(|work| match work {
            Work::Stretch(stretch) => (stretch.pack, stretch.pieces.len()),
            Work::Empty(_) => panic!("no file is empty"),
        });
        stretches.collect()
    }

    #[test]
    fn far_away_a_pack_is_read_once_though_a_window_ends_in_its_middle() {
        let [one, two] = [1, 2].map(|pack| Id::new([pack; 32]));
        let mut far = Window::new(true);
        assert_eq!(taken(&mut far, &[1, 2, 1, 2], false), [(one, 2)]);
        assert_eq!(taken(&mut far, &[2, 2], true), [(two, 4)]);
        // A single pack does not wait until it is whole.
        assert_eq!(taken(&mut far, &[1, 1], false), [(one, 2)]);
        assert_eq!(taken(&mut Window::new(false), &[1, 2], false), [(one, 1), (two, 1)]);
    }
}
