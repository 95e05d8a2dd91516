//! Who mounts a volume, and what Docker asks for as the plugin's user.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    super::{mounted::Mounted, state::VolumeState},
    Operations,
};
use crate::{
    convoy::refusal::{containers_have, in_use_by_a_run, no_volume, refused},
    error::Result,
};

/// How long Docker waits for a volume whose files are read or written. Meanwhile it answers nobody
/// who asks for that volume.
const DOCKER_WAITS: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 2000 });

impl Operations {
    /// Unmounts a volume: of the clients of the API or, if none has it, of containers. That is for
    /// containers that went without a word, as when their engine was killed.
    ///
    /// # Errors
    /// If Docker says that a container has it, or does not answer.
    pub(in crate::daemon) fn unmount_volume(&self, name: &str) -> Result<()> {
        let volume = self.volumes.find(name).ok_or_else(|| no_volume(name))?;
        if volume.mounted.has_client() {
            return self.volumes.update(name, |volume| volume.mounted.drop_client());
        }
        if !volume.mounted.has_docker() {
            return Ok(());
        }
        let folder = self.drivers.of(&volume.driver).path(name);
        let having = self.drivers.docker.containers_with(name, &folder).map_err(|error| {
            error.context(format_args!(
                "volume {name} is not unmounted: Docker can't be asked whether containers have it"
            ))
        })?;
        match having {
            Some(having) if !having.is_empty() => return Err(containers_have(name, &having)),
            None if self.drivers.docker.is_used() => log::warn!(
                "the Docker that is asked here does not know volume \"{name}\", so it can't tell whether containers of another one have it"
            ),
            _ => {}
        }
        let mut is_the_same = true;
        self.volumes.update(name, |now| {
            is_the_same = now.mounted == volume.mounted;
            if is_the_same {
                now.mounted.drop_all_docker();
            }
        })?;
        let anew = || refused(format!("volume {name} was mounted just now")).with_hint("try again");
        if is_the_same { Ok(()) } else { Err(anew()) }
    }

    /// Docker unmounts a volume for one container.
    pub(in crate::daemon) fn unmount_for_docker(&self, name: &str, id: &str) -> Result<()> {
        self.volumes.find(name).ok_or_else(|| no_volume(name))?;
        self.volumes.update(name, |volume| volume.mounted.drop_docker(id))
    }

    /// Docker removes a volume: it is forgotten, and its files stay, but for
    /// [`Operations::forget_for_docker`]. Docker does so only if no container has it, so containers that are on record went without a word.
    pub(in crate::daemon) fn remove_for_docker(&self, name: &str) -> Result<()> {
        let forget = || {
            self.volumes.update(name, |volume| volume.mounted.drop_all_docker())?;
            self.forget_for_docker(name)
        };
        let done = self.volumes.exclusively_within(name, DOCKER_WAITS, forget);
        done.unwrap_or_else(|| Err(in_use_by_a_run(name)))
    }

    /// Who has which volume mounted.
    pub(super) fn marks(&self) -> BTreeMap<String, Mounted> {
        let all = self.volumes.all().into_iter();
        all.map(|volume| (volume.name, volume.mounted)).collect()
    }
}

/// The states that change because no container has these volumes any more, by what Docker said. A
/// volume that was mounted or unmounted since, other than `before`, is left as it is.
pub(super) fn no_longer_mounted(
    unused: &BTreeSet<String>,
    before: &BTreeMap<String, Mounted>,
    known: &BTreeMap<String, VolumeState>,
) -> Vec<VolumeState> {
    let known = unused.iter().filter_map(|name| known.get(name));
    let is_gone = |volume: &&VolumeState| {
        volume.mounted.has_docker() && before.get(&volume.name) == Some(&volume.mounted)
    };
    let unmounted = |volume: &VolumeState| {
        let mut volume = volume.clone();
        volume.mounted.drop_all_docker();
        volume
    };
    known.filter(is_gone).map(unmounted).collect()
}
