//! Asking the engine for its volumes. An answer can be late: what this daemon made, restored or
//! removed meanwhile must not be undone by it. And an engine can hang: then all wait for it once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use super::{
    host_folders::{HostFolder, host_folders},
    known::{Docker, Having, Seen},
    sights::{See, see},
    volume::{DockerVolume, Host, folder_of, is_of_folder},
};
use crate::{
    convoy::{NotBackedUp, NotBackedUpKind as Kind},
    engine::{
        BINDS_LABEL, Container, ENABLE_LABEL, EngineVolume, Everything, LeftOut, Own,
        asked_for_by_containers,
    },
    error::Error,
    sync::lock,
};

/// A list of the engine's volumes that was asked for.
#[derive(Debug)]
pub(in crate::daemon) struct Asked {
    found: Found,
    left_out: Vec<NotBackedUp>,
    /// What the engine told.
    pub(in crate::daemon) everything: Arc<Everything>,
    /// How many works had ended when it was asked for.
    ended: u64,
}

/// The volumes that are to be backed up, as the engine has them now.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Found {
    pub(in crate::daemon) volumes: BTreeMap<String, DockerVolume>,
    /// Volumes of which it can't be told now whether they are to be backed up, or of which nothing is
    /// known: their states stay as they are. With what is wrong, for people, if anything is.
    pub(in crate::daemon) unclear: BTreeMap<String, Option<String>>,
    /// Whether all others are gone. Else one that can't be read may be any of them.
    pub(in crate::daemon) is_whole: bool,
    /// The folders of the host that containers mount and that are to be backed up, by name.
    pub(in crate::daemon) binds: BTreeMap<String, HostFolder>,
    /// The paths of those that are not to be.
    pub(in crate::daemon) not_binds: Vec<PathBuf>,
    /// The volumes that the engine has of this daemon as its plugin, and no container has.
    pub(in crate::daemon) unused: BTreeSet<String>,
    /// The containers that have volumes of this daemon's own.
    pub(in crate::daemon) having: Having,
    /// Whether nothing that the engine has fits the patterns for what is backed up.
    pub(in crate::daemon) fits_nothing: bool,
}

impl Docker {
    /// Asks the engine for its volumes. `None` if there is no engine, or it did not answer: then
    /// nothing is known of what came or went.
    pub(in crate::daemon) fn ask(&self) -> Option<Asked> {
        let engine = self.engine.as_ref()?;
        if self.is_quietly_away() {
            return None;
        }
        let begun = Instant::now();
        if lock(&self.silent_until).is_some_and(|until| begun < until) {
            return None;
        }
        let ended = lock(&self.doings).ended;
        let everything = match engine.everything(self.patience.list) {
            Ok(everything) => Arc::new(everything),
            Err(error) => {
                if begun.elapsed() >= self.patience.list / 4 {
                    *lock(&self.silent_until) = Some(Instant::now() + self.patience.again);
                }
                self.was_not_asked(&error);
                return None;
            }
        };
        let Everything { volumes, containers } = &*everything;
        let mut found = Found { is_whole: true, ..Found::default() };
        found.having = self.having(&volumes.known, &containers.known);
        // A container that can't be read may have any of them.
        if containers.odd.is_empty() {
            let of_plugin = volumes.known.iter().filter(|volume| self.is_of_plugin(volume));
            let names = of_plugin.map(|volume| &volume.name);
            let has = |name: &String| containers.known.iter().any(|having| having.uses(name));
            found.unused = names.filter(|name| !has(name)).cloned().collect();
        }
        let mut left_out = Vec::new();
        for odd in &volumes.odd {
            let shown = odd.name.clone().unwrap_or_else(|| "of no name".into());
            let why = format!("what Docker tells of it makes no sense: {}", odd.why);
            left_out.push(wrong(shown, why.clone()));
            found.is_whole &= odd.name.is_some();
            found.unclear.extend(odd.name.clone().map(|name| (name, Some(why))));
        }
        let host = Host::look(self.is_in_container, &volumes.known);
        let users = |volume: &str| {
            let users = containers.known.iter().filter(|container| container.uses(volume));
            users.map(|container| container.name().to_owned()).collect()
        };
        for volume in &volumes.known {
            match self.wanted(volume, &containers.known, &host) {
                Ok(wanted) => _ = found.volumes.insert(wanted.name.clone(), wanted),
                Err(Some((kind, why))) => {
                    if kind == Kind::Wrong {
                        found.unclear.insert(volume.name.clone(), Some(why.clone()));
                    }
                    let (name, containers) = (volume.name.clone(), users(&volume.name));
                    left_out.push(NotBackedUp { kind, name, why, containers });
                }
                Err(None) => {}
            }
        }
        self.see(&mut found, &mut left_out);
        self.leave_out_unseen(&mut found, &mut left_out);
        self.sort_folders(&volumes.known, &containers.known, &host, (&mut found, &mut left_out));
        let names = volumes.known.iter().map(|volume| volume.name.as_str());
        let names = names.chain(found.binds.keys().map(String::as_str));
        found.fits_nothing = self.selection.includes_none(names);
        left_out.sort();
        Some(Asked { found, left_out, everything, ended })
    }

