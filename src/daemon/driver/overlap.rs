//! Whether folders are the same or inside each other, by device and inode: a bind mount, or another
//! path, makes no other folder of it.

use std::{
    fs::{self, FileType},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::touch_mounts;
use crate::{
    convoy::refusal::refused,
    error::{Error, ErrorKind, Result},
    files::real_path,
    mount_table::{at_or_below, mounts},
};

/// What tells a folder from others, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(folder)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Where a folder lies.
#[derive(Debug, Clone)]
pub(super) struct Around {
    /// Without symbolic links.
    pub(super) real: PathBuf,
    pub(super) kind: FileType,
    /// The folder, and those above it up to `/`.
    upwards: Vec<Identity>,
}

impl Around {
    /// Looks at a folder, and at what is mounted in it.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let kind = fs::symlink_metadata(folder)?.file_type();
        let real = fs::canonicalize(folder)?;
        let upwards = real.ancestors().filter_map(|above| Identity::of(above).ok()).collect();
        // The whole host is refused, whatever is mounted in it.
        if real != Path::new("/") {
            touch_mounts(&real);
        }
        Ok(Self { real, kind, upwards })
    }

    /// Whether this folder is the other one, or lies in it.
    pub(super) fn is_in(&self, other: &Self) -> bool {
        other.upwards.first().is_some_and(|other| self.upwards.contains(other))
    }

    pub(super) fn is(&self, other: Identity) -> bool {
        self.upwards.first() == Some(&other)
    }
}

/// Whether `inside` is the folder, or lies in it. What is not there lies nowhere.
pub(super) fn holds(folder: Identity, inside: &Path) -> bool {
    let real = real_path(inside);
    real.ancestors().any(|ancestor| Identity::of(ancestor).is_ok_and(|there| there == folder))
}

/// Refuses to back up a folder to a destination in it, or one that is mounted in it: each backup
/// would have all former ones. Nor is a folder backed up that lies in the destination.
///
/// # Errors
/// If so.
pub(in crate::daemon) fn refuse_destination(folder: &Path, destination: &Path) -> Result<()> {
    const HINT: &str = "choose a destination outside of the volume, best on another disk";
    let (shown, to) = (folder.display(), destination.display());
    let Ok(own) = Identity::of(folder) else { return Ok(()) };
    if holds(own, destination) {
        return Err(refused(format!(
            "the destination \"{to}\" is in the volume's own folder \"{shown}\""
        ))
        .with_hint(HINT));
    }
    if Identity::of(destination).is_ok_and(|destination| holds(destination, folder)) {
        return Err(refused(format!(
            "the volume's folder \"{shown}\" is in the destination \"{to}\""
        ))
        .with_hint(HINT));
    }
    let real = real_path(folder);
    let all = mounts().unwrap_or_default();
    let visible = |at: &PathBuf| Identity::of(at).is_ok_and(|there| holds(there, destination));
    match at_or_below(&all, &real).map(|mount| &mount.path).find(|at| visible(at)) {
        Some(at) => Err(refused(format!(
            "the destination \"{to}\" is mounted in the volume, at \"{}\"",
            at.display()
        ))
        .with_hint(HINT)),
        None => Ok(()),
    }
}

/// A folder that is being read.
#[derive(Debug)]
pub(in crate::daemon) struct SameFolder {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SameFolder {
    pub(in crate::daemon) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: Identity::of(path).ok() }
    }

    /// Looks whether another folder, or none, is there now: what was read is not all then.
    ///
    /// # Errors
    /// If so.
    pub(in crate::daemon) fn still_there(&self) -> Result<()> {
        if Identity::of(&self.path).ok() == self.identity {
            return Ok(());
        }
        let gone = format!("the folder \"{}\" went away while it was read", self.path.display());
        Err(Error::new(ErrorKind::Io, gone)
            .with_hint("nothing was kept; look whether its share is mounted, and try again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_in_the_volume_or_around_it_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for folder in ["volume/deep", "beside"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        std::os::unix::fs::symlink(path("volume/deep"), path("link")).unwrap();
        let refused = |folder: &str, to: &str| {
            refuse_destination(&path(folder), &path(to)).err().map(|error| error.message)
        };
        for to in ["volume", "volume/deep", "volume/not/there", "link"] {
            assert!(refused("volume", to).unwrap().contains("in the volume's own folder"), "{to}");
        }
        assert!(refused("volume/deep", "volume").unwrap().contains("is in the destination"));
        assert_eq!((refused("volume", "beside"), refused("none", "none")), (None, None));
    }

    #[test]
    fn a_folder_that_was_replaced_while_it_was_read_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("f");
        fs::create_dir(&folder).unwrap();
        let seen = SameFolder::of(&folder);
        seen.still_there().unwrap();
        fs::rename(&folder, scratch.path().join("g")).unwrap();
        assert!(seen.still_there().unwrap_err().message.contains("went away"));
        fs::create_dir(&folder).unwrap();
        assert!(seen.still_there().is_err());
    }
}
