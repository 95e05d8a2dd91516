//! What a crash can interrupt. Each such operation has a file, with its repair directly below it.
//! This file repairs all of them in order at a start.
//!
//! Everything that a crash can leave is in `volumes/.staging/`, marked in a state file, or not in
//! any state file. So a start can tell it from finished work.

mod on_disk;
pub(super) mod removal;
pub(super) mod restore;
pub(super) mod snapshots;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    time::Duration,
};

use super::{repository::Backend, root::Staged, snapshots::LocalRepository, state::VolumeState};
use crate::{
    error::Result,
    files::{names, remove_all},
    text::counted,
};
pub(super) use on_disk::OnDisk;

/// Repairs what the last owner of the root left unfinished, and adds a sentence on each repair.
///
/// # Errors
/// If a file can't be read or removed.
pub(super) fn clean(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    local: &LocalRepository,
    host: &str,
) -> Result<Vec<String>> {
    let mut sentences = restore::undo_unfinished(disk, volumes)?;
    clean_staging(disk, volumes, &mut sentences)?;
    forget_what_is_gone(disk, volumes)?;
    let known: HashSet<_> =
        volumes.values().flat_map(|v| v.snapshots.values()).map(|s| s.id.as_str()).collect();
    snapshots::remove_unknown(disk.root, local, &known, &mut sentences)?;
    let backend = Backend::in_folder(&disk.root.repository(), host);
    let left = backend.remove_leftovers(Duration::ZERO);
    if left > 0 {
        let files = counted(left, "half written file was", "half written files were");
        sentences.push(format!("{files} removed from the repository"));
    }
    Ok(sentences)
}

/// Empties the staging folder.
fn clean_staging(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    sentences: &mut Vec<String>,
) -> Result<()> {
    let staging = disk.root.staging();
    for name in names(&staging)? {
        match Staged::of_name(&name) {
            Some((Staged::Restore, volume)) => {
                sentences.push(restore::staged_files_removed(volume))
            }
            Some((Staged::Removal, volume)) => {
                sentences.push(removal::finish(disk, volumes, volume)?)
            }
            None => {}
        }
        let path = staging.join(&name);
        // A folder that stays wastes space, but does no harm.
        if let Err(error) = remove_all(&path) {
            sentences.push(format!(
                "\"{}\" can't be removed, remove it by hand: {error}",
                path.display()
            ));
        }
    }
    Ok(())
}

/// Removes the states of forgotten volumes that have neither files nor snapshots.
fn forget_what_is_gone(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
) -> Result<()> {
    let is_gone = |volume: &VolumeState| {
        volume.forgotten
            && volume.snapshots.is_empty()
            && fs::symlink_metadata(disk.driver.path(&volume.name)).is_err()
    };
    let gone: Vec<_> =
        volumes.values().filter(|v| is_gone(v)).map(|volume| volume.name.clone()).collect();
    for name in gone {
        disk.state.remove(&name)?;
        volumes.remove(&name);
    }
    Ok(())
}
