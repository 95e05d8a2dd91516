//! A source that is not there is not empty (guard 10). What [`super::destinations`] does for
//! destinations, this does for volumes: a volume that had files and has none, that lost nearly all
//! at once, or whose share is not mounted any more, may be backed up, but that backup is in doubt.
//! It is no good backup until a person says that the loss was meant.
//!
//! A backup tells at its destination how much the volume had, so every host sees the loss. What was
//! accepted is in the store of the host where a person said it. Without the store, the loss is in
//! doubt again.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;

use super::{
    copies::{copy_of, doubted_snapshots, snapshot_copy, sound, taken},
    data_look::Seen,
    doubts::{Copy, KnownSources, doubts},
    known::KnownBackup,
    observations::Observation,
    run::Guards,
};
use crate::{
    clock::is_in_future,
    convoy::{Backup, BackupUrl, Destination, Extent, Name, Snapshot, Volume},
    diagnostic::in_one_line,
    error::{Error, Result},
};

/// A copy that this run made, and whose source is in doubt.
struct Doubted<'a> {
    volume: &'a str,
    source: String,
    taken: Option<Timestamp>,
    extent: Extent,
    why: &'a str,
}

/// Whether the list tells that a known backup is of another volume than this one.
fn is_of_another(known: &KnownBackup, backup: &Backup, listed: &[Backup]) -> bool {
    let url = BackupUrl::parse(&known.url);
    let is_known =
        |it: &&Backup| it.url().is_ok_and(|it| url.as_ref().is_ok_and(|url| it.same_backup(url)));
    let other = listed.iter().find(is_known);
    other.is_some_and(|other| {
        other.tells_its_volume() && backup.tells_its_volume() && other.source() != backup.source()
    })
}

impl Guards {
    /// Without a memory that can be read, nothing was accepted.
    pub(super) fn known_sources(&self) -> Arc<KnownSources> {
        if let Some(known) = self.memory().sources.clone() {
            return known;
        }
        let read = self
            .known
            .as_ref()
            .map_or(Ok(KnownSources::default()), |known| known.sources(&self.identity()));
        let known = read.unwrap_or_else(|error| {
            log::warn!("what is known of the sources of backups can't be read: {error}");
            KnownSources::default()
        });
        self.memory().sources.insert(Arc::new(known)).clone()
    }

    /// Says of each backup in doubt why it is. `backups` are ordered from the newest.
    pub(super) fn with_doubts(&self, mut backups: Vec<Backup>) -> Vec<Backup> {
        let known = self.known_sources();
        let mut by_volume: BTreeMap<[String; 4], Vec<usize>> = BTreeMap::new();
        for (index, backup) in backups.iter().enumerate().rev().filter(|(_, it)| it.is_complete()) {
            by_volume.entry(backup.volume_key().owned()).or_default().push(index);
        }
        for oldest_first in by_volume.into_values() {
            let Some(oldest) = oldest_first.first().map(|index| &backups[*index]) else { continue };
            let accepted = known.accepted(oldest.volume(), &oldest.source());
            let copies = oldest_first.iter().map(|index| {
                let backup = &backups[*index];
                Copy {
                    taken: backup.order().0,
                    extent: backup.extent(),
                    lacks: backup.moment().lacks(),
                    known_doubt: known.doubt(backup.field("BackupURL")),
                }
            });
            let found = doubts(copies, accepted);
            for (index, why) in oldest_first.iter().zip(found) {
                if let Some(why) = why {
                    backups[*index].set_doubt(&why);
                }
            }
        }
        backups
    }

