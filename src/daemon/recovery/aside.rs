//! Giving a forgotten volume another name, so that its own is free: its files and snapshots are kept
//! under `NAME.removed-N`.
//!
//! The steps, and how a start finishes what a crash interrupted after each of them:
//! 1. The state is written under the new name, with the former one as `moved_from`.
//! 2. The folder is renamed.
//! 3. The state under the former name is removed.
//! 4. The state is written without `moved_from`.

use std::{collections::BTreeMap, fs, path::Path};

use super::{
    super::{state::VolumeState, volumes::Volumes},
    on_disk::OnDisk,
};
use crate::{
    convoy::Name,
    error::Result,
    files::{move_folder, sync_folder, write_error},
};

/// What stands between a forgotten volume's name and its number.
const REMOVED: &str = ".removed-";

/// A name for a forgotten volume that is none of `taken`.
pub(in crate::daemon) fn name_aside(volume: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut numbers = 1_u64..;
    loop {
        let number = numbers.next().unwrap_or_default();
        let end = format!("{REMOVED}{number}");
        let kept = &volume[..volume.len().min(Name::MAX - end.len())];
        let name = format!("{kept}{end}");
        if !taken(&name) {
            return name;
        }
    }
}

/// Gives a forgotten volume this name, with its files and snapshots.
///
/// # Errors
/// If its state can't be written or its folder can't be renamed. It is as before then.
pub(in crate::daemon) fn rename(
    disk: OnDisk<'_>,
    volumes: &Volumes,
    former: &VolumeState,
    name: &str,
) -> Result<()> {
    let moved_from = Some(former.name.clone());
    let moved = VolumeState { name: name.to_owned(), moved_from, ..former.clone() };
    volumes.insert(moved.clone())?;
    if let Err(error) = move_files(disk, &former.name, name) {
        volumes.remove(name)?;
        return Err(error);
    }
    volumes.remove(&former.name)?;
    volumes.insert(VolumeState { moved_from: None, ..moved })
}

/// Renames a volume's folder, if it has one.
fn move_files(disk: OnDisk<'_>, from: &str, to: &str) -> Result<()> {
    let (from, to) = (disk.driver.path(from), disk.driver.path(to));
    if !is_there(&from) {
        return Ok(());
    }
    let moved = move_folder(&from, &to).and_then(|()| sync_folder(&disk.root.volumes()));
    moved.map_err(|error| write_error(&from, &error))
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Finishes what a crash interrupted. A sentence on each that can't be.
pub(super) fn finish(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    sentences: &mut Vec<String>,
) {
    let unfinished: Vec<_> =
        volumes.values().filter_map(|v| Some((v.clone(), v.moved_from.clone()?))).collect();
    for (moved, from) in unfinished {
        let name = moved.name.clone();
        if let Err(error) = finish_one(disk, volumes, moved, &from) {
            sentences.push(format!(
                "the removed volume \"{from}\" can't be kept as \"{name}\" yet: {error}"
            ));
        }
    }
}

fn finish_one(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    moved: VolumeState,
    from: &str,
) -> Result<()> {
    // Another volume may have the former name by now.
    let is_it = |there: &&VolumeState| there.forgotten && there.id() == moved.id();
    if volumes.get(from).filter(is_it).is_some() {
        if !is_there(&disk.driver.path(&moved.name)) {
            move_files(disk, from, &moved.name)?;
        }
        disk.state.remove(from)?;
        volumes.remove(from);
    }
    let moved = VolumeState { moved_from: None, ..moved };
    disk.state.save(&moved)?;
    volumes.insert(moved.name.clone(), moved);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_volume_gets_the_first_name_that_is_free_and_valid() {
        assert_eq!(name_aside("vol1", |_| false), "vol1.removed-1");
        assert_eq!(name_aside("vol1", |name| name == "vol1.removed-1"), "vol1.removed-2");
        let longest = "v".repeat(Name::MAX);
        assert!(Name::volume(&name_aside(&longest, |_| false)).is_ok());
    }
}
