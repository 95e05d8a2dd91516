//! The driver `vfs`: a volume is a folder in `<root>/volumes/`.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::{Created, Driver};
use crate::{
    daemon::{moment::Place, root::Root},
    error::{Error, Result},
    files::{move_folder, sync_folder, write_error},
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
        self.volumes.join(volume)
    }

    fn place(&self, volume: &str) -> Place {
        Place { volume: volume.to_owned(), folder: self.path(volume), beside: None }
    }

    fn create(&self, volume: &str) -> Result<Created> {
        let folder = self.path(volume);
        match fs::DirBuilder::new().mode(0o755).create(&folder) {
            // Convoy's driver also accepts an existing folder.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {
                Ok(Created::WithFilesThatWereThere)
            }
            made => made
                .and_then(|()| sync_folder(&self.volumes))
                .map(|()| Created::Empty)
                .map_err(|error| write_error(&folder, &error)),
        }
    }

    fn take_away(&self, volume: &str, aside: &Path) -> Result<bool> {
        let folder = self.path(volume);
        match move_folder(&folder, aside) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(not_moved(&folder, &error)),
        }
    }

    fn put_in_place(&self, staged: &Path, volume: &str) -> io::Result<()> {
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
