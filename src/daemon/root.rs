//! The root: the one folder with all files of a daemon. Only this file names the paths in the root,
//! its owner's lock, and the names in `volumes/.staging/`.

use std::{
    fs::{self, File, TryLockError},
    io::{Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
    },
    path::{Path, PathBuf},
};

use rustic_core::Id;

use crate::{
    error::{Error, ErrorKind, Result},
    files::write_error,
};

/// The folder in `state/` that version 0.1.0 can't read, with what it then tells.
pub(super) const STOPS_0_1_0: &str =
    "a newer convoy-backups uses this folder - 0.1.0 must not - install a newer release.json";

/// Before the number of a repository that is damaged.
const DAMAGED: &str = "repository.damaged-";

/// The paths of a root. The module doc of [`crate::daemon`] says what each of them is for.
#[derive(Debug, Clone)]
pub(super) struct Root {
    path: PathBuf,
}

/// Why a folder is in `volumes/.staging/`. The folder's name begins with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Staged {
    /// The files of a restore that is not finished.
    Restore,
    /// The files of a volume that is being removed.
    Removal,
    /// The files of a restore that a start undid.
    Undone,
    /// A btrfs snapshot of a volume that is being read.
    Moment,
}

impl Root {
    /// The root at `path`, created if it is missing.
    ///
    /// # Errors
    /// If the folder can't be created.
    pub(super) fn make(path: &Path) -> Result<Self> {
        make_folder(path, 0o700)?;
        let path = path.canonicalize().map_err(|error| write_error(path, &error))?;
        Ok(Self { path })
    }

    /// The root at `path`.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn existing(path: &Path) -> Result<Self> {
        if !Self::is_one(path) {
            let error = format!("\"{}\" is no built-in daemon's folder", path.display());
            return Err(Error::usage(error).with_hint("name the folder that has \"volumes\" in it"));
        }
        Self::make(path)
    }

    /// The root at `path`, to look at only: nothing is made, and there may be none.
    pub(super) fn looked_at(path: &Path) -> Self {
        Self { path: path.canonicalize().unwrap_or_else(|_| path.to_owned()) }
    }

    /// The root at `path`, which must be canonical.
    #[cfg(test)]
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Creates the folders in the root.
    ///
    /// # Errors
    /// If one of the folders can't be created.
    pub(super) fn make_folders(&self) -> Result<()> {
        make_folder(&self.repository(), 0o700)?;
        make_folder(&self.state(), 0o700)?;
        make_folder(&self.volumes(), 0o700)?;
        close(&self.volumes());
        make_folder(&self.staging(), 0o700)
    }

    /// Takes the owner's lock and writes this process's id into it, where there is room for that. The lock is held as long as the
    /// returned file is open. A second process names the id in its error message.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if another process holds the lock.
    pub(super) fn own(&self) -> Result<File> {
        let path = self.lock();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| write_error(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.is_owned(&mut file)),
            Err(TryLockError::Error(error)) => {
                return Err(Error::io(format!("cannot lock \"{}\"", path.display()), &error));
            }
        }
        // For people alone. The lock holds without it, also where the disk is full.
        let id = std::process::id().to_string();
        _ = file.set_len(0).and_then(|()| file.write_all(id.as_bytes()));
        Ok(file)
    }

    fn is_owned(&self, lock: &mut File) -> Error {
        let mut id = String::new();
        _ = lock.read_to_string(&mut id);
        let owner = match id.trim() {
            "" => "another process".into(),
            id => format!("process {id}"),
        };
        let message = format!("\"{}\" is in use by {owner}", self.path.display());
        Error::new(ErrorKind::Busy, message)
            .with_hint("only one daemon works on a root at a time; name the same root to speak to the one that runs, or stop it")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn identity(&self) -> PathBuf {
        self.path.join("identity.json")
    }

    /// The file with the number of the format.
    pub(super) fn format(&self) -> PathBuf {
        self.path.join("format.json")
    }

    pub(super) fn stops_0_1_0(&self) -> PathBuf {
        self.state().join(STOPS_0_1_0)
    }

    fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub(super) fn volumes(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// The folder of volumes that are being restored or removed. It is inside `volumes`, because
    /// that may be a disk of its own, and folders are only renamed. No volume can have its name.
    pub(super) fn staging(&self) -> PathBuf {
        self.volumes().join(".staging")
    }

    /// The file in which older versions kept which containers use which volumes.
    pub(super) fn docker_mounts(&self) -> PathBuf {
        self.path.join("docker-mounts.json")
    }

    /// The folder with the notes on moments that are held.
    pub(super) fn moments(&self) -> PathBuf {
        self.path.join("moments")
    }

    /// The folder of packs that wait to be uploaded.
    pub(super) fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// The file with the pieces at this destination that could not be read.
    pub(super) fn damage(&self, destination: &str) -> PathBuf {
        self.path.join("damaged").join(crate::locks::file_name(destination, "pieces"))
    }

    /// The file with what is missing at this destination.
    pub(super) fn looks(&self, destination: &str) -> PathBuf {
        self.path.join("missing").join(crate::locks::file_name(destination, "packs"))
    }

    /// The file with when the packs at this destination were read back.
    pub(super) fn read_times(&self, destination: &str) -> PathBuf {
        self.path.join("read-back").join(crate::locks::file_name(destination, "packs"))
    }

    /// The file with until when what is locked at this destination.
    pub(super) fn object_locks(&self, destination: &str) -> PathBuf {
        self.path.join("locked").join(crate::locks::file_name(destination, "objects"))
    }

    /// The folder for copies of the small files at this destination.
    pub(super) fn copies(&self, destination: &str) -> PathBuf {
        self.path.join("copies").join(crate::locks::file_name(destination, "files"))
    }

    /// The file with the newest backups that this daemon wrote at this destination.
    pub(super) fn written(&self, destination: &str) -> PathBuf {
        self.path.join("written").join(crate::locks::file_name(destination, "backups"))
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.path.join("repository")
    }

    /// An unused name for a repository that is damaged.
    pub(super) fn new_damaged_repository(&self) -> PathBuf {
        let highest = self.damaged_repositories().into_iter().map(|(number, _)| number).max();
        self.path.join(format!("{DAMAGED}{}", highest.unwrap_or_default() + 1))
    }

    /// The repositories that were damaged, with their numbers.
    pub(super) fn damaged_repositories(&self) -> Vec<(u32, PathBuf)> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let numbered = |entry: fs::DirEntry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(DAMAGED)?.parse().ok()?;
            Some((number, entry.path()))
        };
        entries.filter_map(numbered).collect()
    }

    /// The file of a snapshot, in restic's layout.
    pub(super) fn snapshot_file(&self, id: &str) -> PathBuf {
        self.snapshots().join(id)
    }

    pub(super) fn snapshots(&self) -> PathBuf {
        self.repository().join("snapshots")
    }

    pub(super) fn repository_key(&self) -> PathBuf {
        self.path.join("repository.key")
    }

    /// The file whose modification time tells when unused space of the repository was last freed.
    pub(super) fn pruned(&self) -> PathBuf {
        self.path.join("pruned")
    }

    /// An unused name in the staging folder.
    pub(super) fn new_staged(&self, why: Staged, volume: &str) -> PathBuf {
        self.staging().join(why.new_name(volume))
    }

    /// Whether `folder` is the root of a daemon, running or not.
    pub(super) fn is_one(folder: &Path) -> bool {
        let root = Self { path: folder.to_owned() };
        root.lock().is_file() && root.state().is_dir() && root.volumes().is_dir()
    }
}

