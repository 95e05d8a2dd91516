//! No moment: files are read as they are.

use std::path::Path;

use rustix::fs::{Mode, syncfs};

use crate::files::FOLDER;

/// Makes writes through memory maps visible. Linux gives a file a new time only at the first such
/// write after its pages have reached the disk, which takes half a minute (`vm.dirty_expire_centisecs`
/// and a bit; the same on ext4, XFS and btrfs). After this, each write from now on gives a new time,
/// so the reader sees it, and the next backup too. Nothing depends on it where it can't be done.
pub(super) fn write_out(folder: &Path) {
    let written = rustix::fs::open(folder, FOLDER, Mode::empty()).and_then(syncfs);
    if let Err(error) = written {
        log::debug!("the file system of \"{}\" can't be written out: {error}", folder.display());
    }
}
