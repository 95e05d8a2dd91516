//! What writes is held still by pausing or stopping the containers that it is in.
//!
//! A note names each container by its id and the time of its last start, so that only what was held
//! by it is let go on: what was off or paused before, or was started by somebody since, stays as it is.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{
    notes::{Note, NotedContainer},
    place::Place,
    writers::{Standing, Writers},
};
use crate::{
    engine::{ContainerState, Engine, HOLD_LABEL, HoldPolicy, How, Writer, own_container, writers},
    error::{Error, ErrorKind, Result},
};

/// How long Docker may take to tell what writes to a volume that is to be read.
const ASKED_WITHIN: Duration = Duration::from_secs(30);
/// The same for a listing.
const LISTED_WITHIN: Duration = Duration::from_secs(5);
/// How long is looked, after a hold that ended in the middle, whether the engine still does what it
/// was asked.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// How often is looked then.
const LOOK: Duration = Duration::from_millis(100);
/// How often a container that goes its own way is asked at once.
const TRIES: usize = 3;

/// How containers are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContainerHolds {
    /// The engine's socket.
    pub(crate) socket: PathBuf,
    pub(crate) policy: HoldPolicy,
    /// Whether a volume is read as it is where its containers can't be held; else that fails.
    pub(crate) reads_unheld: bool,
}

/// What became of a container that is to go on.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    Released,
    /// It was not held any more.
    Runs,
    /// It was removed, ended, or started anew, so it is not what was held.
    Another,
}

impl ContainerHolds {
    /// To release what was held at this socket.
    pub(super) fn at(socket: &Path) -> Self {
        Self { socket: socket.to_owned(), policy: HoldPolicy::None, reads_unheld: false }
    }

    /// The containers that write to this place and may have to stand still, in that order.
    ///
    /// # Errors
    /// If Docker does not answer, or a label makes no sense.
    fn writers(&self, engine: &Engine, place: &Place) -> Result<Vec<Writer>> {
        match self.writers_of_all(engine, std::slice::from_ref(place), ASKED_WITHIN) {
            Err(error) if self.may_be_unknown(place, &error) => {
                let volume = &place.volume;
                // Where there is no Docker, that is no news.
                let is_there = self.socket.exists();
                let level = if is_there { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    "Docker can't tell which containers write to \"{volume}\": {error}"
                );
                Ok(Vec::new())
            }
            all => all?.pop().unwrap_or(Ok(Vec::new())),
        }
    }

    /// Whether a place is read though this error keeps from us what writes to it: nothing says that a
    /// folder has to do with containers.
    fn may_be_unknown(&self, place: &Place, error: &Error) -> bool {
        let is_folder = error.kind == ErrorKind::Unreachable && !place.is_of_the_engine;
        is_folder || self.policy == HoldPolicy::None
    }

    /// The same for many places, with one look at the engine.
    fn writers_of_all(
        &self,
        engine: &Engine,
        places: &[Place],
        within: Duration,
    ) -> Result<Vec<Result<Vec<Writer>>>> {
        let (volumes, containers) = engine.all(within)?;
        let own = own_container();
        let of = |place: &Place| {
            let of = (place.volume.as_str(), place.folder.as_path());
            writers(&containers, of, &volumes, self.policy, own.as_deref())
        };
        Ok(places.iter().map(of).collect())
    }

    /// What is done to containers while each of these places is read, or why it can't be, for people;
    /// `None` if Docker does not say.
    pub(super) fn told(&self, places: &[Place]) -> Option<Vec<Result<Option<String>, String>>> {
        if places.is_empty() {
            return Some(Vec::new());
        }
        let all = self.writers_of_all(&Engine::at(&self.socket), places, LISTED_WITHIN).ok()?;
        let told = |writers: Result<Vec<Writer>>| match writers {
            Ok(writers) => Ok(told_of(&writers)),
            Err(_) if self.reads_unheld => Ok(None),
            Err(error) => Err(error.message),
        };
        Some(all.into_iter().map(told).collect())
    }

    fn noted(engine: &Engine, writer: Writer) -> Result<Option<NotedContainer>> {
        let Writer { id, name, how, .. } = writer;
        let Some(now) = engine.container(&id)? else { return Ok(None) };
        if !now.runs || now.is_paused {
            return Ok(None);
        }
        if how == How::Stop && now.is_removed_at_its_end {
            let message =
                format!("container \"{name}\" was started with --rm: to stop it would remove it");
            return Err(Error::configuration(message)
                .with_hint(format!("use the label {HOLD_LABEL}=pause for it")));
        }
        let ContainerState { started, grace, .. } = now;
        Ok(Some(NotedContainer { id, name, how, started, grace }))
    }

    /// Says so if something that writes to the place runs now, and was not held.
    fn look_for_others(&self, engine: &Engine, note: &Note, standing: &Standing) {
        let place = note.place();
        match self.writers(engine, &place) {
            Err(error) => standing.is_broken(format!("it can't be told what wrote: {error}")),
            Ok(now) => {
                let is_noted = |writer: &Writer| note.containers.iter().any(|c| c.id == writer.id);
                if let Some(new) = now.iter().find(|writer| writer.runs && !is_noted(writer)) {
                    standing.is_broken(format!("container \"{}\" was started", new.name));
                }
            }
        }
    }
}

