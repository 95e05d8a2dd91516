//! What is needed of one of the engine's volumes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    time::UNIX_EPOCH,
};

use sha2::{Digest as _, Sha256};

use crate::{
    daemon::state::VolumeState,
    engine::{Container, EngineVolume},
    mount_table::{MountPoint, holding, mounts},
};

/// A volume of the engine that is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::daemon) struct DockerVolume {
    pub(in crate::daemon) name: String,
    pub(in crate::daemon) folder: PathBuf,
    /// Whether the folder has the files only while the engine has mounted them there (NFS, a disk).
    pub(in crate::daemon) must_be_mounted: bool,
    /// What tells the volume from another that has its name later; `None` where its folder can't be
    /// seen.
    pub(in crate::daemon) mark: Option<String>,
    /// Its compose project, else that of the containers that have it.
    pub(in crate::daemon) project: Option<String>,
    /// The services of that project that have it, in alphabetical order.
    pub(in crate::daemon) services: Vec<String>,
    /// The names of the containers that have it, in alphabetical order.
    pub(in crate::daemon) containers: Vec<String>,
    pub(in crate::daemon) labels: BTreeMap<String, String>,
}

/// What decides where the files of a volume are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// In the engine's own folder.
    Engine,
    /// In a folder of the host.
    Folder(&'a Path),
    /// On what the engine mounts there.
    Mount,
}

/// What a driver must know of the host to say where the files of volumes are.
#[derive(Debug, Default)]
pub(super) struct Host {
    mounts: Vec<MountPoint>,
    /// Whether a path of the engine's may be another folder here.
    is_container: bool,
}

/// Whether this process runs in a container: a path of the host's may be another folder here.
pub(crate) fn is_in_container() -> bool {
    let is_layered = |root: &MountPoint| root.file_system.contains("overlay");
    let mounts = mounts().unwrap_or_default();
    holding(&mounts, Path::new("/")).is_some_and(is_layered)
        || ["/.dockerenv", "/run/.containerenv"].iter().any(|file| Path::new(file).exists())
}

impl Host {
    /// `volumes` are the engine's: where one is seen here on the same file system as `/`, the engine
    /// runs in this container, too, and has the same folders.
    pub(super) fn look(is_container: bool, volumes: &[EngineVolume]) -> Self {
        let mounts = mounts().unwrap_or_default();
        let is_here = |volume: &EngineVolume| {
            let held = holding(&mounts, &volume.mountpoint);
            held.is_some_and(|mount| mount.path == Path::new("/")) && volume.mountpoint.is_dir()
        };
        let is_apart = is_container && !volumes.iter().any(is_here);
        Self { mounts, is_container: is_apart }
    }

    /// Whether this path leads to the engine's folder of that path: on the host, or where something
    /// of the host is mounted there.
    pub(super) fn is_the_engines(&self, folder: &Path) -> bool {
        let is_root = |mount: &MountPoint| mount.path == Path::new("/");
        !self.is_container || holding(&self.mounts, folder).is_some_and(|mount| !is_root(mount))
    }
}

impl DockerVolume {
    /// The volume, without a look at its folder.
    ///
    /// # Errors
    /// Why its files can't be read here, for people.
    pub(super) fn of(
        volume: &EngineVolume,
        containers: &[Container],
        host: &Host,
    ) -> Result<Self, String> {
        let place = place(volume);
        let folder = match place {
            Place::Folder(device) => device,
            Place::Engine | Place::Mount => volume.mountpoint.as_path(),
        };
        let shown = folder.display();
        if !is_plain(folder) {
            return Err(format!("\"{shown}\" is no absolute path of a folder"));
        }
        if let Place::Folder(device) = place {
            if device == Path::new("/") {
                return Err("it is the host's \"/\"".into());
            }
            if !host.is_the_engines(device) {
                return Err(format!(
                    "its folder \"{shown}\" of the host is not mounted in this container: add -v {shown}:{shown}"
                ));
            }
        } else if !folder.ends_with(Path::new(&volume.name).join("_data")) {
            return Err(format!(
                "\"{shown}\" does not end in {}/_data, as the folders of Docker's volumes do",
                volume.name
            ));
        }
        let users: Vec<_> =
            containers.iter().filter(|container| container.uses(&volume.name)).collect();
        let project = volume.project().or_else(|| users.iter().find_map(|user| user.project()));
        let of_it = users.iter().filter(|user| user.project() == project);
        let services: BTreeSet<_> = of_it.filter_map(|user| user.service()).collect();
        let containers: BTreeSet<_> = users.iter().map(|user| user.name()).collect();
        let texts = |of: BTreeSet<&str>| of.into_iter().map(str::to_owned).collect();
        Ok(Self {
            name: volume.name.clone(),
            mark: (place != Place::Engine).then(|| mark_of_options(volume)),
            folder: folder.to_owned(),
            must_be_mounted: place == Place::Mount,
            project: project.map(str::to_owned),
            services: texts(services),
            containers: texts(containers),
            labels: volume.labels.clone(),
        })
    }

    /// What an earlier process saw of a volume.
    pub(in crate::daemon) fn known(state: &VolumeState) -> Option<Self> {
        Some(Self {
            name: state.name.clone(),
            folder: state.folder.clone()?,
            must_be_mounted: state.must_be_mounted,
            mark: state.mark.clone(),
            project: None,
            services: Vec::new(),
            containers: Vec::new(),
            labels: state.labels.clone(),
        })
    }

