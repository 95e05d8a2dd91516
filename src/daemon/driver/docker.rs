//! The driver `docker`: the volumes of the engine's own driver `local`. The engine is asked at each
//! listing, so a new volume is seen at once; what it said last holds while it does not answer.
//!
//! The files are read where the engine keeps them. So this process must see that folder: on the
//! host as root, in a container by mounting `/var/lib/docker/volumes` at the same path.

mod making;
mod volume;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use super::{
    Driver,
    overlap::{Identity, holds},
    unanswered,
};
use crate::{
    convoy::DOCKER_DRIVER,
    daemon::moment::Place,
    engine::{Container, ENABLE_LABEL, Engine, EngineVolume, LeftOut, Selection},
    error::{Error, ErrorKind, Result},
    files::Look,
    mount_table::mounts,
    sync::lock,
};
pub(in crate::daemon) use volume::DockerVolume;

/// How the driver is set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct DockerOptions {
    /// The engine's socket; `None` for no engine.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) selection: Selection,
    /// Folders of this program's own: a volume that has one of them in it is left out, else each
    /// backup would have all former ones.
    pub(crate) own: Vec<PathBuf>,
}

/// The volumes of an engine.
#[derive(Debug)]
pub(in crate::daemon) struct Docker {
    engine: Option<Engine>,
    selection: Selection,
    own: Vec<PathBuf>,
    seen: Mutex<Seen>,
    /// What was told of the states of volumes.
    told: Mutex<Vec<String>>,
}

/// What the engine said last.
#[derive(Debug, Default)]
struct Seen {
    volumes: BTreeMap<String, DockerVolume>,
    /// Why it said nothing at the last try.
    problem: Option<String>,
    /// What was left out and is to be told, so that it is told once.
    told: Vec<String>,
}

impl Docker {
    pub(in crate::daemon) const NAME: &str = DOCKER_DRIVER;

    /// The engine's volumes. Nothing is asked yet.
    pub(in crate::daemon) fn new(options: DockerOptions) -> Self {
        let engine = options.socket.as_deref().map(Engine::at);
        let DockerOptions { selection, own, .. } = options;
        Self { engine, selection, own, seen: Mutex::default(), told: Mutex::default() }
    }

    /// Takes the folders of volumes that an earlier process saw, for as long as the engine does not
    /// answer.
    pub(in crate::daemon) fn remember(&self, known: Vec<DockerVolume>) {
        let mut seen = lock(&self.seen);
        for volume in known {
            seen.volumes.entry(volume.name.clone()).or_insert(volume);
        }
    }

    pub(in crate::daemon) fn is_used(&self) -> bool {
        self.engine.is_some()
    }

    pub(in crate::daemon) fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().ok_or_else(|| {
            Error::configuration("this daemon has no Docker engine")
                .with_hint("set BKUP_DOCKER to unix:///path/of/its/socket")
        })
    }

    /// Logs these sentences, each once for as long as it stays true.
    pub(in crate::daemon) fn tell_once(&self, sentences: Vec<String>) {
        let mut told = lock(&self.told);
        for sentence in sentences.iter().filter(|sentence| !told.contains(sentence)) {
            log::warn!("{sentence}");
        }
        *told = sentences;
    }

    /// Whether the engine has a volume of this name, of whichever driver.
    ///
    /// # Errors
    /// If it does not answer.
    pub(in crate::daemon) fn has(&self, volume: &str) -> Result<bool> {
        Ok(self.engine()?.volumes()?.iter().any(|there| there.name == volume))
    }

    /// Drops what the engine said of a volume that was removed.
    pub(in crate::daemon) fn forget(&self, volume: &str) {
        lock(&self.seen).volumes.remove(volume);
    }

    /// What the engine said last of a volume.
    pub(in crate::daemon) fn seen(&self, volume: &str) -> Option<DockerVolume> {
        lock(&self.seen).volumes.get(volume).cloned()
    }

    /// Asks the engine for its volumes. `None` if there is no engine, or it did not answer: then
    /// nothing is known of what came or went.
    pub(in crate::daemon) fn look(&self) -> Option<BTreeMap<String, DockerVolume>> {
        let engine = self.engine.as_ref()?;
        let asked = engine.volumes().and_then(|volumes| Ok((volumes, engine.containers()?)));
        let (volumes, containers) = match asked {
            Ok(answers) => answers,
            Err(error) => {
                let mut seen = lock(&self.seen);
                let problem = format!("Docker was not asked for its volumes: {error}");
                if seen.problem.as_ref() != Some(&problem) {
                    log::warn!("{problem}");
                }
                seen.problem = Some(problem);
                return None;
            }
        };
        let mut found = BTreeMap::new();
        let mut told = Vec::new();
        for volume in &volumes {
            match self.leaves_out(volume, &containers) {
                None => {
                    found.insert(volume.name.clone(), DockerVolume::of(volume, &containers));
                }
                Some(why) => told.extend(why),
            }
        }
        let mut seen = lock(&self.seen);
        for sentence in told.iter().filter(|sentence| !seen.told.contains(sentence)) {
            log::warn!("{sentence}");
        }
        *seen = Seen { volumes: found.clone(), problem: None, told };
        Some(found)
    }

    /// Why a volume is left out: `Some(None)` if that needs no word.
    fn leaves_out(
        &self,
        volume: &EngineVolume,
        containers: &[Container],
    ) -> Option<Option<String>> {
        let name = &volume.name;
        match self.selection.leaves_out(volume, containers) {
            Some(LeftOut::BadLabel(value)) => {
                return Some(Some(format!(
                    "volume \"{name}\" of Docker is not backed up: its label {}=\"{value}\" must be true or false",
                    ENABLE_LABEL
                )));
            }
            Some(_) => return Some(None),
            None => {}
        }
        if let Err(error) = crate::convoy::Name::volume(name) {
            return Some(Some(format!("volume \"{name}\" of Docker is not backed up: {error}")));
        }
        let has_ours = Identity::of(&volume.mountpoint)
            .is_ok_and(|there| self.own.iter().any(|own| holds(there, own)));
        has_ours.then_some(None)
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
        let shown = seen.folder.display();
        match found {
            Ok(metadata) if metadata.is_dir() => {}
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
        Place {
            volume: volume.to_owned(),
            folder,
            beside,
            is_of_the_host: true,
            is_of_the_engine: true,
        }
    }

    fn check(&self, volumes: &[&str], within: Duration) -> Vec<Result<()>> {
        let begin = |volume: &&str| {
            let folder = self.path(volume);
            let look = {
                let folder = folder.clone();
                move || fs::symlink_metadata(folder)
            };
            (Look::begin(&folder, within, look), folder, (*volume).to_owned())
        };
        let begun: Vec<_> = volumes.iter().map(begin).collect();
        let judged = begun.into_iter().map(|(look, folder, volume)| match look.found() {
            Err(why) => Err(unanswered(&volume, &folder, &why)),
            Ok(found) => self.judged(&volume, found),
        });
        judged.collect()
    }
}
