//! What a volume of Convoy's vfs driver has, where its folder can be seen from here (guard 10).
//! Convoy tells nothing of it, so each run remembers what it saw when it took a snapshot.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::run::Guards;
use crate::{
    blocking,
    convoy::{Extent, Snapshot, Volume, source_mounts},
    error::ErrorKind,
    files::count_files,
};

/// How long the look at a folder may take.
const LONGEST_LOOK: Duration = Duration::from_mins(2);

impl Guards {
    /// Adds to a snapshot that this run took what its volume has now. Returns whether that was seen
    /// from here: a daemon may tell it itself, and the folder may not be there.
    pub(super) async fn with_extent_seen(
        &self,
        volume: &Volume,
        snapshot: Snapshot,
    ) -> (Snapshot, bool) {
        let Some((folder, packed)) = folder_and_file(volume, &snapshot) else {
            return (snapshot, false);
        };
        let look = move || Ok(extent_of(&folder, &packed));
        let look = blocking::try_run("looking at the volume's folder", ErrorKind::Io, look);
        let Ok(Ok(Some(extent))) = tokio::time::timeout(LONGEST_LOOK, look).await else {
            log::debug!("the folder of \"{}\" can't be seen from here", volume.name);
            return (snapshot, false);
        };
        let mut known = self.known_sources();
        Arc::make_mut(&mut known).extents.insert(snapshot.name.clone(), extent);
        self.memory().sources = Some(known);
        (self.with_extent_known(snapshot), true)
    }

    /// Adds to a snapshot what its volume had then, if a run saw it and the daemon does not tell.
    pub(super) fn with_extent_known(&self, mut snapshot: Snapshot) -> Snapshot {
        if snapshot.extent().is_unknown()
            && let Some(extent) = self.known_sources().extents.get(&snapshot.name)
        {
            snapshot.set_extent(extent);
        }
        snapshot
    }
}

/// The volume's folder, and the file that the snapshot is packed in, as Convoy's vfs driver tells
/// them.
fn folder_and_file(volume: &Volume, snapshot: &Snapshot) -> Option<(PathBuf, PathBuf)> {
    if volume.driver != "vfs" || !snapshot.extent().is_unknown() {
        return None;
    }
    let folder = volume.driver_info.as_ref()?.get("Path")?;
    Some((folder.into(), snapshot.driver_info.as_ref()?.get("FilePath")?.into()))
}

/// What a folder has, and the size of its packed copy. `None` if they are not both seen: in a
/// container, a folder of the same path may be another one.
fn extent_of(folder: &Path, packed: &Path) -> Option<Extent> {
    let packed = fs::symlink_metadata(packed).ok().filter(fs::Metadata::is_file)?;
    let files = count_files(folder).ok()?;
    Some(Extent {
        files: Some(files),
        bytes: Some(packed.len()),
        mounts: source_mounts(folder, false),
    })
}
