//! Writing, moving and removing the program's own files. A file is written completely or not at
//! all, and is on disk before it counts.

mod beneath;
mod changes;
mod count;
mod look;
mod mounts;
mod open;
mod removal;
mod reserve;

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{CWD, RenameFlags};

use crate::error::{Error, Result};
pub(crate) use beneath::Beneath;
pub(crate) use changes::first_changed;
pub(crate) use count::count_files;
pub(crate) use look::{Look, Unanswered, look_at, look_at_each};
pub(crate) use mounts::mounts_in;
pub(crate) use open::{open_at, open_file};
pub(crate) use removal::{FOLDER, remove_all};
pub(crate) use reserve::Room;

/// The path without symbolic links, also where its last parts do not exist (yet, or any more).
pub(crate) fn real_path(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = fs::canonicalize(ancestor) {
            let missing = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            // An empty part would end the path with a slash.
            return if missing.as_os_str().is_empty() { real } else { real.join(missing) };
        }
    }
    path.to_owned()
}

/// Writes a folder's entries to disk. A file system that can't sync a folder (some network ones) is
/// trusted to have done so.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match File::open(path)?.sync_all() {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Writes a small file that only its owner may read. The content goes to a temporary file, which is
/// synced and renamed; then the rename is synced.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    // The whole name, because others may differ in their endings alone.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = open_anew(&temporary)?;
    let renamed = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = renamed {
        _ = fs::remove_file(&temporary);
        return Err(error);
    }
    path.parent().map_or(Ok(()), sync_folder)
}

/// Creates a file that belongs to this process. An existing file was left by a crash or is not the
/// program's own. It is removed, because its permissions, or the target of a link, must not be
/// reused.
fn open_anew(path: &Path) -> io::Result<File> {
    let mut tries = 3;
    loop {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match File::options().write(true).create_new(true).mode(0o600).open(path) {
            // Another process is writing the same file right now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries > 0 => tries -= 1,
            opened => return opened,
        }
    }
}

/// Renames, and fails with `AlreadyExists` if the new name is taken. Nothing is ever replaced.
pub(crate) fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // The file system does not support the flag (NFS). For files, a hard link refuses an
        // existing name as well.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            if fs::symlink_metadata(from)?.is_dir() {
                if fs::symlink_metadata(to).is_ok() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                return fs::rename(from, to);
            }
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(error) => Err(error.into()),
    }
}

/// As [`rename_to_new`], for a folder of the program's own with any mode. The system moves a folder
/// into another parent only if its owner may write to the folder.
pub(crate) fn move_folder(from: &Path, to: &Path) -> io::Result<()> {
    match rename_to_new(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mode = fs::symlink_metadata(from)?.mode();
            let set = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
            set(from, mode | 0o200).map_err(|_| error)?;
            let moved = rename_to_new(from, to);
            set(if moved.is_ok() { to } else { from }, mode)?;
            moved
        }
        other => other,
    }
}

/// The names in a folder; empty if there is no such folder.
///
/// # Errors
/// If the folder can't be read.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>> {
    let unreadable =
        |error: io::Error| Error::io(format!("cannot read \"{}\"", folder.display()), &error);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(unreadable)?
            .map(|entry| {
                entry
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .map_err(unreadable)
            })
            .collect(),
    }
}

/// How long ago `time` was, or how far in the future it is.
pub(crate) fn age(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_else(|ahead| ahead.duration())
}

/// The file systems whose data is on another machine or behind another program, by the kernel's
/// numbers (statfs(2)): NFS, SMB, CIFS, SMB2, FUSE, Ceph, 9P, AFS.
const NOT_OF_A_DISK: [u32; 8] =
    [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x00c3_6400, 0x0102_1997, 0x5346_414f];

/// Whether a disk says that it can't read what is at `path` (EIO). A share that is mounted with
/// `soft` says the same while its server does not answer, which loses nothing.
pub(crate) fn is_lost(error: &io::Error, path: &Path) -> bool {
    is_lost_on(error, || rustix::fs::statfs(path).ok().map(|system| system.f_type as u32))
}

fn is_lost_on(error: &io::Error, file_system: impl FnOnce() -> Option<u32>) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        && file_system().is_some_and(|number| !NOT_OF_A_DISK.contains(&number))
}

/// The error for a failed write, with a hint.
pub(crate) fn write_error(path: &Path, error: &io::Error) -> Error {
    let what = Error::io(format!("cannot write \"{}\"", path.display()), error);
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            what.with_hint("make room there and try again; nothing half written counts")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            what.with_hint("let the user that this program runs as write there")
        }
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_fails_leaves_nothing_and_touches_no_other_files_half() {
        let folder = tempfile::tempdir().unwrap();
        let (other, path) = (folder.path().join("state.new"), folder.path().join("state.json"));
        fs::write(&other, "another's").unwrap();
        fs::create_dir(&path).unwrap();
        write_whole(&path, b"content").unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert_eq!(fs::read_to_string(other).unwrap(), "another's");
    }

    #[test]
    fn what_a_disk_cant_read_is_lost_and_what_a_share_does_not_give_is_not() {
        let (nfs, ext4) = (Some(0x6969), Some(0xef53));
        let failed = |errno: rustix::io::Errno| io::Error::from(errno);
        assert!(is_lost_on(&failed(rustix::io::Errno::IO), || ext4));
        assert!(!is_lost_on(&failed(rustix::io::Errno::IO), || nfs));
        assert!(!is_lost_on(&failed(rustix::io::Errno::IO), || None));
        assert!(!is_lost_on(&failed(rustix::io::Errno::ACCESS), || ext4));
    }
}
