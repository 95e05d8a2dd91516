//! All drivers of a daemon.

use std::path::PathBuf;

use super::{Docker, DockerOptions, Driver, READ_WITHIN, folder::Folders, vfs::Vfs};
use crate::{
    daemon::{moment::Place, root::Root, state::VolumeState},
    error::Result,
};

/// The drivers of one daemon. Each volume remembers the name of its own.
#[derive(Debug)]
pub(in crate::daemon) struct Drivers {
    pub(in crate::daemon) vfs: Vfs,
    pub(in crate::daemon) folders: Folders,
    pub(in crate::daemon) docker: Docker,
}

impl Drivers {
    pub(in crate::daemon) fn new(
        root: &Root,
        folders: Vec<(String, PathBuf)>,
        docker: DockerOptions,
    ) -> Self {
        let named = folders.iter().map(|(_, folder)| folder.clone()).collect();
        Self {
            vfs: Vfs::new(root),
            folders: Folders::new(root, folders),
            docker: Docker::new(docker).with_folders(named).with_plugin(root.volumes()),
        }
    }

    /// The driver of this name. A volume of a driver that is not there any more is one of `vfs`'s
    /// without files.
    pub(in crate::daemon) fn of(&self, name: &str) -> &dyn Driver {
        match name {
            Folders::NAME => &self.folders,
            Docker::NAME => &self.docker,
            _ => &self.vfs,
        }
    }

    /// The drivers' names, the one for new volumes first.
    pub(in crate::daemon) fn names(&self) -> Vec<&'static str> {
        let folders = self.folders.is_used().then_some(Folders::NAME);
        let docker = self.docker.is_used().then_some(Docker::NAME);
        std::iter::once(Vfs::NAME).chain(folders).chain(docker).collect()
    }

    /// As [`Driver::check`], for one volume that is to be read. The folder may be another volume's
    /// since the state was looked up: then it is refused, too.
    pub(in crate::daemon) fn check(&self, volume: &VolumeState) -> Result<()> {
        let checked = self.of(&volume.driver).check(&[&volume.name], READ_WITHIN).pop();
        checked.unwrap_or(Ok(()))?;
        if volume.driver == Docker::NAME { self.docker.refuse_another(volume) } else { Ok(()) }
    }

    /// The place of a volume of this driver.
    pub(in crate::daemon) fn place(&self, driver: &str, volume: &str) -> Place {
        self.of(driver).place(volume)
    }
}