    /// Takes the answer as what the engine has. `None` if a volume was made, restored or removed
    /// since it was asked, so that it must be asked again.
    pub(in crate::daemon) fn accept(&self, asked: Asked) -> Option<Found> {
        let Asked { mut found, mut left_out, ended, .. } = asked;
        let doings = lock(&self.doings);
        if doings.ended != ended {
            return None;
        }
        found.unclear.extend(doings.names.iter().map(|name| (name.clone(), None)));
        let mut seen = lock(&self.seen);
        for name in found.unclear.keys() {
            found.volumes.remove(name);
        }
        let mut volumes = found.volumes.clone();
        let kept = |(name, _): &(String, DockerVolume)| {
            let is_unclear = found.unclear.contains_key(name);
            is_unclear || (!found.is_whole && !found.volumes.contains_key(name))
        };
        volumes.extend(std::mem::take(&mut seen.volumes).into_iter().filter(kept));
        // What is wrong with a known one is its own problem, and fails its backup.
        left_out.retain(|left| left.kind != Kind::Wrong || !volumes.contains_key(&left.name));
        let wrong_with = found.unclear.iter().filter_map(|(name, why)| Some((name, why.clone()?)));
        let wrong_with = wrong_with.map(|(name, why)| (name.clone(), why)).collect();
        let is_new = |left: &&NotBackedUp| !seen.left_out.contains(left);
        let wrong = left_out.iter().filter(|left| left.kind == Kind::Wrong);
        for NotBackedUp { name, why, .. } in wrong.filter(is_new) {
            log::warn!("volume \"{name}\" of Docker is not backed up: {why}");
        }
        let binds = found.binds.clone();
        let having = std::mem::take(&mut found.having);
        *seen = Seen { volumes, binds, having, problem: None, left_out, wrong_with, note: None };
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
    ) -> Result<DockerVolume, Option<(Kind, String)>> {
        let wrong = |why: String| Some((Kind::Wrong, why));
        // While none of its containers is there, what they asked for last holds.
        let asked = asked_for_by_containers(volume, containers);
        let was_asked = || self.seen(&volume.name).is_some_and(|seen| seen.asked_for);
        let asked_for = asked.unwrap_or_else(was_asked);
        match self.selection.leaves_out(volume, containers) {
            None => {}
            Some(LeftOut::Anonymous | LeftOut::NotWanted(_) | LeftOut::NotLabelled)
                if asked.is_none() && asked_for => {}
            Some(LeftOut::BadLabel(value)) => {
                let why = format!("its label {ENABLE_LABEL}=\"{value}\" must be true or false");
                return Err(wrong(why));
            }
            // Its files are gone with its last container anyway.
            Some(LeftOut::InMemory) => return Err(None),
            // A daemon of that name backs it up.
            Some(LeftOut::OtherDriver(driver)) if driver == "convoy" => return Err(None),
            Some(LeftOut::OtherDriver(driver)) => {
                let why = format!("it is one of the driver {driver}");
                return Err(Some((Kind::OtherDriver, why)));
            }
            Some(LeftOut::Anonymous) => {
                return Err(Some((Kind::Anonymous, "it has no name".into())));
            }
            Some(LeftOut::NotLabelled) => {
                let why = format!("it has no label {ENABLE_LABEL}=true");
                return Err(Some((Kind::NotLabelled, why)));
            }
            Some(LeftOut::NotWanted(why)) => {
                return Err(Some((Kind::LeftOut, format!("left out by {why}"))));
            }
        }
        // This daemon has it as its own, whether or not the engine's host has that folder here.
        if self.of_own(folder_of(volume)).is_some() {
            return Err(None);
        }
        crate::convoy::Name::volume(&volume.name).map_err(|error| wrong(error.to_string()))?;
        let of_it = DockerVolume::of(volume, containers, host).map_err(wrong)?;
        Ok(DockerVolume { asked_for, ..of_it })
    }

