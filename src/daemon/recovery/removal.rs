//! Removing a volume. Its files are moved away first, then its state is removed, and then its
//! snapshots and files.
//!
//! The next start finishes a removal that a crash interrupted. The opposite order would leave a
//! folder that looks forgotten, and the next volume of that name would get files that should have
//! been deleted.

use std::{collections::BTreeMap, path::Path};

use super::{
    super::{root::Staged, snapshots::LocalRepository, state::VolumeState, volumes::Volumes},
    on_disk::OnDisk,
};
use crate::{
    convoy::refusal::mounted_inside,
    error::{Error, Result},
    files::{mounts_in, real_path, remove_all, sync_folder, write_error},
};

/// Removes a volume with its files and snapshots.
///
/// # Errors
/// If the files can't be moved away or the state can't be removed. The volume is then still there.
/// Anything that can't be removed later is only a warning.
pub(in crate::daemon) fn remove(
    disk: OnDisk<'_>,
    volumes: &Volumes,
    local: &LocalRepository,
    volume: VolumeState,
) -> Result<()> {
    let name = &volume.name;
    let removed = disk.root.new_staged(Staged::Removal, name);
    let moved = disk.driver.take_away(name, &removed)?;
    let synced = sync_folder(&disk.root.staging()).map_err(|error| write_error(&removed, &error));
    if let Err(error) = synced.and_then(|()| volumes.remove(name)) {
        undo(disk, &volume, moved.then_some(&removed));
        return Err(error);
    }
    let ids: Vec<_> = volume.snapshots.into_values().map(|snapshot| snapshot.id).collect();
    if let Err(error) = local.delete(&ids) {
        log::warn!("snapshots of deleted volume {name} stay until the next start: {error}");
    }
    remove_all(&removed).unwrap_or_else(|error| {
        log::warn!(
            "files of the deleted volume \"{name}\" stay in \"{}\" until the next start: {error}",
            removed.display()
        );
    });
    Ok(())
}

/// The mount points at a volume's folder and below it, as this process sees them.
///
/// # Errors
/// If the system does not tell its mounts.
pub(in crate::daemon) fn mounts(folder: &Path) -> Result<Vec<String>> {
    let found = mounts_in(&real_path(folder)).map_err(|error| {
        Error::io(
            format!("cannot see whether anything is mounted in \"{}\"", folder.display()),
            &error,
        )
    })?;
    Ok(found.iter().map(|mount| mount.display().to_string()).collect())
}

/// Refuses to remove a volume in which something is mounted: what is mounted there is not the
/// volume's. A mount that comes later stops [`remove_all`].
pub(in crate::daemon) fn refuse_mounts(disk: OnDisk<'_>, volume: &str) -> Result<()> {
    match mounts(&disk.driver.path(volume))?.as_slice() {
        [] => Ok(()),
        found => Err(mounted_inside(volume, found)),
    }
}

/// Restores the state and the files of a volume whose removal failed.
fn undo(disk: OnDisk<'_>, volume: &VolumeState, moved_to: Option<&Path>) {
    _ = disk.state.save(volume);
    if let Some(removed) = moved_to
        && let Err(error) = disk.driver.put_in_place(removed, &volume.name)
    {
        log::error!(
            "volume {} is without its files, which are in \"{}\" until the next start removes them: {error}",
            volume.name,
            removed.display()
        );
    }
}

/// Finishes an interrupted removal of a volume whose files are in the staging folder, at `removed`.
/// Returns a sentence on it.
pub(super) fn finish(
    disk: OnDisk<'_>,
    volumes: &mut BTreeMap<String, VolumeState>,
    removed: &Path,
    volume: &str,
) -> String {
    // If the volume has files, it is a newer volume of the same name.
    let is_ours = volumes.get(volume).is_some_and(VolumeState::is_ours);
    let of_the_files = is_ours && !disk.driver.path(volume).exists();
    let forgotten = match of_the_files.then(|| disk.state.remove(volume)) {
        Some(Ok(())) => {
            volumes.remove(volume);
            Ok(())
        }
        Some(Err(error)) => Err(error.message),
        None => Ok(()),
    };
    match forgotten.and_then(|()| remove_all(removed).map_err(|error| error.to_string())) {
        Ok(()) => format!("the removal of volume \"{volume}\" was not finished, it is now"),
        Err(why) => format!(
            "the removal of volume \"{volume}\" can't be finished, its files stay in \"{}\": {why}",
            removed.display()
        ),
    }
}
