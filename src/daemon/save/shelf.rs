//! The trees of one reading of a volume, for the next one: what is read while writers are held does not
//! wait for a bucket.
//!
//! They lie sealed, as in the repository, in a file without a name, so a crash leaves nothing.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Mutex,
};

use rustic_core::Id;

use crate::{daemon::repository::Hash, files::Room, sync::lock};

/// At most so many bytes of trees are kept; the others are read from the repository.
const MOST: u64 = 512 << 20;
/// After so many bytes it is looked again whether the disk has room beyond its reserve.
const LOOK: u64 = 4 << 20;

/// Trees that were read or written.
#[derive(Debug)]
pub(in crate::daemon) struct Shelf {
    file: File,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Where each begins, and how long it is.
    places: HashMap<Hash, (u64, usize)>,
    length: u64,
    /// So many bytes may be kept before the disk is looked at again.
    allowed: u64,
}

impl Kept {
    fn fits(&mut self, end: u64, file: &File) -> bool {
        if end > self.allowed && end <= MOST {
            let room = Room::beside(file).map_or(0, |room| room.bytes);
            self.allowed = self.length + room.min(LOOK);
        }
        end <= self.allowed.min(MOST)
    }
}

impl Shelf {
    /// An empty shelf on the disk of this folder, which is made if it is not there.
    ///
    /// # Errors
    /// If no file can be made there.
    pub(in crate::daemon) fn new(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join(&Id::random().to_hex().as_str()[..16]);
        let options = File::options().read(true).write(true).create_new(true).mode(0o600).clone();
        let file = options.open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self { file, kept: Mutex::default() })
    }

    /// Keeps a sealed tree. One that can't be kept is read from the repository.
    pub(super) fn keep(&self, tree: Hash, sealed: &[u8]) {
        let at = {
            let mut kept = lock(&self.kept);
            let at = kept.length;
            if kept.places.contains_key(&tree) || !kept.fits(at + sealed.len() as u64, &self.file) {
                return;
            }
            kept.length += sealed.len() as u64;
            at
        };
        if self.file.write_all_at(sealed, at).is_ok() {
            lock(&self.kept).places.insert(tree, (at, sealed.len()));
        }
    }

    /// A sealed tree, if it was kept.
    pub(super) fn find(&self, tree: &Hash) -> Option<Vec<u8>> {
        let (at, length) = lock(&self.kept).places.get(tree).copied()?;
        let mut sealed = vec![0; length];
        self.file.read_exact_at(&mut sealed, at).ok()?;
        Some(sealed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_and_the_folder_stays_empty() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(&folder.path().join("shelves")).unwrap();
        shelf.keep([1; 32], b"one");
        shelf.keep([2; 32], b"two");
        shelf.keep([1; 32], b"again");
        assert_eq!(shelf.find(&[1; 32]).unwrap(), b"one");
        assert_eq!(shelf.find(&[2; 32]).unwrap(), b"two");
        assert!(shelf.find(&[3; 32]).is_none());
        assert_eq!(fs::read_dir(folder.path().join("shelves")).unwrap().count(), 0);
    }
}
