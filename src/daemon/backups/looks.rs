//! When all packs of a destination were looked at last, and which were missing then. That a pack is
//! missing once is no evidence: a share may be mounted half, and a bucket's list may be behind.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::PathBuf,
    sync::Mutex,
};

use jiff::{SignedDuration, Timestamp};
use rustic_core::Id;
use serde::{Deserialize, Serialize};

use crate::{clock::is_in_future, daemon::repository::Seen, files::write_whole, sync::lock};

/// All packs are looked at once a day, and a pack is gone that was missing so long ago, and is now.
const DAY: SignedDuration = SignedDuration::from_hours(23);
/// Where healing fails, as where index files can't be removed, it is tried again after this.
const REFUSED_FOR: SignedDuration = SignedDuration::from_hours(20);
/// Where more than one of so many packs is missing, they are taken for somewhere else, and not for gone.
const ONE_OF: usize = 10;
/// So few may be gone all the same.
const FEW: usize = 3;

/// What one root has seen at one destination.
pub(super) struct Looks {
    file: PathBuf,
    /// Held while the file is changed.
    changing: Mutex<()>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Content {
    looked: Option<Timestamp>,
    /// By the pack, since when it is missing.
    missing: BTreeMap<String, Timestamp>,
    /// What is lost and was told of.
    told: String,
    /// The folders of backups that were in no index file.
    unindexed: String,
    /// When index files could not be removed.
    refused: Option<Timestamp>,
}

impl Looks {
    /// What is remembered in this file, which need not exist.
    pub(super) fn in_file(file: PathBuf) -> Self {
        Self { file, changing: Mutex::default() }
    }

    /// Whether all packs are to be looked at.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let looked = self.read().looked;
        looked.is_none_or(|looked| is_in_future(looked, now) || now.duration_since(looked) >= DAY)
    }

    /// Remembers what a look found. Returns the packs that are gone.
    pub(super) fn note(&self, seen: &Seen, now: Timestamp) -> HashSet<Id> {
        let mut gone = HashSet::new();
        let may_be_gone = seen.missing.len() <= FEW.max(seen.named / ONE_OF);
        self.change(|content| {
            content.looked = Some(now);
            let before = std::mem::take(&mut content.missing);
            for pack in &seen.missing {
                let name = pack.to_hex().as_str().to_owned();
                let since = before.get(&name).copied().filter(|since| !is_in_future(*since, now));
                let since = since.unwrap_or(now);
                if may_be_gone && now.duration_since(since) >= DAY {
                    gone.insert(*pack);
                }
                content.missing.insert(name, since);
            }
        });
        gone
    }

    /// Whether this loss was not told of yet.
    pub(super) fn is_news(&self, loss: &str) -> bool {
        self.read().told != loss
    }

    /// Remembers that this loss was told of; empty: that nothing is lost.
    pub(super) fn told(&self, loss: &str) {
        self.change(|content| loss.clone_into(&mut content.told));
    }

    /// Whether these folders were not missing in the index before. From now on, they were.
    pub(super) fn lack_anew(&self, unindexed: &str) -> bool {
        let is_new = self.read().unindexed != unindexed;
        if is_new {
            self.change(|content| unindexed.clone_into(&mut content.unindexed));
        }
        is_new
    }

    /// Whether index files can be removed, as far as is known.
    pub(super) fn may_remove(&self, now: Timestamp) -> bool {
        let refused = self.read().refused.filter(|refused| !is_in_future(*refused, now));
        refused.is_none_or(|refused| now.duration_since(refused) >= REFUSED_FOR)
    }

    /// Remembers that index files can't be removed.
    pub(super) fn is_refused(&self, now: Timestamp) {
        self.change(|content| content.refused = Some(now));
    }

    fn read(&self) -> Content {
        let content = fs::read(&self.file).ok();
        content.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    fn change(&self, change: impl FnOnce(&mut Content)) {
        let _changing = lock(&self.changing);
        let mut content = self.read();
        change(&mut content);
        let written = serde_json::to_vec(&content).map_err(std::io::Error::from);
        let written = written.and_then(|content| {
            self.file.parent().map_or(Ok(()), fs::create_dir_all)?;
            write_whole(&self.file, &content)
        });
        if let Err(error) = written {
            log::warn!(
                "what is missing at the destination is not remembered: \"{}\": {error}",
                self.file.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_is_gone_when_it_is_missing_twice_a_day_apart_and_most_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let looks = Looks::in_file(folder.path().join("lost/d"));
        let missing = |count: u8| (0..count).map(|number| Id::new([number; 32])).collect();
        let seen = |count: u8| Seen { named: 100, missing: missing(count), ..Seen::default() };
        let day = |days: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * days);
        assert!(looks.is_due(day(9)));
        assert_eq!(looks.note(&seen(1), day(9)).len(), 0);
        assert!(!looks.is_due(day(9)) && looks.is_due(day(10)) && looks.is_due(day(1)));
        assert_eq!(looks.note(&seen(2), day(10)), missing(1));
        // It came back.
        assert_eq!(looks.note(&seen(0), day(11)).len(), 0);
        assert_eq!(looks.note(&seen(2), day(12)).len(), 0);
        assert_eq!(looks.note(&seen(11), day(13)).len(), 0, "a share that is mounted half");
        assert_eq!(looks.note(&seen(10), day(14)).len(), 10);
        assert!(looks.is_news("a") && looks.is_news("a"));
        looks.told("a");
        assert!(!looks.is_news("a") && looks.is_news("b"));
        assert!(looks.may_remove(day(14)));
        looks.is_refused(day(14));
        assert!(!looks.may_remove(day(14)) && looks.may_remove(day(15)));
    }
}
