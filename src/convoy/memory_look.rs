//! A look at the data of backups that finds what a test says.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;

use super::{
    BackupUrl,
    guards::{DataLook, Depth, Seen},
};

/// A look that finds what a test says; without a word, data is whole.
#[derive(Debug, Default)]
pub(crate) struct MemoryLook {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the name of the backup.
    found: HashMap<String, Seen>,
    /// What is found of every other backup.
    others: Option<Seen>,
    looks: Vec<(String, Depth)>,
}

impl MemoryLook {
    /// A look that sees nothing.
    pub(crate) fn without_sight() -> Self {
        let look = Self::default();
        look.lock().others = Some(Seen::Hidden("access denied".into()));
        look
    }

    /// From now on, this is found of this backup.
    pub(crate) fn finds(&self, url: &BackupUrl, seen: Seen) {
        self.lock().found.insert(url.backup().to_owned(), seen);
    }

    /// The looks so far: the names of the backups, and how closely they were looked at.
    pub(crate) fn looks(&self) -> Vec<(String, Depth)> {
        self.lock().looks.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

#[async_trait]
impl DataLook for MemoryLook {
    async fn look(&self, url: &BackupUrl, depth: Depth) -> Seen {
        let mut state = self.lock();
        state.looks.push((url.backup().to_owned(), depth));
        let found = state.found.get(url.backup()).or(state.others.as_ref());
        found.cloned().unwrap_or(Seen::Whole { bytes: None })
    }
}
