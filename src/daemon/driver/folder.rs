//! The driver `folder`: a volume is a folder of the host that the configuration names. Nothing of
//! ours is kept inside it, and nothing inside it is ever written or removed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    Driver, LISTED_WITHIN,
    overlap::{Around, Identity},
    unanswered,
};
use crate::{
    convoy::FOLDER_DRIVER,
    daemon::{moment::Place, root::Root},
    error::{Error, ErrorKind, Result},
    files::{Unanswered, look_at_each},
    mount_table::{MountPoint, at_or_below, holding, mounts},
    sync::lock,
};

/// File systems of the kernel's own, in which nothing is kept.
const OF_THE_KERNEL: [&str; 15] = [
    "proc",
    "sysfs",
    "devpts",
    "devtmpfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "bpf",
    "mqueue",
    "pstore",
    "binfmt_misc",
    "efivarfs",
];

/// How long what was seen of the other volumes' folders counts. Many volumes may be checked at once.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// The folders of the host that are volumes, by name.
#[derive(Debug)]
pub(in crate::daemon) struct Folders {
    folders: BTreeMap<String, PathBuf>,
    /// Those that Docker's containers mount.
    binds: Mutex<BTreeMap<String, PathBuf>>,
    root: Root,
    /// What was seen of all volumes' folders, and when.
    seen: Mutex<Option<(Instant, Arc<Vec<Neighbour>>)>>,
}

/// The folder of a volume, as others see it.
#[derive(Debug)]
struct Neighbour {
    volume: String,
    path: PathBuf,
    /// `None` if it does not answer, or is not there.
    around: Option<Around>,
}

/// What a folder must not overlap with.
struct Host {
    mounts: Vec<MountPoint>,
    top: Identity,
    root: Around,
    neighbours: Arc<Vec<Neighbour>>,
}

impl Folders {
    pub(in crate::daemon) const NAME: &str = FOLDER_DRIVER;

    pub(in crate::daemon) fn new(root: &Root, folders: Vec<(String, PathBuf)>) -> Self {
        let folders = folders.into_iter().collect();
        Self { folders, binds: Mutex::default(), root: root.clone(), seen: Mutex::default() }
    }

    /// Takes the folders of the host that Docker's containers mount as volumes.
    pub(in crate::daemon) fn set_binds(&self, binds: BTreeMap<String, PathBuf>) {
        let mut known = lock(&self.binds);
        if *known != binds {
            *known = binds;
            *lock(&self.seen) = None;
        }
    }

    /// Whether there is such a volume.
    pub(in crate::daemon) fn is_used(&self) -> bool {
        !self.folders.is_empty() || !lock(&self.binds).is_empty()
    }

    fn host(&self) -> Result<Host> {
        let unseen = |what: &Path, error: io::Error| {
            Error::io(format!("cannot look at \"{}\"", what.display()), &error)
        };
        let (top, root) = (Path::new("/"), self.root.path());
        Ok(Host {
            mounts: mounts().map_err(|error| unseen(top, error))?,
            top: Identity::of(top).map_err(|error| unseen(top, error))?,
            root: Around::of(root).map_err(|error| unseen(root, error))?,
            neighbours: self.neighbours().map_err(|error| unseen(&self.root.volumes(), error))?,
        })
    }

    /// The folders of all volumes. The lock is held while they are looked at, which has a limit.
    fn neighbours(&self) -> io::Result<Arc<Vec<Neighbour>>> {
        let mut seen = lock(&self.seen);
        if let Some((at, known)) = &*seen
            && at.elapsed() < SEEN_FOR
        {
            return Ok(known.clone());
        }
        let made = fs::read_dir(self.root.volumes())?.flatten();
        let made =
            made.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        let binds = lock(&self.binds).clone();
        let named = self.folders.iter().map(|(name, path)| (name.clone(), path.clone()));
        let (volumes, paths): (Vec<_>, Vec<_>) = named.chain(binds).chain(made).unzip();
        let looks = arounds(&paths, LISTED_WITHIN).into_iter();
        let all = volumes.into_iter().zip(paths).zip(looks).map(|((volume, path), seen)| {
            let around = seen.ok().and_then(io::Result::ok);
            Neighbour { volume, path, around }
        });
        let all = Arc::new(all.collect());
        *seen = Some((Instant::now(), Arc::clone(&all)));
        Ok(all)
    }
}

fn arounds(
    folders: &[PathBuf],
    within: Duration,
) -> Vec<std::result::Result<io::Result<Around>, Unanswered>> {
    let places: Vec<_> = folders.iter().map(|folder| (folder.clone(), folder.clone())).collect();
    look_at_each(&places, within, |folder: PathBuf| Around::of(&folder))
}

/// Whether a folder that looks so can be a volume.
fn judge((volume, folder): (&str, &Path), seen: io::Result<Around>, host: &Host) -> Result<()> {
    let shown = folder.display();
    let wrong = |what: String, hint: &str| {
        let message = format!("the folder \"{shown}\" of volume \"{volume}\" {what}");
        Err(Error::new(ErrorKind::Io, message).with_hint(hint.to_owned()))
    };
    match seen {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            wrong("is not there".into(), "mount the share that it is on, or correct BKUP_FOLDERS")
        }
        Err(error) => wrong(format!("can't be looked at: {error}"), "look at its share"),
        Ok(around) if around.kind.is_symlink() => {
            wrong("is a symbolic link".into(), "write the folder that it leads to in BKUP_FOLDERS")
        }
        Ok(around) if !around.kind.is_dir() => {
            wrong("is no folder".into(), "write a folder in BKUP_FOLDERS")
        }
        Ok(around) => match overlap((volume, folder), &around, host) {
            Some(what) => wrong(what, "write another folder in BKUP_FOLDERS; nothing was changed"),
            None => Ok(()),
        },
    }
}