impl Staged {
    const ALL: [Self; 4] = [Self::Restore, Self::Removal, Self::Undone, Self::Moment];

    const fn prefix(self) -> &'static str {
        match self {
            Self::Restore => "restore-",
            Self::Removal => "deleted-",
            Self::Undone => "undone-",
            Self::Moment => "moment-",
        }
    }

    /// An unused name for a staged folder.
    pub(super) fn new_name(self, volume: &str) -> String {
        let drawn = Id::random().to_hex();
        format!("{}{volume}-{}", self.prefix(), &drawn.as_str()[..8])
    }

    /// The reason and the volume in the name of a staged folder ([`Root::new_staged`]).
    pub(super) fn of_name(name: &str) -> Option<(Self, &str)> {
        Self::ALL.into_iter().find_map(|why| {
            let (volume, _drawn) = name.strip_prefix(why.prefix())?.rsplit_once('-')?;
            Some((why, volume))
        })
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    let made = fs::DirBuilder::new().mode(mode).recursive(true).create(path);
    made.map_err(|error| write_error(path, &error))
}

/// Lets nobody but its owner into a folder that an earlier release made for all: a container can put
/// programs there that run as root. Docker passes by, and so do programs that run in containers.
fn close(folder: &Path) {
    let Ok(found) = fs::symlink_metadata(folder) else { return };
    let is_own = found.uid() == rustix::process::geteuid().as_raw();
    if !is_own || !found.is_dir() || found.mode() & 0o077 == 0 {
        return;
    }
    let shown = folder.display();
    match fs::set_permissions(folder, fs::Permissions::from_mode(0o700)) {
        Ok(()) => {
            log::info!("\"{shown}\" can be entered by its owner only now (it was open to others)")
        }
        Err(error) => log::warn!(
            "others can enter \"{shown}\", and use programs that containers put there: {error}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd as _, unix::fs::symlink};

    use rustix::fs::{MemfdFlags, SealFlags};

    use super::*;

    #[test]
    fn nobody_but_its_owner_gets_into_the_volumes_whoever_made_the_folders() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        let of_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path(), of_all.clone()).unwrap();
        let root = Root::at(folder.path());
        root.make_folders().unwrap();
        assert_eq!(mode(&root.volumes()), 0o700);
        fs::set_permissions(root.volumes(), of_all).unwrap();
        root.make_folders().unwrap();
        assert_eq!(mode(&root.volumes()), 0o700);
        assert_eq!(mode(folder.path()), 0o755, "it may be a folder of others");
    }

    #[test]
    fn a_root_on_a_full_disk_is_owned_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        // A file that can be locked, and has no room for a byte.
        let full = rustix::fs::memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::fcntl_add_seals(&full, SealFlags::GROW).unwrap();
        symlink(format!("/proc/self/fd/{}", full.as_raw_fd()), root.lock()).unwrap();
        root.own().unwrap();
    }

    #[test]
    fn the_name_of_a_staged_folder_tells_why_it_is_there() {
        let root = Root::at(Path::new("/root"));
        for why in Staged::ALL {
            let path = root.new_staged(why, "vol-1");
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(Staged::of_name(name), Some((why, "vol-1")));
        }
        assert_eq!(Staged::of_name("lost+found"), None);
    }
}
