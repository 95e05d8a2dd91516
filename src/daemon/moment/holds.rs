//! The ways to hold what writes to volumes, and the release of what earlier holds left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{
    containers::ContainerHolds,
    lent::Lent,
    notes::{Note, Notes},
    place::Place,
    told::{Ask, Told},
    turns::Turns,
    writers::{Standing, Writers},
};
use crate::{
    blocking::no_thread,
    engine::Asked,
    error::{Error, ErrorKind, Result},
};

/// How it is told that the operator's commands hold ([`crate::convoy::HOLD`]).
const BY_COMMANDS: &str = "command";

/// How long after a release that failed it is tried again, and so on.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// Whether the program ends, so that nothing is held any more.
static ENDS: AtomicBool = AtomicBool::new(false);

/// Lets nothing be held any more: the program ends.
pub(super) fn end_all() {
    ENDS.store(true, Ordering::SeqCst);
}

/// Whether the program ends.
pub(super) fn ends() -> bool {
    ENDS.load(Ordering::SeqCst)
}

/// How writers are held, and for how long at most.
#[derive(Debug, Clone)]
pub(super) struct Holds {
    /// By the operator's commands.
    pub(super) commands: Option<Arc<dyn Writers>>,
    /// By their containers.
    pub(super) containers: Option<Arc<ContainerHolds>>,
    pub(super) limit: Duration,
    pub(super) notes: Notes,
    pub(super) turns: Arc<Turns>,
    /// How long after a release that failed it is tried again.
    pub(super) again: Duration,
    pub(super) lent: Arc<Lent>,
}

impl Holds {
    /// Who holds what writes to this place, if it may have to be held. Where the operator's commands
    /// do, containers are left alone.
    pub(super) fn writers_of(&self, place: &Place) -> Option<Arc<dyn Writers>> {
        let commands = self.commands.clone().filter(|commands| commands.may_hold(place));
        commands.or_else(|| self.containers.clone().map(|containers| containers as _))
    }

    /// Who holds what writes to these places. The operator's commands hold for one only.
    pub(super) fn writers_of_all(&self, places: &[&Place]) -> Option<Arc<dyn Writers>> {
        match places {
            [place] => self.writers_of(place),
            _ => self.containers.clone().map(|containers| containers as _),
        }
    }

    /// Whether the operator's commands hold what writes to this place.
    pub(super) fn is_by_commands(&self, place: &Place) -> bool {
        self.commands.as_ref().is_some_and(|commands| commands.may_hold(place))
    }

    /// Whether this place is read as it is where what writes to it can't be held.
    pub(super) fn reads_unheld(&self, place: &Place) -> bool {
        let unheld = self.containers.as_ref().is_some_and(|containers| containers.reads_unheld);
        unheld && !self.is_by_commands(place)
    }

    /// How long what writes to these places may be held while they are read, and the setting that says so.
    pub(super) fn limit_of(&self, places: &[&Place]) -> (Duration, &'static str) {
        let writers = self.writers_of_all(places);
        writers.map_or((self.limit, ""), |it| (it.reading_limit(self.limit), it.limit_setting()))
    }

    /// Whether commands are to be run in containers that write to any of these places. Where that can't
    /// be told now, it is told when they are to be run.
    pub(super) fn has_commands(&self, places: &[&Place]) -> bool {
        let Some(containers) = &self.containers else { return false };
        containers.asked(places).map_or(true, |all| all.iter().any(Asked::has_commands))
    }

    /// Whether something that writes to this place may have to be held.
    pub(super) fn may_hold(&self, place: &Place) -> bool {
        self.writers_of(place).is_some_and(|writers| writers.may_hold(place))
    }

    /// How what writes to each of these places is held, or why it can't be, for people. Where that can't
    /// be told now, nothing is.
    pub(super) fn told(&self, places: &[Place], ask: &Ask) -> Vec<Result<Told, String>> {
        let untold = || vec![Ok(Told::default()); places.len()];
        let by_containers = match (&self.containers, ask) {
            (_, Ask::Nothing) => return untold(),
            (None, _) => Some(vec![Ok(Told { is_written: true, ..Told::default() }); places.len()]),
            (Some(containers), Ask::Now) => containers.ask_and_tell(places),
            (Some(containers), Ask::Was(told)) => {
                told.as_ref().and_then(|everything| containers.told(places, everything))
            }
        };
        let by_containers = by_containers.unwrap_or_else(untold);
        let told = places.iter().zip(by_containers).map(|(place, containers)| {
            if !self.is_by_commands(place) {
                return containers;
            }
            Ok(Told { held: Some(BY_COMMANDS.to_owned()), ..containers? })
        });
        told.collect()
    }

