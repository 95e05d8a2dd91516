//! What writes is held still by pausing or stopping the containers that it is in.
//!
//! A note names each container by its id and the time of its last start, so that only what was held
//! by it is let go on: what was off or paused before, or was started by somebody since, stays as it is.
//! The note is written before the engine is asked ([`hold_all`]), and takes what the engine has after
//! each answer; a container leaves it only once it is known to be as it was ([`let_go_on`]).

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    containers_hold::hold_all,
    containers_release::{SETTLED_AFTER, let_go_on},
    notes::{Note, NotedContainer},
    place::{Place, names},
    told::{Told, commands_told},
    writers::{Holding, Standing, Writers},
};
use crate::{
    engine::{
        Container, ContainerState, Engine, Event, Everything, HOLD_LABEL, HoldPolicy, How, Own,
        Policies, Writer, Writing, Written, commands, to_any, writing,
    },
    error::{Error, ErrorKind, Result},
    files::real_path,
};

/// How long Docker may take to tell what writes to a volume that is to be read.
pub(super) const ASKED_WITHIN: Duration = Duration::from_secs(30);
/// The same for a listing.
const LISTED_WITHIN: Duration = Duration::from_secs(5);
/// A container that gets more seconds than this to stop is not stopped.
const LONGEST_GRACE: u64 = 600;

/// How containers are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerHolds {
    /// The engine's socket.
    pub(crate) socket: PathBuf,
    /// What is done where no label says so.
    pub(crate) policy: HoldPolicy,
    /// Whether the operator chose that, so that it is also for folders and volumes of the daemon's own.
    pub(crate) is_chosen: bool,
    /// Whether a volume is read as it is where its containers can't be held; else that fails.
    pub(crate) reads_unheld: bool,
    /// How long containers may stand still, beside the time that they get to stop.
    pub(crate) limit: Duration,
    /// How long is looked, after the engine gave no clear answer, whether it still does what it was
    /// asked, beside the time that a container gets to stop.
    pub(crate) settled: Duration,
}