    /// Looks at the folders: what marks them, and which have our own files in them or around them. One
    /// that does not answer may be any of these.
    fn see(&self, found: &mut Found, left_out: &mut Vec<NotBackedUp>) {
        let mut seen = see(found.volumes.values(), &self.own);
        let Found { volumes, unclear, .. } = found;
        volumes.retain(|name, volume| {
            let is_of_this_daemon = self.of_own(&volume.folder).is_some();
            let (why, is_told) = match seen.remove(name) {
                Some(See::Folder { mark }) => {
                    if volume.base().is_some() {
                        volume.mark = mark;
                    }
                    return true;
                }
                Some(See::HasOurs) => ("it has this program's own files".to_owned(), false),
                Some(See::IsIn(own)) => {
                    let own = own.display();
                    (format!("its folder is in \"{own}\", this program's own"), !is_of_this_daemon)
                }
                None => (format!("\"{}\" does not answer", volume.folder.display()), true),
            };
            if is_told {
                left_out.push(wrong(name.clone(), why.clone()));
            }
            unclear.insert(name.clone(), Some(why));
            false
        });
    }

    /// Where this program found the engine by itself, and never saw a folder of its volumes, it was
    /// not meant to back them up: it has the socket only, or the engine is in a machine of its own.
    fn leave_out_unseen(&self, found: &mut Found, left_out: &mut Vec<NotBackedUp>) {
        let mut of_engine =
            found.volumes.values().filter(|volume| volume.base().is_some()).peekable();
        let known = lock(&self.seen);
        let has_mark = |volume: &DockerVolume| volume.mark.as_deref().is_some_and(is_of_folder);
        let was_seen = known.volumes.values().any(has_mark);
        let is_any = of_engine.peek().is_some();
        if self.must_be_there()
            || was_seen
            || !is_any
            || of_engine.any(|volume| volume.mark.is_some())
        {
            return;
        }
        left_out.retain(|left| left.kind != Kind::Wrong);
        let unseen = std::mem::take(&mut found.volumes).into_values();
        left_out.extend(unseen.map(|DockerVolume { name, folder, containers, .. }| NotBackedUp {
            kind: Kind::Unseen,
            name,
            why: format!("its folder can't be seen here: \"{}\"", folder.display()),
            containers,
        }));
    }

