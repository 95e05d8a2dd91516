//! What a start finds of who had volumes mounted: the marks of an earlier boot, and those that an older
//! version left.

use std::{collections::BTreeMap, fs, io, path::Path};

use super::{
    mounted::Kept,
    root::Root,
    state::{StateFolder, VolumeState},
};
use crate::clock::boot;

fn read(file: &Path) -> io::Result<Option<Kept>> {
    match fs::read(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(serde_json::from_slice(&read?)?),
    }
}

/// Makes the marks of all volumes those of this boot, and takes over what an older version left. A
/// state that can't be written is so in memory: that stops no start.
pub(super) fn take_over(
    root: &Root,
    states: &StateFolder,
    volumes: &mut BTreeMap<String, VolumeState>,
) {
    let file = root.docker_mounts();
    let kept = read(&file).unwrap_or_else(|error| {
        log::warn!(
            "which containers use which volumes is not known: cannot read \"{}\": {error}",
            file.display()
        );
        None
    });
    let (boot, mut is_written) = (boot(), true);
    for volume in volumes.values_mut() {
        let mounted = volume.mounted.in_this_boot(&volume.name, &boot, kept.as_ref());
        if mounted == volume.mounted {
            continue;
        }
        volume.mounted = mounted;
        if let Err(error) = states.save(volume) {
            log::warn!("the state of volume \"{}\" is not kept: {error}", volume.name);
            is_written = false;
        }
    }
    if is_written && kept.is_some() {
        _ = fs::remove_file(file);
    }
}
