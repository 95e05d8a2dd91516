//! The newest backups that this daemon wrote at a destination. Every member of a repository can
//! write backups that look like this daemon's; files are told as unchanged only by those that are
//! remembered here. Nothing known means that everything is read.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Mutex};

use jiff::{SignedDuration, Timestamp};
use rustic_core::TreeId;
use serde::{Deserialize, Serialize};

use crate::{files::write_whole, sync::lock};

/// How many of a volume are remembered. A newer one may have been deleted.
const MOST: usize = 4;
/// A volume that was not backed up for so long is forgotten: most are gone, and another is read whole.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24 * 365);

/// The newest backups that this daemon wrote at one destination.
pub(super) struct WrittenHere {
    file: PathBuf,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

/// By the volume's id, the newest last.
type Content = BTreeMap<String, Vec<OneWritten>>;

/// A backup, by what is in it: the id of a tree is the hash of all that is below it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OneWritten {
    tree: TreeId,
    /// When the volume was begun to be read.
    begun: Timestamp,
}

impl WrittenHere {
    /// What is remembered in this file, which need not exist.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self { file, changing: Mutex::default() }
    }

    /// The backups of this volume that this daemon wrote: by their trees, when each was begun.
    pub(super) fn of(&self, volume_id: &str) -> BTreeMap<TreeId, Timestamp> {
        let known = self.read().remove(volume_id).unwrap_or_default();
        known.into_iter().map(|one| (one.tree, one.begun)).collect()
    }

    /// Remembers a backup.
    pub(super) fn add(&self, volume_id: &str, tree: TreeId, begun: Timestamp) {
        let _changing = lock(&self.changing);
        let mut all = self.read();
        let known = all.entry(volume_id.to_owned()).or_default();
        known.retain(|one| one.tree != tree);
        known.push(OneWritten { tree, begun });
        let surplus = known.len().saturating_sub(MOST);
        known.drain(..surplus);
        let is_known = |one: &OneWritten| begun.duration_since(one.begun) < FORGOTTEN_AFTER;
        all.retain(|_, known| known.iter().any(is_known));
        let written = serde_json::to_vec(&all).map_err(std::io::Error::from).and_then(|content| {
            self.file.parent().map_or(Ok(()), fs::create_dir_all)?;
            write_whole(&self.file, &content)
        });
        if let Err(error) = written {
            log::warn!(
                "which backup was made is not remembered, so the next one reads everything: \"{}\": {error}",
                self.file.display()
            );
        }
    }

    fn read(&self) -> Content {
        let Ok(content) = fs::read(&self.file) else { return Content::default() };
        serde_json::from_slice(&content).unwrap_or_else(|error| {
            log::warn!(
                "\"{}\" makes no sense, so everything is read: {error}",
                self.file.display()
            );
            Content::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use rustic_core::Id;

    use super::*;

    #[test]
    fn the_newest_backups_of_each_volume_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let written = WrittenHere::in_file(folder.path().join("written/d"));
        let tree = |number: u8| TreeId::from(Id::new([number; 32]));
        for number in 0..9 {
            written.add("vol1", tree(number), Timestamp::UNIX_EPOCH);
        }
        written.add("vol2", tree(1), Timestamp::UNIX_EPOCH);
        let trees = |volume| written.of(volume).into_keys().collect::<Vec<_>>();
        assert_eq!(trees("vol1"), (5..9).map(tree).collect::<Vec<_>>());
        assert_eq!((trees("vol2"), trees("vol3")), (vec![tree(1)], Vec::new()));
        written.add("vol3", tree(1), Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 366));
        assert_eq!((trees("vol1"), trees("vol3")), (Vec::new(), vec![tree(1)]));
        fs::write(folder.path().join("written/d"), "{").unwrap();
        assert!(trees("vol1").is_empty());
    }
}