    /// Tries again to release what earlier holds left, and to run what is to be run after them. It is
    /// called first in a turn, so no note is of a hold that lasts. Other volumes' are tried too, because the same program may write to them.
    pub(super) fn release_left(&self) {
        let (notes, _) = self.notes.all();
        for note in notes.iter().filter(|note| note.is_hold()) {
            match self.undo(note) {
                Ok(()) => log::warn!("{} was left; it is {} now", note.told(), note.undone()),
                Err(error) => log::error!("{} was left: {}", note.told(), with_its_hint(&error)),
            }
        }
    }

    /// Releases what a note tells of, or runs the commands.
    pub(super) fn undo(&self, note: &Note) -> Result<()> {
        if note.is_after() {
            return self.run_after(note);
        }
        let writers: Arc<dyn Writers> = match &note.engine {
            Some(engine) => {
                let here = self.containers.clone();
                here.unwrap_or_else(|| Arc::new(ContainerHolds::at(engine)))
            }
            None => self.commands.clone().ok_or_else(|| no_commands(note))?,
        };
        let ended = if note.is_held { Ok(()) } else { writers.end(note) };
        let mut left = note.clone();
        let released = writers.release(&mut left, &Standing::default());
        if let Err(error) = released {
            self.keep_left(note, &left);
            return Err(error);
        }
        ended?;
        self.notes.remove(note)
    }

    /// Runs the commands that a note tells of. Those that could be run are taken out of it.
    fn run_after(&self, note: &Note) -> Result<()> {
        let here = self.containers.clone();
        let engine =
            || Arc::new(ContainerHolds::at(note.engine.as_deref().unwrap_or(&note.folder)));
        let mut left = note.clone();
        let ran = here.unwrap_or_else(engine).run_after(&mut left);
        if left.containers.is_empty() {
            return self.notes.remove(note);
        }
        self.keep_left(note, &left);
        ran
    }

    /// Keeps what is left of a note: what was released of it is no longer ours, whatever becomes of it.
    pub(super) fn keep_left(&self, before: &Note, left: &Note) {
        if before.containers.len() != left.containers.len()
            && let Err(error) = self.notes.write(left)
        {
            log::warn!("{} says too much: {error}", before.told());
        }
    }

    /// As [`Self::undo`], within this time; then, or where it fails, it goes on beside, as long as the
    /// process lives.
    pub(super) fn undo_within(&self, note: Note, within: Duration) -> Result<()> {
        let (holds, (done, ended)) = (self.clone(), mpsc::channel());
        let begin = move || {
            let Some(turn) = holds.turns.wait(&ends) else { return };
            let undone = holds.undo(&note);
            drop(turn);
            let is_left = undone.is_err();
            _ = done.send(undone);
            if is_left {
                holds.keep_trying(&note);
            }
        };
        let started = thread::Builder::new().name("release".into()).spawn(begin);
        started.map_err(|error| no_thread("cannot start a thread that releases", &error))?;
        let goes_on = |_| Err(Error::new(ErrorKind::Timeout, "it has not ended yet"));
        ended.recv_timeout(within).unwrap_or_else(goes_on)
    }

    /// Tries again to release what a note tells of, as long as the process lives.
    pub(super) fn undo_later(&self, note: Note) -> Result<()> {
        let holds = self.clone();
        let again = move || holds.keep_trying(&note);
        let started = thread::Builder::new().name("release".into()).spawn(again);
        started
            .map(drop)
            .map_err(|error| no_thread("cannot start a thread that tries a release again", &error))
    }

    /// Tries again to release what a note tells of, until that succeeds here or elsewhere.
    pub(super) fn keep_trying(&self, note: &Note) {
        while self.notes.has(note) {
            thread::sleep(self.again);
            // It would release another hold with it.
            let Some(_turn) = self.turns.wait(&ends) else { return };
            // Another hold may have released a part of it.
            let Some(note) = self.notes.now(note) else { return };
            match self.undo(&note) {
                Ok(()) => return log::error!("{} was {} at last", note.told(), note.undone()),
                Err(error) => log::debug!("{}: {error}", note.told()),
            }
        }
    }
}

fn no_commands(note: &Note) -> Error {
    let message = format!("there is no BKUP_RELEASE for {}", note.told());
    Error::configuration(message).with_hint(format!(
        "let what writes to \"{}\" go on by hand, and set BKUP_HOLD and BKUP_RELEASE again, or remove the note in the daemon's folder \"moments\"",
        note.folder.display()
    ))
}

/// An error for the log, with what to do by hand.
pub(super) fn with_its_hint(error: &Error) -> String {
    error.hint.as_ref().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}
