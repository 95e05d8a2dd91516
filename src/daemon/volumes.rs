//! The volumes and snapshots in memory, and the locks that decide who may change what.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, TryLockError},
    thread,
    time::{Duration, Instant},
};

use super::state::{SnapshotState, StateFolder, VolumeState};
use crate::{
    convoy::refusal::{no_volume, refused, still_mounted, volume_not_found},
    error::Result,
    scope,
    sync::lock,
    waiting,
};

/// How often is looked whether the files of a volume are free.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The volumes of a root, as they are on disk.
///
/// A thread that needs several of the locks takes them in the order of the fields: `busy`,
/// `changing`, `known`, `unwritten`, `reserved`. A volume's lock in `busy` may be held for hours, `changing`
/// while one state file is written, the others for moments.
pub(super) struct Volumes {
    state: StateFolder,
    /// How long another call's work on a volume is waited for, unless the run says otherwise.
    lock_wait: Duration,
    /// A lock for each volume. Only one call at a time writes or reads the volume's files. The map
    /// itself is locked only for a moment, with no other lock held.
    busy: Mutex<HashMap<String, Arc<Mutex<()>>>>,
    /// Held while a state changes, first on disk and then in `known`, so that both see changes in
    /// the same order.
    changing: Mutex<Deleting>,
    /// The volumes as they are on disk, including forgotten ones. Listings wait for this lock, so
    /// no file is looked at while it is held.
    known: Mutex<BTreeMap<String, VolumeState>>,
    /// The volumes whose states are not on disk, because they could not be written.
    unwritten: Mutex<HashSet<String>>,
    /// The names of snapshots and volumes that are being made. A name is reserved under the lock of
    /// `known`, so that no other volume or snapshot can take it.
    reserved: Mutex<HashSet<String>>,
}

/// The names of volumes that are being deleted. Their states can't change, so they can't be
/// mounted.
type Deleting = HashSet<String>;

/// Reserves a name until it is dropped.
pub(super) struct Reservation<'a> {
    volumes: &'a Volumes,
    name: String,
}

/// Keeps a volume's state unchanged until it is dropped.
pub(super) struct Deletion<'a> {
    volumes: &'a Volumes,
    name: String,
}

impl Volumes {
    /// The volumes with the states `known`, which are on disk in `state`.
    pub(super) fn new(
        state: StateFolder,
        known: BTreeMap<String, VolumeState>,
        lock_wait: Duration,
    ) -> Self {
        Self {
            state,
            lock_wait,
            busy: Mutex::default(),
            changing: Mutex::default(),
            known: Mutex::new(known),
            unwritten: Mutex::default(),
            reserved: Mutex::default(),
        }
    }

    /// The state files. A state that is written there directly is not listed until
    /// [`Volumes::insert`].
    pub(super) fn state(&self) -> &StateFolder {
        &self.state
    }

    /// Does work while no other call reads or writes the volume's files.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Busy`] if another call does for too long; if the run is to end; and
    /// those of the work.
    pub(super) fn exclusively<T>(
        &self,
        volume: &str,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.all_exclusively(&[volume], act)
    }

    /// As [`Volumes::exclusively`], of several volumes.
    pub(super) fn all_exclusively<T>(
        &self,
        volumes: &[&str],
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mut names = volumes.to_vec();
        // In one order, so that two calls do not wait for each other.
        names.sort_unstable();
        names.dedup();
        let mutexes: Vec<_> = {
            let mut busy = lock(&self.busy);
            names.iter().map(|name| busy.entry((*name).to_owned()).or_default().clone()).collect()
        };
        let wait = scope::lock_wait().unwrap_or(self.lock_wait);
        let mut busy = Vec::new();
        for (name, mutex) in names.iter().zip(&mutexes) {
            busy.push(waiting::lock(mutex, &format!("volume \"{name}\""), wait)?);
        }
        act()
    }

    /// As [`Volumes::exclusively`]; `None` if another call works on the files for longer than `within`.
    pub(super) fn exclusively_within<T>(
        &self,
        volume: &str,
        within: Duration,
        act: impl FnOnce() -> Result<T>,
    ) -> Option<Result<T>> {
        let mutex = lock(&self.busy).entry(volume.to_owned()).or_default().clone();
        let until = Instant::now() + within;
        loop {
            match mutex.try_lock() {
                Ok(_busy) => return Some(act()),
                Err(TryLockError::Poisoned(poisoned)) => {
                    let _busy = poisoned.into_inner();
                    return Some(act());
                }
                Err(TryLockError::WouldBlock) if Instant::now() >= until => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(LOOK_AGAIN),
            }
        }
    }

    /// All volumes in the order of their names, without the forgotten ones. What is done with them
    /// is done without a lock.
    pub(super) fn listed(&self) -> Vec<VolumeState> {
        let known = lock(&self.known);
        known.values().filter(|volume| volume.is_listed()).cloned().collect()
    }

