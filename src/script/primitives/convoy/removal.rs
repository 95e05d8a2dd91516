//! The plan of a volume's removal: what is deleted, and what stays.

use rhai::{Array, Dynamic, Map};

use super::destination::destination;
use crate::{
    convoy::{
        Backup, FORGOTTEN, Name, Snapshot, Volume, ebs,
        guards::{Protected, Protection},
    },
    error::{Error, Result},
    script::running::RunningScript,
    units::format_duration,
};

/// Plans the removal of a volume. With `all`, its newest good backup is deleted too. Every check
/// that can fail happens here, before anything is deleted.
pub(super) fn plan(run: &RunningScript, name: &Name, all: bool) -> Result<Map> {
    let (host, guards) = (&run.host, &run.host.guards);
    guards.is_of_now("remove a volume")?;
    let mut volume = run.wait(guards.volume_even_forgotten(name))?;
    // The daemon would refuse this at the end, after the backups are gone.
    run.wait(guards.may_be_emptied(&volume))?;
    let kept = match all {
        true => None,
        false => {
            let at = run.host.settings.destination.as_ref();
            let kept = run.wait(guards.safe_copy(at, &volume))?;
            run.wait(guards.changed_since(&volume, &kept))?;
            Some(kept)
        }
    };
    // The snapshots of a forgotten volume go with it: they can't be named any more.
    if volume.told(FORGOTTEN).is_some() {
        volume.snapshots = None;
    }
    let at = destination(run, None)?;
    let own = run.wait(guards.own_backups(&at, &volume))?;
    let unclear = run.wait(guards.unclear_backups(&at, &volume))?;
    if let Some(kept) = kept.as_ref().filter(|kept| {
        !own.iter().any(|backup| backup.field("BackupURL") == kept.field("BackupURL"))
    }) {
        return Err(Error::guard(format!(
            "the newest good backup of \"{name}\" is not in the list any more: \"{}\"; nothing was deleted",
            kept.field("BackupURL")
        ))
        .with_hint("another run or host may have deleted it: look at the list, and run it again"));
    }
    let protected = match all {
        true => Vec::new(),
        false => run.wait(guards.protected_own(&own))?,
    };
    let removal = Removal::new(&volume, kept.as_ref(), &protected, &own, &unclear);
    removal.warnings(name).for_each(|warning| run.log(log::Level::Warn, &warning));
    let mut map = removal.to_map(name);
    if let Some(taken) = kept.as_ref().and_then(Backup::taken) {
        let age = host.clock.now().duration_since(taken).unsigned_abs();
        map.insert("KeptTaken".into(), taken.to_string().into());
        map.insert("KeptAge".into(), format_duration(age).into());
    }
    Ok(map)
}

/// Backups are named by their URLs, snapshots by their names.
#[derive(Debug, PartialEq)]
struct Removal<'a> {
    kept: Option<&'a str>,
    /// Backups that may belong to a volume on another host, newest first.
    unclear: Vec<&'a str>,
    /// Backups that are newer than the newest good one, newest first.
    newer: Vec<&'a str>,
    /// Older backups that stay because the data of the newest good one could not be looked at.
    older: Vec<(&'a str, Protection)>,
    /// Backups to delete, oldest first. If a deletion fails, the newest ones are still there.
    backups: Vec<&'a str>,
    /// Snapshots to delete: those in doubt first, then oldest first.
    snapshots: Vec<&'a str>,
}

impl<'a> Removal<'a> {
    /// `own` and `unclear` are ordered from the newest; `kept` is one of `own`, and those of
    /// `protected` stay besides.
    fn new(
        volume: &'a Volume,
        kept: Option<&'a Backup>,
        protected: &[Protected],
        own: &'a [Backup],
        unclear: &'a [Backup],
    ) -> Self {
        let url = |backup: &'a Backup| backup.field("BackupURL");
        let kept = kept.map(url);
        let mut backups: Vec<&str> = own.iter().map(url).collect();
        let mut newer = Vec::new();
        if let Some(kept) = kept {
            // A newer backup may only look broken, as every backup does while the network is down.
            let count = backups.iter().take_while(|backup| **backup != kept).count();
            newer.extend(backups.drain(..count));
            backups.retain(|backup| *backup != kept);
        }
        let mut older = Vec::new();
        for backup in own.iter().filter(|backup| backups.contains(&url(backup))) {
            let is_this =
                |stays: &&Protected| backup.url().is_ok_and(|there| stays.url.same_backup(&there));
            older.extend(protected.iter().find(is_this).map(|stays| (url(backup), stays.why)));
        }
        backups.retain(|backup| older.iter().all(|(stays, _)| backup != stays));
        backups.reverse();
        let mut snapshots: Vec<&Snapshot> = volume
            .snapshots_by_time()
            .into_iter()
            .filter(|snapshot| !stays_as_a_backup(snapshot, &backups))
            .collect();
        // While there are snapshots in doubt, the last one before them is not deleted.
        snapshots.sort_by_key(|snapshot| snapshot.doubt().is_none());
        let snapshots = snapshots.into_iter().map(|snapshot| snapshot.name.as_str()).collect();
        let unclear = unclear.iter().map(url).collect();
        Self { kept, unclear, newer, older, backups, snapshots }
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
        let older = self.older.iter().map(|(backup, why)| {
            format!(
                "the backup \"{backup}\" is left alone, as {}: the data of \"{}\" could not be looked at",
                why.words(),
                self.kept.unwrap_or_default()
            )
        });
        unclear.into_iter().chain(newer).chain(older)
    }

    /// The backups that stay besides the one that is kept.
    fn left(&self) -> Vec<&'a str> {
        let older = self.older.iter().map(|(backup, _)| *backup);
        self.unclear.iter().chain(&self.newer).copied().chain(older).collect()
    }

    fn to_map(&self, volume: &Name) -> Map {
        let texts = |texts: &[&str]| -> Dynamic {
            texts.iter().map(|text| Dynamic::from((*text).to_owned())).collect::<Array>().into()
        };
        Map::from_iter([
            ("VolumeName".into(), volume.to_string().into()),
            ("Kept".into(), self.kept.map_or(Dynamic::UNIT, |kept| kept.to_owned().into())),
            ("Left".into(), texts(&self.left())),
            ("Backups".into(), texts(&self.backups)),
            ("Snapshots".into(), texts(&self.snapshots)),
        ])
    }
}

/// Whether a snapshot is an EBS backup that is not deleted, or Convoy's note of one that was.
/// Convoy forgets both together with the volume, and Amazon keeps the backup.
fn stays_as_a_backup(snapshot: &Snapshot, deleted: &[&str]) -> bool {
    let is_deleted = |id| deleted.iter().any(|backup| backup.ends_with(&format!("/{id}")));
    ebs::is_removed(snapshot) || ebs::id_at_amazon(snapshot).is_some_and(|id| !is_deleted(id))
}