    /// Sorts the folders of the host that containers mount: which are backed up, and which not.
    fn sort_folders(
        &self,
        volumes: &[EngineVolume],
        containers: &[Container],
        host: &Host,
        (found, left_out): (&mut Found, &mut Vec<NotBackedUp>),
    ) {
        let known = found.volumes.values().map(|volume| volume.folder.clone());
        let known: Vec<_> = known.chain(self.own.iter().chain(&self.folders).cloned()).collect();
        let engines = volumes.iter().map(|volume| volume.mountpoint.clone());
        let around: Vec<_> = engines.chain(self.own.iter().cloned()).collect();
        // A folder that BKUP_FOLDERS names is a volume by that name.
        found.not_binds.extend(self.folders.iter().cloned());
        // What is mounted for this program itself is nobody's data.
        let own = Own::seen(containers, self.socket.as_deref().unwrap_or(Path::new("")));
        for folder in host_folders(own.others(containers), &known, &around, &self.selection) {
            let (name, shown) = (folder.name(), folder.path.display().to_string());
            let (kind, why) = if let Some(value) = &folder.odd_label {
                let why = format!(
                    "the label {BINDS_LABEL}=\"{value}\" of a container that mounts it must be true or false"
                );
                (Kind::Wrong, why)
            } else if !folder.is_wanted {
                found.not_binds.push(folder.path.clone());
                (Kind::Folder, "a folder of the host, and none of BKUP_FOLDERS".into())
            } else if self.selection.leaves_out_name(&name) {
                found.not_binds.push(folder.path.clone());
                (Kind::Folder, format!("left out by its name, {name}"))
            } else if !host.is_the_engines(&folder.path) {
                let why = format!("it is not mounted in this container: add -v {shown}:{shown}");
                (Kind::Wrong, why)
            } else {
                found.binds.insert(name, folder);
                continue;
            };
            let containers = folder.containers.into_iter().collect();
            left_out.push(NotBackedUp { kind, name: shown, why, containers });
        }
    }
}

fn wrong(name: String, why: String) -> NotBackedUp {
    NotBackedUp { kind: Kind::Wrong, name, why, containers: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert!(found.unclear.contains_key("two") && !found.volumes.contains_key("two"));
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
        fake.with(|contents| contents.hangs = true);
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
        assert!(found.unclear.contains_key("two") && found.volumes.contains_key("one"));
        assert!(docker.seen("two").is_some(), "what was known of it stays");
        fake.with(|contents| contents.volumes.insert("two".into(), json!({ "Name": null })));
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert!(!found.is_whole && docker.seen("two").is_some());
    }

    #[test]
    fn what_is_not_backed_up_is_known_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeEngine::start(folder.path());
        let none = json!(null);
        let anonymous = "0123456789abcdef".repeat(4);
        fake.volume("db", &none, &none);
        fake.volume(&anonymous, &none, &none);
        fake.volume("odd", &json!({ ENABLE_LABEL: "yes" }), &none);
        fake.volume("cache", &json!({ ENABLE_LABEL: "false" }), &none);
        fake.volume("memory", &none, &json!({ "type": "tmpfs", "device": "tmpfs" }));
        fake.container("web", "running", &none, &["db", &anonymous]);
        let (site, covered) = (folder.path().join("site"), folder.path().join("covered"));
        fake.with(|contents| {
            contents.volumes.get_mut("cache").unwrap()["Driver"] = json!("local");
            let other = json!({ "Name": "other", "Driver": "rclone", "Mountpoint": "" });
            contents.volumes.insert("other".into(), other);
            let mounts = contents.containers[0]["Mounts"].as_array_mut().unwrap();
            mounts.push(json!({ "Type": "bind", "Source": site }));
            mounts.push(json!({ "Type": "bind", "Source": covered }));
        });
        let socket = Some(fake.socket.clone());
        let options = DockerOptions { socket, ..DockerOptions::default() };
        let docker = Docker::new(options).with_folders(vec![covered]);
        let found = docker.accept(docker.ask().unwrap()).unwrap();
        assert_eq!(found.volumes.into_keys().collect::<Vec<_>>(), ["db"]);
        let left: Vec<_> =
            docker.left_out().into_iter().map(|left| (left.kind, left.name)).collect();
        let site = site.display().to_string();
        assert_eq!(
            left,
            [
                (Kind::Wrong, "odd".to_owned()),
                (Kind::LeftOut, "cache".into()),
                (Kind::Anonymous, anonymous),
                (Kind::OtherDriver, "other".into()),
                (Kind::Folder, site),
            ]
        );
        assert_eq!(docker.left_out()[2].containers, ["web"]);
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
