//! The format of a root's files, as a number. A root that a newer release has changed is refused:
//! what this program does not know, it would misread.
//!
//! Version 0.1.0 knows no numbers. It reads each `.json` in `state/` as the state of a volume, and
//! ends if it can't. So a folder with such a name stops it, and the name is what it tells.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::root::Root;
use crate::{
    error::{Error, Result},
    files::{sync_folder, write_error, write_whole},
};

/// The format that this program reads and writes. Version 0.1.0 had the first.
const FORMAT: usize = 2;

/// The file `format.json` of a root. A root of version 0.1.0 has none.
#[derive(Serialize, Deserialize)]
struct Written {
    format: usize,
    /// The release that wrote this: it and newer ones know the format.
    release: String,
}

/// Makes the root one of this release, if it is new or an older one's, and keeps 0.1.0 out. This comes
/// before all else that is read or written of a root.
///
/// # Errors
/// If a newer release has changed the root, or its files can't be read or written.
pub(super) fn take_over(root: &Root) -> Result<()> {
    let known = read(root)?;
    if let Some(newer) = known.as_ref().filter(|known| known.format > FORMAT) {
        return Err(refused(root, newer));
    }
    root.make_folders()?;
    stop_0_1_0(root)?;
    match known {
        Some(known) if known.format == FORMAT => Ok(()),
        _ => write(root),
    }
}

fn refused(root: &Root, newer: &Written) -> Error {
    Error::configuration(format!(
        "a newer release has changed \"{}\": its files are of format {}, and this program ({}) knows formats up to {FORMAT}",
        root.path().display(),
        newer.format,
        env!("CARGO_PKG_VERSION"),
    ))
    .with_hint(format!(
        "install convoy-backups {} or newer; nothing was changed",
        newer.release
    ))
}

fn read(root: &Root) -> Result<Option<Written>> {
    let path = root.format();
    let content = match fs::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("cannot read \"{}\"", path.display()), &error)),
    };
    serde_json::from_slice(&content).map(Some).map_err(|error| {
        Error::configuration(format!("\"{}\" can't be read: {error}", path.display())).with_hint(
            "put it back from a copy; if no newer release has used this folder, remove the file",
        )
    })
}

fn write(root: &Root) -> Result<()> {
    let path = root.format();
    let written = Written { format: FORMAT, release: env!("CARGO_PKG_VERSION").to_owned() };
    let content =
        serde_json::to_vec_pretty(&written).map_err(|error| Error::internal(error.to_string()))?;
    write_whole(&path, &content).map_err(|error| write_error(&path, &error))
}

fn stop_0_1_0(root: &Root) -> Result<()> {
    let path = root.stops_0_1_0();
    match fs::create_dir(&path).and_then(|()| sync_folder(&root.state())) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(write_error(&path, &error))
        }
        _ => Ok(()),
    }
}
