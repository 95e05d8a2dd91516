//! The one function that removes folders with all their content.
//!
//! - It never leaves the mount that the folder is on: what is mounted below is somebody else's.
//! - It goes by open folders and never through a symbolic link, so a folder that is swapped for a
//!   link meanwhile leads nowhere else.
//! - It may go to any depth: it neither calls itself nor keeps a folder open for each level. It goes
//!   up by `..`, and looks whether that is the folder it came from.

use std::{
    ffi::{CStr, CString, OsStr},
    fs, io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags},
    io::Errno,
};

use super::mounts::MountOf;
use crate::text::cut;

/// The flags for opening a folder to walk it: never through a symlink.
pub(crate) const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How often a folder is emptied again, because something was put into it meanwhile.
const MOST_TRIES: u8 = 5;

/// How much of a path an error shows. A tree of thousands of levels has long paths.
const LONGEST_PATH: usize = 300;

/// Removes a file, or a folder with all its content. A missing path is not an error. What keeps the
/// owner from removing entries (the modes of folders, `chattr +i` and `+a`) is taken away first.
///
/// # Errors
/// If something can't be removed, if something is mounted at the path or below it, or if something
/// below it is on another device. The error's text names it. What was removed before stays removed.
pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    // The parent itself may be reached through a symbolic link.
    let opened = match rustix::fs::open(parent, FOLDER - OFlags::NOFOLLOW, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let (mount, inode) = MountOf::folder(&opened)?;
    let top = Level { name: CString::default(), inode, folders: Vec::new(), tries: 0 };
    let mut removal = Removal { mount, here: opened, levels: vec![top] };
    let name = CString::new(name.as_bytes())?;
    removal.run(name).map_err(|(below, error)| named(&parent.join(below), &error))
}