impl ContainerHolds {
    /// To release what was held at this socket.
    pub(crate) fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            policy: HoldPolicy::None,
            is_chosen: false,
            reads_unheld: false,
            limit: Duration::ZERO,
            settled: SETTLED_AFTER,
        }
    }

    fn policy_for(&self, place: &Place) -> HoldPolicy {
        if place.is_of_the_engine || self.is_chosen { self.policy } else { HoldPolicy::None }
    }

    /// A container that has a volume of the daemon's own mounted writes to it. What has a folder above
    /// all of them mounted may be any tool.
    fn policies_for(&self, place: &Place) -> Policies {
        let above = self.policy_for(place);
        Policies { at_it: if place.is_of_the_host { above } else { self.policy }, above }
    }

    /// What writes to any of these places.
    ///
    /// # Errors
    /// If Docker does not answer, or a label makes no sense.
    fn writing(&self, engine: &Engine, places: &[&Place]) -> Result<Writing> {
        let known = || {
            let (containers, writing) = self.writing_to_all(engine, places, ASKED_WITHIN)?;
            Ok(to_any(&containers, writing.into_iter().collect::<Result<_>>()?))
        };
        match known() {
            Err(error) if places.iter().all(|place| self.may_be_unknown(place, &error)) => {
                let volume = names(places);
                // Where there is no Docker, that is no news.
                let is_there = self.socket.exists();
                let level = if is_there { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    "Docker can't tell which containers write to \"{volume}\": {error}"
                );
                Ok(Writing::default())
            }
            known => known,
        }
    }

    /// Whether a place is read though this error keeps from us what writes to it: nothing says that a
    /// folder has to do with containers.
    pub(super) fn may_be_unknown(&self, place: &Place, error: &Error) -> bool {
        let is_folder = error.kind == ErrorKind::Unreachable && !place.is_of_the_engine;
        is_folder || self.policy_for(place) == HoldPolicy::None
    }

    /// What writes to each of these places, with one look at the engine; and all containers.
    fn writing_to_all(
        &self,
        engine: &Engine,
        places: &[&Place],
        within: Duration,
    ) -> Result<(Vec<Container>, Vec<Result<Writing>>)> {
        let (volumes, containers) = engine.all(within)?;
        let own = Own::seen(&containers, &self.socket);
        let of = |place: &&Place| {
            let (volume, folder, real) = (&place.volume, &place.folder, real_path(&place.folder));
            let written = Written { volume, folder, real: &real };
            writing(&containers, written, &volumes, self.policies_for(place), &own)
        };
        let writing = places.iter().map(of).collect();
        Ok((containers, writing))
    }

    /// What is done to containers while each of these places is read, or why it can't be, for people;
    /// `None` if Docker does not say.
    pub(super) fn ask_and_tell(&self, places: &[Place]) -> Option<Vec<Result<Told, String>>> {
        if places.is_empty() {
            return Some(Vec::new());
        }
        let everything = Engine::at(&self.socket).everything(LISTED_WITHIN).ok()?;
        self.told(places, &everything)
    }

    /// As [`ContainerHolds::ask_and_tell`], by what the engine told.
    pub(super) fn told(
        &self,
        places: &[Place],
        everything: &Everything,
    ) -> Option<Vec<Result<Told, String>>> {
        // What can't be read may write to any of them.
        if everything.odd().is_some() {
            return None;
        }
        let (volumes, containers) = (&everything.volumes.known, &everything.containers.known);
        let own = Own::seen(containers, &self.socket);
        let told = |place: &Place| {
            let (volume, folder, real) = (&place.volume, &place.folder, real_path(&place.folder));
            let written = Written { volume, folder, real: &real };
            let asked = commands(containers, written, volumes).map_err(|error| error.message)?;
            let (commands, has_dumps) = (commands_told(&asked), asked.has_dumps());
            // To a folder of the host, others may write as well.
            let is_written = asked.is_written || !place.is_for_containers_only;
            let held = match writing(containers, written, volumes, self.policies_for(place), &own) {
                _ if asked.only_dumps => None,
                Ok(writing) => told_of(&writing.writers),
                Err(_) if self.reads_unheld => None,
                Err(error) => return Err(error.message),
            };
            Ok(Told { held, commands, has_dumps, is_written, database: asked.database })
        };
        Some(places.iter().map(told).collect())
    }

    /// The note on a container that runs now; `None` if it does not.
    fn noted(engine: &Engine, writer: Writer) -> Result<Option<NotedContainer>> {
        let Writer { id, name, how, .. } = writer;
        let Some(now) = engine.container(&id)?.filter(ContainerState::writes) else {
            return Ok(None);
        };
        if how == How::Stop {
            can_be_stopped(&name, &now)?;
        }
        let ContainerState { started, grace, .. } = now;
        let grace = grace.unwrap_or_default();
        let noted =
            NotedContainer { id, name, how, started, grace, finished: None, is_sure: false };
        Ok(Some(noted))
    }

    /// The time that these containers get to stop, one after another.
    fn graces(containers: &[NotedContainer]) -> Duration {
        let stops = containers.iter().filter(|it| it.how == How::Stop);
        Duration::from_secs(stops.map(|it| it.grace).sum())
    }

    /// The engine at the noted socket; where nothing is there any more, the one that is used now, if it
    /// has these containers: the socket may have been moved.
    pub(super) fn engine_of(&self, note: &Note) -> Engine {
        let noted = Engine::at(note.engine.as_deref().unwrap_or(&self.socket));
        let Some(first) = note.containers.first() else { return noted };
        let is_gone =
            noted.container(&first.id).is_err_and(|error| error.kind == ErrorKind::Unreachable);
        let now = Engine::at(&self.socket);
        let is_known = |it: &NotedContainer| now.container(&it.id).is_ok_and(|it| it.is_some());
        if is_gone && note.containers.iter().all(is_known) { now } else { noted }
    }
}

/// # Errors
/// If a stop would lose the container, or last too long.
fn can_be_stopped(name: &str, now: &ContainerState) -> Result<()> {
    let why = if now.is_removed_at_its_end {
        format!("container \"{name}\" was started with --rm: to stop it would remove it")
    } else if now.grace.is_none_or(|grace| grace > LONGEST_GRACE) {
        format!(
            "container \"{name}\" may take longer than {LONGEST_GRACE} seconds to stop (its stop_grace_period)"
        )
    } else {
        return Ok(());
    };
    Err(Error::configuration(why).with_hint(format!("use the label {HOLD_LABEL}=pause for it")))
}

impl Writers for ContainerHolds {
    fn may_hold(&self, place: &Place) -> bool {
        // What can't be told now is told by the hold.
        self.writing(&Engine::at(&self.socket), &[place])
            .map_or(true, |all| !all.writers.is_empty())
    }

