//! Restoring a volume. Its files are written elsewhere, and moved in place only when they are
//! complete and on disk.
//!
//! The steps, and how a start repairs a crash after each of them:
//! 1. A folder in `volumes/.staging/` is filled. The start removes the folder.
//! 2. The volume's state is written, with the folder's inode as `restoring`. The start removes
//!    both.
//! 3. The folder moves in place. The start recognises it by its inode, and removes it and the
//!    state.
//! 4. The state is written without `restoring`. The volume is complete.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
};

use super::{
    super::{root::Staged, state::VolumeState},
    on_disk::OnDisk,
};
use crate::{
    convoy::refusal::refused,
    error::Result,
    files::{remove_all, write_error},
};

/// Refuses to restore a volume whose folder already exists.
pub(in crate::daemon) fn refuse_taken_folder(disk: OnDisk<'_>, volume: &str) -> Result<()> {
    let folder = disk.driver.path(volume);
    if fs::symlink_metadata(&folder).is_err() {
        return Ok(());
    }
    Err(refused(format!(
        "Volume {volume} can't be restored: its folder {} exists already",
        folder.display()
    ))
    .with_hint(
        "restore to another name, or move the folder away; it may hold the files of a volume that was removed",
    ))
}

/// Creates a volume with the files that `fill` writes into an empty folder. `former` is the state
/// of a forgotten volume of that name, and is kept if the restore fails.
///
/// # Errors
/// If `fill` fails, or a file can't be written.
pub(in crate::daemon) fn restore(
    disk: OnDisk<'_>,
    volume: &mut VolumeState,
    former: Option<&VolumeState>,
    fill: impl FnOnce(&Path, &mut VolumeState) -> Result<()>,
) -> Result<()> {
    let staged = disk.root.new_staged(Staged::Restore, &volume.name);
    let made = fs::DirBuilder::new().mode(0o700).create(&staged);
    made.map_err(|error| write_error(&staged, &error))?;
    fill(&staged, volume)
        .and_then(|()| put_in_place(disk, &staged, volume))
        .inspect_err(|_| undo(disk, &staged, volume, former))
}

fn put_in_place(disk: OnDisk<'_>, staged: &Path, volume: &mut VolumeState) -> Result<()> {
    let metadata = fs::symlink_metadata(staged).map_err(|error| write_error(staged, &error))?;
    volume.restoring = Some(metadata.ino());
    disk.state.save(volume)?;
    disk.driver
        .put_in_place(staged, &volume.name)
        .map_err(|error| write_error(&disk.driver.path(&volume.name), &error))?;
    let whole = VolumeState { restoring: None, forgotten: false, ..volume.clone() };
    disk.state.save(&whole)?;
    *volume = whole;
    Ok(())
}

/// Removes the files of a failed restore, and then its state. If the files can't be removed, the
/// state stays, and tells the next start to remove them.
fn undo(disk: OnDisk<'_>, staged: &Path, volume: &VolumeState, former: Option<&VolumeState>) {
    let placed = volume.restoring.map_or(Ok(()), |inode| remove_placed(disk, &volume.name, inode));
    if placed.and_then(|()| remove_all(staged)).is_ok() {
        _ = match former {
            Some(former) => disk.state.save(former),
            None => disk.state.remove(&volume.name),
        };
    }
}

/// Removes a volume's folder if its inode shows that the restore put it there.
fn remove_placed(disk: OnDisk<'_>, volume: &str, inode: u64) -> std::io::Result<()> {
    let folder = disk.driver.path(volume);
    if fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.ino() == inode) {
        remove_all(&folder)
    } else {
        Ok(())
    }
}

/// Undoes the restores that a crash interrupted after step 2, and adds a sentence on each.
///
/// # Errors
/// If a file can't be removed or written.
pub(super) fn undo_unfinished(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
) -> Result<Vec<String>> {
    let unfinished: Vec<_> =
        volumes.values().filter_map(|v| Some((v.name.clone(), v.restoring?))).collect();
    let mut sentences = Vec::new();
    for (name, inode) in unfinished {
        remove_placed(disk, &name, inode)
            .map_err(|error| write_error(&disk.driver.path(&name), &error))?;
        match volumes.remove(&name) {
            Some(volume) if volume.forgotten => {
                let volume = VolumeState { restoring: None, ..volume };
                disk.state.save(&volume)?;
                volumes.insert(name.clone(), volume);
            }
            _ => disk.state.remove(&name)?,
        }
        sentences.push(format!(
            "the restore of volume \"{name}\" was not finished, it was undone; restore it again"
        ));
    }
    Ok(sentences)
}

/// The sentence on a restore that a crash interrupted after step 1. The start empties the staging
/// folder.
pub(super) fn staged_files_removed(volume: &str) -> String {
    format!(
        "a restore of volume \"{volume}\" was not finished, its files were removed; restore it again"
    )
}
