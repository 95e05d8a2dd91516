//! Holds for a client ([`super::quiet`]), which readings inside of them use: they would wait for each
//! other else. What is inside of one says so ([`scope::hold`]): another run that reads the same volume
//! waits for a hold of its own.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use super::place::Place;
use crate::{scope, sync::lock};

/// The holds for clients.
#[derive(Debug, Default)]
pub(super) struct Lent {
    holds: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    id: Arc<str>,
    volumes: Vec<String>,
    held: Option<AnyHeld>,
}

/// What is held ([`super::hold`] knows what that is); `None` where nothing had to be.
pub(super) type AnyHeld = Arc<dyn Any + Send + Sync>;

/// Lends a hold until it is dropped.
pub(super) struct Lending<'a> {
    lent: &'a Lent,
    id: Arc<str>,
}

impl Lent {
    /// Lends a hold of these places, or that nothing of them had to be held, to what has its id.
    pub(super) fn lend(
        &self,
        id: &Arc<str>,
        places: &[&Place],
        held: Option<AnyHeld>,
    ) -> Lending<'_> {
        let id = Arc::clone(id);
        let volumes = places.iter().map(|place| place.volume.clone()).collect();
        lock(&self.holds).push(Entry { id: Arc::clone(&id), volumes, held });
        Lending { lent: self, id }
    }

    /// What the hold inside of which this thread works has to give a reading of these places; `None` if it
    /// is not of all of them.
    pub(super) fn to(&self, places: &[&Place]) -> Option<Option<AnyHeld>> {
        let id = scope::hold()?;
        let holds = lock(&self.holds);
        let has = |entry: &&Entry| {
            entry.id == id && places.iter().all(|place| entry.volumes.contains(&place.volume))
        };
        let entry = holds.iter().find(has).filter(|_| !places.is_empty())?;
        Some(entry.held.clone())
    }

    /// The volumes of the hold inside of which this thread works, for as long as that lasts.
    pub(super) fn around(&self) -> Option<Vec<String>> {
        let id = scope::hold()?;
        let holds = lock(&self.holds);
        holds.iter().find(|entry| entry.id == id).map(|entry| entry.volumes.clone())
    }
}

impl Drop for Lending<'_> {
    fn drop(&mut self) {
        lock(&self.lent.holds).retain(|entry| entry.id != self.id);
    }
}
