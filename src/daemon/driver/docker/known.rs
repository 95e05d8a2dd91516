//! What is known of the engine's volumes, and what goes on with them.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Access, access},
    io::Errno,
};

use super::{host_folders::HostFolder, volume::DockerVolume};
use crate::{
    convoy::{DOCKER_DRIVER, NotBackedUp},
    daemon::state::VolumeState,
    engine::{Binds, Engine, EngineUse, PROJECT_LABEL, Selection},
    error::{Error, Result},
    sync::lock,
};

/// How long the engine is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For a list of its volumes, in all.
    pub(crate) list: Duration,
    /// How long it is not asked again after it let a list wait.
    pub(crate) again: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        // An engine with a volume plugin that is away waits 15 s for it, but not for this list.
        Self { list: Duration::from_secs(15), again: Duration::from_secs(60) }
    }
}

/// What goes on with volumes of the engine.
#[derive(Debug, Default)]
pub(super) struct Doings {
    /// The volumes that are being made, restored or removed.
    pub(super) names: HashSet<String>,
    /// How many such works have ended.
    pub(super) ended: u64,
}

/// Says that a volume is being made, restored or removed, until it is dropped.
pub(in crate::daemon) struct Doing<'a> {
    docker: &'a Docker,
    name: String,
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        let mut doings = lock(&self.docker.doings);
        doings.names.remove(&self.name);
        doings.ended += 1;
    }
}

/// How the driver is set up.
#[derive(Debug, Clone, Default)]
pub(crate) struct DockerOptions {
    /// The engine's socket; `None` for no engine.
    pub(crate) socket: Option<PathBuf>,
    pub(crate) use_of: EngineUse,
    pub(crate) selection: Selection,
    /// Whether the policy of the selection was asked for. Else the root decides.
    pub(crate) has_policy: bool,
    /// Folders of this program's own: a volume that has one of them in it is left out, else each
    /// backup would have all former ones.
    pub(crate) own: Vec<PathBuf>,
    pub(crate) patience: Patience,
    /// As [`is_in_container`].
    pub(crate) is_in_container: bool,
    /// Whether a start does not ask it: it may wait for this very daemon, which is its plugin.
    pub(crate) asks_later: bool,
}

/// Who uses a volume.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Users {
    pub(in crate::daemon) project: Option<String>,
    pub(in crate::daemon) services: Vec<String>,
    pub(in crate::daemon) containers: Vec<String>,
}

/// The volumes of an engine.
#[derive(Debug)]
pub(in crate::daemon) struct Docker {
    pub(super) engine: Option<Engine>,
    pub(super) socket: Option<PathBuf>,
    use_of: EngineUse,
    pub(super) selection: Selection,
    pub(super) own: Vec<PathBuf>,
    /// The folders of the host that are volumes.
    pub(super) folders: Vec<PathBuf>,
    /// The folder with the volumes that Docker has of this daemon as its plugin.
    pub(super) of_plugin: PathBuf,
    pub(super) patience: Patience,
    pub(super) is_in_container: bool,
    pub(super) seen: Mutex<Seen>,
    pub(super) doings: Mutex<Doings>,
    /// Until when the engine is not asked, because it let a list wait.
    pub(super) silent_until: Mutex<Option<Instant>>,
    /// What was told of the states of volumes.
    told: Mutex<Vec<String>>,
}

/// The names of containers, by the name of the daemon's volume that they have.
pub(super) type Having = BTreeMap<String, BTreeSet<String>>;

/// What the engine said last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) volumes: BTreeMap<String, DockerVolume>,
    /// The folders of the host that are backed up, by name.
    pub(super) binds: BTreeMap<String, HostFolder>,
    /// The containers that have volumes of this daemon's own.
    pub(super) having: Having,
    /// Why it said nothing at the last try.
    pub(super) problem: Option<String>,
    /// What is not backed up.
    pub(super) left_out: Vec<NotBackedUp>,
    /// What is wrong with volumes that are known, and so fails their backups.
    pub(super) wrong_with: BTreeMap<String, String>,
    /// Why the engine is not used, where it need not be.
    pub(super) note: Option<String>,
}

impl Docker {
    pub(in crate::daemon) const NAME: &str = DOCKER_DRIVER;

