//! No moment: files are read as they are.

use std::path::Path;

use rustix::fs::{Mode, syncfs};

use crate::{
    files::{FOLDER, real_path},
    mount_table,
};

/// Makes writes through memory maps visible. Linux gives a file a new time only at the first such
/// write after its pages have reached the disk, which takes half a minute (`vm.dirty_expire_centisecs`
/// and a bit; the same on ext4, XFS and btrfs). After this, each write from now on gives a new time,
/// so the reader sees it, and the next backup too. So it is for what is mounted in the folder, but for shares, which may not answer. Nothing depends on it where it can't be done.
pub(super) fn write_out(folder: &Path) {
    let (mounts, real) = (mount_table::mounts().unwrap_or_default(), real_path(folder));
    let mounted = mount_table::at_or_below(&mounts, &real).filter(|mount| !mount.is_remote());
    for folder in std::iter::once(folder).chain(mounted.map(|mount| mount.path.as_path())) {
        let written = rustix::fs::open(folder, FOLDER, Mode::empty()).and_then(syncfs);
        if let Err(error) = written {
            log::debug!(
                "the file system of \"{}\" can't be written out: {error}",
                folder.display()
            );
        }
    }
}
