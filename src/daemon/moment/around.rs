//! Commands in the containers that write to a volume: before those are held still, and after they were
//! let go on.

use std::{path::PathBuf, time::Duration};

use super::{
    containers::{ASKED_WITHIN, ContainerHolds},
    holds::with_its_hint,
    notes::{Note, NotedContainer, Notes},
    place::{Place, names},
};
use crate::{
    engine::{
        AFTER_LABEL, Activity, Asked, BEFORE_LABEL, Commands, EXEC_LABEL, Engine, Exec, Limit,
        UnderWay, Written, commands, commands_of, named_command,
    },
    error::{Error, ErrorKind, Result},
    files::real_path,
    scope,
};

/// How long a command may take where no label says so.
const USUAL_LIMIT: Duration = Duration::from_mins(5);

/// What was begun before, so that what comes after follows.
#[derive(Debug)]
pub(super) struct Around {
    socket: PathBuf,
    volume: String,
    begun: Vec<Commands>,
    /// On disk are the containers that were begun and have a command after: it is run by the next start
    /// where this process is killed.
    note: Note,
    notes: Notes,
    /// Since the first of them was begun.
    under_way: Option<UnderWay>,
}

impl ContainerHolds {
    /// What labels ask to be done in the containers that write to each of these places. Where they are
    /// read although Docker does not answer, nothing is asked for.
    ///
    /// # Errors
    /// If Docker does not answer, or a label makes no sense.
    pub(super) fn asked(&self, places: &[&Place]) -> Result<Vec<Asked>> {
        let may_be_unknown = |error: &Error| {
            self.reads_unheld || places.iter().all(|place| self.may_be_unknown(place, error))
        };
        let (volumes, containers) = match Engine::at(&self.socket).all(ASKED_WITHIN) {
            Err(error) if may_be_unknown(&error) => {
                let level = if self.socket.exists() { log::Level::Warn } else { log::Level::Debug };
                log::log!(
                    level,
                    "no commands and no dumps for volume \"{}\", because Docker can't tell which are asked for: {error}",
                    names(places)
                );
                return Ok(vec![Asked::default(); places.len()]);
            }
            all => all?,
        };
        let of = |place: &&Place| {
            let (volume, folder, real) = (&place.volume, &place.folder, real_path(&place.folder));
            commands(&containers, Written { volume, folder, real: &real }, &volumes)
        };
        places.iter().map(of).collect()
    }

    /// Runs the commands before, each container's once. Those of a container that does not run have
    /// nothing to do. The result follows with those after, also where one failed.
    ///
    /// # Errors
    /// If Docker does not answer, or a label makes no sense: then none was run. The inner one, if one
    /// fails, or can't be noted.
    pub(super) fn before(&self, places: &[&Place], notes: &Notes) -> Result<(Around, Result<()>)> {
        let mut containers: Vec<_> =
            self.asked(places)?.into_iter().flat_map(|asked| asked.containers).collect();
        containers.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
        containers.dedup_by(|one, other| one.id == other.id);
        let (socket, volume) = (self.socket.clone(), names(places));
        let first = places.first().ok_or_else(|| Error::internal("no place is read"))?;
        let note = Note { volume: volume.clone(), ..Note::after(first, socket.clone()) };
        let (begun, notes) = (Vec::new(), notes.clone());
        let mut around = Around { socket, volume, begun, note, notes, under_way: None };
        let begun = containers.into_iter().try_for_each(|container| around.begin(container));
        Ok((around, begun))
    }

    /// Runs the commands that a note tells of, because their process ended before. Each is run once, and
    /// then is no longer in the note; one that fails is logged.
    ///
    /// # Errors
    /// If one can't be run now: Docker does not answer, or its container does not run.
    pub(super) fn run_after(&self, note: &mut Note) -> Result<()> {
        let engine = self.engine_of(note);
        let (_, containers) = engine.all(ASKED_WITHIN)?;
        let mut waits = Ok(());
        let mut left = std::mem::take(&mut note.containers);
        left.retain(|noted| {
            let there = containers.iter().find(|container| container.id == noted.id);
            let ran = there.map_or_else(|| Err(is_gone(noted)), commands_of).and_then(|commands| {
                run(
                    &engine,
                    &commands,
                    (&note.volume, AFTER_LABEL),
                    commands.after.as_deref(),
                    &|| false,
                )
            });
            match ran {
                Err(error) if may_run_later(&error) => {
                    waits = Err(error);
                    true
                }
                Err(error) => {
                    log::error!("volume {}: {}", note.volume, with_its_hint(&error));
                    false
                }
                Ok(()) => false,
            }
        });
        note.containers = left;
        waits
    }
}

