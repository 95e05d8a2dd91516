//! Volumes that a driver finds by itself, such as the folders of the configuration: they get a state
//! when they are seen first, and keep it while they are away.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::{
    driver::{Docker, DockerVolume, Driver, Drivers, Folders, Found, HostFolder, is_same_mark},
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
        if let Some(made) = known.filter(|known| known.is_ours() || known.restoring.is_some()) {
            return Err(taken(made));
        }
        let fresh = VolumeState::found(name, driver.name(), folder, (new_id(), now));
        changed.push(match known {
            None => fresh,
            Some(known)
                if known.driver == driver.name() && known.folder.as_deref() == Some(*folder) =>
            {
                VolumeState { forgotten: false, mark: None, ..known.clone() }
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
    let is_gone = |volume: &&VolumeState| match volume.driver.as_str() {
        Docker::NAME => drivers.docker.is_off() && volume.restoring.is_none(),
        of => {
            let may_stay = is_bind(volume) && drivers.docker.may_have_bind(&volume.name);
            of == driver.name() && !found.contains_key(volume.name.as_str()) && !may_stay
        }
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
    let left = if made.restoring.is_some() {
        ", whose restore has to be ended first"
    } else if made.forgotten {
        ", which was removed and left its files or snapshots"
    } else {
        ""
    };
    Error::configuration(format!(
        "BKUP_FOLDERS can't name a folder \"{}\": a volume of this daemon has that name{left}",
        made.name
    ))
    .with_hint("choose another name for the folder; nothing was changed")
}

/// The states that change by what Docker's engine has now: new ones, those that are back, and those
/// that are gone. The second is a sentence on each that is not what it was. Pure.
pub(super) fn docker_changes(
    found: &Found,
    known: &BTreeMap<String, VolumeState>,
    now: Timestamp,
) -> (Vec<VolumeState>, Vec<String>) {
    let mut sentences = Vec::new();
    let mut changed = Vec::new();
    for (name, volume) in &found.volumes {
        let fresh = || docker_state(volume, new_id(), now);
        match known.get(name) {
            None => changed.push(fresh()),
            Some(known) if known.driver != Docker::NAME => sentences.push(format!(
                "volume \"{name}\" of Docker is not backed up: this daemon has another volume of that name, of the driver {}",
                known.driver
            )),
            // A restore is filling it, or a start has to end one.
            Some(known) if known.restoring.is_some() => {}
            Some(known) if is_another(known.mark.as_deref(), volume.mark.as_deref()) => {
                sentences.push(format!(
                    "volume \"{name}\" of Docker was made anew: backups of the former one stay, and are no longer pruned with its own"
                ));
                changed.push(VolumeState { snapshots: known.snapshots.clone(), ..fresh() });
            }
            Some(known) => changed.push(VolumeState {
                forgotten: false,
                folder: Some(volume.folder.clone()),
                mark: volume.mark.clone().or_else(|| known.mark.clone()),
                must_be_mounted: volume.must_be_mounted,
                labels: volume.labels.clone(),
                asked_for: volume.asked_for,
                ..known.clone()
            }),
        }
    }
    let is_gone = |volume: &&VolumeState| {
        volume.driver == Docker::NAME
            && volume.restoring.is_none()
            && found.is_whole
            && !found.unclear.contains_key(&volume.name)
            && !found.volumes.contains_key(&volume.name)
    };
    let gone = known.values().filter(is_gone);
    changed.extend(gone.map(|volume| VolumeState { forgotten: true, ..volume.clone() }));
    changed.retain(|volume| known.get(&volume.name) != Some(volume));
    (changed, sentences)
}

/// The mark of a folder of the host that is a volume because a container mounts it.
const BIND: &str = "bind";

fn is_bind(volume: &VolumeState) -> bool {
    volume.driver == Folders::NAME && volume.mark.as_deref() == Some(BIND)
}

/// The folders of the host that are volumes because containers mount them.
pub(super) fn binds(volumes: &[VolumeState]) -> BTreeMap<String, PathBuf> {
    let binds = volumes.iter().filter(|volume| is_bind(volume) && volume.is_listed());
    binds.filter_map(|volume| Some((volume.name.clone(), volume.folder.clone()?))).collect()
}

/// The states that change by what folders of the host containers mount now: new ones, and those that
/// are not wanted any more. One that no container mounts any more stays: a project that is taken
/// down has no containers. Pure.
pub(super) fn bind_changes(
    found: &Found,
    known: &BTreeMap<String, VolumeState>,
    now: Timestamp,
) -> (Vec<VolumeState>, Vec<String>) {
    let mut sentences = Vec::new();
    let mut changed = Vec::new();
    for (name, folder) in &found.binds {
        let path = folder.path.as_path();
        let is_it =
            |volume: &&VolumeState| is_bind(volume) && volume.folder.as_deref() == Some(path);
        // The first container tells the project in the name; a folder that is known keeps its name.
        let named = known.values().filter(is_it).find(|volume| volume.is_listed());
        let name = named.map_or(name, |volume| &volume.name);
        match known.get(name) {
            None => {
                let fresh = VolumeState::found(name, Folders::NAME, path, (new_id(), now));
                let labels = folder.project_labels();
                changed.push(VolumeState { mark: Some(BIND.into()), labels, ..fresh });
            }
            Some(known) if is_it(&known) => {
                // A project that is taken down keeps its folders.
                let mut labels = known.labels.clone();
                labels.extend(folder.project_labels());
                changed.push(VolumeState { forgotten: false, labels, ..known.clone() });
            }
            Some(known) => sentences.push(format!(
                "the folder \"{}\" is not backed up as \"{name}\": this daemon has another volume of that name, of the driver {}",
                path.display(),
                known.driver
            )),
        }
    }
    let is_unwanted = |volume: &&VolumeState| {
        let is_it = |path: &PathBuf| volume.folder.as_ref() == Some(path);
        let is_in = |outer: &HostFolder| {
            let inner = volume.folder.as_ref().filter(|inner| **inner != outer.path);
            inner.is_some_and(|inner| inner.starts_with(&outer.path))
        };
        is_bind(volume) && (found.not_binds.iter().any(is_it) || found.binds.values().any(is_in))
    };
    let unwanted = known.values().filter(is_unwanted);
    changed.extend(unwanted.map(|volume| VolumeState { forgotten: true, ..volume.clone() }));
    changed.retain(|volume| known.get(&volume.name) != Some(volume));
    (changed, sentences)
}

/// The state of a volume of Docker that was not known.
pub(super) fn docker_state(volume: &DockerVolume, id: String, now: Timestamp) -> VolumeState {
    let found = VolumeState::found(&volume.name, Docker::NAME, &volume.folder, (id, now));
    VolumeState {
        mark: volume.mark.clone(),
        must_be_mounted: volume.must_be_mounted,
        labels: volume.labels.clone(),
        asked_for: volume.asked_for,
        ..found
    }
}

/// Whether two marks are of two volumes. What could not be seen tells nothing.
fn is_another(known: Option<&str>, now: Option<&str>) -> bool {
    known.zip(now).is_some_and(|(known, now)| !is_same_mark(known, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker_volume(name: &str, mark: Option<&str>) -> (String, DockerVolume) {
        let volume = DockerVolume {
            name: name.into(),
            folder: format!("/d/{name}/_data").into(),
            must_be_mounted: false,
            mark: mark.map(str::to_owned),
            project: None,
            services: Vec::new(),
            containers: Vec::new(),
            labels: BTreeMap::new(),
            asked_for: false,
        };
        (name.into(), volume)
    }

    /// The states after a look that found these.
    fn look(
        known: &mut BTreeMap<String, VolumeState>,
        found: &[(&str, Option<&str>)],
    ) -> Vec<String> {
        let volumes = found.iter().map(|(name, mark)| docker_volume(name, *mark)).collect();
        let found = Found { volumes, is_whole: true, ..Found::default() };
        let (changed, sentences) = docker_changes(&found, known, Timestamp::UNIX_EPOCH);
        known.extend(changed.into_iter().map(|volume| (volume.name.clone(), volume)));
        sentences
    }

    #[test]
    fn a_volume_of_docker_keeps_its_id_while_it_is_away_and_loses_it_when_it_is_made_anew() {
        let mut known = BTreeMap::new();
        assert!(look(&mut known, &[("db", Some("1-1.0"))]).is_empty());
        let id = known["db"].id();
        // The second look changes nothing, so nothing is written.
        let volumes = [docker_volume("db", Some("1-1.0"))].into();
        let same = Found { volumes, is_whole: true, ..Found::default() };
        assert!(docker_changes(&same, &known, Timestamp::UNIX_EPOCH).0.is_empty());
        look(&mut known, &[]);
        assert!(!known["db"].is_listed());
        // Its folder can't be seen, so nothing says that it is another.
        assert!(look(&mut known, &[("db", None)]).is_empty());
        assert!(known["db"].is_listed() && known["db"].id() == id);
        assert!(look(&mut known, &[("db", Some("1-1.0"))]).is_empty());
        assert_eq!(known["db"].id(), id);
        let sentences = look(&mut known, &[("db", Some("2-5.0"))]);
        assert!(sentences[0].contains("was made anew") && known["db"].id() != id);
    }

    #[test]
    fn what_is_not_known_of_a_volume_of_docker_changes_nothing() {
        let mut known = BTreeMap::new();
        look(&mut known, &[("db", Some("1-1.0"))]);
        let unclear =
            Found { unclear: [("db".into(), None)].into(), is_whole: true, ..Found::default() };
        for found in [unclear, Found::default()] {
            assert!(docker_changes(&found, &known, Timestamp::UNIX_EPOCH).0.is_empty());
        }
    }

    #[test]
    fn a_volume_of_docker_never_takes_the_name_of_another_drivers() {
        let folder = Path::new("/srv/db");
        let state = VolumeState::found("db", "folder", folder, (new_id(), Timestamp::UNIX_EPOCH));
        let mut known = BTreeMap::from([("db".to_owned(), state)]);
        let before = known.clone();
        let sentences = look(&mut known, &[("db", None)]);
        assert!(sentences[0].contains("another volume of that name"), "{sentences:?}");
        assert_eq!(known, before);
    }
}
