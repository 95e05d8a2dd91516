//! Whether the files of the engine's volumes can be read here.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{Driver, unanswered},
    known::Docker,
    sights::look_at_all,
    unmaking::is_known_as,
    volume::{DockerVolume, is_of_folder, is_same_mark, mark, mark_of},
};
use crate::{
    daemon::{moment::Place, state::VolumeState},
    error::{Error, ErrorKind, Result},
    mount_table::mounts,
};

impl Docker {
    /// Refuses to read a volume if what has its name now is another one than that of this state.
    /// What is not known of either tells nothing.
    pub(in crate::daemon) fn refuse_another(&self, state: &VolumeState) -> Result<()> {
        let Some(known) = &state.mark else { return Ok(()) };
        let now = match self.seen(&state.name) {
            Some(DockerVolume { mark: Some(mark), .. }) => Some(mark),
            Some(seen) if is_of_folder(known) => mark_of(&seen.folder),
            _ => None,
        };
        if now.is_none_or(|now| is_same_mark(&now, known)) {
            return Ok(());
        }
        let message = format!("volume \"{}\" of Docker was made anew just now", state.name);
        Err(Error::new(ErrorKind::Io, message).with_hint("nothing of it was saved: try again"))
    }

    /// Whether a volume's folder can be read, by what a look at it found.
    fn judged(&self, volume: &str, found: io::Result<fs::Metadata>) -> Result<()> {
        let wrong = |message: String, hint: &str| {
            Err(Error::new(ErrorKind::Io, message).with_hint(hint.to_owned()))
        };
        let Some(seen) = self.seen(volume) else {
            return wrong(
                format!("Docker has no volume \"{volume}\" that is to be backed up"),
                "look at `docker volume ls`, and at BKUP_DOCKER_VOLUMES",
            );
        };
        if let Some(why) = self.wrong_with(volume) {
            return wrong(
                format!("volume \"{volume}\" of Docker can't be backed up: {why}"),
                "see docs/docker.md",
            );
        }
        let shown = seen.folder.display();
        match found {
            Ok(metadata) if metadata.is_dir() => {
                let known = seen.mark.as_deref().filter(|mark| is_of_folder(mark));
                if known.is_some() && !is_known_as(mark(&metadata).as_deref(), known) {
                    return wrong(
                        format!(
                            "\"{shown}\" of volume \"{volume}\" is another folder than Docker told of"
                        ),
                        "it was made anew just now, or another disk is mounted there: try again",
                    );
                }
            }
            Ok(_) => {
                return wrong(
                    format!("\"{shown}\" of volume \"{volume}\" is no folder"),
                    "look at it",
                );
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return wrong(
                    format!("no permission to read \"{shown}\" of volume \"{volume}\""),
                    "run as root",
                );
            }
            Err(error) => {
                return wrong(
                    format!(
                        "the folder \"{shown}\" of volume \"{volume}\" can't be seen here: {error}"
                    ),
                    "in a container, mount Docker's folder of volumes at the same path: -v /var/lib/docker/volumes:/var/lib/docker/volumes",
                );
            }
        }
        let is_mounted =
            || mounts().is_ok_and(|all| all.iter().any(|mount| mount.path == seen.folder));
        if seen.must_be_mounted && !is_mounted() {
            return wrong(
                format!("volume \"{volume}\" is not mounted now, so its files can't be read"),
                "Docker mounts it while a container that has it runs",
            );
        }
        Ok(())
    }
}

impl Driver for Docker {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn path(&self, volume: &str) -> PathBuf {
        self.seen(volume).map(|seen| seen.folder).unwrap_or_default()
    }

    fn place(&self, volume: &str) -> Place {
        let folder = self.path(volume);
        let beside = folder.parent().map(Path::to_owned);
        let volume = volume.to_owned();
        // Others write to a share, and to a folder of the host that a volume has by its options.
        let is_for_containers_only = self.seen(&volume).is_some_and(|seen| seen.base().is_some());
        Place {
            volume,
            folder,
            beside,
            is_of_the_host: true,
            is_of_the_engine: true,
            is_for_containers_only,
        }
    }

    fn check(&self, volumes: &[&str], within: Duration) -> Vec<Result<()>> {
        let known: Vec<_> = volumes.iter().filter_map(|volume| self.seen(volume)).collect();
        let looks = look_at_all(known.iter(), within, |folder| fs::symlink_metadata(folder));
        let mut looks: HashMap<_, _> = looks.into_iter().collect();
        let judged = volumes.iter().map(|volume| match looks.remove(*volume) {
            Some(Err(why)) => Err(unanswered(volume, &self.path(volume), &why)),
            Some(Ok(found)) => self.judged(volume, found),
            None => self.judged(volume, Err(io::ErrorKind::NotFound.into())),
        });
        judged.collect()
    }
}
