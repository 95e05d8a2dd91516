//! The format of a root's files, as a number. A root that a newer release has changed is refused:
//! what this program does not know, it would misread.
//!
//! Version 0.1.0 knows no numbers. It reads each `.json` in `state/` as the state of a volume, and
//! ends if it can't. So a folder with such a name stops it, and the name is what it tells.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::root::Root;
use crate::{
    engine::Policy,
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
    /// Whether the root was there before Docker's own volumes were backed up. Then they are backed up
    /// only once somebody asks for it. `None`: not decided yet.
    #[serde(default)]
    older_than_docker: Option<bool>,
}

/// Makes the root one of this release, if it is new or an older one's, and keeps 0.1.0 out. This comes
/// before all else that is read or written of a root. The result says which of Docker's own volumes
/// are backed up where no setting does: an upgrade sends nothing to a destination that was not sent
/// before.
///
/// # Errors
/// If a newer release has changed the root, or its files can't be read or written.
pub(super) fn take_over(root: &Root) -> Result<Policy> {
    let known = read(root)?;
    // A start of this release that a crash cut short has left what stops 0.1.0.
    let has = |path: PathBuf| fs::symlink_metadata(path).is_ok();
    let is_there = known.is_some() || (has(root.state()) && !has(root.stops_0_1_0()));
    if let Some(newer) = known.as_ref().filter(|known| known.format > FORMAT) {
        return Err(refused(root, newer));
    }
    root.make_folders()?;
    stop_0_1_0(root)?;
    let decided = known.as_ref().and_then(|known| known.older_than_docker);
    let is_older = decided.unwrap_or(is_there);
    if decided.is_none() || known.is_none_or(|known| known.format != FORMAT) {
        write(root, is_older)?;
    }
    Ok(if is_older { Policy::Labelled } else { Policy::All })
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

fn write(root: &Root, is_older: bool) -> Result<()> {
    let path = root.format();
    let release = env!("CARGO_PKG_VERSION").to_owned();
    let written = Written { format: FORMAT, release, older_than_docker: Some(is_older) };
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
