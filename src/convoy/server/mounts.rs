//! Which containers use a volume, by the id that Docker gives with each mount. A volume is
//! unmounted when its last container has gone.
//!
//! The record is kept in a file, because containers outlive a restart of the daemon. Without it,
//! the first container that ends would unmount a volume that others still use. It would also allow
//! that volume to be deleted, because only a mounted volume is protected. A file from an earlier
//! boot of the machine is ignored.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::{
    sync::lock,
    {convoy::Name, files::write_whole},
};

/// The file's name in the daemon's root.
const FILE: &str = "docker-mounts.json";

/// Which containers use which volume.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    file: Option<PathBuf>,
    users: Mutex<Users>,
    /// One lock per volume, held during a call. A mount can't happen between the check for the last
    /// user and the unmount. Calls on other volumes do not wait.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// The ids of the containers that use a volume, by the volume's name.
type Users = BTreeMap<String, BTreeSet<String>>;

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Linux's id of the boot during which the file was written.
    boot: String,
    users: Users,
}

impl Mounts {
    /// The record that was last kept in this root. Changes are written there.
    pub(crate) fn kept_in(root: &Path) -> Self {
        let file = root.join(FILE);
        let users = read(&file, &boot()).unwrap_or_else(|error| {
            log::warn!(
                "which containers use which volumes is not known: cannot read \"{}\": {error}",
                file.display()
            );
            Users::new()
        });
        Self { file: Some(file), users: Mutex::new(users), turns: Mutex::default() }
    }

    /// Waits until no other call works on this volume.
    pub(super) async fn turn(&self, volume: &Name) -> OwnedMutexGuard<()> {
        let turn = lock(&self.turns).entry(volume.to_string()).or_default().clone();
        turn.lock_owned().await
    }

    /// The ids of the containers that use a volume.
    pub(super) fn users(&self, volume: &Name) -> BTreeSet<String> {
        lock(&self.users).get(volume.as_str()).cloned().unwrap_or_default()
    }

    /// Sets the containers that use a volume.
    pub(super) fn set(&self, volume: &Name, containers: BTreeSet<String>) {
        let mut users = lock(&self.users);
        let before = users.clone();
        if containers.is_empty() {
            users.remove(volume.as_str());
        } else {
            users.insert(volume.to_string(), containers);
        }
        if *users != before
            && let Some(file) = &self.file
            && let Err(error) = write(file, &users)
        {
            log::warn!(
                "the daemon will not know who uses volume {volume} once it is started again: cannot write \"{}\": {error}",
                file.display()
            );
        }
    }
}

fn write(file: &Path, users: &Users) -> io::Result<()> {
    write_whole(file, &serde_json::to_vec(&Kept { boot: boot(), users: users.clone() })?)
}

/// The users in the file. Without a file, or with one from before the machine's last boot, there
/// are no users: no container survives a boot.
fn read(file: &Path, boot: &str) -> io::Result<Users> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Users::new()),
        read => {
            let kept: Kept = serde_json::from_slice(&read?)?;
            Ok(if kept.boot == boot { kept.users } else { Users::new() })
        }
    }
}

/// The id of this boot of the machine; empty if the system does not tell it.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn users_are_known_to_the_next_daemon_of_the_same_boot() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Name::volume("vol1").unwrap();
        Mounts::kept_in(folder.path()).set(&volume, ids(&["c1", "c2"]));
        let next = Mounts::kept_in(folder.path());
        assert_eq!(next.users(&volume), ids(&["c1", "c2"]));
        assert!(read(&folder.path().join(FILE), "another boot").unwrap().is_empty());
        next.set(&volume, ids(&[]));
        assert!(Mounts::kept_in(folder.path()).users(&volume).is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_read_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let volume = Name::volume("vol1").unwrap();
        let mounts = Mounts::kept_in(folder.path());
        mounts.set(&volume, ids(&["c1"]));
        assert_eq!(Mounts::kept_in(folder.path()).users(&volume), ids(&["c1"]));
    }
}
