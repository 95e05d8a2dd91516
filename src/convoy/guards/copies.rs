//! The copies of a volume that are compared with each other (guard 10): its snapshots, and the backups
//! that runs of this host made.

use jiff::Timestamp;

use super::{
    doubts::{AcceptedLoss, Copy, doubts},
    known::KnownBackup,
};
use crate::convoy::{Extent, Snapshot, Volume};

/// When the data of a known backup was taken.
pub(super) fn taken(known: &KnownBackup) -> Timestamp {
    known.snapshot_time.unwrap_or(known.proven)
}

/// The known backups that a later copy of the volume is compared with, the oldest first: those that
/// runs of this host made since the volume was `created`, and that are not in doubt.
pub(super) fn sound(
    known: impl Iterator<Item = KnownBackup>,
    created: Option<Timestamp>,
) -> Vec<KnownBackup> {
    let is_sound = |it: &KnownBackup| {
        let is_its_own = created.is_none_or(|created| taken(it) >= created);
        it.doubt.is_none() && it.made_here && !it.former && is_its_own
    };
    let mut sound: Vec<_> = known.filter(is_sound).collect();
    sound.sort_by_key(taken);
    sound
}

pub(super) fn copy_of(known: KnownBackup) -> Copy {
    Copy {
        taken: Some(taken(&known)),
        extent: Extent { files: known.files, bytes: known.bytes, mounts: None },
        ..Copy::default()
    }
}

pub(super) fn snapshot_copy(snapshot: &Snapshot) -> Copy {
    let (taken, extent) = (snapshot.order().0, snapshot.extent());
    Copy { taken, extent, lacks: snapshot.moment().lacks(), known_doubt: None }
}

/// The names of the volume's snapshots in doubt, and why: by the snapshots and sound `backups` before
/// each. A snapshot may be old, and the volume well since.
pub(super) fn doubted_snapshots(
    volume: &Volume,
    backups: Vec<Copy>,
    accepted: Option<&AcceptedLoss>,
) -> Vec<(String, String)> {
    let mut backups = backups.into_iter().peekable();
    let (mut names, mut copies) = (Vec::new(), Vec::new());
    let mut newest_first: Vec<&Snapshot> = volume.own_snapshots().collect();
    while let Some(snapshot) = newest_first.pop() {
        let copy = snapshot_copy(snapshot);
        while let Some(backup) = backups.next_if(|backup| backup.taken < copy.taken) {
            names.push(None);
            copies.push(backup);
        }
        names.push(Some(&snapshot.name));
        copies.push(copy);
    }
    let found = names.into_iter().zip(doubts(copies, accepted));
    found.filter_map(|(name, why)| Some((name?.clone(), why?))).collect()
}
