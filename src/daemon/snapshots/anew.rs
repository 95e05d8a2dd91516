//! The root's own repository made anew. Everything in it is a copy of what is in the volumes, so where it
//! is damaged it is moved aside, and nothing waits for it.

use std::{collections::BTreeSet, fs, sync::atomic::Ordering};

use super::LocalRepository;
use crate::{
    daemon::root::Root,
    error::{Error, Result},
    files::{names, remove_all, write_error},
    sync::lock,
};

impl LocalRepository {
    /// How often the repository was made anew.
    pub(in crate::daemon) fn made_anew(&self) -> u64 {
        self.made_anew.load(Ordering::Acquire)
    }

    /// Moves the repository aside because of this damage, unless that was done since `made_anew`. The
    /// next use makes a new one.
    ///
    /// # Errors
    /// If it can't be moved.
    pub(in crate::daemon) fn make_anew(&self, why: &Error, made_anew: u64) -> Result<()> {
        let _writing = self.one_snapshot();
        let mut open = lock(&self.open);
        if self.made_anew() == made_anew {
            *open = None;
            self.set_aside(why)?;
        }
        Ok(())
    }

    /// Moves the repository aside. Of those that were moved aside, the newest stays.
    pub(super) fn set_aside(&self, why: &Error) -> Result<()> {
        let (path, aside) = (self.root.repository(), self.root.new_damaged_repository());
        let older = self.root.damaged_repositories();
        fs::rename(&path, &aside).map_err(|error| write_error(&path, &error))?;
        self.made_anew.fetch_add(1, Ordering::AcqRel);
        log::warn!(
            "the folder of local snapshots is damaged, and made anew: volumes and backups are not touched. What is left of it is in \"{}\": {why}",
            aside.display()
        );
        // Only with its key can be read what is left, if the password has changed since.
        let key = self.root.repository_key();
        _ = fs::rename(&key, aside.join(key.file_name().unwrap_or_default()));
        for (_, older) in older {
            if let Err(error) = remove_all(&older) {
                log::warn!("\"{}\" stays: {error}", older.display());
            }
        }
        self.root.make_folders()
    }
}

/// Which of these snapshots have no file any more; none if that can't be read, or if the repository is
/// not there: it may be on a disk that is not mounted.
pub(in crate::daemon) fn gone<'a>(
    root: &Root,
    ids: impl Iterator<Item = &'a str>,
) -> BTreeSet<&'a str> {
    let is_there = root.repository().join("config").exists();
    let Some(there) = names(&root.snapshots()).ok().filter(|_| is_there) else {
        return BTreeSet::new();
    };
    let there: BTreeSet<String> = there.into_iter().collect();
    ids.filter(|id| !there.contains(*id)).collect()
}
