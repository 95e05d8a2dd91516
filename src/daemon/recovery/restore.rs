//! Making a volume: a restored one, or an empty one. Its files are written elsewhere, and moved in place only
//! when they are complete and on disk.
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
    error::{Error, Result},
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
        "restore to another name; \"convoy-backups create\" with this name makes the folder a volume again",
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
    make(disk, volume, former, 0o700, fill)
}

/// Creates an empty volume. `former` is as for [`restore`].
///
/// # Errors
/// If a file can't be written.
pub(in crate::daemon) fn create(
    disk: OnDisk<'_>,
    volume: &mut VolumeState,
    former: Option<&VolumeState>,
) -> Result<()> {
    make(disk, volume, former, 0o755, |_, _| Ok(()))
}

fn make(
    disk: OnDisk<'_>,
    volume: &mut VolumeState,
    former: Option<&VolumeState>,
    mode: u32,
    fill: impl FnOnce(&Path, &mut VolumeState) -> Result<()>,
) -> Result<()> {
    let staged = disk.root.new_staged(Staged::Restore, &volume.name);
    let made = fs::DirBuilder::new().mode(mode).create(&staged);
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
    if is_placed(disk, volume, inode) { remove_all(&disk.driver.path(volume)) } else { Ok(()) }
}

fn is_placed(disk: OnDisk<'_>, volume: &str, inode: u64) -> bool {
    let folder = disk.driver.path(volume);
    fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.ino() == inode)
}

/// Undoes the restores that a crash interrupted after step 2, and returns a sentence on each. The
/// files are only moved away here: the start empties the staging folder next. A restore that can't
/// be undone stays marked, so that its volume is not listed.
pub(super) fn undo_unfinished(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
) -> Vec<String> {
    let of_vfs = volumes.values().filter(|volume| volume.is_ours());
    let unfinished: Vec<_> = of_vfs.filter_map(|v| Some((v.clone(), v.restoring?))).collect();
    let mut sentences = Vec::new();
    for (volume, inode) in unfinished {
        let name = volume.name.clone();
        sentences.push(match undo_one(disk, volumes, volume, inode) {
            Ok(()) => format!(
                "the making of volume \"{name}\" was not finished, it was undone; restore or create it again"
            ),
            Err(error) => format!(
                "the making of volume \"{name}\" was not finished and can't be undone, so the volume is not listed: {error}"
            ),
        });
    }
    sentences
}

fn undo_one(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    volume: VolumeState,
    inode: u64,
) -> Result<()> {
    let name = volume.name.clone();
    if is_placed(disk, &name, inode) {
        disk.driver.take_away(&name, &disk.root.new_staged(Staged::Undone, &name))?;
    }
    if volume.forgotten {
        let volume = VolumeState { restoring: None, ..volume };
        disk.state.save(&volume)?;
        volumes.insert(name, volume);
    } else {
        disk.state.remove(&name)?;
        volumes.remove(&name);
    }
    Ok(())
}

/// The error for a new volume whose name an unfinished restore holds that could not be undone.
pub(in crate::daemon) fn left_of_a_restore(disk: OnDisk<'_>, volume: &str) -> Error {
    refused(format!("Volume {volume} can't be created: the making of it was not finished"))
        .with_hint(format!(
            "remove \"{}\" by hand and start the daemon again, or take another name",
            disk.driver.path(volume).display()
        ))
}

/// Removes the files of a restore that a crash interrupted after step 1. Returns a sentence on it.
pub(super) fn remove_staged(staged: &Path, volume: &str) -> String {
    match remove_all(staged) {
        Ok(()) => format!(
            "the making of volume \"{volume}\" was not finished, its files were removed; restore or create it again"
        ),
        Err(error) => format!(
            "the making of volume \"{volume}\" was not finished; its files stay in \"{}\", restore or create it again: {error}",
            staged.display()
        ),
    }
}
