//! What a crash can interrupt. Each such operation has a file, with its repair directly below it.
//! This file repairs all of them in order at a start.
//!
//! Everything that a crash can leave is in `volumes/.staging/`, marked in a state file, or not in
//! any state file. So a start can tell it from finished work.

pub(super) mod aside;
mod on_disk;
pub(super) mod removal;
pub(super) mod restore;
pub(super) mod snapshots;

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

use super::{repository::Backend, root::Staged, snapshots::LocalRepository, state::VolumeState};
use crate::{
    files::{names, remove_all},
    text::counted,
};
pub(super) use on_disk::OnDisk;

/// Repairs what the last owner of the root left unfinished. The result has a sentence on each
/// repair, and on each that was not possible: that stops no start, because the volumes that are
/// whole must be backed up all the same.
pub(super) fn clean(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    local: &LocalRepository,
    host: &str,
) -> Vec<String> {
    let mut sentences = restore::undo_unfinished(disk, volumes);
    aside::finish(disk, volumes, &mut sentences);
    clean_staging(disk, volumes, &mut sentences);
    forget_what_is_gone(disk, volumes, &mut sentences);
    forget_gone_snapshots(disk, volumes, &mut sentences);
    let known: HashSet<_> =
        volumes.values().flat_map(|v| v.snapshots.values()).map(|s| s.id.as_str()).collect();
    snapshots::remove_unknown(disk.root, local, &known, &mut sentences);
    let backend = Backend::in_folder(&disk.root.repository(), host);
    let left = backend.remove_leftovers(Duration::ZERO);
    if left > 0 {
        let files = counted(left, "half written file was", "half written files were");
        sentences.push(format!("{files} removed from the repository"));
    }
    sentences
}

/// Lets the states of volumes forget the snapshots that are gone from the repository.
fn forget_gone_snapshots(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    sentences: &mut Vec<String>,
) {
    for volume in volumes.values_mut() {
        let gone = snapshots::gone_of(disk.root, volume);
        if gone.is_empty() {
            continue;
        }
        let mut without = volume.clone();
        without.snapshots.retain(|name, _| !gone.contains(name));
        let names = gone.join(", ");
        match disk.state.save(&without) {
            Ok(()) => {
                sentences.push(format!(
                    "volume \"{}\": local snapshots that are gone were forgotten: {names}",
                    volume.name
                ));
                *volume = without;
            }
            Err(error) => sentences.push(format!("snapshots that are gone stay listed: {error}")),
        }
    }
}

/// Empties the staging folder.
fn clean_staging(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    sentences: &mut Vec<String>,
) {
    let staging = disk.root.staging();
    let staged = names(&staging).unwrap_or_else(|error| {
        sentences.push(format!("what is left of restores and removals stays: {error}"));
        Vec::new()
    });
    for name in staged {
        let path = staging.join(&name);
        let what = match Staged::of_name(&name) {
            Some((Staged::Restore, volume)) => restore::remove_staged(&path, volume),
            Some((Staged::Removal, volume)) => removal::finish(disk, volumes, &path, volume),
            // What a note tells was undone before.
            Some((Staged::Moment, _)) => continue,
            // A folder that stays wastes space, but does no harm.
            Some((Staged::Undone, _)) | None => match remove_all(&path) {
                Ok(()) => continue,
                Err(error) => {
                    format!("\"{}\" stays, remove it by hand: {error}", path.display())
                }
            },
        };
        sentences.push(what);
    }
}

/// Removes the states of forgotten volumes that have neither files nor snapshots.
fn forget_what_is_gone(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    sentences: &mut Vec<String>,
) {
    let is_missing = |path: &Path| fs::symlink_metadata(path).is_err();
    let has_no_files = |volume: &VolumeState| match volume.folder.as_deref() {
        None => volume.is_ours() && is_missing(&disk.driver.path(&volume.name)),
        // The folder of all of Docker's volumes is seen, and this one's is not there.
        Some(folder) => {
            let base = folder.ancestors().nth(2).filter(|_| folder.ends_with("_data"));
            volume.may_be_gone() && base.is_some_and(|base| !is_missing(base) && is_missing(folder))
        }
    };
    let is_gone = |volume: &VolumeState| {
        volume.forgotten && volume.snapshots.is_empty() && has_no_files(volume)
    };
    let gone: Vec<_> =
        volumes.values().filter(|v| is_gone(v)).map(|volume| volume.name.clone()).collect();
    for name in gone {
        match disk.state.remove(&name) {
            Ok(()) => _ = volumes.remove(&name),
            Err(error) => sentences
                .push(format!("the state of volume \"{name}\", which is gone, stays: {error}")),
        }
    }
}
