//! Destinations that held backups before. If one is suddenly empty, its network share is probably
//! not mounted.
//!
//! Without this guard, a backup would go to the folder below the mount point and start a new
//! history there. It would prove good, and older snapshots would then be deleted. Only folders in
//! which this process has seen the backups are checked, because the daemon may see another folder
//! at the same path. For a bucket, the daemon says whether it holds anything, if the daemon can
//! tell.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::run::Guards;
use crate::{
    convoy::Destination,
    error::{Error, Result},
    files::look_at,
};

/// A file or folder that Convoy, or the built-in daemon, creates at a destination.
const SIGNS: [&str; 2] = ["convoy-objectstore", "repository/config"];

/// How long the folder of a destination may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// What this host remembers about a destination.
#[derive(Debug)]
pub(super) struct Used {
    destination: Destination,
    mark: PathBuf,
}

impl Used {
    /// Finds the destination's mark in the folder of the locks.
    pub(super) fn new(lock_folder: &Path, destination: &Destination) -> Self {
        let mark = lock_folder
            .join("destinations")
            .join(crate::locks::file_name(&destination.key(), "used"));
        Self { destination: destination.clone(), mark }
    }

    /// Whether good backups were seen at this destination.
    pub(super) fn is_marked(&self) -> bool {
        self.mark.exists()
    }

    /// Refuses a destination that held backups and is empty now. `is_used` is the daemon's answer
    /// to [`crate::convoy::Daemon::is_used`].
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Guard`], with what to do.
    pub(super) fn still_there(&self, is_used: Option<bool>) -> Result<()> {
        let is_empty = match self.destination.folder() {
            // If the folder can't be read or does not answer, the backups may still be there.
            Some(folder) => seen(folder, |folder| {
                folder.is_dir()
                    && !SIGNS.iter().any(|sign| folder.join(sign).try_exists().unwrap_or(true))
            }),
            None => is_used == Some(false),
        };
        if !is_empty || !self.is_marked() {
            return Ok(());
        }
        let (shown, question) = match self.destination.folder() {
            Some(folder) => (folder.display().to_string(), "is the share mounted?"),
            None => (self.destination.to_string(), "is it the right bucket and service?"),
        };
        Err(Error::guard(format!("the backups that were made in \"{shown}\" are not there"))
            .with_hint(format!(
                "{question} Where you emptied it yourself, remove \"{}\"",
                self.mark.display()
            )))
    }

    /// Remembers that the destination holds a good backup, if this process can see it. If the
    /// daemon or this process runs in a container, the same path may be another folder, and an
    /// empty folder means nothing. Errors are ignored: without the mark, only this guard is
    /// missing.
    pub(super) fn remember(&self, is_used: Option<bool>) {
        let is_seen = match self.destination.folder() {
            Some(folder) => {
                seen(folder, |folder| SIGNS.iter().any(|sign| folder.join(sign).exists()))
            }
            None => is_used == Some(true),
        };
        if self.is_marked() || !is_seen {
            return;
        }
        let made = self
            .mark
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&self.mark, ""));
        if let Err(error) = made {
            log::debug!("cannot write \"{}\": {error}", self.mark.display());
        }
    }
}

/// What a look at the folder of a destination finds; `false` if the folder does not answer.
pub(super) fn seen(folder: &Path, look: impl FnOnce(&Path) -> bool + Send + 'static) -> bool {
    let path = folder.to_owned();
    look_at(folder, ANSWERS_WITHIN, move || look(&path)).unwrap_or(false)
}

impl Guards {
    /// Refuses a destination that held backups and is empty now: a share is not mounted, or the
    /// bucket is another one.
    pub(super) async fn still_there(&self, destination: &Destination) -> Result<()> {
        // What was there at a time says nothing of now.
        let Some(marks) = self.marks.as_ref().filter(|_| destination.time().is_none()) else {
            return Ok(());
        };
        let used = Used::new(marks, destination);
        let asks = destination.is_s3() && used.is_marked();
        used.still_there(if asks { self.daemon.is_used(destination).await? } else { None })
    }

    /// Refuses to look at a destination as it was, where the daemon can't.
    ///
    /// # Errors
    /// A usage error, if so.
    pub(super) async fn refuse_past(&self, destination: &Destination) -> Result<()> {
        if destination.time().is_none() || self.capabilities().await?.inspects_data {
            return Ok(());
        }
        Err(Error::usage("this daemon knows a bucket only as it is now (--as-of)")
            .with_hint("the built-in daemon looks at the versions of its backups"))
    }

    /// Remembers that a destination holds a good backup.
    pub(super) async fn remember(&self, destination: &Destination) {
        let Some(marks) = self.marks.as_ref().filter(|_| destination.time().is_none()) else {
            return;
        };
        let used = Used::new(marks, destination);
        let asks = destination.is_s3() && !used.is_marked();
        used.remember(if asks {
            self.daemon.is_used(destination).await.unwrap_or_default()
        } else {
            None
        });
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
        used.still_there(None).unwrap();
        std::fs::create_dir(folder.join("convoy-objectstore")).unwrap();
        used.remember(None);
        used.still_there(None).unwrap();
        // The effect of `umount`.
        std::fs::remove_dir(folder.join("convoy-objectstore")).unwrap();
        let error = used.still_there(None).unwrap_err();
        assert!(error.message.contains("are not there") && error.hint.unwrap().contains("mounted"));
    }

    #[test]
    fn a_folder_in_which_the_daemons_backups_were_never_seen_is_not_missed() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("backups");
        std::fs::create_dir(&folder).unwrap();
        let destination = Destination::parse(&format!("vfs://{}", folder.display())).unwrap();
        let used = Used::new(&scratch.path().join("locks"), &destination);
        // The daemon wrote to another folder that has the same path in its container.
        used.remember(None);
        used.still_there(None).unwrap();
    }

    #[test]
    fn a_bucket_that_lost_its_backups_is_not_begun_anew() {
        let scratch = tempfile::tempdir().unwrap();
        let used =
            Used::new(scratch.path(), &Destination::parse("s3://bucket@region/path").unwrap());
        used.still_there(Some(false)).unwrap();
        used.remember(None);
        assert!(!used.is_marked());
        used.remember(Some(true));
        assert!(used.still_there(Some(false)).unwrap_err().message.contains("are not there"));
        used.still_there(Some(true)).unwrap();
        used.still_there(None).unwrap();
    }

    #[test]
    fn backups_that_cannot_be_looked_at_are_not_taken_for_lost() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("backups");
        std::fs::create_dir_all(folder.join("convoy-objectstore")).unwrap();
        let destination = Destination::parse(&format!("vfs://{}", folder.display())).unwrap();
        let used = Used::new(&scratch.path().join("locks"), &destination);
        used.remember(None);
        std::fs::remove_dir(folder.join("convoy-objectstore")).unwrap();
        used.still_there(None).unwrap_err();
        // A symbolic link to itself can't be read, not even by root.
        std::os::unix::fs::symlink("convoy-objectstore", folder.join("convoy-objectstore"))
            .unwrap();
        used.still_there(None).unwrap();
    }
}