impl Writers for ContainerHolds {
    fn may_hold(&self, place: &Place) -> bool {
        // What can't be told now is told by the hold.
        self.writers(&Engine::at(&self.socket), place).map_or(true, |all| !all.is_empty())
    }

    fn note(&self, place: &Place) -> Result<Option<Note>> {
        let engine = Engine::at(&self.socket);
        let running = self.writers(&engine, place)?.into_iter().filter(|writer| writer.runs);
        let noted: Result<Vec<_>> = running.map(|writer| Self::noted(&engine, writer)).collect();
        let containers: Vec<_> = noted?.into_iter().flatten().collect();
        let is_some = !containers.is_empty();
        Ok(is_some.then(|| Note::containers(place, self.socket.clone(), containers)))
    }

    fn hold(
        &self,
        note: &mut Note,
        limit: Duration,
        stopped: &dyn Fn() -> bool,
        standing: &Standing,
    ) -> Result<()> {
        let engine = Engine::at(&self.socket);
        let deadline = Instant::now() + limit;
        for container in note.containers.clone() {
            let left = deadline.saturating_duration_since(Instant::now());
            standing.begins(&container);
            let held = engine.hold_container(&container.id, container.how, left, stopped);
            let Err(error) = held else { continue };
            let is_as_it_was = || {
                let now = engine.container(&container.id);
                now.is_ok_and(|now| now.is_none_or(|now| !now.runs || now.is_paused))
            };
            if !Engine::has_refused(&error) || !is_as_it_was() {
                return Err(not_held(&container, error));
            }
            // It ended, or was paused by somebody, just before: it is not ours to let go on.
            standing.ends(&container);
            note.containers.retain(|noted| noted.id != container.id);
        }
        Ok(())
    }

    fn may_go_on(&self, error: &Error) -> bool {
        !Engine::has_refused(error)
    }

    fn end(&self, _: &Note) -> Result<()> {
        Ok(())
    }

    fn release(&self, note: &Note, standing: &Standing) -> Result<()> {
        let engine = note.engine.as_deref().unwrap_or(&self.socket);
        let engine = Engine::at(engine);
        let became = release_all(&engine, note, standing)?;
        if note.is_held {
            self.look_for_others(&engine, note, standing);
            return Ok(());
        }
        // The engine may be about to do what it was asked last.
        let graces = note.containers.iter().filter(|it| it.how == How::Stop).map(|it| it.grace);
        let settled = SETTLED_AFTER + Duration::from_secs(graces.max().unwrap_or_default());
        let since = Instant::now();
        let mut is_open = became.contains(&Became::Runs);
        while is_open && since.elapsed() < settled {
            thread::sleep(LOOK);
            is_open = release_all(&engine, note, standing)?.contains(&Became::Runs);
        }
        Ok(())
    }
}

/// "pause db, stop web"; `None` if nothing runs.
fn told_of(writers: &[Writer]) -> Option<String> {
    let running = writers.iter().filter(|writer| writer.runs);
    let told: Vec<_> =
        running.map(|writer| format!("{} {}", writer.how.as_str(), writer.name)).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// Lets all containers of a note go on, those that were held last first. All are tried.
fn release_all(engine: &Engine, note: &Note, standing: &Standing) -> Result<Vec<Became>> {
    let mut became = Vec::new();
    let mut failure = None;
    for container in note.containers.iter().rev() {
        match release(engine, container) {
            Ok(state) => {
                if state != Became::Released {
                    let name = &container.name;
                    standing.is_broken(format!("container \"{name}\" went on, or ended"));
                }
                standing.ends(container);
                became.push(state);
            }
            Err(error) => _ = failure.get_or_insert_with(|| not_released(container, error)),
        }
    }
    failure.map_or(Ok(became), Err)
}

fn release(engine: &Engine, container: &NotedContainer) -> Result<Became> {
    let NotedContainer { id, how, started, .. } = container;
    let mut tries = 0;
    loop {
        let Some(now) = engine.container(id)? else { return Ok(Became::Another) };
        let is_held = match how {
            How::Pause => now.is_paused,
            How::Stop => !now.runs,
        };
        if now.started != *started || (*how == How::Pause && !now.runs) {
            return Ok(Became::Another);
        }
        if !is_held {
            return Ok(Became::Runs);
        }
        tries += 1;
        match engine.let_go_on(id, *how) {
            Ok(()) => return Ok(Became::Released),
            // Somebody may have let it go on at the same moment.
            Err(error) if tries == TRIES || !Engine::has_refused(&error) => return Err(error),
            Err(_) => {}
        }
    }
}

fn not_held(container: &NotedContainer, error: Error) -> Error {
    let NotedContainer { name, how, .. } = container;
    let how = how.as_str();
    let hint = format!(
        "see whether \"docker {how} {name}\" works; the label {HOLD_LABEL} of the container can be pause, stop or none, and BKUP_DOCKER_UNHELD=live reads what can't be held as it is"
    );
    let message = format!("cannot {how} container \"{name}\": {}", error.message);
    Error { message, ..error }.with_hint(hint)
}

fn not_released(container: &NotedContainer, error: Error) -> Error {
    let NotedContainer { name, how, .. } = container;
    let (stands, command) = match how {
        How::Pause => ("paused", "unpause"),
        How::Stop => ("stopped", "start"),
    };
    let message = format!("container \"{name}\" may stay {stands}: {}", error.message);
    Error { message, ..error }.with_hint(format!("let it go on by hand: docker {command} {name}"))
}
