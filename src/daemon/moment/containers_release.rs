//! Letting the containers of a note go on.

use std::{
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    notes::{Asked, Note, NotedContainer},
    writers::Standing,
};
use crate::{
    clock::boot,
    engine::{ContainerState, Engine, How},
    error::{Error, ErrorKind, Result},
};

/// How long an engine, or a proxy before it, may still do what it gave no clear answer to.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(15);
/// How often is looked then.
const LOOK: Duration = Duration::from_millis(100);
/// How often a container that goes its own way is asked at once.
const TRIES: usize = 3;

/// What became of a container that is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Released,
    /// It was not held any more, or not yet.
    Runs,
    /// It was removed, ended, or started anew, so it is not what was held.
    Another,
}

/// Lets all containers of a note go on, those that were held last first. All are tried, and those that
/// go on leave the note. What the engine may still be about to do is waited for.
///
/// # Errors
/// If one of them may still stand still.
pub(super) fn let_go_on(
    engine: &Engine,
    note: &mut Note,
    settled: Duration,
    standing: &Standing,
) -> Result<()> {
    let since = Instant::now();
    let settled = settled_after(note, settled);
    // Where the engine was ended with the machine, it says that all ended when it was started again.
    let is_of_this_boot = note.boot.as_ref().is_none_or(|then| *then == boot());
    let asked = note.asked.filter(|_| is_of_this_boot);
    loop {
        let is_open = since.elapsed() < settled;
        let mut failure = None;
        for container in note.containers.clone().into_iter().rev() {
            let is_sure = container.is_sure || note.is_held;
            match release(engine, &container, is_sure, asked) {
                Ok(Became::Runs) if is_open && !is_sure => {}
                Ok(became) => {
                    if became != Became::Released {
                        let name = &container.name;
                        standing.is_broken(format!("container \"{name}\" went on, or ended"));
                    }
                    standing.ends(&container);
                    note.containers.retain(|noted| noted.id != container.id);
                }
                Err(error) => _ = failure.get_or_insert_with(|| not_released(&container, error)),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        if note.containers.is_empty() {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// How long from now the engine may still do what it was asked. What it was asked long ago, it does no
/// more.
fn settled_after(note: &Note, settled: Duration) -> Duration {
    let settled = settled + Duration::from_secs(note.grace());
    let over = note.asked.and_then(|asked| asked.to.checked_add(settled).ok());
    if over.is_some_and(|over| over < Timestamp::now()) { Duration::ZERO } else { settled }
}

fn release(
    engine: &Engine,
    container: &NotedContainer,
    is_sure: bool,
    asked: Option<Asked>,
) -> Result<Became> {
    let NotedContainer { id, how, .. } = container;
    let mut tried = 0;
    let mut failure = None;
    loop {
        let Some(now) = engine.container(id)? else { return Ok(Became::Another) };
        let is_ours = is_ours(container, &now, is_sure, asked);
        if !is_ours || !now.stands(*how) {
            return Ok(match is_ours {
                _ if tried > 0 && now.writes() => Became::Released,
                true => Became::Runs,
                false => Became::Another,
            });
        }
        if tried == TRIES {
            let words = "Docker says that it goes on, but it does not";
            return Err(failure.unwrap_or_else(|| Error::new(ErrorKind::Daemon, words)));
        }
        tried += 1;
        // What the engine has then counts, whatever it says.
        match engine.let_go_on(id, *how) {
            Ok(()) => {}
            Err(error) if error.status.is_some() => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
}

/// Whether how a container is now may be by this note's hold: it is in the run in which it was held. A
/// hold whose outcome was not seen may have held the run after that, and what ended at another time was
/// not stopped by it.
fn is_ours(
    container: &NotedContainer,
    now: &ContainerState,
    is_sure: bool,
    asked: Option<Asked>,
) -> bool {
    let may_be_at = |time: &str| asked.is_none_or(|asked| asked.may_be_at(time));
    let is_same_run = now.started == container.started;
    let is_next_run = !is_sure && asked.is_some() && may_be_at(&now.started);
    if !is_same_run && !is_next_run {
        return false;
    }
    match container.how {
        How::Pause => now.runs,
        How::Stop if now.runs => true,
        How::Stop => match &container.finished {
            Some(finished) => now.finished == *finished,
            None => may_be_at(&now.finished),
        },
    }
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