/// The error with the path that it is about.
fn named(path: &Path, error: &io::Error) -> io::Error {
    let path = path.display().to_string();
    let path = cut(&path, LONGEST_PATH);
    let text = match error.kind() {
        io::ErrorKind::ResourceBusy => format!("\"{path}\" is a mount point"),
        io::ErrorKind::CrossesDevices => format!("\"{path}\" is on another device"),
        _ => format!("\"{path}\": {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// A folder on the way from the top to the one that is being emptied.
struct Level {
    name: CString,
    inode: u64,
    /// The folders in it that are not empty, and were not entered yet.
    folders: Vec<CString>,
    /// How often it was emptied.
    tries: u8,
}

struct Removal {
    /// Where the removal stays.
    mount: MountOf,
    /// The folder of the last level.
    here: OwnedFd,
    /// The first one is the folder that the removed entry is in.
    levels: Vec<Level>,
}

/// An error, and what it is about: a path below the first level.
type Failure = (PathBuf, io::Error);

impl Removal {
    fn run(&mut self, name: CString) -> Result<(), Failure> {
        let kind = self.look_at(&name).map(|(_, kind)| kind);
        match self.take(&name, kind) {
            Ok(Taken::Gone) => return Ok(()),
            Ok(Taken::Folder) => self.enter(name, 0)?,
            Err(error) => return Err(self.failure(&name, error.into())),
        }
        while self.levels.len() > 1 {
            match self.levels.last_mut().and_then(|level| level.folders.pop()) {
                Some(folder) => self.enter(folder, 0)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    /// The path of an entry of the folder that is being emptied.
    fn failure(&self, name: &CStr, error: io::Error) -> Failure {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        let path = names.chain([name]).map(|name| OsStr::from_bytes(name.to_bytes())).collect();
        (path, error)
    }

    /// Goes into a folder, and removes all in it but folders that are not empty.
    fn enter(&mut self, name: CString, tries: u8) -> Result<(), Failure> {
        let opened = self.open(&name).map_err(|error| self.failure(&name, error))?;
        let Some((handle, inode)) = opened else { return Ok(()) };
        self.here = handle;
        self.levels.push(Level { name, inode, folders: Vec::new(), tries: tries + 1 });
        self.empty()
    }

    /// Opens a folder here, with its inode; `None` if it is gone.
    fn open(&self, name: &CStr) -> io::Result<Option<(OwnedFd, u64)>> {
        let open = || rustix::fs::openat(&self.here, name, FOLDER, Mode::empty());
        let handle = match open() {
            Err(Errno::NOENT) => return Ok(None),
            Err(error) if self.unlock(name, error) => open()?,
            opened => opened?,
        };
        let (mount, inode) = MountOf::folder(&handle)?;
        if mount == self.mount {
            Ok(Some((handle, inode)))
        } else if mount.is_another_mount(self.mount) {
            Err(Errno::BUSY.into())
        } else {
            Err(Errno::XDEV.into())
        }
    }

    fn empty(&mut self) -> Result<(), Failure> {
        let listed = |error: Errno| self.failure(c"", error.into());
        let mut folders = Vec::new();
        for entry in Dir::read_from(&self.here).map_err(listed)? {
            let entry = entry.map_err(listed)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match self.take(name, Some(entry.file_type())) {
                Ok(Taken::Gone) => {}
                Ok(Taken::Folder) => folders.push(name.to_owned()),
                Err(error) => return Err(self.failure(name, error.into())),
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.folders = folders;
        }
        Ok(())
    }

    /// Removes an entry of this folder, unless it is a folder that has to be entered first.
    fn take(&self, name: &CStr, kind: Option<FileType>) -> Result<Taken, Errno> {
        // The system refuses to remove a folder on which something is mounted, empty or not. Where
        // it does not tell mounts apart, that is the way to know.
        if kind == Some(FileType::Directory) && self.mount.is_certain() {
            return Ok(Taken::Folder);
        }
        self.remove(name, kind)
    }

    /// Removes an entry of this folder, unless it is a folder that is not empty.
    fn remove(&self, name: &CStr, kind: Option<FileType>) -> Result<Taken, Errno> {
        let remove = |flags| rustix::fs::unlinkat(&self.here, name, flags);
        let try_both = || match kind {
            Some(FileType::Directory) => match remove(AtFlags::REMOVEDIR) {
                Err(Errno::NOTDIR) => remove(AtFlags::empty()),
                other => other,
            },
            _ => match remove(AtFlags::empty()) {
                Err(Errno::ISDIR) => remove(AtFlags::REMOVEDIR),
                other => other,
            },
        };
        let removed = match try_both() {
            Err(error) if self.unlock(name, error) => try_both(),
            other => other,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => Ok(Taken::Gone),
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Taken::Folder),
            Err(error) => Err(error),
        }
    }

    /// Goes up, and removes the folder that it leaves. If something was put into that folder
    /// meanwhile, it is entered again.
    fn leave(&mut self) -> Result<(), Failure> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        let up = self.up().map_err(|error| self.failure(&left.name, error))?;
        self.here = up;
        match self.remove(&left.name, Some(FileType::Directory)) {
            Ok(Taken::Gone) => Ok(()),
            Ok(Taken::Folder) if left.tries < MOST_TRIES => self.enter(left.name, left.tries),
            Ok(Taken::Folder) => Err(self.failure(&left.name, Errno::NOTEMPTY.into())),
            Err(error) => Err(self.failure(&left.name, error.into())),
        }
    }

    fn up(&self) -> io::Result<OwnedFd> {
        let above = rustix::fs::openat(&self.here, c"..", FOLDER, Mode::empty())?;
        let (mount, inode) = MountOf::folder(&above)?;
        let expected = self.levels.last().map(|level| level.inode);
        if mount == self.mount && Some(inode) == expected {
            Ok(above)
        } else {
            Err(io::Error::other("it was moved while it was removed"))
        }
    }

    /// Takes away what kept an entry of this folder from being opened or removed. `false` if that
    /// was nothing of the kind.
    fn unlock(&self, name: &CStr, error: Errno) -> bool {
        match error {
            Errno::ACCESS => {
                let here = make_writable(&self.here);
                let entry = self.look_at(name).is_some_and(|(entry, kind)| {
                    kind == FileType::Directory && make_writable(&entry)
                });
                here || entry
            }
            Errno::PERM => {
                let here = clear_flags(&self.here);
                let entry = self.look_at(name).is_some_and(|(entry, kind)| {
                    matches!(kind, FileType::Directory | FileType::RegularFile)
                        && clear_flags(&entry)
                });
                here || entry
            }
            _ => false,
        }
    }

    /// An entry that is only looked at: opening a device can do something.
    fn look_at(&self, name: &CStr) -> Option<(OwnedFd, FileType)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let entry = rustix::fs::openat(&self.here, name, flags, Mode::empty()).ok()?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&entry).ok()?.st_mode);
        Some((entry, kind))
    }
}

/// What came of an entry.
enum Taken {
    Gone,
    Folder,
}

/// The path of an open file, under which it can be opened again.
fn path_of(open: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", open.as_raw_fd()).into()
}

/// Lets the owner of a folder list it and change its entries. `false` if the owner could already.
fn make_writable(folder: &OwnedFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(folder) else { return false };
    let mode = stat.st_mode & 0o7777;
    mode & 0o700 != 0o700
        && fs::set_permissions(path_of(folder), fs::Permissions::from_mode(mode | 0o700)).is_ok()
}

/// Clears the flags that keep even root from removing something. `false` if there were none.
fn clear_flags(entry: &OwnedFd) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(opened) = rustix::fs::open(path_of(entry), flags, Mode::empty()) else { return false };
    let Ok(set) = rustix::fs::ioctl_getflags(&opened) else { return false };
    let fixed = IFlags::IMMUTABLE | IFlags::APPEND;
    set.intersects(fixed) && rustix::fs::ioctl_setflags(&opened, set - fixed).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_goes_with_all_in_it_and_nothing_that_its_links_point_to() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        fs::create_dir_all(top.join("d")).unwrap();
        fs::write(top.join("a/b/f"), "f").unwrap();
        fs::create_dir(folder.path().join("other")).unwrap();
        fs::write(folder.path().join("other/f"), "f").unwrap();
        symlink("../../other", top.join("a/link")).unwrap();
        remove_all(&top).unwrap();
        remove_all(&top).unwrap();
        assert!(!top.exists() && folder.path().join("other/f").exists());

        symlink("other", folder.path().join("link")).unwrap();
        remove_all(&folder.path().join("link")).unwrap();
        remove_all(&folder.path().join("other/f")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_tree_of_any_depth_is_removed_with_a_small_stack_and_few_open_files() {
        const LEVELS: usize = 20_000;
        // In memory, because disks take their time for so many folders.
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut here = rustix::fs::open(&top, FOLDER, Mode::empty()).unwrap();
        for _ in 0..LEVELS {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = rustix::fs::openat(&here, c"d", FOLDER, Mode::empty()).unwrap();
        }
        // An open folder below keeps the system busy with all above it.
        drop(here);
        let small = std::thread::Builder::new().stack_size(128 << 10);
        let removed = {
            let top = top.clone();
            small.spawn(move || remove_all(&top)).unwrap().join().unwrap()
        };
        removed.unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn files_that_nobody_may_change_are_removed_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir(&top).unwrap();
        fs::write(top.join("fixed"), "x").unwrap();
        for path in [top.join("fixed"), top.clone()] {
            let opened = rustix::fs::open(&path, OFlags::RDONLY, Mode::empty()).unwrap();
            let set = rustix::fs::ioctl_getflags(&opened)
                .and_then(|flags| rustix::fs::ioctl_setflags(&opened, flags | IFlags::IMMUTABLE));
            // Only root on a file system that has the flag can set it.
            if let Err(error) = set {
                eprintln!("no immutable file can be made here: {error}");
            }
        }
        remove_all(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn an_error_names_what_could_not_be_removed() {
        let error = named(Path::new("/v/shared"), &Errno::BUSY.into());
        assert_eq!(error.to_string(), "\"/v/shared\" is a mount point");
        assert!(
            remove_all(Path::new("/proc/self/status"))
                .unwrap_err()
                .to_string()
                .starts_with("\"/proc/self/status\": ")
        );
    }
}
