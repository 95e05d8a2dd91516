//! Asking the engine for its volumes. An answer can be late: what this daemon made, restored or
//! removed meanwhile must not be undone by it. And an engine can hang: then all wait for it once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    known::{Docker, Seen},
    sights::{See, see},
    volume::{DockerVolume, Host},
};
use crate::{
    engine::{Container, ENABLE_LABEL, EngineVolume, LeftOut},
    error::Error,
    sync::lock,
};

/// A list of the engine's volumes that was asked for.
#[derive(Debug)]
pub(in crate::daemon) struct Asked {
    found: Found,
    told: Vec<String>,
    /// How many works had ended when it was asked for.
    ended: u64,
}

/// The volumes that are to be backed up, as the engine has them now.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Found {
    pub(in crate::daemon) volumes: BTreeMap<String, DockerVolume>,
    /// Volumes of which nothing is known now: their states stay as they are.
    pub(in crate::daemon) unclear: BTreeSet<String>,
    /// Whether all others are gone. Else one that can't be read may be any of them.
    pub(in crate::daemon) is_whole: bool,
}

impl Docker {
    /// Asks the engine for its volumes. `None` if there is no engine, or it did not answer: then
    /// nothing is known of what came or went.
    pub(in crate::daemon) fn ask(&self) -> Option<Asked> {
        let engine = self.engine.as_ref()?;
        let begun = Instant::now();
        if lock(&self.silent_until).is_some_and(|until| begun < until) {
            return None;
        }
        let ended = lock(&self.doings).ended;
        let (volumes, containers) = match engine.everything(self.patience.list) {
            Ok(answers) => answers,
            Err(error) => {
                if begun.elapsed() >= self.patience.list / 4 {
                    *lock(&self.silent_until) = Some(Instant::now() + self.patience.again);
                }
                self.was_not_asked(&error);
                return None;
            }
        };
        let (mut found, mut told) = (Found { is_whole: true, ..Found::default() }, Vec::new());
        for odd in volumes.odd {
            let shown = odd.name.as_deref().unwrap_or("of no name");
            told.push(format!(
                "volume \"{shown}\" of Docker is not backed up: what Docker tells of it makes no sense: {}",
                odd.why
            ));
            found.is_whole &= odd.name.is_some();
            found.unclear.extend(odd.name);
        }
        let host = Host::look(self.is_in_container);
        for volume in &volumes.known {
            match self.wanted(volume, &containers.known, &host) {
                Ok(wanted) => _ = found.volumes.insert(wanted.name.clone(), wanted),
                Err(why) => told.extend(why.map(|why| not_backed_up(&volume.name, &why))),
            }
        }
        self.see(&mut found.volumes, &mut told);
        Some(Asked { found, told, ended })
    }

    /// Takes the answer as what the engine has. `None` if a volume was made, restored or removed
    /// since it was asked, so that it must be asked again.
    pub(in crate::daemon) fn accept(&self, asked: Asked) -> Option<Found> {
        let Asked { mut found, told, ended } = asked;
        let doings = lock(&self.doings);
        if doings.ended != ended {
            return None;
        }
        found.unclear.extend(doings.names.iter().cloned());
        let mut seen = lock(&self.seen);
        for name in &found.unclear {
            found.volumes.remove(name);
        }
        let mut volumes = found.volumes.clone();
        let kept = |(name, _): &(String, DockerVolume)| {
            found.unclear.contains(name) || (!found.is_whole && !found.volumes.contains_key(name))
        };
        volumes.extend(std::mem::take(&mut seen.volumes).into_iter().filter(kept));
        for sentence in told.iter().filter(|sentence| !seen.told.contains(sentence)) {
            log::warn!("{sentence}");
        }
        *seen = Seen { volumes, problem: None, told };
        Some(found)
    }

    fn was_not_asked(&self, error: &Error) {
        let problem = format!("Docker was not asked for its volumes: {error}");
        let mut seen = lock(&self.seen);
        if seen.problem.as_ref() != Some(&problem) {
            log::warn!("{problem}");
        }
        seen.problem = Some(problem);
    }

    /// A volume, if it is to be backed up; else why not, where that needs a word.
    fn wanted(
        &self,
        volume: &EngineVolume,
        containers: &[Container],
        host: &Host,
    ) -> Result<DockerVolume, Option<String>> {
        match self.selection.leaves_out(volume, containers) {
            Some(LeftOut::BadLabel(value)) => {
                return Err(Some(format!(
                    "its label {ENABLE_LABEL}=\"{value}\" must be true or false"
                )));
            }
            Some(_) => return Err(None),
            None => {}
        }
        crate::convoy::Name::volume(&volume.name).map_err(|error| Some(error.to_string()))?;
        DockerVolume::of(volume, containers, host).map_err(Some)
    }

