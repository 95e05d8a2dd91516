//! Volumes of Docker: which there are, making and restoring them, removing them, and what a crash
//! left of a restore.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::{
        backups::StoredUrl,
        driver::{Docker, DockerVolume, Finished, Left, NotFilled},
        found,
        identity::new_id,
        moment::Ask,
        state::VolumeState,
    },
    Operations,
    plugin::no_longer_mounted,
    view::View,
};
use crate::{
    convoy::{
        BackupUrl, NewVolume,
        refusal::{docker_decides, refused},
    },
    engine::Everything,
    error::Result,
    sync::lock,
};

/// How often Docker is asked again, because a volume was made, restored or removed meanwhile.
const MOST_LOOKS: usize = 3;

/// A listing right after the start goes by what Docker told the start.
const START_COUNTS_FOR: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// How the labels begin by which compose knows what is its own.
const OF_COMPOSE: &str = "com.docker.compose.";

fn fits_nothing() -> String {
    "no volume of Docker fits a pattern of BKUP_DOCKER_INCLUDE, so none is backed up".into()
}

/// Whether a restore into this volume of Docker is noted.
fn is_left(volume: &VolumeState) -> bool {
    volume.driver == Docker::NAME && volume.restoring.is_some()
}

impl Operations {
    /// Asks Docker for its volumes, and makes the states fit. Where it does not answer, they stay.
    /// The result has a sentence on each restore that an earlier process left and this one ended.
    pub(super) fn look_at_the_start(&self) -> Vec<String> {
        let (everything, sentences) = self.look_for_volumes();
        *lock(&self.at_the_start) = everything.map(|everything| (Instant::now(), everything));
        sentences
    }

    /// As [`Operations::look_at_the_start`]. The result also has what Docker told, if it did.
    fn look_for_volumes(&self) -> (Option<Arc<Everything>>, Vec<String>) {
        // What ends a restore takes its time, and no other look has to wait for it.
        match self.take_up_volumes() {
            Some((everything, true)) => (Some(everything), self.finish_restores()),
            told => (told.map(|(everything, _)| everything), Vec::new()),
        }
    }

    /// What Docker told, if it did, and whether the states fit that now.
    fn take_up_volumes(&self) -> Option<(Arc<Everything>, bool)> {
        // Two answers could arrive in another order than they were given. While Docker hangs, the
        // first call waits for it, and the others for that one.
        let _looking = lock(&self.looking);
        let mut last = None;
        for _ in 0..MOST_LOOKS {
            let docker = &self.drivers.docker;
            let before = self.marks();
            let asked = docker.ask()?;
            let everything = last.insert(Arc::clone(&asked.everything));
            let now = self.clock.now();
            let told = self.volumes.take_up(|known| match docker.accept(asked) {
                Some(found) => {
                    let (mut changed, mut sentences) = found::docker_changes(&found, known, now);
                    let binds = found::bind_changes(&found, known, now);
                    changed.extend(binds.0);
                    changed.extend(no_longer_mounted(&found.unused, &before, known));
                    sentences.extend(binds.1);
                    sentences.extend(found.fits_nothing.then(fits_nothing));
                    (changed, Some(sentences))
                }
                None => (Vec::new(), None),
            });
            if let Some(sentences) = told {
                docker.tell_once(sentences);
                self.drivers.folders.set_binds(found::binds(&self.volumes.all()));
                return Some((Arc::clone(everything), true));
            }
        }
        last.map(|everything| (everything, false))
    }

    /// Asks Docker for its volumes, unless it is Docker that asks. The result is how it is asked for more.
    pub(super) fn look_for(&self, view: View) -> Ask {
        if view != View::Whole {
            return Ask::Nothing;
        }
        let at_the_start = lock(&self.at_the_start).take();
        if let Some((told, everything)) = at_the_start
            && told.elapsed() < START_COUNTS_FOR
        {
            return Ask::Was(Some(everything));
        }
        let (everything, sentences) = self.look_for_volumes();
        sentences.iter().for_each(|sentence| log::warn!("{sentence}"));
        Ask::was(everything, self.drivers.docker.has_engine())
    }

    /// Ends what a crash left of restores into volumes of Docker.
    fn finish_restores(&self) -> Vec<String> {
        let left = self.volumes.all().into_iter().filter(is_left);
        left.filter_map(|volume| self.finish_restore_of(&volume.name)).collect()
    }

    /// Ends what a crash left of a restore into this volume of Docker, if there is such. A sentence
    /// on it.
    pub(super) fn finish_restore_of(&self, name: &str) -> Option<String> {
        let _doing = self.drivers.docker.begin(name)?;
        let state = self.volumes.find_even_forgotten(name).filter(is_left)?;
        let inode = state.restoring?;
        let what = match self.drivers.docker.finish(&state, inode) {
            Ok(finished) => self.has_finished(state, finished),
            Err(error) => Err(error),
        };
        let begins = format!("the restore of volume \"{name}\" of Docker was not finished");
        Some(match what {
            Ok(what) => format!("{begins}: {what}"),
            Err(error) => format!("{begins}, and can't be ended now: {error}"),
        })
    }

    fn has_finished(&self, state: VolumeState, finished: Finished) -> Result<String> {
        match finished {
            Finished::Whole(mark) => {
                let whole = VolumeState { restoring: None, forgotten: false, mark, ..state };
                self.drivers.docker.has_made_again(&whole);
                self.volumes.insert(whole)?;
                Ok("all its files were in place, so it is complete".into())
            }
            Finished::Undone(left) => {
                let said = match &left {
                    Left::Nothing => "it was removed; restore it again".to_owned(),
                    Left::Stays(why) => format!(
                        "nothing of the backup is in it; the volume of that name stays, because {why}"
                    ),
                };
                self.has_left(state, &left)?;
                Ok(said)
            }
        }
    }

