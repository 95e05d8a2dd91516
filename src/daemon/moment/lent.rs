//! Holds for a client ([`super::quiet`]), which readings inside of them use: they would wait for each
//! other else.

use std::{
    any::Any,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use super::place::Place;
use crate::sync::lock;

/// The holds for clients.
#[derive(Debug, Default)]
pub(super) struct Lent {
    holds: Mutex<Vec<Entry>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    volumes: Vec<String>,
    held: Option<AnyHeld>,
}

/// What is held ([`super::hold`] knows what that is); `None` where nothing had to be.
pub(super) type AnyHeld = Arc<dyn Any + Send + Sync>;

/// Lends a hold until it is dropped.
pub(super) struct Lending<'a> {
    lent: &'a Lent,
    number: u64,
}

impl Lent {
    /// Lends a hold of these places, or that nothing of them had to be held.
    pub(super) fn lend(&self, places: &[&Place], held: Option<AnyHeld>) -> Lending<'_> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let volumes = places.iter().map(|place| place.volume.clone()).collect();
        lock(&self.holds).push(Entry { number, volumes, held });
        Lending { lent: self, number }
    }

    /// What a hold that lasts has to give a reading of these places; `None` if none is of all of them.
    pub(super) fn to(&self, places: &[&Place]) -> Option<Option<AnyHeld>> {
        let holds = lock(&self.holds);
        let has = |entry: &&Entry| places.iter().all(|place| entry.volumes.contains(&place.volume));
        let entry = holds.iter().find(has).filter(|_| !places.is_empty())?;
        Some(entry.held.clone())
    }
}

impl Drop for Lending<'_> {
    fn drop(&mut self) {
        lock(&self.lent.holds).retain(|entry| entry.number != self.number);
    }
}