    /// The engine's volumes. Nothing is asked yet.
    pub(in crate::daemon) fn new(options: DockerOptions) -> Self {
        let engine = options.socket.as_deref().map(Engine::at);
        let DockerOptions { socket, use_of, selection, own, patience, is_in_container, .. } =
            options;
        Self {
            engine,
            socket,
            use_of,
            selection,
            own,
            folders: Vec::new(),
            of_plugin: PathBuf::new(),
            patience,
            is_in_container,
            seen: Mutex::default(),
            doings: Mutex::default(),
            silent_until: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// As the engine of this daemon's plugin, whose volumes are in this folder.
    pub(in crate::daemon) fn with_plugin(self, of_plugin: PathBuf) -> Self {
        Self { of_plugin, ..self }
    }

    /// Counts these folders of the host as backed up.
    pub(in crate::daemon) fn with_folders(self, folders: Vec<PathBuf>) -> Self {
        Self { folders, ..self }
    }

    /// The compose project, services and containers of a volume, or of a folder of the host that
    /// containers mount, by what the engine said last.
    pub(in crate::daemon) fn users(&self, state: &VolumeState) -> Users {
        let seen = lock(&self.seen);
        if state.is_ours() {
            let containers = seen.having.get(&state.name).into_iter().flatten().cloned().collect();
            return Users { containers, ..Users::default() };
        }
        let of_volume = |volume: &DockerVolume| Users {
            project: volume.project.clone(),
            services: volume.services.clone(),
            containers: volume.containers.clone(),
        };
        let of_folder = |folder: &HostFolder| Users {
            project: folder.project.clone(),
            services: folder.services.iter().cloned().collect(),
            containers: folder.containers.iter().cloned().collect(),
        };
        let is_it = |folder: &&HostFolder| state.folder.as_ref() == Some(&folder.path);
        let volumes = seen.volumes.get(&state.name).map(of_volume);
        let users = volumes.or_else(|| seen.binds.values().find(is_it).map(of_folder));
        let users = users.unwrap_or_default();
        // What is taken down has no containers that tell it.
        let project = users.project.or_else(|| state.labels.get(PROJECT_LABEL).cloned());
        Users { project, ..users }
    }

    /// Whether a folder of the host that containers mount may be a volume of this name.
    pub(in crate::daemon) fn may_have_bind(&self, name: &str) -> bool {
        let has_binds = !self.is_off() && self.selection.binds != Binds::Off;
        has_binds && !self.selection.leaves_out_name(name)
    }

    /// What is wrong with a volume that is known.
    pub(super) fn wrong_with(&self, volume: &str) -> Option<String> {
        lock(&self.seen).wrong_with.get(volume).cloned()
    }

    /// What is not backed up, by what the engine said last.
    pub(in crate::daemon) fn left_out(&self) -> Vec<NotBackedUp> {
        lock(&self.seen).left_out.clone()
    }

    /// Why the engine said nothing at the last try.
    pub(in crate::daemon) fn problem(&self) -> Option<String> {
        lock(&self.seen).problem.clone()
    }

    /// Why the engine is not used, though it is there, where it need not be used.
    pub(in crate::daemon) fn note(&self) -> Option<String> {
        lock(&self.seen).note.clone()
    }

    /// Takes the folders of volumes that an earlier process saw, for as long as the engine does not
    /// answer.
    pub(in crate::daemon) fn remember(&self, known: Vec<DockerVolume>) {
        let mut seen = lock(&self.seen);
        for volume in known {
            seen.volumes.entry(volume.name.clone()).or_insert(volume);
        }
    }

    /// Whether it is not to be used, though it may be there.
    pub(in crate::daemon) fn is_off(&self) -> bool {
        self.use_of == EngineUse::Off
    }

    /// Whether it is a mistake if it is not there.
    pub(super) fn must_be_there(&self) -> bool {
        self.use_of == EngineUse::Always
    }

    pub(in crate::daemon) fn is_used(&self) -> bool {
        self.engine.is_some() && (self.must_be_there() || !self.is_away())
    }

    fn is_away(&self) -> bool {
        let is_there = |socket: &PathBuf| fs::symlink_metadata(socket).is_ok();
        !self.socket.as_ref().is_some_and(is_there)
    }

    /// Whether the engine is not asked where it need not be: its socket is not there, or is not for
    /// this user. It may come at any time, also long after this process was started.
    pub(super) fn is_quietly_away(&self) -> bool {
        if self.must_be_there() {
            return false;
        }
        let Some(socket) = self.socket.as_ref().filter(|_| !self.is_away()) else {
            let mut seen = lock(&self.seen);
            (seen.problem, seen.note) = (None, None);
            return true;
        };
        if !matches!(access(socket, Access::WRITE_OK), Err(Errno::ACCESS)) {
            return false;
        }
        let note = format!(
            "Docker's volumes are not backed up: no permission to use its socket \"{}\"",
            socket.display()
        );
        log::debug!("{note}");
        let mut seen = lock(&self.seen);
        (seen.problem, seen.note) = (None, Some(note));
        true
    }

    /// Whether there is an engine to ask, whether it answers or not.
    pub(in crate::daemon) fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    pub(in crate::daemon) fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().ok_or_else(|| {
            Error::configuration("this daemon has no Docker engine")
                .with_hint("start Docker, or set BKUP_DOCKER to unix:///path/of/its/socket (off: Docker's volumes are listed no more)")
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

    /// Begins to make, restore or remove a volume. `None` while another call does.
    pub(in crate::daemon) fn begin(&self, name: &str) -> Option<Doing<'_>> {
        let is_first = lock(&self.doings).names.insert(name.to_owned());
        is_first.then(|| Doing { docker: self, name: name.to_owned() })
    }

    /// Takes what was just made.
    pub(in crate::daemon) fn has_made(&self, volume: DockerVolume) {
        lock(&self.seen).volumes.insert(volume.name.clone(), volume);
        *lock(&self.silent_until) = None;
    }

    /// Takes a volume whose restore turned out to be complete.
    pub(in crate::daemon) fn has_made_again(&self, state: &VolumeState) {
        DockerVolume::known(state).into_iter().for_each(|volume| self.has_made(volume));
    }

    /// Drops what the engine said of a volume that was removed.
    pub(in crate::daemon) fn forget(&self, volume: &str) {
        lock(&self.seen).volumes.remove(volume);
    }

    /// What the engine said last of a volume.
    pub(in crate::daemon) fn seen(&self, volume: &str) -> Option<DockerVolume> {
        lock(&self.seen).volumes.get(volume).cloned()
    }
}