    /// Says of each of the volume's snapshots in doubt why it is.
    pub(super) fn with_doubted_snapshots(&self, mut volume: Volume) -> Volume {
        let known = self.known_sources();
        for snapshot in volume.snapshots.iter_mut().flat_map(BTreeMap::values_mut) {
            if snapshot.extent().is_unknown()
                && let Some(extent) = known.extents.get(&snapshot.name)
            {
                snapshot.set_extent(extent);
            }
        }
        let accepted = known.accepted(&volume.name, &volume.source());
        let mut in_doubt = doubted_snapshots(&volume, Vec::new(), accepted);
        // Most volumes have none, and the store is not read for them.
        if !in_doubt.is_empty() {
            in_doubt = doubted_snapshots(&volume, self.sound_backups(&volume), accepted);
        }
        let Some(snapshots) = &mut volume.snapshots else { return volume };
        for (name, why) in in_doubt {
            if let Some(snapshot) = snapshots.get_mut(&name) {
                snapshot.set_doubt(&why);
            }
        }
        volume
    }

    /// Looks whether the source of a snapshot of this run is in doubt. The run fails for the volume
    /// then. The snapshot is there also where the look fails.
    pub(super) async fn doubt_snapshot(&self, volume: &Name, taken: &Snapshot) {
        if let Some(why) = taken.moment().lacks() {
            return self.is_partial(&volume.to_string(), "the snapshot", &why);
        }
        if taken.extent().is_unknown() {
            return;
        }
        let volume = match self.volume(volume).await {
            Ok(volume) => volume,
            Err(error) => {
                log::warn!("the snapshot can't be compared with the ones before it: {error}");
                return;
            }
        };
        let snapshots = volume.snapshots.as_ref();
        let listed = snapshots.and_then(|all| all.get(&taken.name)).and_then(Snapshot::doubt);
        let found = listed.map(str::to_owned).or_else(|| self.doubt_after_backups(&volume, taken));
        if let Some(why) = found {
            self.doubted(&Doubted {
                volume: &volume.name,
                source: volume.source(),
                taken: taken.order().0,
                extent: taken.extent(),
                why: &why,
            });
        }
    }

    /// By the volume's backups that runs of this host made: no snapshot of them may have stayed.
    fn doubt_after_backups(&self, volume: &Volume, snapshot: &Snapshot) -> Option<String> {
        let sources = self.known_sources();
        let accepted = sources.accepted(&volume.name, &volume.source());
        let before = self.sound_backups(volume);
        doubts(before.into_iter().chain([snapshot_copy(snapshot)]), accepted).pop().flatten()
    }

    /// The volume's sound backups that a snapshot can be compared with, the oldest first.
    fn sound_backups(&self, volume: &Volume) -> Vec<Copy> {
        let Ok(known) = self.known_backups(&volume.name) else { return Vec::new() };
        let mut known = sound(known.into_values(), volume.created_time.timestamp());
        let now = self.clock.now();
        // Without files, the bytes are those of packed data, which a snapshot does not tell. A date
        // in the future does not tell whether the backup is of this volume.
        known.retain(|other| other.files.is_some() && !is_in_future(taken(other), now));
        known.into_iter().map(copy_of).collect()
    }

    /// Why the source of a backup that this run made and proved is in doubt. The run fails for the
    /// volume then.
    pub(super) async fn doubt_backup(
        &self,
        backup: &Backup,
        url: &BackupUrl,
        (volume, snapshot): (&str, Option<&Snapshot>),
        destination: &Destination,
    ) -> Option<String> {
        if let Some(why) = backup.moment().lacks() {
            self.observe(Observation::BackupPartial {
                volume: volume.to_owned(),
                url: url.to_string(),
                why: why.clone(),
            });
            self.is_partial(volume, "the backup", &why);
            return Some(why);
        }
        let listed = self.listed_with(backup, destination).await;
        let mut found = self.doubt_at(backup, url, &listed);
        if found.is_none() {
            found = match snapshot {
                Some(snapshot) => self.doubt_by_snapshots(snapshot).await,
                None => self.doubt_after_snapshots(backup, url, &listed).await,
            };
        }
        if found.is_none() {
            found = self.doubt_by_memory(backup, url, &listed).await;
        }
        let why = found?;
        self.observe(Observation::BackupInDoubt {
            volume: volume.to_owned(),
            url: url.to_string(),
            why: why.clone(),
        });
        self.doubted(&Doubted {
            volume,
            source: backup.source(),
            taken: backup.order().0,
            extent: backup.extent(),
            why: &why,
        });
        Some(why)
    }