    /// Looks at the folders: what marks them, and which have our own files in them or around them.
    fn see(&self, volumes: &mut BTreeMap<String, DockerVolume>, told: &mut Vec<String>) {
        let mut seen = see(volumes.values(), &self.own);
        volumes.retain(|name, volume| match seen.remove(name) {
            Some(See::HasOurs) => false,
            Some(See::IsIn(own)) => {
                let why = format!("its folder is in \"{}\", this program's own", own.display());
                told.push(not_backed_up(name, &why));
                false
            }
            Some(See::Folder { mark }) => {
                if volume.base().is_some() {
                    volume.mark = mark;
                }
                true
            }
            None => true,
        });
    }
}

fn not_backed_up(name: &str, why: &str) -> String {
    format!("volume \"{name}\" of Docker is not backed up: {why}")
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use serde_json::json;

    use super::*;
    use crate::{
        daemon::{DockerOptions, Patience},
        support::engine::FakeEngine,
    };

    fn docker(fake: &FakeEngine, patience: Patience) -> Docker {
        let socket = Some(fake.socket.clone());
        Docker::new(DockerOptions { socket, patience, ..DockerOptions::default() })
    }

    #[test]
    fn a_list_from_before_a_volume_was_made_restored_or_removed_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeEngine::start(folder.path());
        for name in ["one", "two"] {
            fake.volume(name, &json!(null), &json!(null));
        }
        let docker = docker(&fake, Patience::default());
        let early = docker.ask().unwrap();
        let doing = docker.begin("two").unwrap();
        assert!(docker.begin("two").is_none() && docker.begin("three").is_some());
        assert!(docker.accept(early).is_none(), "\"three\" ended meanwhile");
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert!(found.unclear.contains("two") && !found.volumes.contains_key("two"));
        assert!(docker.seen("one").is_some() && docker.seen("two").is_none());
        let during = docker.ask().unwrap();
        drop(doing);
        assert!(docker.accept(during).is_none());
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert!(found.unclear.is_empty() && found.volumes.contains_key("two"));
    }

    #[test]
    fn an_engine_that_hangs_is_not_asked_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeEngine::start(folder.path());
        let again = Duration::from_secs(3600);
        let docker = docker(&fake, Patience { list: Duration::from_millis(40), again });
        fake.hang();
        assert!(docker.ask().is_none() && docker.ask().is_none());
        assert_eq!(fake.with(|contents| contents.requests.len()), 1);
    }

    #[test]
    fn what_makes_no_sense_hides_no_other_volume_and_takes_none_away() {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeEngine::start(folder.path());
        for name in ["one", "two"] {
            fake.volume(name, &json!(null), &json!(null));
        }
        let docker = docker(&fake, Patience::default());
        docker.accept(docker.ask().unwrap()).unwrap();
        fake.with(|contents| {
            contents.volumes.get_mut("two").unwrap()["Labels"] = json!([]);
        });
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert!(found.unclear.contains("two") && found.volumes.contains_key("one"));
        assert!(docker.seen("two").is_some(), "what was known of it stays");
        fake.with(|contents| contents.volumes.insert("two".into(), json!({ "Name": null })));
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert!(!found.is_whole && docker.seen("two").is_some());
    }

    #[test]
    fn a_volume_with_our_own_files_in_it_or_around_it_is_left_out_wherever_its_folder_is() {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeEngine::start(folder.path());
        let bind = |device: &Path| json!({ "type": "none", "o": "bind", "device": device });
        let own = folder.path().join("srv/own");
        std::fs::create_dir_all(own.join("deep")).unwrap();
        fake.volume("around", &json!(null), &bind(&folder.path().join("srv")));
        fake.volume("inside", &json!(null), &bind(&own.join("deep")));
        std::fs::create_dir_all(folder.path().join("other")).unwrap();
        fake.volume("beside", &json!(null), &bind(&folder.path().join("other")));
        let socket = Some(fake.socket.clone());
        let docker =
            Docker::new(DockerOptions { socket, own: vec![own], ..DockerOptions::default() });
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert_eq!(found.volumes.into_keys().collect::<Vec<_>>(), ["beside"]);
    }
}
