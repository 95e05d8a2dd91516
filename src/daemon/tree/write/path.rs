//! Names and paths of restored files. They can't lead out of the restored folder.

use std::{
    ffi::CString,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustic_core::repofile::Node;
use rustix::{fs::Mode, io::Errno};

use crate::{
    daemon::tree::folder::FOLDER,
    error::{Error, ErrorKind, Result},
    files::write_error,
};

/// A path that is longer than this, in bytes, is opened in steps. The system's limit is 4096 bytes
/// with the terminating zero.
const LONGEST_STEP: usize = 4000;

/// A name that can't lead out of its folder. It is checked because the repository may have been
/// tampered with.
pub(super) fn checked_name(node: &Node, folder: &Path) -> Result<CString> {
    let name = node.name();
    let bytes = name.as_bytes();
    let sane = !bytes.is_empty() && bytes != b"." && bytes != b".." && !bytes.contains(&b'/');
    let for_the_system = || CString::new(name.as_bytes()).ok();
    sane.then(for_the_system).flatten().ok_or_else(|| {
        let message = format!(
            "{:?} in the folder \"{}\" of the backup is no name of a file",
            name,
            folder.display()
        );
        Error::new(ErrorKind::Repository, message)
            .with_hint("the repository is damaged, or was tampered with")
    })
}

/// Opens the restored folder at this path below `root`. The path may have any length. Handles are
/// not kept, because a wide tree has more folders than can be open at a time.
pub(super) fn open_folder(root: &Arc<OwnedFd>, path: &Path) -> Result<Arc<OwnedFd>> {
    let mut folder = Arc::clone(root);
    for step in steps(path) {
        folder = Arc::new(
            rustix::fs::openat(&*folder, &step, FOLDER, Mode::empty()).map_err(failed(path))?,
        );
    }
    Ok(folder)
}

/// A relative path in as few parts as the system accepts.
fn steps(path: &Path) -> Vec<PathBuf> {
    let mut steps: Vec<PathBuf> = Vec::new();
    for name in path {
        match steps.last_mut() {
            Some(step) if step.as_os_str().len() + 1 + name.len() <= LONGEST_STEP => {
                step.push(name)
            }
            _ => steps.push(name.into()),
        }
    }
    steps
}

/// The error for a failed call on a path.
pub(super) fn failed(path: &Path) -> impl FnOnce(Errno) -> Error + '_ {
    move |error| write_error(path, &io::Error::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_opened_in_as_few_steps_as_the_system_takes() {
        assert!(steps(Path::new("")).is_empty());
        assert_eq!(steps(Path::new("dir/deep")), [PathBuf::from("dir/deep")]);
        let long: PathBuf = std::iter::repeat_n("n".repeat(200), 30).collect();
        let steps = steps(&long);
        assert_eq!((steps.len(), steps.iter().collect::<PathBuf>()), (2, long));
        assert!(steps.iter().all(|step| step.as_os_str().len() <= LONGEST_STEP));
    }
}