    fn note(&self, places: &[&Place]) -> Result<Option<Note>> {
        let engine = Engine::at(&self.socket);
        let Writing { writers, left_alone } = self.writing(&engine, places)?;
        let running = writers.into_iter().filter(|writer| writer.runs);
        let noted: Result<Vec<_>> = running.map(|writer| Self::noted(&engine, writer)).collect();
        let containers: Vec<_> = noted?.into_iter().flatten().collect();
        let Some(first) = places.first().filter(|_| !containers.is_empty()) else {
            return Ok(None);
        };
        // What else writes to a folder of the host can't be told.
        let is_all =
            places.iter().all(|place| place.is_for_containers_only) && left_alone.is_empty();
        let within = self.limit + Self::graces(&containers);
        let note = Note::containers(first, self.socket.clone(), containers, within);
        Ok(Some(Note { is_all, volume: names(places), ..note }))
    }

    fn reading_limit(&self, _: Duration) -> Duration {
        self.limit
    }

    fn limit(&self, note: &Note, _: Duration) -> Duration {
        self.limit + Self::graces(&note.containers)
    }

    fn limit_setting(&self) -> &'static str {
        "BKUP_DOCKER_HOLD_MAX"
    }

    fn hold(&self, note: &mut Note, holding: &Holding<'_>) -> Result<()> {
        hold_all(&Engine::at(&self.socket), note, holding)
    }

    fn may_go_on(&self, _: &Error) -> bool {
        // The note has what the engine may still do.
        false
    }

    fn end(&self, _: &Note) -> Result<()> {
        Ok(())
    }

    fn release(&self, note: &mut Note, standing: &Standing) -> Result<()> {
        let_go_on(&self.engine_of(note), note, self.settled, standing)
    }

    fn check(
        &self,
        held: &Note,
        places: &[&Place],
        time: (Timestamp, Timestamp),
        standing: &Standing,
    ) {
        let engine = Engine::at(&self.socket);
        let writing = match self.writing(&engine, places) {
            Ok(writing) => writing,
            Err(error) => {
                return standing.is_broken(format!("it can't be told what wrote: {error}"));
            }
        };
        let is_noted = |id: &str| held.containers.iter().any(|it| it.id == id);
        if let Some(new) = writing.writers.iter().find(|it| it.runs && !is_noted(&it.id)) {
            return standing.is_broken(format!("container \"{}\" was started", new.name));
        }
        match engine.events(time) {
            Ok((events, may_lack)) => match wrote_meanwhile(&events, held, places, &writing) {
                Some(why) => standing.is_broken(why),
                None if may_lack => log::warn!(
                    "volume {}: more happened in Docker than it keeps, so a container that ran only while others stood still would not be seen",
                    names(places)
                ),
                None => {}
            },
            Err(error) => log::info!(
                "volume {}: Docker does not tell its events, so a container that ran only while others stood still would not be seen: {error}",
                names(places)
            ),
        }
    }
}

/// What wrote to places though what writes to them was to stand still, for people.
fn wrote_meanwhile(
    events: &[Event],
    held: &Note,
    places: &[&Place],
    writing: &Writing,
) -> Option<String> {
    let noted = |id: &str| held.containers.iter().find(|it| it.id == id);
    let is_alone = |id: &str| writing.left_alone.iter().any(|it| it == id);
    let started = |of: &str| {
        events.iter().find_map(|event| match event {
            Event::WentOn { id, name, hold } if id == of => Some((name, hold)),
            _ => None,
        })
    };
    events.iter().find_map(|event| match event {
        Event::WentOn { id, name, .. } if noted(id).is_some() => {
            Some(format!("container \"{name}\" went on"))
        }
        Event::WentOn { id, name, .. } if writing.writers.iter().any(|it| it.id == *id) => {
            Some(format!("container \"{name}\" was started"))
        }
        // One that is gone again.
        Event::Mounted { volume, container }
            if places.iter().any(|place| *volume == place.volume)
                && noted(container).is_none()
                && !is_alone(container) =>
        {
            let told = started(container);
            let is_left_alone = told.and_then(|(_, hold)| hold.as_deref()) == Some("none");
            let name = told.map_or(container, |(name, _)| name);
            (!is_left_alone).then(|| format!("container \"{name}\" was started"))
        }
        _ => None,
    })
}

/// "pause db, stop web"; `None` if nothing runs.
fn told_of(writers: &[Writer]) -> Option<String> {
    let running = writers.iter().filter(|writer| writer.runs);
    let told: Vec<_> =
        running.map(|writer| format!("{} {}", writer.how.as_str(), writer.name)).collect();
    (!told.is_empty()).then(|| told.join(", "))
}
