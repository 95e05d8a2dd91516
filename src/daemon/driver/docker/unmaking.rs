//! Taking back what a restore into a volume of Docker left. A volume is removed only by evidence:
//! Docker says that it is the one that was made here, its folder is the one that was made, and it
//! is empty. Whatever else is there stays, and is told.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    known::Docker,
    volume::{DockerVolume, Host, is_same_mark, mark_of},
};
use crate::{
    convoy::refusal::refused,
    daemon::state::VolumeState,
    error::{ErrorKind, Result},
    files::remove_all,
};

/// What is filled beside a volume's files, and takes their place when it is complete.
const FILLED: &str = ".convoy-backups-restore";
/// The label of a volume that was made here. Its value is random, so no other volume has it.
pub(in crate::daemon) const MADE_LABEL: &str = "convoy-backups.made";

/// What is left of a volume that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Left {
    /// Nothing.
    Nothing,
    /// A volume of that name, because of this.
    Stays(String),
}

/// How a restore that a crash interrupted was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) enum Finished {
    /// All files were in place. The folder's mark.
    Whole(Option<String>),
    /// They were not.
    Undone(Left),
}

impl Docker {
    /// Ends what a crash left of [`Docker::make_filled`].
    ///
    /// # Errors
    /// If Docker does not answer: nothing is known then, and nothing was changed.
    pub(in crate::daemon) fn finish(&self, state: &VolumeState, inode: u64) -> Result<Finished> {
        let Some(made) = DockerVolume::known(state) else {
            return Ok(Finished::Undone(Left::Stays("its folder is not known".into())));
        };
        if let Some(left) = self.is_another(&made)? {
            return Ok(Finished::Undone(left));
        }
        let beside = filled(&made.folder);
        if inode_of(&made.folder) == Some(inode) {
            match fs::remove_dir(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => log::warn!(
                    "volume \"{}\" is restored; what a container wrote meanwhile stays in \"{}\": {error}",
                    made.name,
                    beside.display()
                ),
                _ => {}
            }
            return Ok(Finished::Whole(mark_of(&made.folder)));
        }
        remove_filled(&made.folder, inode);
        self.remove_made(&made).map(Finished::Undone)
    }

    /// Removes a volume that was made here, if it is still that one, and empty.
    ///
    /// # Errors
    /// If Docker does not answer.
    pub(super) fn remove_made(&self, made: &DockerVolume) -> Result<Left> {
        if let Some(left) = self.is_another(made)? {
            return Ok(left);
        }
        let engine = self.engine()?;
        let stays = |why: &str| Ok(Left::Stays(why.to_owned()));
        if let Some(user) = engine.users_of(&made.name)?.first() {
            return stays(&format!("container {user} has it"));
        }
        if !is_known_as(made.mark.as_deref(), mark_of(&made.folder).as_deref()) {
            return stays("its folder is another one now");
        }
        if fs::symlink_metadata(filled(&made.folder)).is_ok() {
            return stays("files of the restore are still beside it");
        }
        if !is_empty(&made.folder) {
            return stays("it has files");
        }
        match engine.remove_volume(&made.name) {
            Ok(()) => Ok(Left::Nothing),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(Left::Nothing),
            Err(error) if error.status.is_some() => stays(&error.message),
            Err(error) => Err(error),
        }
    }

    /// What is there in the place of a volume that was made here; `None` if it is still that one.
    fn is_another(&self, made: &DockerVolume) -> Result<Option<Left>> {
        let Some(there) = self.engine()?.volume(&made.name)? else {
            return Ok(Some(Left::Nothing));
        };
        let made_by = made.labels.get(MADE_LABEL);
        let is_it = made_by.is_some()
            && there.labels.get(MADE_LABEL) == made_by
            && there.driver == "local"
            && there.mountpoint == made.folder;
        Ok((!is_it).then(|| Left::Stays("it was made anew meanwhile".into())))
    }

    /// Removes a volume with its files, as its user wants. `known` is what was looked at before.
    ///
    /// # Errors
    /// If it is another one now, a container has it, or Docker does not answer.
    pub(in crate::daemon) fn remove(&self, known: &VolumeState) -> Result<()> {
        let name = known.name.as_str();
        let engine = self.engine()?;
        let cannot = |why: &str| refused(format!("Cannot delete volume {name}. {why}"));
        let Some(there) = engine.volume(name)? else {
            let is_there = |folder: &PathBuf| fs::symlink_metadata(folder).is_ok();
            if known.folder.as_ref().is_some_and(is_there) {
                return Err(cannot("Docker does not know it, but its folder is there")
                    .with_hint("is this the right engine? BKUP_DOCKER says which one is asked"));
            }
            return Ok(());
        };
        if there.driver != "local" {
            return Err(cannot(&format!("It is one of the driver {} now", there.driver)));
        }
        let host = Host::look(self.is_in_container, std::slice::from_ref(&there));
        let there = DockerVolume::of(&there, &[], &host);
        let there = there.map_err(|why| cannot(&why))?;
        let mark = if there.base().is_some() { mark_of(&there.folder) } else { there.mark };
        if !is_known_as(known.mark.as_deref(), mark.as_deref()) {
            return Err(cannot("It is not known to be the volume that was backed up")
                .with_hint("it was made anew, or its folder can't be seen here; back it up, or use docker volume rm"));
        }
        match engine.remove_volume(name) {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            Err(error) if error.status == Some(409) => Err(cannot(&error.message)
                .with_hint("remove the containers that have it first; stopped ones have it, too")),
            removed => removed,
        }
    }
}

/// Whether both marks are known, and are one.
pub(super) fn is_known_as(one: Option<&str>, other: Option<&str>) -> bool {
    one.zip(other).is_some_and(|(one, other)| is_same_mark(one, other))
}

/// The folder that is filled beside a volume's.
pub(super) fn filled(folder: &Path) -> PathBuf {
    folder.with_file_name(FILLED)
}

/// Removes what was filled beside a volume, if it is the folder with this inode.
pub(super) fn remove_filled(folder: &Path, inode: u64) {
    let beside = filled(folder);
    if inode_of(&beside) == Some(inode)
        && let Err(error) = remove_all(&beside)
    {
        log::warn!("\"{}\" of a restore stays: {error}", beside.display());
    }
}

/// Whether it is a folder without any files.
pub(super) fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

fn inode_of(folder: &Path) -> Option<u64> {
    fs::symlink_metadata(folder).ok().filter(fs::Metadata::is_dir).map(|found| found.ino())
}
