//! The folder of this program's own files.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf};

use super::{given::Source, kind::absolute, settings::BKUP_DATA_DIR, values::Values};
use crate::error::{Error, Result};

/// Reads the data folder. A relative path is accepted from a flag only. Locks are in the folder: a
/// variable that means another folder in each working folder would keep no two runs apart.
pub(super) fn read(
    values: &mut Values,
    environment: &BTreeMap<OsString, OsString>,
    is_root: bool,
) -> Result<PathBuf> {
    if values.text(BKUP_DATA_DIR.row.name).is_none() {
        values.set_default(&BKUP_DATA_DIR, default_folder(environment, is_root)?);
    }
    match values.source(BKUP_DATA_DIR.row.name) {
        Source::Flag(_) => Ok(values.read_with(&BKUP_DATA_DIR, absolute)?.unwrap_or_default()),
        _ => values.require(&BKUP_DATA_DIR),
    }
}

fn default_folder(environment: &BTreeMap<OsString, OsString>, is_root: bool) -> Result<String> {
    if is_root {
        return Ok("/var/lib/convoy-backups".to_owned());
    }
    // Both count only if absolute: the XDG specification says so of XDG_DATA_HOME, and a relative
    // HOME is not a home.
    let folder = |name: &str| {
        environment.get(&OsString::from(name)).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .and_then(|data| data.join("convoy-backups").to_str().map(str::to_owned))
        .ok_or_else(|| {
            Error::configuration(
                "there is no folder for this program's data: HOME is not set to an absolute folder",
            )
            .with_hint("set BKUP_DATA_DIR to a folder that this user can write to")
        })
}