/// What else is in the folder or around it that must not be.
fn overlap((volume, folder): (&str, &Path), own: &Around, host: &Host) -> Option<String> {
    if own.is(host.top) {
        return Some("is the host's \"/\"".into());
    }
    let is_kernels = |mount: &&MountPoint| OF_THE_KERNEL.contains(&mount.file_system.as_str());
    if let Some(mount) = holding(&host.mounts, &own.real).filter(is_kernels) {
        return Some(format!("is in the system's {}", mount.file_system));
    }
    if let Some(mount) = at_or_below(&host.mounts, &own.real).find(is_kernels) {
        let (kind, path) = (&mount.file_system, mount.path.display());
        return Some(format!("has the system's {kind} in it, at \"{path}\""));
    }
    if host.root.is_in(own) || own.is_in(&host.root) {
        let root = host.root.real.display();
        return Some(format!("and the daemon's own folder \"{root}\" are in one another"));
    }
    for other in host.neighbours.iter().filter(|other| other.volume != volume) {
        let (other_is_in, is_in) = match &other.around {
            Some(around) => (around.is_in(own), own.is_in(around)),
            // Of one that does not answer, only the path is known.
            None => (other.path.starts_with(folder), folder.starts_with(&other.path)),
        };
        let what = match (other_is_in, is_in) {
            (true, true) => "is that of",
            (true, false) => "has in it that of",
            (false, true) => "is in that of",
            (false, false) => continue,
        };
        return Some(format!("{what} \"{}\", \"{}\"", other.volume, other.path.display()));
    }
    None
}

impl Driver for Folders {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn path(&self, volume: &str) -> PathBuf {
        let bind = || lock(&self.binds).get(volume).cloned();
        self.folders.get(volume).cloned().or_else(bind).unwrap_or_default()
    }

    fn place(&self, volume: &str) -> Place {
        let folder = self.path(volume);
        let beside = folder.parent().map(Path::to_owned);
        Place {
            volume: volume.to_owned(),
            folder,
            beside,
            is_of_the_host: true,
            is_of_the_engine: lock(&self.binds).contains_key(volume),
            is_for_containers_only: false,
        }
    }

    fn found(&self) -> Vec<(&str, &Path)> {
        self.folders.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect()
    }

    fn check(&self, volumes: &[&str], within: Duration) -> Vec<Result<()>> {
        let folders: Vec<_> = volumes.iter().map(|volume| self.path(volume)).collect();
        let (seen, host) = (arounds(&folders, within), self.host());
        let judged = folders.iter().zip(volumes).zip(seen).map(|((folder, volume), seen)| {
            let seen = seen.map_err(|why| unanswered(volume, folder, &why))?;
            judge((volume, folder), seen, host.as_ref().map_err(Clone::clone)?)
        });
        judged.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::disk::Hung;

    fn check(folders: &Folders, volume: &str) -> Result<()> {
        folders.check(&[volume], LISTED_WITHIN).remove(0)
    }

    fn folders(scratch: &Path, folders: &[(&str, &str)]) -> Folders {
        let root = Root::make(&scratch.join("root")).unwrap();
        root.make_folders().unwrap();
        let absolute = |(name, path): &(&str, &str)| ((*name).to_owned(), scratch.join(path));
        Folders::new(&root, folders.iter().map(absolute).collect())
    }

    #[test]
    fn a_folder_that_is_none_of_its_own_is_refused_with_the_reason() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        for folder in ["site/deep", "mail", "root/volumes/vol1"] {
            fs::create_dir_all(path(folder)).unwrap();
        }
        fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink(path("mail"), path("link")).unwrap();
        std::os::unix::fs::symlink(scratch.path(), path("around")).unwrap();
        for (folder, why) in [
            ("gone", "is not there"),
            ("link", "is a symbolic link"),
            ("file", "is no folder"),
            ("/", "is the host's"),
            ("/proc/sys", "is in the system's proc"),
            ("root", "are in one another"),
            ("root/volumes/vol1", "are in one another"),
            ("", "are in one another"),
            ("site/deep", "is in that of \"site\""),
            ("around/site", "is that of \"site\""),
        ] {
            let all = folders(scratch.path(), &[("site", "site"), ("odd", folder)]);
            let error = check(&all, "odd").unwrap_err();
            assert!(error.message.contains(why) && error.hint.is_some(), "{folder}: {error}");
        }
        let all = folders(scratch.path(), &[("site", "site"), ("mail", "mail")]);
        check(&all, "site").unwrap();
        let all = folders(scratch.path(), &[("site", "site"), ("deep", "site/deep")]);
        assert!(check(&all, "site").unwrap_err().message.contains("has in it that of \"deep\""));
    }

    #[test]
    fn a_folder_that_does_not_answer_is_told_and_the_others_are_checked_all_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("site")).unwrap();
        let Some(hung) = Hung::new() else { return };
        let mut all = folders(scratch.path(), &[("site", "site")]);
        all.folders.insert("hung".into(), hung.path());
        let soon = Duration::from_millis(100);
        let mut checked = all.check(&["hung", "site"], soon);
        checked.pop().unwrap().unwrap();
        let error = checked.pop().unwrap().unwrap_err();
        assert!(error.message.ends_with("of volume \"hung\" does not answer"), "{error}");
        // What its folder has in it is told by the path alone.
        all.folders.insert("site".into(), hung.path().join("site"));
        let begun = Instant::now();
        assert!(all.check(&["hung"], Duration::from_secs(60))[0].is_err());
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not asked again");
    }
}
