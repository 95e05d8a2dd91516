//! The book-keeping: which volumes and snapshots there are, and who may change what at the same
//! time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use super::state::{SnapshotState, StateFolder, VolumeState};
use crate::{
    convoy::refusal::{no_volume, refused, volume_not_found},
    error::Result,
    sync::lock,
};

/// The volumes of a root, as they are on disk.
///
/// A thread that needs several of the locks takes them in the order of the fields: `busy`,
/// `changing`, `known`, `reserved`. The lock of a volume in `busy` may be held for hours; `changing`
/// for as long as one state file takes to be written; the others for moments.
pub(super) struct Volumes {
    state: StateFolder,
    /// A lock for each volume: one call at a time writes or reads its files. The map itself is
    /// locked for a moment only, with no other lock held.
    busy: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// Held while a volume's state changes on disk and then in `known`, so that both change in the
    /// same order.
    changing: Mutex<Deleting>,
    /// The volumes as they are on disk, forgotten ones too. Listings wait for this lock.
    known: Mutex<BTreeMap<String, VolumeState>>,
    /// Names of snapshots that are being taken, and of volumes that are being made. A name is
    /// reserved under the lock of `known`, so that no volume or snapshot can get it in between.
    reserved: Mutex<HashSet<String>>,
}

/// The volumes that are being deleted: their states stay as they are, so they can't be mounted.
type Deleting = HashSet<String>;

/// Keeps a name from others until it is dropped.
pub(super) struct Reservation<'a> {
    volumes: &'a Volumes,
    name: String,
}

/// Keeps a volume's state as it is until it is dropped.
pub(super) struct Deletion<'a> {
    volumes: &'a Volumes,
    name: String,
}

impl Volumes {
    /// The volumes with these states, which are on disk in `state`.
    pub(super) fn new(state: StateFolder, known: BTreeMap<String, VolumeState>) -> Self {
        Self {
            state,
            busy: Mutex::default(),
            changing: Mutex::default(),
            known: Mutex::new(known),
            reserved: Mutex::default(),
        }
    }

    /// The states on disk. What is written there directly is not in any list yet:
    /// [`Volumes::insert`].
    pub(super) fn state(&self) -> &StateFolder {
        &self.state
    }

    /// Holds off every other writing call on a volume.
    pub(super) fn exclusively<T>(
        &self,
        volume: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mutex = lock(&self.busy).entry(volume.to_owned()).or_default().clone();
        let _busy = lock(&mutex);
        act()
    }

    /// Every volume that is not forgotten, by name.
    pub(super) fn listed<T>(&self, show: impl Fn(&VolumeState) -> T) -> BTreeMap<String, T> {
        let known = lock(&self.known);
        let listed = known.iter().filter(|(_, volume)| !volume.forgotten);
        listed.map(|(name, volume)| (name.clone(), show(volume))).collect()
    }

    /// A volume that is not forgotten.
    pub(super) fn find(&self, volume: &str) -> Option<VolumeState> {
        self.find_even_forgotten(volume).filter(|volume| !volume.forgotten)
    }

    pub(super) fn find_even_forgotten(&self, volume: &str) -> Option<VolumeState> {
        lock(&self.known).get(volume).cloned()
    }

    /// A snapshot of a volume that is not forgotten, with the volume.
    pub(super) fn find_snapshot(&self, name: &str) -> Option<(VolumeState, SnapshotState)> {
        let known = lock(&self.known);
        let mut listed = known.values().filter(|volume| !volume.forgotten);
        listed.find_map(|volume| Some((volume.clone(), volume.snapshots.get(name)?.clone())))
    }

    /// Takes over a new state of a volume, on disk first.
    pub(super) fn insert(&self, volume: VolumeState) -> Result<()> {
        self.record(volume, &self.change())
    }

    /// Changes a volume's state, on disk first.
    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut VolumeState)) -> Result<()> {
        let deleting = self.change();
        let state = self.find(name).ok_or_else(|| no_volume(name))?;
        if deleting.contains(name) {
            return Err(refused(format!("volume {name} is being deleted")));
        }
        let mut changed = state.clone();
        change(&mut changed);
        if changed == state { Ok(()) } else { self.record(changed, &deleting) }
    }

    /// Removes a volume's state, on disk first.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let _changing = self.change();
        self.state.remove(name)?;
        lock(&self.known).remove(name);
        Ok(())
    }

    /// Begins to delete a volume: it can't be mounted any more.
    ///
    /// # Errors
    /// Where there is no such volume, or it is mounted.
    pub(super) fn begin_deletion(&self, name: &str) -> Result<(VolumeState, Deletion<'_>)> {
        let mut deleting = self.change();
        let volume = self.find(name).ok_or_else(volume_not_found)?;
        if volume.mounted {
            return Err(refused(format!("Cannot delete volume {name}. It is still mounted")));
        }
        deleting.insert(name.to_owned());
        Ok((volume, Deletion { volumes: self, name: name.to_owned() }))
    }

    /// Keeps a name for what is being made; `None` where it is in use. Volumes and snapshots share
    /// one set of names.
    pub(super) fn reserve(
        &self,
        name: &str,
        in_use: impl Fn(&VolumeState) -> bool,
    ) -> Option<Reservation<'_>> {
        let known = lock(&self.known);
        let is_free = !known.values().any(in_use) && lock(&self.reserved).insert(name.to_owned());
        is_free.then(|| Reservation { volumes: self, name: name.to_owned() })
    }

    /// Nothing changes a state while the guard lives.
    pub(super) fn change(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.changing)
    }

    /// Takes over a new state, on disk first. The guard is not read: that the caller has one proves
    /// that no other thread changes a state at the same time.
    fn record(&self, volume: VolumeState, _changing: &MutexGuard<'_, Deleting>) -> Result<()> {
        self.state.save(&volume)?;
        lock(&self.known).insert(volume.name.clone(), volume);
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        lock(&self.volumes.reserved).remove(&self.name);
    }
}

impl Drop for Deletion<'_> {
    fn drop(&mut self) {
        self.volumes.change().remove(&self.name);
    }
}