/// Whether an error says that a command was not run, and could be later.
fn may_run_later(error: &Error) -> bool {
    let is_away = matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Timeout);
    // Its container is paused, or does not run.
    is_away || error.status == Some(409)
}

fn is_gone(noted: &NotedContainer) -> Error {
    let message = format!(
        "container \"{}\" was removed, or made anew, before {AFTER_LABEL} could be run in it",
        noted.name
    );
    Error::new(ErrorKind::Daemon, message)
        .with_hint(format!("what {BEFORE_LABEL} did may still be in force: look at it"))
}

/// Runs a command in a container, if there is one.
fn run(
    engine: &Engine,
    container: &Commands,
    (volume, label): (&str, &str),
    script: Option<&str>,
    stopped: &dyn Fn() -> bool,
) -> Result<()> {
    let Some(script) = script else { return Ok(()) };
    let exec = Exec {
        container: (&container.id, &container.name),
        what: label,
        script,
        user: container.user.as_deref(),
        limit: Limit::Whole(container.timeout.unwrap_or(USUAL_LIMIT)),
    };
    let since = std::time::Instant::now();
    engine.exec(exec, stopped, None)?;
    log::info!(
        "volume {volume}: {label} of container {} took {} ms",
        container.name,
        since.elapsed().as_millis()
    );
    Ok(())
}

impl ContainerHolds {
    /// Runs the command that a label of a container has under this name.
    ///
    /// # Errors
    /// If there is none, the container does not run, or the command fails.
    pub(super) fn run_named(&self, container: &str, command: &str) -> Result<()> {
        let engine = Engine::at(&self.socket);
        let (_, containers) = engine.all(ASKED_WITHIN)?;
        let (found, script) = named_command(&containers, container, command)?;
        let exec = Exec {
            container: (&found.id, &found.name),
            what: &format!("{EXEC_LABEL}{command}"),
            script: &script,
            user: found.user.as_deref(),
            limit: Limit::Whole(found.timeout.unwrap_or(USUAL_LIMIT)),
        };
        engine.exec(exec, &scope::is_ended, None)
    }
}

impl Around {
    pub(super) fn is_empty(&self) -> bool {
        self.begun.is_empty()
    }

    fn begin(&mut self, container: Commands) -> Result<()> {
        if container.before.is_none() && container.after.is_none() {
            return Ok(());
        }
        if container.activity != Activity::Runs {
            log::info!(
                "volume {}: container {} does not run, so no command is run in it",
                self.volume,
                container.name
            );
            return Ok(());
        }
        if container.after.is_some() {
            let noted = NotedContainer::to_run_in(&container.id, &container.name);
            // The one that was begun last comes first.
            self.note.containers.insert(0, noted);
            self.notes.write(&self.note)?;
        }
        self.under_way.get_or_insert_with(UnderWay::begin);
        self.begun.push(container);
        let Some(container) = self.begun.last() else { return Ok(()) };
        let (of, before) = ((self.volume.as_str(), BEFORE_LABEL), container.before.as_deref());
        run(&Engine::at(&self.socket), container, of, before, &scope::is_ended)
    }

    /// Runs the commands after, those of the container that was begun last first. All are tried. The
    /// result also has the note on those that could not be run, and are to be tried again.
    ///
    /// # Errors
    /// If one fails.
    pub(super) fn after(self) -> (Result<()>, Option<Note>) {
        let Self { socket, volume, begun, mut note, notes, under_way } = self;
        let (mut failure, noted) = (None, note.containers.len());
        for container in begun.iter().rev() {
            let (of, after) = ((volume.as_str(), AFTER_LABEL), container.after.as_deref());
            // Also where the run was cancelled.
            let ran = run(&Engine::at(&socket), container, of, after, &|| false);
            if !ran.as_ref().is_err_and(may_run_later) {
                note.containers.retain(|noted| noted.id != container.id);
            }
            if let Err(error) = ran
                && let Some(also) = failure.replace(error)
            {
                log::error!("volume {volume}: {also}");
            }
        }
        let kept = match note.containers.len() {
            0 if noted == 0 => Ok(()),
            0 => notes.remove(&note),
            left if left == noted => Ok(()),
            _ => notes.write(&note),
        };
        if let Err(error) = kept {
            log::warn!("volume {volume}: what was run is run again by the next start: {error}");
        }
        drop(under_way);
        let left = Some(note).filter(|note| !note.containers.is_empty());
        (failure.map_or(Ok(()), Err), left)
    }
}
