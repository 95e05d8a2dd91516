//! A driver: where the files of a volume are, and who makes and removes them.
//!
//! The state of a volume ([`super::state`]), its snapshots and its backups are the same for every
//! driver. `vfs` makes volumes when it is told to; `folder` finds them in the configuration. A
//! driver that finds its volumes elsewhere (an engine's) finds others at each call of
//! [`Driver::found`].

mod all;
mod docker;
mod folder;
mod overlap;
mod vfs;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::moment::Place;
use crate::{
    error::{Error, Result},
    files::{Unanswered, look_at, real_path},
    mount_table::{at_or_below, mounts},
};
pub(super) use all::Drivers;
pub(super) use docker::{
    Docker, DockerVolume, Finished, Found, HostFolder, Left, NotFilled, is_same_mark,
};
pub(crate) use docker::{DockerOptions, Patience, is_in_container};
pub(super) use folder::Folders;
pub(super) use overlap::{SameFolder, refuse_destination};
pub(super) use vfs::Vfs;

/// Knows where the files of volumes are.
pub(super) trait Driver: fmt::Debug + Send + Sync {
    /// The driver's name in Convoy's API: `vfs`.
    fn name(&self) -> &'static str;

    /// The folder for a volume's files, whether it exists or not.
    fn path(&self, volume: &str) -> PathBuf;

    /// The place of which a moment is taken to read the volume.
    fn place(&self, volume: &str) -> Place;

    /// The volumes that are there without having been made here, with their folders.
    fn found(&self) -> Vec<(&str, &Path)> {
        Vec::new()
    }

    /// Looks whether the files of these volumes can be read now, and are their own: an answer for
    /// each, or why not, for people. A folder that does not answer in time is told so.
    fn check(&self, volumes: &[&str], within: Duration) -> Vec<Result<()>>;
}

/// How long a listing waits for the folder of a volume.
pub(super) const LISTED_WITHIN: Duration = Duration::from_secs(5);
/// How long reading a volume waits for its folder: what is mounted on demand takes a while.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(20);

/// Looks whether the folder of a volume answers, with what is mounted in it.
///
/// # Errors
/// If it does not answer in time.
pub(super) fn answers(volume: &str, folder: &Path) -> Result<()> {
    let path = folder.to_owned();
    look_at(folder, READ_WITHIN, move || touch_mounts(&real_path(&path)))
        .map_err(|why| unanswered(volume, folder, &why))
}

/// Looks at what is mounted at a folder and below it, so that it hangs now if one of these does.
fn touch_mounts(folder: &Path) {
    for mount in at_or_below(&mounts().unwrap_or_default(), folder) {
        _ = fs::symlink_metadata(&mount.path);
    }
}

fn unanswered(volume: &str, folder: &Path, why: &Unanswered) -> Error {
    why.error(
        &format!("the folder \"{}\" of volume \"{volume}\"", folder.display()),
        "the server of its share, or of one mounted in it, may be down; its backups go on when it answers",
    )
}
