//! Destinations that held backups before: where one is empty all of a sudden, a share is not mounted.
//!
//! Without this, a backup would go to the folder below the mount point, begin anew there, prove good, and let older snapshots go.
//! Only folders are looked at in which this process has seen the backups: the daemon may see another one at the same path.

use std::path::{Path, PathBuf};

use crate::{
    convoy::Destination,
    error::{Error, Result},
};

/// What Convoy and the built-in daemon make at a destination.
const SIGNS: [&str; 2] = ["convoy-objectstore", "repository/config"];

/// What is known of a destination.
#[derive(Debug)]
pub(super) struct Used {
    folder: Option<PathBuf>,
    mark: PathBuf,
}

impl Used {
    /// Looks up a destination by the marks beside the locks.
    pub(super) fn new(lock_folder: &Path, destination: &Destination) -> Self {
        let mark = lock_folder.join("destinations").join(crate::locks::file_name(&destination.key(), "used"));
        Self { folder: destination.folder().map(Path::to_owned), mark }
    }

    /// Refuses a destination that held backups and holds none now.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Guard`], with what to do.
    pub(super) fn still_there(&self) -> Result<()> {
        let Some(folder) = self.folder.as_ref().filter(|folder| folder.is_dir()) else { return Ok(()) };
        // What can't be looked at is not known to be missing.
        if SIGNS.iter().any(|sign| folder.join(sign).try_exists().unwrap_or(true)) || !self.mark.exists() {
            return Ok(());
        }
        Err(Error::guard(format!("the backups that were made in \"{}\" are not there", folder.display())).with_hint(
            format!("is the share mounted? Where you emptied the folder yourself, remove \"{}\"", self.mark.display()),
        ))
    }

    /// Remembers that a good backup is there, where it can be seen from here. Where the daemon lives in a container, or this
    /// process does, the same path may be another folder: that it stays empty tells nothing. Best effort: without the mark only
    /// this guard is missing.
    pub(super) fn remember(&self) {
        let Some(folder) = &self.folder else { return };
        if self.mark.exists() || !SIGNS.iter().any(|sign| folder.join(sign).exists()) {
            return;
        }
        let made =
            self.mark.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&self.mark, ""));
        if let Err(error) = made {
            log::debug!("cannot write \"{}\": {error}", self.mark.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_that_lost_its_backups_is_not_begun_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("backups");
        std::fs::create_dir(&folder).unwrap();
        let destination = Destination::parse(&format!("vfs://{}", folder.display())).unwrap();
        let used = Used::new(&scratch.path().join("locks"), &destination);
        used.still_there().unwrap();
        std::fs::create_dir(folder.join("convoy-objectstore")).unwrap();
        used.remember();
        used.still_there().unwrap();
        // What `umount` does.
        std::fs::remove_dir(folder.join("convoy-objectstore")).unwrap();
        let error = used.still_there().unwrap_err();
        assert!(error.message.contains("are not there") && error.hint.unwrap().contains("mounted"));
    }

    #[test]
    fn a_folder_in_which_the_daemons_backups_were_never_seen_is_not_missed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("backups");
        std::fs::create_dir(&folder).unwrap();
        let destination = Destination::parse(&format!("vfs://{}", folder.display())).unwrap();
        let used = Used::new(&scratch.path().join("locks"), &destination);
        // The daemon wrote to a folder of its own at the same path.
        used.remember();
        used.still_there().unwrap();
    }

    #[test]
    fn backups_that_cannot_be_looked_at_are_not_taken_for_lost() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("backups");
        std::fs::create_dir_all(folder.join("convoy-objectstore")).unwrap();
        let destination = Destination::parse(&format!("vfs://{}", folder.display())).unwrap();
        let used = Used::new(&scratch.path().join("locks"), &destination);
        used.remember();
        std::fs::remove_dir(folder.join("convoy-objectstore")).unwrap();
        used.still_there().unwrap_err();
        // A link to itself is an error for root, too.
        std::os::unix::fs::symlink("convoy-objectstore", folder.join("convoy-objectstore")).unwrap();
        used.still_there().unwrap();
    }
}
