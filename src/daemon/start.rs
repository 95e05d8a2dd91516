//! What a start cleans up: everything that a crash can leave is either in `staging/`, marked in a state file, or unknown to all
//! state files, and so can be told from what was finished.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Duration,
};

use super::{
    backend::{FolderBackend, write_error},
    files::remove_all,
    state::{StateFolder, VolumeState},
};
use crate::error::{Error, Result};

/// Undoes unfinished restores, finishes unfinished deletes, removes snapshots that were never finished; a sentence on each.
///
/// # Errors
/// Where something can't be read or removed.
pub(crate) fn clean(
    root: &Path,
    state: &StateFolder,
    volumes: &mut BTreeMap<String, VolumeState>,
    host: &str,
) -> Result<Vec<String>> {
    let mut told = Vec::new();
    let half_restored: Vec<_> = volumes.values().filter_map(|v| Some((v.name.clone(), v.restoring?))).collect();
    for (name, inode) in half_restored {
        let folder = root.join("volumes").join(&name);
        if fs::symlink_metadata(&folder).is_ok_and(|metadata| metadata.ino() == inode) {
            remove_all(&folder).map_err(|error| write_error(&folder, &error))?;
        }
        state.remove(&name)?;
        volumes.remove(&name);
        told.push(format!("the restore of volume \"{name}\" was not finished, it was undone; restore it again"));
    }

    let staging = root.join("staging");
    for name in names(&staging)? {
        let path = staging.join(&name);
        // `restore-<volume>-<8 hex digits>` or `deleted-<volume>-<8 hex digits>`
        let volume =
            |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.rsplit_once('-')).map(|(volume, _)| volume);
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
        remove_all(&path).map_err(|error| write_error(&path, &error))?;
    }

    let known: HashSet<_> = volumes.values().flat_map(|v| v.snapshots.values()).map(|snapshot| &snapshot.id).collect();
    let snapshots = root.join("repository").join("snapshots");
    let unknown: Vec<_> = names(&snapshots)?.into_iter().filter(|name| !known.contains(name)).collect();
    for name in &unknown {
        let path = snapshots.join(name);
        remove_all(&path).map_err(|error| write_error(&path, &error))?;
    }
    if !unknown.is_empty() {
        told.push(format!("{} snapshots whose creation or removal was not finished were removed", unknown.len()));
    }
    let left = FolderBackend::new(&root.join("repository"), host).remove_leftovers(Duration::ZERO);
    if left > 0 {
        told.push(format!("{left} half written files were removed from the repository"));
    }
    Ok(told)
}

/// The names in a folder; none where there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let unreadable = |error: io::Error| Error::io(format!("cannot read \"{}\"", folder.display()), &error);
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .map_err(unreadable)?
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).map_err(unreadable))
            .collect(),
    }
}
