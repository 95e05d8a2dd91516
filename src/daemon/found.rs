//! Volumes that a driver finds by itself, such as the folders of the configuration: they get a state
//! when they are seen first, and keep it while they are away.

use std::{collections::BTreeMap, path::Path};

use jiff::Timestamp;

use super::{
    driver::{Driver, Drivers},
    identity::new_id,
    state::{StateFolder, VolumeState},
};
use crate::error::{Error, Result};

/// Makes the states fit what the drivers find now. The result has a sentence on each volume that is
/// not what it was.
///
/// # Errors
/// If a name is that of a volume which was made here, or a state can't be written.
pub(super) fn take_up(
    drivers: &Drivers,
    states: &StateFolder,
    volumes: &mut BTreeMap<String, VolumeState>,
    now: Timestamp,
) -> Result<Vec<String>> {
    let driver: &dyn Driver = &drivers.folders;
    let mut sentences = Vec::new();
    let found: BTreeMap<&str, &Path> = driver.found().into_iter().collect();
    let mut changed = Vec::new();
    for (name, folder) in &found {
        let known = volumes.get(*name);
        if let Some(made) = known.filter(|known| known.is_ours()) {
            return Err(taken(made));
        }
        let fresh = VolumeState::found(name, driver.name(), folder, (new_id(), now));
        changed.push(match known {
            None => fresh,
            Some(known) if known.folder.as_deref() == Some(*folder) => {
                VolumeState { forgotten: false, ..known.clone() }
            }
            Some(known) => {
                sentences.push(format!(
                    "volume \"{name}\" is another folder now, \"{}\": backups of the former one stay, and are no longer pruned with its own",
                    folder.display()
                ));
                VolumeState { snapshots: known.snapshots.clone(), ..fresh }
            }
        });
    }
    let is_gone = |volume: &&VolumeState| {
        volume.driver == driver.name() && !found.contains_key(volume.name.as_str())
    };
    let gone = volumes.values().filter(is_gone);
    changed.extend(gone.map(|volume| VolumeState { forgotten: true, ..volume.clone() }));
    for volume in changed {
        if volumes.get(&volume.name) != Some(&volume) {
            states.save(&volume)?;
            volumes.insert(volume.name.clone(), volume);
        }
    }
    Ok(sentences)
}

fn taken(made: &VolumeState) -> Error {
    let left =
        if made.forgotten { ", which was removed and left its files or snapshots" } else { "" };
    Error::configuration(format!(
        "BKUP_FOLDERS can't name a folder \"{}\": a volume of this daemon has that name{left}",
        made.name
    ))
    .with_hint("choose another name for the folder; nothing was changed")
}
