//! What a start cleans up: everything that a crash can leave is either in `volumes/.staging/`,
//! marked in a state file, or unknown to all state files, and so can be told from what was
//! finished.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use rustic_core::repofile::{SnapshotFile, SnapshotId};

use super::{
    repository::Backend,
    snapshots::LocalRepository,
    state::{StateFolder, VolumeState},
};
use crate::{
    error::{Error, Result},
    files::{remove_all, write_error},
    text::counted,
};

/// Where volumes are while they are restored or removed. It is beside them, because `volumes` may
/// be on a disk of its own, and folders are only renamed. The name can't be a volume's.
pub(crate) fn staging(root: &Path) -> PathBuf {
    root.join("volumes").join(".staging")
}

/// Undoes unfinished restores, finishes unfinished deletes, removes snapshots that were never
/// finished; a sentence on each.
///
/// # Errors
/// Where something can't be read or removed.
pub(crate) fn clean(
    root: &Path,
    state: &StateFolder,
    volumes: &mut BTreeMap<String, VolumeState>,
    local: &LocalRepository,
    host: &str,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let half_restored: Vec<_> =
        volumes.values().filter_map(|v| Some((v.name.clone(), v.restoring?))).collect();
    for (name, inode) in half_restored {
        let folder = root.join("volumes").join(&name);
        if fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.ino() == inode) {
            remove_all(&folder).map_err(|error| write_error(&folder, &error))?;
        }
        match volumes.remove(&name) {
            Some(volume) if volume.forgotten => {
                let volume = VolumeState { restoring: None, ..volume };
                state.save(&volume)?;
                volumes.insert(name.clone(), volume);
            }
            _ => state.remove(&name)?,
        }
        told.push(format!(
            "the restore of volume \"{name}\" was not finished, it was undone; restore it again"
        ));
    }

    let staging = staging(root);
    for name in names(&staging)? {
        let path = staging.join(&name);
        // `restore-<volume>-<8 hex digits>` or `deleted-<volume>-<8 hex digits>`
        let volume = |prefix: &str| {
            name.strip_prefix(prefix)
                .and_then(|rest| rest.rsplit_once('-'))
                .map(|(volume, _)| volume)
        };
        if let Some(volume) = volume("restore-") {
            told.push(format!(
                "a restore of volume \"{volume}\" was not finished, its files were removed; restore it again"
            ));
        } else if let Some(volume) = volume("deleted-") {
            if !root.join("volumes").join(volume).exists() && volumes.remove(volume).is_some() {
                state.remove(volume)?;
            }
            told.push(format!("the removal of volume \"{volume}\" was not finished, it is now"));
        }
        // It takes room, but is in nobody's way.
        if let Err(error) = remove_all(&path) {
            told.push(format!(
                "\"{}\" can't be removed, remove it by hand: {error}",
                path.display()
            ));
        }
    }

    let nothing_left = |volume: &&VolumeState| {
        let folder = root.join("volumes").join(&volume.name);
        volume.forgotten && volume.snapshots.is_empty() && fs::symlink_metadata(&folder).is_err()
    };
    for name in
        volumes.values().filter(nothing_left).map(|volume| volume.name.clone()).collect::<Vec<_>>()
    {
        state.remove(&name)?;
        volumes.remove(&name);
    }

    let known: HashSet<_> =
        volumes.values().flat_map(|v| v.snapshots.values()).map(|s| s.id.as_str()).collect();
    remove_unknown_snapshots(local, &known, &mut told)?;
    let left = Backend::in_folder(&root.join("repository"), host).remove_leftovers(Duration::ZERO);
    if left > 0 {
        let files = counted(left, "half written file was", "half written files were");
        told.push(format!("{files} removed from the repository"));
    }
    Ok(told)
}

/// Removes snapshots whose creation or removal was not finished: of no volume, and tagged as this
/// daemon tags what it takes. All else stays, backups above all: the repository may have been named
/// as a destination by mistake.
fn remove_unknown_snapshots(
    local: &LocalRepository,
    known: &HashSet<&str>,
    told: &mut Vec<String>,
) -> Result<()> {
    let folder = local.folder().join("snapshots");
    let of_no_volume = |name: &String| !known.contains(name.as_str());
    let ids = names(&folder)?.into_iter().filter(of_no_volume).filter_map(|name| name.parse().ok());
    let unknown: Vec<SnapshotId> = ids.collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let repository = match local.open().and_then(|repository| repository.plain()) {
        Ok(repository) => repository,
        Err(error) => {
            told.push(format!(
                "{} of no volume left alone: {error}",
                counted(unknown.len(), "snapshot was", "snapshots were")
            ));
            return Ok(());
        }
    };
    let (mut removed, mut others) = (0, 0);
    for id in unknown {
        let path = folder.join(id.to_hex().as_str());
        match repository.get_file::<SnapshotFile>(&id) {
            Ok(file) if is_unfinished(&file) => match remove_all(&path) {
                Ok(()) => removed += 1,
                Err(error) => told
                    .push(format!("an unfinished snapshot stays: {}", write_error(&path, &error))),
            },
            Ok(_) => others += 1,
            Err(_) => told.push(format!(
                "\"{}\" is of no volume and can't be read; it was left alone",
                path.display()
            )),
        }
    }
    if removed > 0 {
        let snapshots = counted(removed, "unfinished snapshot was", "unfinished snapshots were");
        told.push(format!("{snapshots} removed"));
    }
    if others > 0 {
        told.push(format!(
            "\"{}\" has {} of no volume (a backup, perhaps), left alone: this is no place for backups",
            local.folder().display(),
            counted(others, "snapshot", "snapshots")
        ));
    }
    Ok(())
}

fn is_unfinished(file: &SnapshotFile) -> bool {
    let tagged = |name: &str| file.tags.iter().any(|tag| tag.starts_with(name));
    tagged("snapshot=") && !tagged("backup=")
}

/// The names in a folder; none where there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let unreadable =
        |error: io::Error| Error::io(format!("cannot read \"{}\"", folder.display()), &error);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(unreadable)?
            .map(|entry| {
                entry
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .map_err(unreadable)
            })
            .collect(),
    }
}
