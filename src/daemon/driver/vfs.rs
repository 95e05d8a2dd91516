//! The driver `vfs`: a volume is a folder in `<root>/volumes/`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Driver, touch_mounts, unanswered};
use crate::{
    daemon::{moment::Place, root::Root},
    error::{Error, ErrorKind, Result},
    files::{look_at_each, move_folder, sync_folder, write_error},
};

/// Has the name of the driver in Convoy that it replaces.
#[derive(Debug)]
pub(in crate::daemon) struct Vfs {
    volumes: PathBuf,
}

impl Vfs {
    pub(in crate::daemon) const NAME: &str = "vfs";

    pub(in crate::daemon) fn new(root: &Root) -> Self {
        Self { volumes: root.volumes() }
    }
}

impl Driver for Vfs {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn path(&self, volume: &str) -> PathBuf {
        Self::path(self, volume)
    }

    fn place(&self, volume: &str) -> Place {
        Place {
            volume: volume.to_owned(),
            folder: self.path(volume),
            beside: None,
            is_of_the_host: false,
            is_of_the_engine: false,
            is_for_containers_only: false,
        }
    }

    fn check(&self, volumes: &[&str], within: Duration) -> Vec<Result<()>> {
        let folders: Vec<_> =
            volumes.iter().map(|volume| (self.path(volume), self.path(volume))).collect();
        let look = |folder: PathBuf| {
            touch_mounts(&folder);
            fs::symlink_metadata(&folder)
        };
        let seen = look_at_each(&folders, within, look);
        let judged =
            volumes.iter().zip(&folders).zip(seen).map(
                |((volume, (folder, _)), seen)| match seen {
                    Err(why) => Err(unanswered(volume, folder, &why)),
                    Ok(seen) => judged(volume, folder, seen),
                },
            );
        judged.collect()
    }
}

fn judged(volume: &str, folder: &Path, seen: io::Result<fs::Metadata>) -> Result<()> {
    let what = match seen {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(metadata) if metadata.is_symlink() => "is a symbolic link".to_owned(),
        Ok(_) => "is no folder".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "is not there".to_owned(),
        Err(error) => format!("can't be looked at: {error}"),
    };
    let message = format!("the folder \"{}\" of volume \"{volume}\" {what}", folder.display());
    Err(Error::new(ErrorKind::Io, message)
        .with_hint("put its folder back, or restore the volume under another name"))
}

impl Vfs {
    /// The folder for a volume's files, whether it exists or not.
    pub(in crate::daemon) fn path(&self, volume: &str) -> PathBuf {
        self.volumes.join(volume)
    }

    /// Whether there is a folder for a new volume of this name already: that of an earlier one, whose files it
    /// then has. Convoy's driver also accepts it.
    ///
    /// # Errors
    /// If something else is there.
    pub(in crate::daemon) fn has_folder(&self, volume: &str) -> Result<bool> {
        let folder = self.path(volume);
        match fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Ok(_) if !folder.is_dir() => {
                Err(write_error(&folder, &io::ErrorKind::AlreadyExists.into()))
            }
            seen => seen.map(|_| true).map_err(|error| write_error(&folder, &error)),
        }
    }

    /// Moves a volume's files to `aside`, a path in the staging folder. `false` if the volume had
    /// no files. The caller syncs the staging folder.
    pub(in crate::daemon) fn take_away(&self, volume: &str, aside: &Path) -> Result<bool> {
        let folder = self.path(volume);
        match move_folder(&folder, aside) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(not_moved(&folder, &error)),
        }
    }

    /// Makes the folder `staged`, in the staging folder, the volume's files. They are on disk when
    /// this returns. Nothing is replaced: the error is [`io::ErrorKind::AlreadyExists`] if the
    /// volume has files.
    pub(in crate::daemon) fn put_in_place(&self, staged: &Path, volume: &str) -> io::Result<()> {
        move_folder(staged, &self.path(volume)).and_then(|()| sync_folder(&self.volumes))
    }
}

/// The error for a volume's folder that could not be moved.
fn not_moved(folder: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices => {
            Error::io(format!("cannot move \"{}\" away", folder.display()), error).with_hint(
                "it is a mount point: unmount it first, or make the daemon forget the volume, which leaves its files where they are",
            )
        }
        _ => write_error(folder, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_a_mount_point_is_called_that() {
        let busy = io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error());
        assert!(not_moved(Path::new("/v"), &busy).hint.unwrap().starts_with("it is a mount point"));
    }
}
