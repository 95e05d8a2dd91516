//! The one destination of all hosts: a folder that can be moved away, with an empty one in its
//! place. For hosts with Convoy it also has what Convoy would keep in its files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use crate::{
    convoy::{Destination, memory::Stored},
    sync::lock,
};

/// What is at the destination's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The share.
    There,
    /// Nothing: the folder was moved away.
    Away,
    /// An empty folder: the share is not mounted.
    Empty,
}

/// How a backup is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    /// An inspection sees it.
    Open,
    /// Only reading all of it back shows it.
    Hidden,
    /// As hidden, and a restore on the volume's host has found it.
    Found,
}

#[derive(Debug)]
pub(super) struct Share {
    folder: PathBuf,
    place: Mutex<Place>,
    on_share: Stored,
    in_the_empty_folder: Stored,
    /// The content of each backup of a Convoy, by its name.
    contents: Mutex<BTreeMap<String, u64>>,
    /// The broken backups of Convoys, by their names.
    damaged: Mutex<BTreeMap<String, Damage>>,
}

impl Share {
    /// An empty share in this folder.
    pub(super) fn new(parent: &Path) -> Self {
        let folder = parent.join("backups");
        fs::create_dir(&folder).unwrap();
        Self {
            folder,
            place: Mutex::new(Place::There),
            on_share: Stored::default(),
            in_the_empty_folder: Stored::default(),
            contents: Mutex::default(),
            damaged: Mutex::default(),
        }
    }

    pub(super) fn destination(&self) -> Destination {
        Destination::parse(&format!("vfs://{}", self.folder.display())).unwrap()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn place(&self) -> Place {
        *lock(&self.place)
    }

    /// Changes what is at the destination's path. What was written into the empty folder is lost.
    pub(super) fn put(&self, place: Place) {
        let aside = self.folder.with_extension("aside");
        let before = std::mem::replace(&mut *lock(&self.place), place);
        if before == place {
            return;
        }
        match before {
            Place::There => fs::rename(&self.folder, &aside).unwrap(),
            Place::Empty => {
                fs::remove_dir_all(&self.folder).unwrap();
                lock(&self.in_the_empty_folder).clear();
            }
            Place::Away => {}
        }
        match place {
            Place::There => fs::rename(&aside, &self.folder).unwrap(),
            Place::Empty => fs::create_dir(&self.folder).unwrap(),
            Place::Away => {}
        }
    }

    /// What a Convoy finds; `None` if the folder is not there.
    pub(super) fn stored(&self) -> Option<&Stored> {
        match self.place() {
            Place::There => Some(&self.on_share),
            Place::Empty => Some(&self.in_the_empty_folder),
            Place::Away => None,
        }
    }

    /// A Convoy has written a backup with this content.
    pub(super) fn keep(&self, backup: &str, content: u64) {
        fs::create_dir_all(self.folder.join("convoy-objectstore")).unwrap();
        lock(&self.contents).insert(backup.to_owned(), content);
    }

    pub(super) fn content(&self, backup: &str) -> u64 {
        lock(&self.contents).get(backup).copied().unwrap_or_default()
    }

    pub(super) fn break_backup(&self, backup: &str, damage: Damage) {
        lock(&self.damaged).insert(backup.to_owned(), damage);
    }

    pub(super) fn damage(&self, backup: &str) -> Option<Damage> {
        lock(&self.damaged).get(backup).copied()
    }
}
