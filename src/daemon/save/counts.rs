//! How much was saved.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    convoy::MomentRecord,
    daemon::tree::read::{Lacking, MetadataNotes, cut},
    sync::lock,
};

/// So many paths are kept of files that changed while they were read.
const NAMED: usize = 10;
/// So many are known, so that none of them is counted twice.
const REMEMBERED: usize = 10_000;

/// A number that several workers count up.
#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// New, changed and unchanged files, or folders.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) new: Counter,
    pub(super) changed: Counter,
    pub(super) unchanged: Counter,
}

impl Compared {
    pub(super) fn all(&self) -> u64 {
        self.new.get() + self.changed.get() + self.unchanged.get()
    }
}

/// What one run has saved.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) files: Compared,
    pub(super) folders: Compared,
    /// In files.
    pub(super) bytes: Counter,
    /// Of these, what was read.
    pub(super) bytes_read: Counter,
    /// In the text of folders.
    pub(super) bytes_of_folders: Counter,
    /// Files and folders with a time that can't be kept.
    pub(super) capped: Counter,
    /// Files and folders with an extended attribute that can't be kept.
    pub(super) stripped: Counter,
    /// Files and folders that are left out as configured. What is in such a folder is not counted.
    pub(super) excluded: Counter,
    changed: Mutex<Told>,
}

/// Files that changed, each once.
#[derive(Default)]
struct Told {
    changed: Changed,
    paths: HashSet<PathBuf>,
}

impl Counts {
    /// Counts a file or a folder whose metadata can't be kept as it is.
    pub(super) fn note(&self, notes: MetadataNotes) {
        self.capped.add(notes.is_capped.into());
        self.stripped.add(notes.is_stripped.into());
    }

    /// A file or a folder that changed or went missing while it was read, or is of another moment than
    /// others.
    pub(super) fn changed(&self, path: PathBuf) {
        let Told { changed, paths } = &mut *lock(&self.changed);
        if paths.contains(&path) {
            return;
        }
        changed.count += 1;
        if changed.paths.len() < NAMED {
            changed.paths.push(cut(&path).to_owned());
        }
        if paths.len() < REMEMBERED {
            paths.insert(path);
        }
    }

    pub(super) fn take_changed(&self) -> Changed {
        let mut changed = std::mem::take(&mut *lock(&self.changed)).changed;
        changed.paths.sort();
        changed
    }
}

/// The files that changed or went missing while they were read, also the last time that this was tried:
/// what was kept of them may be no state that they ever had, or nothing. Those that can't be read. And how
/// many were left out as configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::daemon) struct Changed {
    pub(in crate::daemon) count: u64,
    /// The paths of some of them in the volume, at most ten.
    pub(in crate::daemon) paths: Vec<PathBuf>,
    pub(in crate::daemon) lacking: Lacking,
    pub(in crate::daemon) excluded: u64,
}

impl Changed {
    /// The same for the API, of files that were held by a moment of this kind.
    pub(in crate::daemon) fn moment(&self, kind: &str) -> MomentRecord {
        MomentRecord {
            kind: Some(kind.to_owned()),
            changed_files: self.count,
            changed_paths: self.paths.iter().map(|path| path.display().to_string()).collect(),
            lacking_files: self.lacking.count,
            lacking: self.lacking.first.clone(),
            excluded_files: self.excluded,
            stood: None,
            containers: BTreeMap::new(),
            dumps: Vec::new(),
        }
    }
}
