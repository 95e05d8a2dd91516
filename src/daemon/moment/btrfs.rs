//! Snapshots of btrfs subvolumes.

use std::{
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, io::Errno};

use super::btrfs_calls as calls;
use crate::{
    daemon::root::Staged,
    error::{Error, ErrorKind, Result},
    files::{FOLDER, write_error},
};

/// The inode of a subvolume's own folder.
const SUBVOLUME_INODE: u64 = 256;
const BTRFS_MAGIC: i64 = 0x9123_683e;

/// A folder on btrfs.
pub(super) struct Seen {
    pub(super) file_system: [u8; 16],
    pub(super) is_subvolume: bool,
    /// The subvolumes inside, by their paths in the folder where they can be told.
    pub(super) subvolumes: Vec<String>,
}

impl Seen {
    /// `None` on another file system, or if nothing can be seen.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let file_system = file_system(folder)?;
        let handle = File::open(folder).ok()?;
        let is_subvolume = handle.metadata().ok()?.ino() == SUBVOLUME_INODE;
        let inside = if is_subvolume { calls::subvolumes_in(&handle).ok()? } else { Vec::new() };
        let named = inside.into_iter().map(|parent| named(&handle, folder, parent));
        Some(Self { file_system, is_subvolume, subvolumes: named.collect() })
    }
}

/// The path of a subvolume in the folder with this inode.
fn named(handle: &File, folder: &Path, parent: u64) -> String {
    let parent = calls::path_of(handle, parent).unwrap_or_default();
    let entries = fs::read_dir(folder.join(&parent)).into_iter().flatten().flatten();
    let is_subvolume = |entry: &fs::DirEntry| {
        entry
            .metadata()
            .is_ok_and(|metadata| metadata.is_dir() && metadata.ino() == SUBVOLUME_INODE)
    };
    let path = entries.into_iter().find(is_subvolume).map(|entry| entry.path());
    let below = path.as_deref().and_then(|path| path.strip_prefix(folder).ok());
    below.map_or_else(|| parent.display().to_string(), |below| below.display().to_string())
}

/// The id of the btrfs file system of a folder; `None` on another one.
pub(super) fn file_system(folder: &Path) -> Option<[u8; 16]> {
    let system = rustix::fs::statfs(folder).ok()?;
    #[allow(clippy::unnecessary_cast, reason = "the type differs between processors")]
    let is_btrfs = system.f_type as i64 == BTRFS_MAGIC;
    if !is_btrfs {
        return None;
    }
    calls::file_system(&File::open(folder).ok()?).ok()
}

/// An unused path for a snapshot of a volume.
pub(super) fn snapshot_path(into: &Path, volume: &str, is_ours: bool) -> PathBuf {
    let name = Staged::Moment.new_name(volume);
    // In another folder than ours, the name says whose it is.
    into.join(if is_ours { name } else { format!(".convoy-backups-{name}") })
}

/// Takes a read-only snapshot of a subvolume.
pub(super) fn take_snapshot(folder: &Path, path: &Path) -> Result<()> {
    let (parent, name) = parts(path)?;
    // A symbolic link may have been put in the folder's place since it was looked at.
    let source = rustix::fs::open(folder, FOLDER, Mode::empty()).map(File::from);
    let taken = source.map_err(io::Error::from);
    let taken = taken.and_then(|source| Ok(calls::snapshot(&open(parent)?, &source, name)?));
    taken.map_err(|error| write_error(path, &error))
}

/// What tells the subvolume that a folder is in from all others, also after it was mounted again:
/// the id of the file system and the number in it. `None` if it can't be told.
pub(super) fn home(folder: &Path) -> Option<String> {
    let file_system = file_system(folder)?;
    let tree = calls::tree_of(&File::open(folder).ok()?).ok()?;
    let hex: String = file_system.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{hex}:{tree}"))
}

/// Removes the snapshot `path`, which was made in the subvolume `home`. One that is gone is no error,
/// but one whose disk is not mounted is not gone.
pub(super) fn remove_snapshot(path: &Path, made_in: Option<&str>) -> Result<()> {
    let (parent, name) = parts(path)?;
    let there = path.ancestors().skip(1).find(|above| above.is_dir()).unwrap_or(parent);
    let home = home(there);
    if home.is_none() || made_in.is_some_and(|made_in| home.as_deref() != Some(made_in)) {
        let message = format!("the disk of \"{}\" is not mounted", path.display());
        return Err(Error::new(ErrorKind::Io, message)
            .with_hint("mount it; the next start of the daemon removes what is left there"));
    }
    if there != parent {
        return Ok(());
    }
    let removed = open(parent).and_then(|parent| match calls::remove_subvolume(&parent, name) {
        Err(Errno::NOENT) => Ok(()),
        removed => Ok(removed?),
    });
    removed.map_err(|error| {
        write_error(path, &error)
            .with_hint(format!("remove it by hand: btrfs subvolume delete \"{}\"", path.display()))
    })
}

fn open(folder: &Path) -> io::Result<File> {
    File::open(folder)
}

fn parts(path: &Path) -> Result<(&Path, &[u8])> {
    path.parent()
        .zip(path.file_name().map(|name| name.as_bytes()))
        .ok_or_else(|| Error::internal("a snapshot's path has no name"))
}
