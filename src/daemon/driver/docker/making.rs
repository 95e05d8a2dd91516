//! Making, filling and removing volumes of Docker.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags};

use super::{Docker, DockerVolume};
use crate::{
    convoy::refusal::refused,
    error::{Error, ErrorKind, Result},
    files::{remove_all, sync_folder, write_error},
};

/// What is filled beside a volume's files, and takes their place when it is complete.
const FILLED: &str = ".convoy-backups-restore";

impl Docker {
    /// Makes an empty volume.
    ///
    /// # Errors
    /// If Docker has one of that name, does not answer, or keeps it where this process can't see
    /// it: it is removed then.
    pub(in crate::daemon) fn make(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        options: &BTreeMap<String, String>,
    ) -> Result<DockerVolume> {
        let engine = self.engine()?;
        // Docker takes a second creation for a question.
        if engine.volumes()?.iter().any(|volume| volume.name == name) {
            return Err(refused(format!("Docker has a volume {name} already"))
                .with_hint("choose another name, or remove that volume first"));
        }
        let made = engine.create_volume(name, labels, options)?;
        let volume = DockerVolume::of(&made, &[]);
        if fs::symlink_metadata(&volume.folder).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(volume);
        }
        let shown = volume.folder.display().to_string();
        self.remove_again(name);
        Err(Error::new(ErrorKind::Io, format!("Docker keeps its volumes in a folder that can't be seen here: \"{shown}\""))
            .with_hint("in a container, mount Docker's folder of volumes at the same path, and not read-only: -v /var/lib/docker/volumes:/var/lib/docker/volumes"))
    }

    /// Makes a volume with the files that `fill` writes into an empty folder. They appear in it all
    /// at once; until then it is empty. `note` keeps the inode of that folder, by which
    /// [`Docker::finish`] knows after a crash how far this came.
    ///
    /// # Errors
    /// As [`Docker::make`], if `fill` fails, or a container took the volume meanwhile. The volume is
    /// removed then.
    pub(in crate::daemon) fn make_filled(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        note: impl FnOnce(&DockerVolume, u64) -> Result<()>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<DockerVolume> {
        let volume = self.make(name, labels, &BTreeMap::new())?;
        if let Err(error) = self.fill(&volume, note, fill) {
            self.remove_again(name);
            return Err(error);
        }
        // What took the empty folder's place has another inode.
        Ok(volume.with_mark_of_now())
    }

    fn fill(
        &self,
        volume: &DockerVolume,
        note: impl FnOnce(&DockerVolume, u64) -> Result<()>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let folder = volume.folder.as_path();
        let beside: PathBuf = folder.with_file_name(FILLED);
        let failed = |error: io::Error| write_error(&beside, &error);
        fs::DirBuilder::new().mode(0o700).create(&beside).map_err(failed)?;
        note(volume, fs::symlink_metadata(&beside).map_err(failed)?.ino())?;
        fill(&beside)?;
        let users = self.engine()?.containers()?;
        if let Some(user) = users.iter().find(|container| container.uses(&volume.name)) {
            return Err(refused(format!(
                "container {} took volume {} while it was being restored",
                user.name(),
                volume.name
            ))
            .with_hint("remove that container, and restore again"));
        }
        rustix::fs::renameat_with(CWD, &beside, CWD, folder, RenameFlags::EXCHANGE)
            .map_err(|error| failed(error.into()))?;
        let parent = folder.parent().unwrap_or(folder);
        sync_folder(parent).and_then(|()| remove_all(&beside)).map_err(failed)
    }

    /// Ends what a crash left of [`Docker::make_filled`]: a volume whose files are all in place is
    /// complete, another is removed. Whether it is complete.
    ///
    /// # Errors
    /// If Docker does not answer, or a container has the incomplete volume.
    pub(in crate::daemon) fn finish(&self, name: &str, folder: &Path, inode: u64) -> Result<bool> {
        let beside = folder.with_file_name(FILLED);
        if fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.ino() == inode) {
            remove_all(&beside).map_err(|error| write_error(&beside, &error))?;
            return Ok(true);
        }
        match self.engine()?.remove_volume(name) {
            Err(error) if error.kind != ErrorKind::NotFound => Err(error),
            _ => Ok(false),
        }
    }

    /// Removes what this call made. Docker refuses if a container has it.
    fn remove_again(&self, name: &str) {
        let removed = self.engine().and_then(|engine| engine.remove_volume(name));
        if let Err(error) = removed {
            log::warn!("volume \"{name}\" of Docker was made and stays, incomplete: {error}");
        }
    }
}
