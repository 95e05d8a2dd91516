//! What can be seen of a place that decides which moment it offers. Looking leaves no traces.

use std::path::PathBuf;

use rustix::thread::CapabilitySet;

use super::{btrfs, place::Place, reflink};
use crate::{
    files::real_path,
    mount_table::{MountPoint, at_or_below, holding},
};

/// What was seen of a place; nothing, if it does not answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// `None` on another file system.
    pub(super) btrfs: Option<BtrfsFacts>,
    /// Whether copies can share their blocks with the folder's files.
    pub(super) clones: bool,
    /// What is mounted below the folder.
    pub(super) mounts_below: Vec<String>,
}

/// What was seen of a place on btrfs.
#[derive(Debug, Clone)]
pub(super) struct BtrfsFacts {
    pub(super) is_subvolume: bool,
    /// Other subvolumes inside, by their paths in the folder.
    pub(super) subvolumes: Vec<String>,
    /// Whether this process may remove snapshots.
    pub(super) may_remove: bool,
    /// The first of the folders offered that is on the same file system.
    pub(super) snapshot_place: Option<PathBuf>,
}

impl Facts {
    /// By what is mounted now.
    pub(super) fn of(place: &Place, snapshot_places: Vec<PathBuf>, all: &[MountPoint]) -> Self {
        // A share whose server is gone answers nothing for ever, and has no moments.
        if holding(all, &place.folder).is_some_and(|mount| mount.is_remote()) {
            return Self::default();
        }
        let folder = real_path(&place.folder);
        let below = at_or_below(all, &folder).filter(|mount| mount.path != folder);
        let seen = btrfs::Seen::of(&folder);
        Self {
            btrfs: seen.map(|seen| BtrfsFacts {
                is_subvolume: seen.is_subvolume,
                subvolumes: seen.subvolumes,
                may_remove: may_administrate(),
                snapshot_place: snapshot_places
                    .into_iter()
                    .find(|beside| btrfs::file_system(beside) == Some(seen.file_system)),
            }),
            clones: holding(all, &folder).is_some_and(may_share) && reflink::is_offered(&folder),
            mounts_below: below.map(|mount| mount.path.display().to_string()).collect(),
        }
    }
}

/// Whether it is worth trying: on others, each look would write to the disk for nothing.
fn may_share(mount: &MountPoint) -> bool {
    ["xfs", "btrfs", "bcachefs", "ocfs2", "zfs", "overlay"].contains(&mount.file_system.as_str())
}

fn may_administrate() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|own| own.effective.contains(CapabilitySet::SYS_ADMIN))
}
