//! Names and paths of restored files. They can't lead out of the restored folder.

use std::{ffi::CString, io, os::unix::ffi::OsStrExt as _, path::Path};

use rustic_core::repofile::Node;
use rustix::io::Errno;

use crate::{
    daemon::tree::folder_handles::TreeFolder,
    error::{Error, ErrorKind, Result},
    files::write_error,
};

/// A name that can't lead out of its folder. It is checked because the repository may have been
/// tampered with.
pub(super) fn checked_name(node: &Node, folder: &TreeFolder) -> Result<CString> {
    let name = node.name();
    let bytes = name.as_bytes();
    let sane = !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/');
    let for_the_system = || CString::new(name.as_bytes()).ok();
    sane.then(for_the_system).flatten().ok_or_else(|| {
        let message = format!(
            "{:?} in the folder \"{}\" of the backup is no name of a file",
            name,
            folder.path().display()
        );
        Error::new(ErrorKind::Repository, message)
            .with_hint("the repository is damaged, or was tampered with")
    })
}

/// The error for a failed call on a path.
pub(super) fn failed(path: &Path) -> impl FnOnce(Errno) -> Error + '_ {
    move |error| write_error(path, &io::Error::from(error))
}
