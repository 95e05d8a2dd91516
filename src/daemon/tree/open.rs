//! Opening the files and folders of a volume.

use std::path::Path;

pub(in crate::daemon) use crate::files::{open_at, open_file};

/// Converts `/<volume>/a/b` to the path in the volume, `a/b`, which an operator knows.
pub(in crate::daemon) fn path_in_volume(shown: &Path) -> &Path {
    let mut parts = shown.components();
    parts.next();
    parts.next();
    parts.as_path()
}