    /// The backups of volumes of this name at the destination. Convoy tells nothing there, and its
    /// lists are slow.
    async fn listed_with(&self, backup: &Backup, destination: &Destination) -> Vec<Backup> {
        let tells = self.capabilities().await.is_ok_and(|it| it.inspects_data);
        let name = Name::volume(backup.volume()).ok();
        let Some(name) = name.filter(|_| tells && backup.extent().files.is_some()) else {
            return Vec::new();
        };
        self.backups(destination, Some(&name)).await.unwrap_or_else(|error| {
            log::warn!("the backup can't be compared with the ones before it: {error}");
            Vec::new()
        })
    }

    /// By the backups at the destination. Those in doubt that the memory does not know are
    /// remembered.
    fn doubt_at(&self, backup: &Backup, url: &BackupUrl, listed: &[Backup]) -> Option<String> {
        let known = self.known_sources();
        let volume = backup.volume_key();
        let mut found = None;
        for other in listed.iter().filter(|other| other.volume_key() == volume) {
            let Some(why) = other.doubt().filter(|_| other.moment().lacks().is_none()) else {
                continue;
            };
            if other.url().is_ok_and(|it| it.same_backup(url)) {
                found = Some(why.to_owned());
            } else if known.doubt(other.field("BackupURL")).is_none() {
                self.observe(Observation::BackupInDoubt {
                    volume: other.volume().to_owned(),
                    url: other.field("BackupURL").to_owned(),
                    why: why.to_owned(),
                });
            }
        }
        found
    }

    /// By the volume's snapshots: the first backup at a new destination has none before it.
    async fn doubt_by_snapshots(&self, snapshot: &Snapshot) -> Option<String> {
        if snapshot.extent().is_unknown() {
            return None;
        }
        let volume = self.volume(&Name::volume(&snapshot.volume_name).ok()?).await.ok()?;
        volume.snapshots.as_ref()?.get(&snapshot.name)?.doubt().map(str::to_owned)
    }

    /// As [`Guards::doubt_by_snapshots`], for a backup of which no snapshot stays. Snapshots that are
    /// older than the newest sound backup before this one say nothing: the volume was well since.
    async fn doubt_after_snapshots(
        &self,
        backup: &Backup,
        url: &BackupUrl,
        listed: &[Backup],
    ) -> Option<String> {
        let volume = self.volume(&Name::volume(backup.volume()).ok()?).await.ok()?;
        let sound = volume.own_snapshots().filter(|snapshot| snapshot.doubt().is_none());
        let newest_snapshot = sound.filter_map(|snapshot| snapshot.order().0).max()?;
        if self.newest_sound_before(backup, url, listed, &volume) > Some(newest_snapshot) {
            return None;
        }
        let known = self.known_sources();
        let accepted = known.accepted(&volume.name, &volume.source());
        let mut own: Vec<&Snapshot> = volume.own_snapshots().collect();
        own.reverse();
        let snapshots = own.into_iter().filter(|snapshot| snapshot.doubt().is_none());
        let snapshots = snapshots.map(snapshot_copy);
        let made = Copy { taken: backup.order().0, extent: backup.extent(), ..Copy::default() };
        doubts(snapshots.chain([made]), accepted).pop()?
    }

    /// When the newest backup of the volume before this one was taken that is not in doubt, by the
    /// list and by what earlier runs saw.
    fn newest_sound_before(
        &self,
        backup: &Backup,
        url: &BackupUrl,
        listed: &[Backup],
        volume: &Volume,
    ) -> Option<Timestamp> {
        let is_another =
            |there: Result<BackupUrl>| there.is_ok_and(|there| !there.same_backup(url));
        let listed = listed.iter().filter(|other| {
            other.volume_key() == backup.volume_key()
                && other.is_complete()
                && other.doubt().is_none()
                && is_another(other.url())
        });
        let known = self.known_backups(&volume.name).unwrap_or_default();
        let known = sound(known.into_values(), volume.created_time.timestamp()).into_iter();
        let known =
            known.filter(|other| is_another(BackupUrl::parse(&other.url))).map(|it| taken(&it));
        // Names of snapshots tell the order also where their dates are in the future.
        listed.filter_map(|other| other.order().0).chain(known).max()
    }

