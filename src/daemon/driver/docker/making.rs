//! Making and filling volumes of Docker. Nothing is put in the place of files: a volume is filled
//! only if it is the one that was made here, and still empty.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
};

use rustix::fs::{CWD, RenameFlags};

use super::{
    known::Docker,
    unmaking::{Left, MADE_LABEL, filled, is_empty, remove_filled},
    volume::{DockerVolume, Host, mark_of},
};
use crate::{
    convoy::refusal::refused,
    daemon::identity::new_id,
    engine::EngineVolume,
    error::{Error, ErrorKind, Result},
    files::{sync_folder, write_error},
};

/// A volume that could not be filled.
#[derive(Debug)]
pub(in crate::daemon) struct NotFilled {
    pub(in crate::daemon) error: Error,
    /// What is left of it; an error if that can't be known now.
    pub(in crate::daemon) left: Result<Left>,
}

/// How far filling came when it failed.
enum Failed {
    /// Nothing was put in place.
    Before(Error),
    /// The files were in place for a moment, so a container may have them.
    After(Error),
}

impl Docker {
    /// Makes an empty volume.
    ///
    /// # Errors
    /// If Docker has one of that name, does not answer, or keeps it where this process can't see
    /// it.
    pub(in crate::daemon) fn make(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<DockerVolume> {
        let engine = self.engine()?;
        let taken = || {
            refused(format!("Docker has a volume {name} already"))
                .with_hint("choose another name, or remove that volume first")
        };
        if engine.volume(name)?.is_some() {
            return Err(taken());
        }
        let made_by = new_id();
        let mut labels = labels.clone();
        labels.insert(MADE_LABEL.to_owned(), made_by.clone());
        let made = engine.create_volume(name, &labels, &BTreeMap::new())?;
        // Docker takes a second creation for a question: then it is another's.
        if made.labels.get(MADE_LABEL) != Some(&made_by) || made.driver != "local" {
            return Err(taken());
        }
        seen_here(&made)
    }

    /// Makes a volume with the files that `fill` writes into an empty folder. They appear in it all
    /// at once; until then it is empty. `note` keeps the inode of that folder, by which
    /// [`Docker::finish`] knows after a crash how far this came.
    ///
    /// # Errors
    /// If `fill` fails, or something took the volume meanwhile. It is removed then, if it is still
    /// the one that was made, and empty. The outer error: it was not made.
    pub(in crate::daemon) fn make_filled(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        note: impl FnOnce(&DockerVolume, u64) -> Result<()>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<std::result::Result<DockerVolume, NotFilled>> {
        let volume = self.make(name, labels)?;
        let beside = filled(&volume.folder);
        let made = fs::DirBuilder::new().mode(0o700).create(&beside);
        let inode = made.and_then(|()| fs::symlink_metadata(&beside)).map(|found| found.ino());
        let inode = match inode.map_err(|error| write_error(&beside, &error)) {
            Ok(inode) => inode,
            Err(error) => return Ok(Err(NotFilled { error, left: self.remove_made(&volume) })),
        };
        let put = note(&volume, inode)
            .and_then(|()| fill(&beside))
            .map_err(Failed::Before)
            .and_then(|()| self.put_in_place(&volume, &beside));
        let error = match put {
            // What took the empty folder's place has another inode.
            Ok(()) => return Ok(Ok(DockerVolume { mark: mark_of(&volume.folder), ..volume })),
            Err(Failed::Before(error)) => {
                remove_filled(&volume.folder, inode);
                error
            }
            Err(Failed::After(error)) => {
                let users = self.engine().and_then(|engine| engine.users_of(name));
                if users.is_ok_and(|users| users.is_empty()) {
                    remove_filled(&volume.folder, inode);
                }
                error
            }
        };
        Ok(Err(NotFilled { error, left: self.remove_made(&volume) }))
    }

    /// Puts the filled folder in the place of the volume's empty one.
    fn put_in_place(
        &self,
        volume: &DockerVolume,
        beside: &Path,
    ) -> std::result::Result<(), Failed> {
        let (name, folder) = (volume.name.as_str(), volume.folder.as_path());
        let taken = |what: String| {
            refused(format!("{what} while volume {name} was being restored"))
                .with_hint("nothing of it was changed; remove what took it, and restore again")
        };
        let users = self.engine().and_then(|engine| engine.users_of(name));
        if let Some(user) = users.map_err(Failed::Before)?.first() {
            return Err(Failed::Before(taken(format!("container {user} took it"))));
        }
        let is_the_same = volume.mark.is_some() && mark_of(folder) == volume.mark;
        if !is_the_same || !is_empty(folder) {
            return Err(Failed::Before(taken(
                "somebody wrote files into it, or made it anew,".into(),
            )));
        }
        exchange(beside, folder).map_err(Failed::Before)?;
        match settle(beside, folder) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failed::After(taken("a container wrote files into it".into()))),
            Err(error) => Err(Failed::After(error)),
        }
    }
}

/// Exchanges two folders.
fn exchange(one: &Path, other: &Path) -> Result<()> {
    rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
        .map_err(|error| write_error(other, &error.into()))
}

/// Removes what was the volume's empty folder, once the filled one is in its place. Whether that one
/// stays in place: a container that had the empty folder may have written into it meanwhile, and
/// gets it back.
fn settle(beside: &Path, folder: &Path) -> Result<bool> {
    let synced = sync_folder(folder.parent().unwrap_or(folder));
    match synced.and_then(|()| fs::remove_dir(beside)) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            exchange(beside, folder).map(|()| false)
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("a volume is restored; \"{}\" beside it stays: {error}", beside.display());
            Ok(true)
        }
        _ => Ok(true),
    }
}

/// A volume that was just made, with its mark.
fn seen_here(made: &EngineVolume) -> Result<DockerVolume> {
    let stays = format!("Docker made the volume \"{}\", and it stays, empty", made.name);
    let unseen = |why: String| {
        Error::new(ErrorKind::Io, format!("{stays}: {why}"))
            .with_hint(format!("in a container, mount Docker's folder of volumes at the same path, and not read-only: -v /var/lib/docker/volumes:/var/lib/docker/volumes; then remove that volume (docker volume rm {})", made.name))
    };
    let volume = DockerVolume::of(made, &[], &Host::default()).map_err(unseen)?;
    let mark = mark_of(&volume.folder).ok_or_else(|| {
        unseen(format!("its folder can't be seen here: \"{}\"", volume.folder.display()))
    })?;
    Ok(DockerVolume { mark: Some(mark), ..volume })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_wrote_into_the_empty_folder_gets_it_back() {
        let scratch = tempfile::tempdir().unwrap();
        let (folder, beside) =
            (scratch.path().join("_data"), filled(&scratch.path().join("_data")));
        for (write_too, stays) in [(false, true), (true, false)] {
            fs::create_dir_all(&folder).unwrap();
            fs::create_dir(&beside).unwrap();
            fs::write(beside.join("of the backup"), "").unwrap();
            exchange(&beside, &folder).unwrap();
            if write_too {
                fs::write(beside.join("of a container"), "").unwrap();
            }
            assert_eq!(settle(&beside, &folder).unwrap(), stays);
            let is_there = |file: &str| folder.join(file).exists();
            assert_eq!((is_there("of the backup"), is_there("of a container")), (stays, !stays));
            assert_eq!(beside.join("of the backup").exists(), !stays);
            fs::remove_dir_all(&folder).unwrap();
        }
    }
}
