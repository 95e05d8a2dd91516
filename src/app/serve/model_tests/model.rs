//! What the model knows: what was in each volume at each snapshot, and so which backup is good.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::share::Damage;

/// A moment, by the true time and by the clock of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) truly: Timestamp,
    pub(super) shown: Timestamp,
}

/// What a snapshot, and each backup of it, holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saved {
    /// The number that stands for the volume's files; 0 is no files.
    pub(super) content: u64,
    /// Whether the volume's files were there, as far as that can be known.
    pub(super) is_sound: bool,
    pub(super) taken: Moment,
}

/// A volume of a host. A later volume of the same name is another one.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) host: usize,
    pub(super) name: String,
    pub(super) made: Moment,
    pub(super) content: u64,
    /// Whether its files are there.
    pub(super) has_files: bool,
    /// Whether nobody has removed it.
    pub(super) is_there: bool,
    /// Whether it was lost, and nobody has said that it was meant, or made another one of its name.
    pub(super) is_missed: bool,
    pub(super) snapshots: BTreeMap<String, Saved>,
}

impl Volume {
    /// What a snapshot taken now holds. Files that were never in a copy can't be missed in one.
    pub(super) fn saved(&self, now: Moment) -> Saved {
        let sound = self.snapshots.values().filter(|saved| saved.is_sound);
        let last = sound.max_by_key(|saved| saved.taken.truly);
        let are_missed = !self.has_files && last.is_some_and(|saved| saved.content != 0);
        let content = if self.has_files { self.content } else { 0 };
        Saved { content, is_sound: !are_missed, taken: now }
    }
}

#[derive(Debug)]
pub(super) struct Backup {
    pub(super) url: String,
    pub(super) volume: usize,
    pub(super) saved: Saved,
    pub(super) made: Moment,
    pub(super) damage: Option<Damage>,
    /// Whether it is on the share: neither deleted, nor written into the empty folder.
    pub(super) is_there: bool,
    /// The files that hold its data, if nothing else was written in that step.
    pub(super) packs: Vec<PathBuf>,
}

impl Backup {
    /// Whether it is good, as far as the host of its volume can know.
    pub(super) fn is_good(&self) -> bool {
        let is_known_broken = matches!(self.damage, Some(Damage::Open | Damage::Found));
        self.is_there && self.saved.is_sound && !is_known_broken
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) volumes: Vec<Volume>,
    pub(super) backups: Vec<Backup>,
}

impl Model {
    /// The volumes of a host that nobody has removed, with their numbers.
    pub(super) fn living(&self, host: usize) -> impl Iterator<Item = (usize, &Volume)> {
        let all = self.volumes.iter().enumerate();
        all.filter(move |(_, volume)| volume.host == host && volume.is_there)
    }

    /// The names of a host's volumes that were lost after they had a backup that is good and there.
    pub(super) fn missed(&self, host: usize) -> Vec<String> {
        let lost = self.volumes.iter().enumerate();
        let lost = lost.filter(|(_, volume)| volume.host == host && volume.is_missed);
        let known = lost.filter(|(number, _)| self.backups_of(*number).any(Backup::is_good));
        known.map(|(_, volume)| volume.name.clone()).collect()
    }

    /// Nobody misses a host's volume of this name any more.
    pub(super) fn not_missed(&mut self, host: usize, name: &str) {
        for volume in &mut self.volumes {
            volume.is_missed &= volume.host != host || volume.name != name;
        }
    }

    /// The last volume of a host that has or had this name.
    pub(super) fn last_named(&self, host: usize, name: &str) -> Option<usize> {
        self.volumes.iter().rposition(|volume| volume.host == host && volume.name == name)
    }

    /// The number of a host's volume of this name.
    pub(super) fn named(&self, host: usize, name: &str) -> Option<usize> {
        self.living(host).find(|(_, volume)| volume.name == name).map(|(number, _)| number)
    }

    /// The backups of a volume that are on the share.
    pub(super) fn backups_of(&self, volume: usize) -> impl Iterator<Item = &Backup> {
        self.backups.iter().filter(move |backup| backup.volume == volume && backup.is_there)
    }

    /// The newest of all backups of a volume on the share.
    pub(super) fn newest(&self, volume: usize) -> Option<&Backup> {
        self.backups_of(volume).max_by_key(|backup| (backup.saved.taken.truly, backup.made.truly))
    }

    /// The good backups of a volume's newest good content, of which one must stay.
    pub(super) fn newest_good(&self, volume: usize) -> Option<&Backup> {
        let good = self.backups_of(volume).filter(|backup| backup.is_good());
        good.max_by_key(|backup| (backup.saved.taken.truly, backup.made.truly))
    }
}

/// For a failure's text: all volumes, and the backups that are on the share.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, volume) in self.volumes.iter().enumerate() {
            let Volume { host, name, made, has_files, is_there, .. } = volume;
            let is = if *is_there { "" } else { " removed" };
            let doubt = if *has_files { "" } else { " without its files" };
            writeln!(f, "volume {number}: \"{name}\" of host {host}, made {made}{is}{doubt}")?;
            for backup in self.backups_of(number) {
                let Backup { url, saved, made, damage, .. } = backup;
                let name = url.split('?').nth(1).unwrap_or_default();
                let doubt = if saved.is_sound { "" } else { " of no files" };
                writeln!(f, "    {name} taken {} made {made} {damage:?}{doubt}", saved.taken)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.truly)?;
        if self.shown != self.truly { write!(f, " (shown as {})", self.shown) } else { Ok(()) }
    }
}

/// How old something of this moment is now, by a host's clock. Negative: it is in the future.
pub(super) fn age(moment: Moment, now: Timestamp) -> SignedDuration {
    now.duration_since(moment.shown)
}
