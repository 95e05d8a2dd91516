//! Holding the containers of a note, one after another. What is noted is compared with what the engine
//! has before each call, and again after it, because others may start, stop and pause them meanwhile.

use std::time::{Duration, Instant};

use super::{
    notes::{Note, NotedContainer},
    writers::Holding,
};
use crate::{
    engine::{Answered, ContainerState, Engine, HOLD_LABEL, How},
    error::{Error, ErrorKind, Result},
};

/// How often a container that others start and stop is asked.
const TRIES: usize = 3;

/// Holds the containers of a note. When this returns, the note has those that stand still by it, and
/// those that may.
///
/// # Errors
/// If one of them can't be held.
pub(super) fn hold_all(engine: &Engine, note: &mut Note, holding: &Holding<'_>) -> Result<()> {
    let deadline = Instant::now() + holding.limit;
    let all = note.containers.clone();
    let mut hold = Hold { engine, note, holding, deadline };
    for (number, container) in all.iter().enumerate() {
        let held = hold.one(container.clone());
        if held.is_err() {
            // Nothing was asked of those that come after it.
            let is_asked = |it: &NotedContainer| all[..=number].iter().any(|one| one.id == it.id);
            hold.note.containers.retain(is_asked);
            return held;
        }
    }
    Ok(())
}

struct Hold<'a> {
    engine: &'a Engine,
    note: &'a mut Note,
    holding: &'a Holding<'a>,
    deadline: Instant,
}

impl Hold<'_> {
    fn one(&mut self, mut container: NotedContainer) -> Result<()> {
        let mut tried = 0;
        loop {
            match self.is_to_be_held(&mut container) {
                Ok(true) => {}
                // Either nothing was asked, or the engine has refused and will not do it.
                not_asked => {
                    self.drops(&container);
                    return not_asked.map(drop);
                }
            }
            self.holding.standing.begins(&container);
            let NotedContainer { id, how, .. } = &container;
            let left = self.left();
            let asked = self.engine.hold_container(id, *how, left, self.holding.stopped);
            let Some(refusal) = self.takes(&mut container, asked)? else { return Ok(()) };
            tried += 1;
            if tried == TRIES {
                self.drops(&container);
                return Err(not_held(&container, refusal));
            }
        }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Whether a container runs now. The note on disk has this start of it when this returns true.
    fn is_to_be_held(&mut self, container: &mut NotedContainer) -> Result<bool> {
        if (self.holding.stopped)() {
            let ends = Error::new(ErrorKind::Cancelled, "it was to be released before it was held");
            return Err(not_held(container, ends));
        }
        let now = self.engine.container(&container.id);
        let now = now.map_err(|error| not_held(container, error))?;
        let Some(now) = now.filter(ContainerState::writes) else { return Ok(false) };
        if now.started != container.started {
            container.started = now.started;
            self.notes(container);
            (self.holding.keep)(self.note)?;
        }
        Ok(true)
    }

    /// Takes what became of a container that the engine was asked to hold, as the engine has it now. It is
    /// held, or has ended or was paused by somebody before, so that it is not ours to let go on. Else the
    /// refusal of one that runs is returned.
    ///
    /// # Errors
    /// If it is not held. It stays in the note unless it is known to be as it was.
    fn takes(
        &mut self,
        container: &mut NotedContainer,
        asked: Result<Answered>,
    ) -> Result<Option<Error>> {
        let refusal = match asked {
            Ok(Answered::Done) => None,
            Ok(Answered::WasSo) => Some(was_so()),
            Err(error) if error.kind == ErrorKind::Unreachable => {
                self.drops(container);
                return Err(not_held(container, error));
            }
            Err(error) if Engine::has_refused(&error) => Some(error),
            // The engine may have done it all the same, or do it later.
            Err(error) => return Err(not_held(container, error)),
        };
        let now = self.engine.container(&container.id);
        let now = now.map_err(|error| not_held(container, error))?;
        let runs = now.as_ref().is_some_and(ContainerState::writes);
        match (refusal, now) {
            (None, Some(now)) if now.stands(container.how) => {
                container.started = now.started;
                container.finished = (container.how == How::Stop).then_some(now.finished);
                container.is_sure = true;
                self.notes(container);
                Ok(None)
            }
            (None, _) => {
                self.drops(container);
                let undone = "it was let go on at once, or removed";
                Err(not_held(container, Error::new(ErrorKind::Io, undone)))
            }
            (Some(refusal), _) if !had_nothing_to_do(&refusal) => {
                if runs {
                    self.drops(container);
                }
                Err(not_held(container, refusal))
            }
            (Some(refusal), _) if runs => Ok(Some(refusal)),
            (Some(_), _) => {
                self.drops(container);
                Ok(None)
            }
        }
    }

    fn notes(&mut self, container: &NotedContainer) {
        let noted = self.note.containers.iter_mut().find(|noted| noted.id == container.id);
        if let Some(noted) = noted {
            noted.clone_from(container);
        }
    }

    fn drops(&mut self, container: &NotedContainer) {
        self.holding.standing.forgets(container);
        self.note.containers.retain(|noted| noted.id != container.id);
    }
}

/// The answer that a container had ended before it was to be stopped.
fn was_so() -> Error {
    Error::new(ErrorKind::Daemon, "it ended before it was stopped, and runs again").with_status(304)
}

fn had_nothing_to_do(refusal: &Error) -> bool {
    refusal.status == Some(304) || Engine::had_nothing_to_do(refusal)
}

fn not_held(container: &NotedContainer, error: Error) -> Error {
    let NotedContainer { name, how, .. } = container;
    let how = how.as_str();
    // Docker says that it runs, and its processes stand still once what they wait for is there.
    let frozen = if error.status == Some(500) && container.how == How::Pause {
        format!(
            "look whether its processes run (docker top {name}); if they stand still though it is not paused: docker restart {name}; "
        )
    } else {
        String::new()
    };
    let hint = format!(
        "{frozen}see whether \"docker {how} {name}\" works; the label {HOLD_LABEL} of the container can be pause, stop or none, and BKUP_DOCKER_UNHELD=live reads what can't be held as it is"
    );
    let message = format!("cannot {how} container \"{name}\": {}", error.message);
    Error { message, ..error }.with_hint(hint)
}
