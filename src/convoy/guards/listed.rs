//! A list of backups by which some of them are deleted: each deletion is noted in it.

use std::time::{Duration, Instant};

use super::{
    by_backup::ByBackup,
    group::{Group, Protected, Whose},
};
use crate::convoy::{Backup, BackupUrl};

/// The destination's key and the volume; no volume for EBS, whose URLs do not name it.
pub(super) type ListOf = (String, Option<String>);

/// A list of backups, in which each deletion is noted.
#[derive(Debug)]
pub(super) struct Listed {
    of: ListOf,
    /// Those that belong to none of `volumes` yet, newest first.
    backups: Vec<Backup>,
    volumes: Vec<OfVolume>,
    /// When it was read, and how long it serves from then on.
    read: Instant,
    serves: Duration,
    /// The number of writes of the run before it was read.
    writes: u64,
    pub(super) is_older: bool,
}

/// The backups under the name of one volume.
#[derive(Debug)]
pub(super) struct OfVolume {
    groups: Vec<Siblings>,
}

/// A backup that is to be deleted, and those beside it.
pub(super) struct Found<'a> {
    pub(super) this: Backup,
    pub(super) siblings: &'a mut Siblings,
}

/// The backups of one volume.
#[derive(Debug)]
pub(super) struct Siblings {
    pub(super) whose: Whose,
    backups: ByBackup<Backup>,
    /// In the order of the list, with those that were deleted, until `orders` is made of them.
    newest_first: Vec<Backup>,
    orders: Option<Vec<Order>>,
}

/// The backups of one volume in one order, and which of them stay.
#[derive(Debug)]
pub(super) struct Order {
    /// 0 is the newest.
    places: ByBackup<usize>,
    pub(super) protected: Vec<Protected>,
    /// Of this host's backups, the protected ones among those that it made or restored.
    pub(super) trusted: Option<Trusted>,
}

/// What is protected among the backups that a run of this host made or restored.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) is_empty: bool,
    pub(super) protected: Vec<Protected>,
}

impl Listed {
    /// A list that was read just now. `writes`: the number of writes of the run before it.
    pub(super) fn new(of: ListOf, backups: Vec<Backup>, serves: Duration, writes: u64) -> Self {
        let (read, volumes) = (Instant::now(), Vec::new());
        Self { of, backups, volumes, read, serves, writes, is_older: false }
    }

    pub(super) fn of(&self) -> ListOf {
        self.of.clone()
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn serves_still(&self) -> bool {
        self.read.elapsed() < self.serves
    }

    /// Whether it is known which backups are of the same volume as this one.
    pub(super) fn is_grouped(&self, url: &BackupUrl) -> bool {
        self.volumes.iter().any(|volume| volume.has(url))
    }

    pub(super) fn add(&mut self, volume: OfVolume) {
        self.volumes.push(volume);
    }

    /// A backup that is grouped, with those beside it.
    pub(super) fn find(&mut self, url: &BackupUrl) -> Option<Found<'_>> {
        self.volumes.iter_mut().find_map(|volume| volume.find(url))
    }

    /// The other backups under the name of this one's volume.
    pub(super) fn others_of_the_name(&self, url: &BackupUrl) -> Vec<BackupUrl> {
        let volume = self.volumes.iter().find(|volume| volume.has(url));
        volume.map(|volume| volume.others(url)).unwrap_or_default()
    }

    /// Takes out a backup that was deleted, and says whether the list is of use any longer: once
    /// one is gone that stayed until then, others stay.
    pub(super) fn without(mut self, url: &BackupUrl) -> Option<Self> {
        for volume in &mut self.volumes {
            for siblings in volume.groups.iter_mut().filter(|siblings| siblings.has(url)) {
                if siblings.staying().iter().any(|stays| stays.same_backup(url)) {
                    return None;
                }
                siblings.backups.remove(url);
            }
        }
        Some(self)
    }

    /// Takes out all ungrouped backups under the name of this one's volume, if it is in the list.
    /// Without a name, those of the same volume.
    pub(super) fn take_volume_of(&mut self, url: &BackupUrl) -> Vec<Backup> {
        let is_it = |backup: &&Backup| backup.url().is_ok_and(|there| there.same_backup(url));
        let Some(this) = self.backups.iter().find(is_it).cloned() else { return Vec::new() };
        let is_of_it = |backup: &Backup| {
            backup.volume() == this.volume()
                && (!this.volume().is_empty() || backup.volume_key() == this.volume_key())
        };
        let (taken, others) = std::mem::take(&mut self.backups).into_iter().partition(is_of_it);
        self.backups = others;
        taken
    }
}

impl OfVolume {
    pub(super) fn new(groups: Vec<Group>) -> Self {
        Self { groups: groups.into_iter().map(Siblings::new).collect() }
    }

    fn has(&self, url: &BackupUrl) -> bool {
        self.groups.iter().any(|siblings| siblings.has(url))
    }

    fn find(&mut self, url: &BackupUrl) -> Option<Found<'_>> {
        let siblings = self.groups.iter_mut().find(|siblings| siblings.has(url))?;
        let this = siblings.backups.get(url)?.clone();
        Some(Found { this, siblings })
    }

    fn others(&self, url: &BackupUrl) -> Vec<BackupUrl> {
        let backups = self.groups.iter().flat_map(|siblings| siblings.backups.values());
        let urls = backups.filter_map(|backup| backup.url().ok());
        urls.filter(|other| !other.same_backup(url)).collect()
    }
}

impl Siblings {
    fn new(group: Group) -> Self {
        let mut backups = ByBackup::default();
        for backup in &group.backups {
            if let Ok(url) = backup.url() {
                backups.add_if_new(url, backup.clone());
            }
        }
        Self { whose: group.whose, backups, newest_first: group.backups, orders: None }
    }

    fn has(&self, url: &BackupUrl) -> bool {
        self.backups.contains(url)
    }

    /// All of them, as they were listed.
    pub(super) fn newest_first(&self) -> Vec<Backup> {
        let mut there = self.newest_first.clone();
        there.retain(|backup| backup.url().is_ok_and(|url| self.has(&url)));
        there
    }

    pub(super) fn are_ordered(&self) -> bool {
        self.orders.is_some()
    }

    pub(super) fn orders(&self) -> &[Order] {
        self.orders.as_deref().unwrap_or_default()
    }

    pub(super) fn set_orders(&mut self, orders: Vec<Order>) {
        self.orders = Some(orders);
        self.newest_first = Vec::new();
    }

    /// The backups that stay, as far as deletions asked for that.
    pub(super) fn staying(&self) -> Vec<BackupUrl> {
        let mut staying: Vec<BackupUrl> = Vec::new();
        for order in self.orders() {
            let trusted = order.trusted.iter().flat_map(|trusted| &trusted.protected);
            for stays in order.protected.iter().chain(trusted) {
                if !staying.iter().any(|there| there.same_backup(&stays.url)) {
                    staying.push(stays.url.clone());
                }
            }
        }
        staying
    }
}

impl Order {
    pub(super) fn new(
        newest_first: &[Backup],
        protected: Vec<Protected>,
        trusted: Option<Trusted>,
    ) -> Self {
        let mut places = ByBackup::default();
        for (place, backup) in newest_first.iter().enumerate() {
            if let Ok(url) = backup.url() {
                places.add_if_new(url, place);
            }
        }
        Self { places, protected, trusted }
    }

    /// Whether the backup `url` comes after `than`, and so is older.
    pub(super) fn is_older(&self, url: &BackupUrl, than: &BackupUrl) -> bool {
        self.places.get(url) > self.places.get(than)
    }
}
