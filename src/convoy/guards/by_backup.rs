//! A map by backup, in which all spellings of a backup's destination find the same entry.

use std::collections::BTreeMap;

use crate::convoy::BackupUrl;

/// By the names of backup and volume, which is what [`BackupUrl::same_backup`] compares.
#[derive(Debug, Clone)]
pub(super) struct ByBackup<T>(BTreeMap<String, Vec<(BackupUrl, T)>>);

impl<T> Default for ByBackup<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ByBackup<T> {
    pub(super) fn get(&self, url: &BackupUrl) -> Option<&T> {
        let there = self.0.get(url.backup())?;
        there.iter().find(|(it, _)| it.same_backup(url)).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, url: &BackupUrl) -> bool {
        self.get(url).is_some()
    }

    /// Adds an entry, or merges it into the one that the backup has.
    pub(super) fn add(&mut self, url: BackupUrl, value: T, merge: impl FnOnce(&mut T, T)) {
        let there = self.0.entry(url.backup().to_owned()).or_default();
        match there.iter_mut().find(|(it, _)| it.same_backup(&url)) {
            Some((_, known)) => merge(known, value),
            None => there.push((url, value)),
        }
    }

    /// Adds an entry, unless the backup has one.
    pub(super) fn add_if_new(&mut self, url: BackupUrl, value: T) {
        self.add(url, value, |_, _| ());
    }

    pub(super) fn remove(&mut self, url: &BackupUrl) {
        if let Some(there) = self.0.get_mut(url.backup()) {
            there.retain(|(it, _)| !it.same_backup(url));
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values().flatten().map(|(_, value)| value)
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_values().flatten().map(|(_, value)| value)
    }
}