    /// Notes what is left of a volume whose restore was undone. What stays is taken up at the next
    /// look, as what it is then.
    fn has_left(&self, noted: VolumeState, left: &Left) -> Result<()> {
        self.drivers.docker.forget(&noted.name);
        if *left == Left::Nothing && noted.snapshots.is_empty() {
            return self.volumes.remove(&noted.name);
        }
        self.volumes.insert(VolumeState { restoring: None, forgotten: true, ..noted })
    }

    /// Whether a new volume is one of Docker: it is asked for, or was one when it was backed up.
    pub(super) fn is_for_docker(&self, new: &NewVolume) -> Result<bool> {
        match (new.driver.as_deref().filter(|driver| !driver.is_empty()), &new.backup) {
            (Some(driver), _) => Ok(driver == Docker::NAME),
            (None, Some(url)) if self.drivers.docker.is_used() => {
                let destination = url.destination();
                let repository = self.destinations.at(&destination)?;
                let record = repository.recorded(&StoredUrl::of(url, &destination)?)?;
                Ok(record.driver == Docker::NAME)
            }
            _ => Ok(false),
        }
    }

    /// Makes a volume of Docker, empty or from a backup.
    pub(super) fn make_docker_volume(&self, new: &NewVolume) -> Result<VolumeState> {
        let name = new.name.as_str();
        let docker = &self.drivers.docker;
        let _doing = docker.begin(name).ok_or_else(|| {
            refused(format!("volume {name} is being restored or removed")).with_hint("try again")
        })?;
        let made = match &new.backup {
            Some(url) => self.restore_into_docker(name, url)?,
            None => docker.make(name, &Default::default())?,
        };
        let state = self.docker_state(&made);
        docker.has_made(made);
        self.volumes.insert(state.clone())?;
        Ok(state)
    }

    fn restore_into_docker(&self, name: &str, url: &BackupUrl) -> Result<DockerVolume> {
        let destination = url.destination();
        let repository = self.destinations.at(&destination)?;
        let url = StoredUrl::of(url, &destination)?;
        let record = repository.recorded(&url)?;
        let mut labels = record.labels;
        if record.volume.as_str() != name {
            // Else compose would take the copy for its own, and remove it with the project.
            labels.retain(|label, _| !label.starts_with(OF_COMPOSE));
        }
        let former = self.volumes.find_even_forgotten(name);
        let note = |volume: &DockerVolume, inode: u64| {
            let state = self.docker_state(volume);
            self.volumes.insert(VolumeState { restoring: Some(inode), ..state })
        };
        let fill = |folder: &Path| repository.restore(&url, folder, name).map(drop);
        let NotFilled { error, left } =
            match self.drivers.docker.make_filled(name, &labels, note, fill)? {
                Ok(volume) => return Ok(volume),
                Err(not_filled) => not_filled,
            };
        let noted = self.volumes.find_even_forgotten(name).filter(is_left);
        let noted_anew = match (left, noted) {
            (Ok(left @ Left::Stays(_)), noted) => {
                if let Left::Stays(why) = &left {
                    log::warn!("volume \"{name}\" of Docker was made, and stays: {why}");
                }
                noted.map_or(Ok(()), |noted| self.has_left(noted, &left))
            }
            (Ok(Left::Nothing), Some(noted)) => match former {
                Some(former) => self.volumes.insert(former),
                None => self.has_left(noted, &Left::Nothing),
            },
            (Ok(Left::Nothing), None) => Ok(()),
            // It stays noted, for the next look.
            (Err(unknown), _) => {
                log::warn!(
                    "volume \"{name}\" of Docker was made, and it is not known what is left of it: {unknown}"
                );
                Ok(())
            }
        };
        // Why the restore failed is what its caller is told.
        if let Err(unwritten) = noted_anew {
            log::warn!("what is left of the restore of \"{name}\" can't be noted: {unwritten}");
        }
        Err(error)
    }

    /// A new state for a volume. A forgotten one of that name left its snapshots.
    fn docker_state(&self, volume: &DockerVolume) -> VolumeState {
        let former = self.volumes.find_even_forgotten(&volume.name);
        let fresh = found::docker_state(volume, new_id(), self.clock.now());
        VolumeState {
            snapshots: former.map(|former| former.snapshots).unwrap_or_default(),
            ..fresh
        }
    }

    /// Removes a volume of Docker, with its snapshots.
    pub(super) fn remove_docker_volume(
        &self,
        volume: VolumeState,
        only_forget: bool,
    ) -> Result<()> {
        let name = volume.name.clone();
        if only_forget && self.drivers.docker.is_used() {
            return Err(docker_decides(&name));
        }
        if only_forget {
            self.drivers.docker.forget(&name);
            return self.volumes.insert(VolumeState { forgotten: true, ..volume });
        }
        let _doing = self.drivers.docker.begin(&name).ok_or_else(|| {
            refused(format!("volume {name} is being restored or removed")).with_hint("try again")
        })?;
        self.drivers.docker.remove(&volume)?;
        self.drivers.docker.forget(&name);
        self.volumes.remove(&name)?;
        let ids: Vec<_> = volume.snapshots.into_values().map(|snapshot| snapshot.id).collect();
        if let Err(error) = self.local.delete(&ids) {
            log::warn!("snapshots of deleted volume {name} stay until the next start: {error}");
        }
        Ok(())
    }
}
