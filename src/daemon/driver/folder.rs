//! The driver `folder`: a volume is a folder of the host that the configuration names. Nothing of
//! ours is kept inside it, and nothing inside it is ever written or removed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Driver,
    overlap::{Identity, holds},
};
use crate::{
    convoy::FOLDER_DRIVER,
    daemon::{moment::Place, root::Root},
    error::{Error, ErrorKind, Result},
    files::real_path,
    mount_table::{at_or_below, holding, mounts},
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

/// The folders of the host that are volumes, by name.
#[derive(Debug)]
pub(in crate::daemon) struct Folders {
    folders: BTreeMap<String, PathBuf>,
    root: Root,
}

impl Folders {
    pub(in crate::daemon) const NAME: &str = FOLDER_DRIVER;

    pub(in crate::daemon) fn new(root: &Root, folders: Vec<(String, PathBuf)>) -> Self {
        Self { folders: folders.into_iter().collect(), root: root.clone() }
    }

    fn look(&self, volume: &str) -> Result<()> {
        let folder = self.path(volume);
        let shown = folder.display();
        let wrong = |what: String, hint: &str| {
            Err(Error::new(
                ErrorKind::Io,
                format!("the folder \"{shown}\" of volume \"{volume}\" {what}"),
            )
            .with_hint(hint.to_owned()))
        };
        match fs::symlink_metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return wrong(
                    "is not there".into(),
                    "mount the share that it is on, or correct BKUP_FOLDERS",
                );
            }
            Err(error) => {
                return wrong(format!("can't be looked at: {error}"), "look at its share");
            }
            Ok(metadata) if metadata.is_symlink() => {
                return wrong(
                    "is a symbolic link".into(),
                    "write the folder that it leads to in BKUP_FOLDERS",
                );
            }
            Ok(metadata) if !metadata.is_dir() => {
                return wrong("is no folder".into(), "write a folder in BKUP_FOLDERS");
            }
            Ok(_) => {}
        }
        let hint = "write another folder in BKUP_FOLDERS; nothing was changed";
        match self.overlap(volume, &folder)? {
            Some(what) => wrong(what, hint),
            None => Ok(()),
        }
    }

    /// What else is in the folder or around it that must not be.
    fn overlap(&self, volume: &str, folder: &Path) -> Result<Option<String>> {
        let unseen = |error: io::Error| {
            Error::io(format!("cannot look at \"{}\"", folder.display()), &error)
        };
        let own = Identity::of(folder).map_err(unseen)?;
        if Identity::of(Path::new("/")).map_err(unseen)? == own {
            return Ok(Some("is the host's \"/\"".into()));
        }
        let all = mounts().map_err(unseen)?;
        if let Some(mount) = holding(&all, &real_path(folder))
            && OF_THE_KERNEL.contains(&mount.file_system.as_str())
        {
            return Ok(Some(format!("is in the system's {}", mount.file_system)));
        }
        let real = real_path(folder);
        let inside = at_or_below(&all, &real)
            .find(|mount| OF_THE_KERNEL.contains(&mount.file_system.as_str()));
        if let Some(mount) = inside {
            let (kind, path) = (&mount.file_system, mount.path.display());
            return Ok(Some(format!("has the system's {kind} in it, at \"{path}\"")));
        }
        let root = Identity::of(self.root.path()).map_err(unseen)?;
        if holds(own, self.root.path()) || holds(root, folder) {
            let root = self.root.path().display();
            return Ok(Some(format!("and the daemon's own folder \"{root}\" are in one another")));
        }
        let others = self.folders.iter().filter(|(name, _)| *name != volume);
        let made = fs::read_dir(self.root.volumes()).map_err(unseen)?.flatten();
        let made =
            made.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
        let others = others.map(|(name, path)| (name.clone(), path.clone())).chain(made);
        for (name, other) in others {
            let Ok(identity) = Identity::of(&other) else { continue };
            let what = match (holds(own, &other), holds(identity, folder)) {
                (true, true) => "is that of",
                (true, false) => "has in it that of",
                (false, true) => "is in that of",
                (false, false) => continue,
            };
            return Ok(Some(format!("{what} \"{name}\", \"{}\"", other.display())));
        }
        Ok(None)
    }
}

impl Driver for Folders {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn path(&self, volume: &str) -> PathBuf {
        self.folders.get(volume).cloned().unwrap_or_default()
    }

    fn place(&self, volume: &str) -> Place {
        let folder = self.path(volume);
        let beside = folder.parent().map(Path::to_owned);
        Place { volume: volume.to_owned(), folder, beside, is_of_the_host: true }
    }

    fn found(&self) -> Vec<(&str, &Path)> {
        self.folders.iter().map(|(name, path)| (name.as_str(), path.as_path())).collect()
    }

    fn check(&self, volume: &str) -> Result<()> {
        self.look(volume)
    }

    fn problem(&self, volume: &str) -> Option<String> {
        let all = mounts().unwrap_or_default();
        if holding(&all, &self.path(volume)).is_some_and(|mount| mount.is_remote()) {
            return None;
        }
        self.look(volume).err().map(|error| error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let error = all.check("odd").unwrap_err();
            assert!(error.message.contains(why) && error.hint.is_some(), "{folder}: {error}");
            assert_eq!(all.problem("odd"), Some(error.message));
        }
        let all = folders(scratch.path(), &[("site", "site"), ("mail", "mail")]);
        assert!(all.check("site").is_ok() && all.problem("mail").is_none());
        let all = folders(scratch.path(), &[("site", "site"), ("deep", "site/deep")]);
        assert!(all.check("site").unwrap_err().message.contains("has in it that of \"deep\""));
    }
}
