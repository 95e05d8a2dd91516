//! What is deleted of a volume that is to be removed, and what stays.

use rhai::{Array, Dynamic, Map};

use super::destination::destination;
use crate::{
    convoy::{Backup, Name, Snapshot, Volume},
    error::{Error, Result},
    script::run::Run,
};

/// The removal of a volume; `all` deletes its newest good backup too. What can fail fails here,
/// before anything is deleted.
pub(super) fn plan(run: &Run, name: &Name, all: bool) -> Result<Map> {
    let guards = &run.host.guards;
    let volume = run.wait(guards.volume(name))?;
    // The daemon would refuse it in the end, when the backups were gone already.
    if !volume.mount_point.is_empty() {
        return Err(Error::guard(format!(
            "the volume \"{name}\" is mounted at {}, so nothing of it was deleted",
            volume.mount_point
        ))
        .with_hint("stop the containers that use it first, or unmount it with \"convoy umount\""));
    }
    let kept = match all {
        true => None,
        false => {
            let at = run.host.settings.destination.as_ref();
            Some(run.wait(guards.safe_copy(at, &volume))?)
        }
    };
    let at = destination(run, None)?;
    let own = run.wait(guards.own_backups(&at, &volume))?;
    let unclear = run.wait(guards.unclear_backups(&at, &volume))?;
    let removal = Removal::new(&volume, kept.as_ref(), &own, &unclear);
    removal.warnings(name).for_each(|warning| run.log(log::Level::Warn, &warning));
    Ok(removal.to_map(name))
}

/// Backups by their URLs, snapshots by their names.
#[derive(Debug, PartialEq)]
struct Removal<'a> {
    kept: Option<&'a str>,
    /// May be another host's, newest first.
    unclear: Vec<&'a str>,
    /// Newer than the newest good one, newest first.
    newer: Vec<&'a str>,
    /// To be deleted, oldest first: after a failure, what is left is the newest.
    backups: Vec<&'a str>,
    /// To be deleted, oldest first.
    snapshots: Vec<&'a str>,
}

impl<'a> Removal<'a> {
    /// `own` and `unclear` are newest first, and `kept` is one of `own`.
    fn new(
        volume: &'a Volume,
        kept: Option<&'a Backup>,
        own: &'a [Backup],
        unclear: &'a [Backup],
    ) -> Self {
        let url = |backup: &'a Backup| backup.field("BackupURL");
        let kept = kept.map(url);
        let mut backups: Vec<&str> = own.iter().map(url).collect();
        let mut newer = Vec::new();
        if let Some(kept) = kept {
            // A newer one may only look broken, as any backup does while the network is down.
            let count = backups.iter().take_while(|backup| **backup != kept).count();
            newer.extend(backups.drain(..count));
            backups.retain(|backup| *backup != kept);
        }
        backups.reverse();
        let snapshots = volume
            .snapshots_by_time()
            .into_iter()
            .filter(|snapshot| !stays_as_a_backup(snapshot, &backups))
            .map(|snapshot| snapshot.name.as_str())
            .collect();
        Self { kept, unclear: unclear.iter().map(url).collect(), newer, backups, snapshots }
    }

    fn warnings(&self, volume: &Name) -> impl Iterator<Item = String> {
        let unclear = (!self.unclear.is_empty()).then(|| {
            format!(
                "{} of the backups of \"{volume}\" left alone, as they may be another host's; \"convoy-backups backups --volume {volume}\" lists them",
                self.unclear.len()
            )
        });
        let newer = self.newer.iter().map(|backup| {
            format!(
                "the backup \"{backup}\" is left alone: it is newer than the newest one that can be inspected"
            )
        });
        unclear.into_iter().chain(newer)
    }

    fn to_map(&self, volume: &Name) -> Map {
        let texts = |texts: &[&str]| -> Dynamic {
            texts.iter().map(|text| Dynamic::from((*text).to_owned())).collect::<Array>().into()
        };
        Map::from_iter([
            ("VolumeName".into(), volume.to_string().into()),
            ("Kept".into(), self.kept.map_or(Dynamic::UNIT, |kept| kept.to_owned().into())),
            ("Left".into(), texts(&[&self.unclear[..], &self.newer].concat())),
            ("Backups".into(), texts(&self.backups)),
            ("Snapshots".into(), texts(&self.snapshots)),
        ])
    }
}

/// Whether a snapshot is an EBS backup that is not deleted. Convoy forgets the snapshot together
/// with its volume, and Amazon keeps it.
fn stays_as_a_backup(snapshot: &Snapshot, deleted: &[&str]) -> bool {
    let Some(info) = &snapshot.driver_info else { return false };
    let Some(id) = info.get("EBSSnapshotID") else { return false };
    let is_there = info.get("State").is_none_or(|state| state != "removed");
    is_there && !deleted.iter().any(|backup| backup.ends_with(&format!("/{id}")))
}
