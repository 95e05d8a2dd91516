//! What is left out of a folder of a volume: by patterns, by a file that marks the folder, or because it is
//! on another file system.

use std::{
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::Read as _,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path},
};

use rustix::fs::AtFlags;

use super::{folder_handles::OpenedFolder, open::open_file};
use crate::exclude::{Marker, VolumeExcludes};

/// What is left out of one folder.
pub(in crate::daemon) struct LeftOut<'a> {
    excludes: &'a VolumeExcludes,
    /// The names in the folder's path.
    path: Vec<&'a CStr>,
    /// All that stays in a folder whose content is left out.
    stays: Option<Vec<CString>>,
}

impl<'a> LeftOut<'a> {
    /// What is left out of a folder that was opened.
    pub(in crate::daemon) fn of(excludes: &'a VolumeExcludes, opened: &'a OpenedFolder) -> Self {
        let OpenedFolder { folder, handle, stat } = opened;
        let path = if excludes.has_patterns() { folder.names() } else { Vec::new() };
        // A mount is kept as an empty folder, as restic does.
        let is_other = excludes.one_file_system && folder.top_device() != stat.st_dev;
        // Any program that writes to the volume could have all of it left out.
        let is_top = excludes.markers.is_empty() || folder.names().is_empty();
        let markers = excludes.markers.iter().filter(|_| !is_top);
        let markers: Vec<_> = markers.filter_map(|marker| is_marked(handle, marker)).collect();
        let stays = match is_other {
            true => Some(Vec::new()),
            false => Some(markers).filter(|markers| !markers.is_empty()),
        };
        Self { excludes, path, stays }
    }

    /// Whether what has this name in the folder is left out.
    pub(in crate::daemon) fn has(&self, name: &CStr) -> bool {
        if self.stays.as_ref().is_some_and(|stays| !stays.iter().any(|it| it.as_c_str() == name)) {
            return true;
        }
        let names = self.path.iter().map(|name| name.to_bytes());
        self.excludes.has_patterns()
            && self.excludes.leaves_out(&names.chain([name.to_bytes()]).collect::<Vec<_>>())
    }

    /// All that stays in the folder, if its content is left out for another reason than a pattern.
    pub(in crate::daemon) fn stays(self) -> Option<Vec<CString>> {
        self.stays
    }
}

/// Whether patterns leave out this path in a volume, or a folder above.
pub(in crate::daemon) fn is_left_out(excludes: &VolumeExcludes, path: &Path) -> bool {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(OsStr::as_bytes(name)),
        _ => None,
    });
    let names: Vec<_> = names.collect();
    (1..=names.len()).any(|end| excludes.leaves_out(&names[..end]))
}

/// The marker's name, if it is in the folder.
fn is_marked(folder: &OwnedFd, marker: &Marker) -> Option<CString> {
    let name = CString::new(marker.name.as_str()).ok()?;
    if marker.header.is_empty() {
        return rustix::fs::statat(folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok().map(|_| name);
    }
    let mut begins = vec![0; marker.header.len()];
    let mut file = File::from(open_file(folder, &name).ok()?);
    let is_it = file.read_exact(&mut begins).is_ok() && begins == marker.header.as_bytes();
    is_it.then_some(name)
}
