//! What is needed of one of the engine's volumes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use sha2::{Digest as _, Sha256};

use super::super::LISTED_WITHIN;
use crate::{
    daemon::state::VolumeState,
    engine::{Container, EngineVolume},
    files::{Look, real_path},
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
    /// Whether a label of its containers asks for it.
    pub(in crate::daemon) asked_for: bool,
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

/// File systems that a container has of its own: none of them is the host's folder of that path.
const OF_CONTAINERS: [&str; 6] = ["overlay", "tmpfs", "proc", "sysfs", "devtmpfs", "cgroup2"];

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
        let is_of_the_container = |mount: &MountPoint| {
            mount.path == Path::new("/") || OF_CONTAINERS.contains(&mount.file_system.as_str())
        };
        if !self.is_container {
            return true;
        }
        // A link may lead out of what is mounted.
        let path = folder.to_owned();
        let real = Look::begin(folder, LISTED_WITHIN, move || real_path(&path)).found();
        let real = real.unwrap_or_else(|_| folder.to_owned());
        holding(&self.mounts, &real).is_some_and(|mount| !is_of_the_container(mount))
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
            asked_for: false,
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
            asked_for: state.asked_for,
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
    let is_set = |name: &str| volume.options.get(name).is_some_and(|it| !it.trim().is_empty());
    match volume.bound() {
        _ if !is_set("type") && !is_set("device") => Place::Engine,
        Some(device) => Place::Folder(device),
        None => Place::Mount,
    }
}

/// The folder of the engine's host with a volume's files, by what the engine tells.
pub(super) fn folder_of(volume: &EngineVolume) -> &Path {
    match place(volume) {
        Place::Folder(device) => device,
        Place::Engine | Place::Mount => &volume.mountpoint,
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

/// The mark of a folder of the engine's own: its inode and its birth, or the inode alone where the
/// file system keeps no births. The engine's time of creation is no help: it is that of the folder's
/// last change.
pub(super) fn mark(metadata: &fs::Metadata) -> Option<String> {
    let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    metadata.is_dir().then(|| mark_of_parts(metadata.ino(), born))
}

fn mark_of_parts(inode: u64, born: Option<Duration>) -> String {
    born.map_or_else(
        || inode.to_string(),
        |born| format!("{inode}-{}.{:09}", born.as_secs(), born.subsec_nanos()),
    )
}

/// Whether two marks are of one folder or of the same options. One without a birth tells less.
pub(in crate::daemon) fn is_same_mark(one: &str, other: &str) -> bool {
    let is_without_birth = |mark: &str| !mark.contains('-');
    let inode = |mark: &str| mark.split('-').next().map(str::to_owned);
    one == other
        || ((is_without_birth(one) || is_without_birth(other)) && inode(one) == inode(other))
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
    fn in_a_container_a_folder_of_its_own_is_never_taken_for_the_hosts() {
        let mount = |path: &Path, kind: &str| MountPoint {
            path: path.into(),
            file_system: kind.into(),
            source: String::new(),
        };
        let scratch = tempfile::tempdir().unwrap();
        let scratch = scratch.path().canonicalize().unwrap();
        let (host, own) = (scratch.join("host"), scratch.join("own"));
        fs::create_dir_all(&host).unwrap();
        fs::create_dir_all(own.join("files")).unwrap();
        std::os::unix::fs::symlink(own.join("files"), host.join("link")).unwrap();
        let bind = |device: PathBuf| {
            volume("/d/db/_data", &json!({ "type": "none", "o": "bind", "device": device }))
        };
        let on = |kind: &str| Host {
            mounts: vec![mount(Path::new("/"), "overlay"), mount(&host, kind)],
            is_container: true,
        };
        assert!(folder(&bind(host.join("shop")), &on("ext4")).is_ok());
        assert!(folder(&bind(host.join("shop")), &on("tmpfs")).is_err());
        assert!(folder(&bind(host.join("link")), &on("ext4")).is_err(), "it leads out of there");
    }

    #[test]
    fn a_folder_without_a_time_of_birth_is_known_by_its_inode() {
        let born = Some(Duration::new(5, 7));
        let (with, without) = (mark_of_parts(12, born), mark_of_parts(12, None));
        assert_eq!((with.as_str(), without.as_str()), ("12-5.000000007", "12"));
        assert!(is_same_mark(&with, &without) && is_same_mark(&without, &without));
        assert!(!is_same_mark(&without, &mark_of_parts(13, born)));
        assert!(!is_same_mark(&with, &mark_of_parts(12, Some(Duration::new(6, 7)))));
        assert!(!is_same_mark("options-1", "options-2"));
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