    /// The folder with all volumes of the engine, if this one's files are in its own folder there.
    pub(super) fn base(&self) -> Option<&Path> {
        let is_its_own = self.folder.ends_with(Path::new(&self.name).join("_data"));
        let base = self.folder.parent().and_then(Path::parent);
        base.filter(|_| is_its_own && !self.must_be_mounted)
    }
}

fn place(volume: &EngineVolume) -> Place<'_> {
    let option = |name: &str| volume.options.get(name).map_or("", |value| value.trim());
    let is_bind = |word: &str| matches!(word.trim(), "bind" | "rbind");
    match (option("type"), option("device")) {
        ("", "") => Place::Engine,
        (_, device) if option("o").split(',').any(is_bind) => Place::Folder(Path::new(device)),
        _ => Place::Mount,
    }
}

/// Whether a path is absolute and leads nowhere else by its own words.
fn is_plain(folder: &Path) -> bool {
    let is_plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    folder.is_absolute() && folder.components().all(is_plain)
}

/// The mark of a volume whose files are not in the engine's own folder: what it leads to. The
/// options may have a password in them, so they are hashed.
fn mark_of_options(volume: &EngineVolume) -> String {
    let mut digest = Sha256::new();
    for name in ["type", "device", "o"] {
        digest.update(volume.options.get(name).map_or("", String::as_str));
        digest.update([0]);
    }
    let digest = digest.finalize();
    let hex: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{OF_OPTIONS}{hex}")
}

/// How the mark of a volume with options begins.
const OF_OPTIONS: &str = "options-";

/// Whether a mark is that of a folder, by which it can be known again.
pub(super) fn is_of_folder(mark: &str) -> bool {
    !mark.starts_with(OF_OPTIONS)
}

/// The mark of a folder of the engine's own: its inode and its birth. The engine's time of creation
/// is no help: it is that of the folder's last change.
pub(super) fn mark(metadata: &fs::Metadata) -> Option<String> {
    let born = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let (inode, seconds, nanoseconds) = (metadata.ino(), born.as_secs(), born.subsec_nanos());
    metadata.is_dir().then(|| format!("{inode}-{seconds}.{nanoseconds:09}"))
}

/// The mark of the folder that is there now; `None` where none can be seen.
pub(super) fn mark_of(folder: &Path) -> Option<String> {
    mark(&fs::symlink_metadata(folder).ok()?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(mountpoint: &str, options: &Value) -> EngineVolume {
        let volume = json!({ "Name": "db", "Driver": "local", "Mountpoint": mountpoint, "Options": options });
        serde_json::from_value(volume).unwrap()
    }

    fn folder(volume: &EngineVolume, host: &Host) -> Result<PathBuf, String> {
        DockerVolume::of(volume, &[], host).map(|volume| volume.folder)
    }

    #[test]
    fn a_folder_that_can_not_be_that_of_the_volume_is_refused() {
        let host = Host::default();
        let none = json!(null);
        assert_eq!(folder(&volume("/d/db/_data", &none), &host), Ok("/d/db/_data".into()));
        for odd in ["", "d/db/_data", "/d/other/_data", "/d/db", "/", "/d/../db/_data"] {
            assert!(folder(&volume(odd, &none), &host).is_err(), "{odd}");
        }
        for odd in ["", "srv", "/", "/srv/../etc"] {
            let bind = json!({ "type": "none", "o": "bind", "device": odd });
            assert!(folder(&volume("/d/db/_data", &bind), &host).is_err(), "{odd}");
        }
    }

    #[test]
    fn in_a_container_a_folder_of_the_host_is_read_only_where_the_host_is_mounted() {
        let mount = |path: &str| MountPoint {
            path: path.into(),
            file_system: "ext4".into(),
            source: "/dev/sda1".into(),
        };
        let bind = json!({ "type": "none", "o": "rw,bind", "device": "/srv/shop" });
        let bind = volume("/d/db/_data", &bind);
        let container = |mounts| Host { mounts, is_container: true };
        let error = folder(&bind, &container(vec![mount("/"), mount("/srv/other")])).unwrap_err();
        assert!(error.contains("-v /srv/shop:/srv/shop"), "{error}");
        for at in ["/srv", "/srv/shop"] {
            assert!(folder(&bind, &container(vec![mount("/"), mount(at)])).is_ok(), "{at}");
        }
        assert!(folder(&bind, &Host::default()).is_ok());
    }

    #[test]
    fn another_folder_or_share_has_another_mark() {
        let mark = |options: Value| {
            let volume = volume("/d/db/_data", &options);
            DockerVolume::of(&volume, &[], &Host::default()).unwrap().mark
        };
        let nfs = |device: &str| json!({ "type": "nfs", "o": "addr=10.0.0.1", "device": device });
        let bind = |device: &str| json!({ "type": "none", "o": "bind", "device": device });
        assert_eq!(mark(nfs(":/a")), mark(nfs(":/a")));
        assert_ne!(mark(nfs(":/a")), mark(nfs(":/b")));
        assert_ne!(mark(bind("/srv/a")), mark(bind("/srv/b")));
        assert_eq!(mark(json!({ "size": "1G" })), None, "its folder tells");
    }
}
