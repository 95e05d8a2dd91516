//! What `doctor` says of a folder: whether it can be written, and how much room it has.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use super::check::{Check, failed, ok, warning};
use crate::{daemon::spool_room, units::format_size};

/// Less free space than this is a warning, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;

/// A spool with less room is of little use, in bytes.
const LITTLE_SPOOL: u64 = 64 << 20;

/// Checks a folder of this program: it exists or can be made, is writable, and has space left.
pub(super) fn folder(what: &'static str, path: &Path, hint: &str) -> Vec<Check> {
    if let Err(error) = std::fs::create_dir_all(path) {
        return vec![failed(what, format!("\"{}\" can't be made: {error}", path.display()), hint)];
    }
    match tempfile_in(path) {
        Ok(()) => {
            vec![ok(what, format!("\"{}\" can be written", path.display())), space(what, path)]
        }
        Err(error) => {
            vec![failed(what, format!("\"{}\" can't be written: {error}", path.display()), hint)]
        }
    }
}

/// Warns of a built-in daemon whose volumes others than their owner can get at.
pub(super) fn entered_by_others(root: &Path) -> Option<Check> {
    let is_open = |path: &Path| path.metadata().is_ok_and(|found| found.mode() & 0o011 != 0);
    let volumes = root.join("volumes");
    (is_open(root) && is_open(&volumes)).then(|| {
        let found = format!(
            "others can enter \"{}\", and run what containers put there",
            volumes.display()
        );
        warning("volumes' folder", found, format!("chmod 700 \"{}\"", volumes.display()))
    })
}

/// Tries to make a file in a folder. The file is removed at once.
pub(super) fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".convoy-backups-doctor-{}", std::process::id()));
    std::fs::File::create_new(&path)?;
    std::fs::remove_file(&path)
}

/// Shows where packs wait for a bucket, and how much room there is; nothing if `most` is 0.
pub(super) fn spool(root: &Path, most: u64) -> Option<Check> {
    let (folder, room) = spool_room(root, most);
    let shown = folder.display();
    let check = match room {
        Some(room) if room >= LITTLE_SPOOL => {
            let found = format!("\"{shown}\": {} may wait to be uploaded", format_size(room));
            ok("spool", found)
        }
        Some(room) => warning(
            "spool",
            format!("\"{shown}\": only {} may wait to be uploaded", format_size(room)),
            "make room, or reading waits for the upload; BKUP_SPOOL_MAX=0 turns the spool off",
        ),
        None => {
            warning("spool", format!("the room at \"{shown}\" is not known"), "look with \"df\"")
        }
    };
    (most > 0).then_some(check)
}

pub(super) fn space(what: &'static str, path: &Path) -> Check {
    match rustix::fs::statvfs(path) {
        Ok(system) => {
            let free = system.f_bavail.saturating_mul(system.f_frsize);
            let found = format!("{} free at \"{}\"", format_size(free), path.display());
            if free < LITTLE_SPACE {
                warning(what, found, "make room: a snapshot needs space for what changed")
            } else {
                ok(what, found)
            }
        }
        Err(error) => warning(
            what,
            format!("free space at \"{}\" is not known: {error}", path.display()),
            "look with \"df\"",
        ),
    }
}