    /// By what earlier runs saw of the volume's backups, at any destination.
    async fn doubt_by_memory(
        &self,
        backup: &Backup,
        url: &BackupUrl,
        listed: &[Backup],
    ) -> Option<String> {
        let known = self.known_backups(backup.volume()).ok()?;
        if known.get(url).is_some_and(|known| known.doubt.is_some()) {
            return None;
        }
        // Only the end of a run tells the memory that another volume has the name now.
        let volume = Name::volume(backup.volume()).ok()?;
        let created = self.volume(&volume).await.ok().and_then(|it| it.created_time.timestamp());
        let mut known = sound(known.into_values(), created);
        known.retain(|other| !is_of_another(other, backup, listed));
        if let Some(newest) = known.last_mut().filter(|newest| newest.bytes.is_none()) {
            newest.bytes = self.size_seen(&newest.url).await;
        }
        let before = known.into_iter().map(copy_of);
        let this = Copy { taken: backup.order().0, extent: backup.extent(), ..Copy::default() };
        let sources = self.known_sources();
        let accepted = sources.accepted(backup.volume(), &backup.source());
        doubts(before.chain([this]), accepted).pop().flatten()
    }

    /// The size of a backup that no run has looked at, as those that were made by an older version.
    async fn size_seen(&self, url: &str) -> Option<u64> {
        match self.glance(&BackupUrl::parse(url).ok()?).await {
            Ok(Seen::Whole { bytes }) => bytes,
            _ => None,
        }
    }

    /// Remembers that the volume's source is in doubt, for the run's failures and for later runs.
    fn doubted(&self, doubted: &Doubted<'_>) {
        let Doubted { volume, source, taken, extent, why } = doubted;
        self.observe(Observation::SourceInDoubt {
            volume: (*volume).to_owned(),
            source: source.clone(),
            taken: taken.unwrap_or_else(|| self.clock.now()),
            extent: extent.clone(),
            why: (*why).to_owned(),
        });
        let error = Error::guard(format!("its data may not be all there: {why}")).with_hint(format!(
            "mount what is missing, and back up again; older backups stay. Where it was meant: convoy-backups status --accept {volume}"
        ));
        self.fails_for(volume, error);
    }

    /// What this run made of a volume lacks files that could not be read. The run fails for the volume.
    fn is_partial(&self, volume: &str, what: &str, why: &str) {
        let error = Error::guard(format!("{what} is partial: {why}")).with_hint(
            "it is kept, and older ones stay; see why these files can't be read (docs/live.md), or leave them out (docs/excludes.md)",
        );
        self.fails_for(volume, error);
    }

    fn fails_for(&self, volume: &str, error: Error) {
        let former = self.memory().doubted.insert(volume.to_owned(), error.clone());
        // A backup is in doubt for the same reason as its snapshot.
        if former.is_none_or(|former| former.message != error.message) {
            log::error!("\"{volume}\": {}", in_one_line(&error));
        }
    }

    /// The volumes whose source is in doubt by the copies that this run made, with the error.
    pub(crate) fn volumes_in_doubt(&self) -> BTreeMap<String, Error> {
        self.memory().doubted.clone()
    }

    /// Why the source of this backup of this run is in doubt.
    pub(crate) fn doubt(&self, url: &BackupUrl) -> Option<String> {
        let memory = self.memory();
        memory.observations.all().iter().find_map(|observation| match observation {
            Observation::BackupInDoubt { url: there, why, .. }
            | Observation::BackupPartial { url: there, why, .. }
                if *there == url.to_string() =>
            {
                Some(why.clone())
            }
            _ => None,
        })
    }

    /// A backup that this run made, as it was inspected when it was proved good.
    pub(crate) fn made(&self, url: &BackupUrl) -> Option<Backup> {
        self.memory().proven.get(url).cloned()
    }
}
