//! Files that a snapshot has and the volume's folder has not: dumps. They lie at the top of the volume,
//! and take the place of all that are named so there: what was restored there is no dump of now. They are
//! in no folder of their own, because MariaDB takes each folder for a database.

use std::{
    ffi::{CStr, CString, OsStr},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path},
};

use jiff::Timestamp;

use super::{listing::Listing, stream::Streamed};

/// Their names begin so.
const PREFIX: &str = ".convoy-backups.";

/// A file that is added.
#[derive(Debug)]
pub(in crate::daemon) struct ExtraFile {
    name: CString,
    pub(super) content: Streamed,
    pub(super) modified: Timestamp,
}

impl ExtraFile {
    /// A file with what was kept for it. The name gets a beginning that tells whose it is.
    pub(in crate::daemon) fn new(name: &str, content: Streamed, modified: Timestamp) -> Self {
        let name = CString::new(format!("{PREFIX}{name}")).unwrap_or_default();
        Self { name, content, modified }
    }

    /// The path in the volume.
    pub(in crate::daemon) fn path(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    pub(in crate::daemon) fn bytes(&self) -> u64 {
        self.content.bytes
    }
}

/// The files that are added to a snapshot.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::daemon) struct Extras<'a> {
    pub(in crate::daemon) files: &'a [ExtraFile],
    /// Whether the snapshot has nothing else.
    pub(in crate::daemon) are_all: bool,
}

impl<'a> Extras<'a> {
    /// The names in the volume's folder, with those of the added files.
    pub(super) fn added_to(&self, listing: Listing) -> std::io::Result<Listing> {
        if self.files.is_empty() {
            return Ok(listing);
        }
        let stays = |name: &&CStr| !self.are_all && !is_extra(name.to_bytes());
        let mut names: Vec<CString> = listing.names().filter(stays).map(CStr::to_owned).collect();
        names.extend(self.files.iter().map(|file| file.name.clone()));
        Listing::of(&names)
    }

    /// The added file of this name in the volume's folder.
    pub(super) fn find(&self, name: &CStr) -> Option<&'a ExtraFile> {
        self.files.iter().find(|file| file.name.as_c_str() == name)
    }
}

fn is_extra(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes())
}

/// Whether a path in a volume is one that an added file may have.
pub(in crate::daemon) fn is_extra_path(path: &Path) -> bool {
    let mut parts = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    parts.next().map(OsStr::as_bytes).is_some_and(is_extra) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_at_the_top_of_a_volume_a_name_is_that_of_a_dump() {
        for (path, is) in [
            (".convoy-backups.db.postgres.sql", true),
            ("./.convoy-backups.db.postgres.sql", true),
            ("data/.convoy-backups.db.postgres.sql", false),
            (".convoy-backups.db/file", false),
            (".convoy-backups", false),
            ("", false),
        ] {
            assert_eq!(is_extra_path(Path::new(path)), is, "{path}");
        }
    }
}