    /// All volumes, including forgotten ones.
    pub(super) fn all(&self) -> Vec<VolumeState> {
        lock(&self.known).values().cloned().collect()
    }

    /// Makes the states fit what was found: `changes` tells which change, and has a result of its own.
    /// One that can't be written holds up no backup: it is known here, and written by a later call.
    pub(super) fn take_up<T>(
        &self,
        changes: impl FnOnce(&BTreeMap<String, VolumeState>) -> (Vec<VolumeState>, T),
    ) -> T {
        let changing = self.change();
        let known = lock(&self.known).clone();
        let (changed, told) = changes(&known);
        let again = std::mem::take(&mut *lock(&self.unwritten));
        let is_changed = |name: &String| changed.iter().any(|volume| volume.name == *name);
        let again: Vec<_> = again.into_iter().filter(|name| !is_changed(name)).collect();
        let again = again.iter().filter_map(|name| known.get(name).cloned());
        for volume in changed.iter().cloned().chain(again) {
            if let Err(error) = self.record(volume.clone(), &changing) {
                log::warn!("the state of volume \"{}\" is not kept: {error}", volume.name);
                lock(&self.unwritten).insert(volume.name.clone());
                lock(&self.known).insert(volume.name.clone(), volume);
            }
        }
        told
    }

    /// The forgotten volumes of the daemon's own.
    pub(super) fn forgotten(&self) -> Vec<VolumeState> {
        let known = lock(&self.known);
        known.values().filter(|volume| volume.is_forgotten_here()).cloned().collect()
    }

    /// A volume that can be removed: one that is listed, or a forgotten one.
    pub(super) fn find_removable(&self, volume: &str) -> Option<VolumeState> {
        let removable = |volume: &VolumeState| volume.is_listed() || volume.is_forgotten_here();
        self.find_even_forgotten(volume).filter(removable)
    }

    /// A volume, unless it is forgotten.
    pub(super) fn find(&self, volume: &str) -> Option<VolumeState> {
        self.find_even_forgotten(volume).filter(VolumeState::is_listed)
    }

    pub(super) fn find_even_forgotten(&self, volume: &str) -> Option<VolumeState> {
        lock(&self.known).get(volume).cloned()
    }

    /// A snapshot and its volume, unless the volume is forgotten. One of Docker's may be gone for good,
    /// and its snapshots must not stay for ever.
    pub(super) fn find_snapshot(&self, name: &str) -> Option<(VolumeState, SnapshotState)> {
        let known = lock(&self.known);
        let mut shown = known.values().filter(|volume| volume.is_listed() || volume.may_be_gone());
        shown.find_map(|volume| Some((volume.clone(), volume.snapshots.get(name)?.clone())))
    }

    /// Sets a volume's state, on disk first.
    pub(super) fn insert(&self, volume: VolumeState) -> Result<()> {
        self.record(volume, &self.change())
    }

    /// Changes a volume's state, on disk first.
    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut VolumeState)) -> Result<()> {
        let deleting = self.change();
        let state = self.find_even_forgotten(name);
        let state = state.filter(|volume| volume.is_listed() || volume.may_be_gone());
        let state = state.ok_or_else(|| no_volume(name))?;
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

    /// Begins to delete a volume, or to forget one. From then on it can't be mounted.
    ///
    /// # Errors
    /// If there is no such volume, or it is mounted.
    pub(super) fn begin_deletion(
        &self,
        name: &str,
        only_forget: bool,
    ) -> Result<(VolumeState, Deletion<'_>)> {
        let mut deleting = self.change();
        let volume = if only_forget { self.find(name) } else { self.find_removable(name) };
        let volume = volume.ok_or_else(volume_not_found)?;
        if volume.mounted.is_mounted() {
            return Err(still_mounted(name));
        }
        deleting.insert(name.to_owned());
        Ok((volume, Deletion { volumes: self, name: name.to_owned() }))
    }

    /// Reserves a name for a new volume or snapshot; `None` if the name is in use. Volumes and
    /// snapshots share one set of names.
    pub(super) fn reserve(
        &self,
        name: &str,
        in_use: impl Fn(&VolumeState) -> bool,
    ) -> Option<Reservation<'_>> {
        let known = lock(&self.known);
        let is_free = !known.values().any(in_use) && lock(&self.reserved).insert(name.to_owned());
        is_free.then(|| Reservation { volumes: self, name: name.to_owned() })
    }

    /// No state changes while the guard lives.
    pub(super) fn change(&self) -> MutexGuard<'_, HashSet<String>> {
        lock(&self.changing)
    }

    /// Sets a volume's state, on disk first. The guard is not read. It proves that no other thread
    /// changes a state at the same time.
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
