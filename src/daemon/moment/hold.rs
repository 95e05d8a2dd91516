//! Holding what writes to a volume still, for as short a time as possible, and never for ever.
//!
//! One hold at a time is held ([`Turns`]). It is noted on disk before it begins. It ends once, with
//! [`Hold::end`], when it is dropped, when its limit passes, or when the program ends
//! ([`release_all`]); what a kill left, the next start releases by its note. A release that fails is
//! tried again as long as the process lives, and its note stays until one succeeds.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    containers::ContainerHolds,
    notes::{Note, Notes},
    place::Place,
    turns::{Turn, Turns},
    writers::{Standing, Writers},
};
use crate::{
    blocking::no_thread,
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
};

/// So often is a release tried at once, with these pauses before.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2)];

/// How it is told that the operator's commands hold ([`crate::convoy::HOLD`]).
const BY_COMMANDS: &str = "command";

/// So long may all releases take when the program ends.
const AT_THE_END: Duration = Duration::from_secs(10);

/// How long after a release that failed it is tried again, and so on.
pub(super) const AGAIN: Duration = Duration::from_secs(10);

/// The holds of this process.
static ALL: Mutex<Running> = Mutex::new(Running { holds: Vec::new(), ends: false });

struct Running {
    holds: Vec<Weak<Held>>,
    /// Whether the program ends, so that nothing is held any more.
    ends: bool,
}

/// Releases everything that this process holds, and lets it hold nothing any more. It is called when
/// the process ends, because threads that still work are then left behind. It ends in a few seconds:
/// what stops the program may kill it when it waits.
pub(crate) fn release_all() {
    let holds = {
        let mut all = lock(&ALL);
        all.ends = true;
        // They stay in the list, so that another call at the same time waits for them as well.
        all.holds.clone()
    };
    release_each(holds.iter().filter_map(Weak::upgrade).collect(), AT_THE_END);
}

/// Releases all of these at the same time. Those that can't be released in time stay noted.
fn release_each(holds: Vec<Arc<Held>>, within: Duration) {
    let (done, ended) = mpsc::channel();
    for held in &holds {
        held.is_over.store(true, Ordering::Release);
        let (releasing, done) = (Arc::clone(held), done.clone());
        let release = move || {
            _ = releasing.release();
            _ = done.send(());
        };
        if thread::Builder::new().name("release".into()).spawn(release).is_err() {
            _ = held.release();
        }
    }
    drop(done);
    let begun = Instant::now();
    while let Some(left) = within.checked_sub(begun.elapsed())
        && ended.recv_timeout(left).is_ok()
    {}
    for held in holds.iter().filter(|held| held.is_noted()) {
        log::error!(
            "volume {}: its writers may still stand still, because they could not be released within {within:?}; the next start of the program releases them",
            held.volume
        );
    }
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
}

/// Writers that stand still. They go on when this is dropped, or with [`Hold::end`], which says
/// whether that went well.
#[derive(Debug)]
#[must_use]
pub(super) struct Hold(Arc<Held>);

#[derive(Debug)]
struct Held {
    holds: Holds,
    writers: Arc<dyn Writers>,
    volume: String,
    note: Mutex<Note>,
    standing: Standing,
    began: Instant,
    turn: Mutex<Option<Turn>>,
    /// Whether the writers could not be held, so that something may still be holding them.
    is_half: AtomicBool,
    /// Set before writers are released whose files are still being read.
    is_over: AtomicBool,
    /// How it ended, and how long it lasted; `None` while it lasts. Locked while a command runs.
    ended: Mutex<Option<Result<Duration>>>,
    changed: Condvar,
}

impl Holds {
    /// Who holds what writes to this place, if it may have to be held. Where the operator's commands
    /// do, containers are left alone.
    fn writers_of(&self, place: &Place) -> Option<Arc<dyn Writers>> {
        let commands = self.commands.clone().filter(|commands| commands.may_hold(place));
        commands.or_else(|| self.containers.clone().map(|containers| containers as _))
    }

    /// Whether this place is read as it is where what writes to it can't be held.
    pub(super) fn reads_unheld(&self, place: &Place) -> bool {
        let by_commands = self.commands.as_ref().is_some_and(|commands| commands.may_hold(place));
        let unheld = self.containers.as_ref().is_some_and(|containers| containers.reads_unheld);
        unheld && !by_commands
    }

    /// Whether something that writes to this place may have to be held.
    pub(super) fn may_hold(&self, place: &Place) -> bool {
        self.writers_of(place).is_some_and(|writers| writers.may_hold(place))
    }

    /// How what writes to each of these places is held, or why it can't be, for people. Where that can't
    /// be told now, nothing is.
    pub(super) fn told(&self, places: &[Place]) -> Vec<Result<Option<String>, String>> {
        let by_commands =
            |place: &Place| self.commands.as_ref().is_some_and(|commands| commands.may_hold(place));
        let by_containers = self.containers.as_ref().and_then(|containers| containers.told(places));
        let by_containers = by_containers.unwrap_or_else(|| vec![Ok(None); places.len()]);
        let told = places.iter().zip(by_containers).map(|(place, containers)| {
            if by_commands(place) { Ok(Some(BY_COMMANDS.to_owned())) } else { containers }
        });
        told.collect()
    }

    /// Holds what writes to a place, once nothing else is held. The time counts from then. `None` if
    /// nothing writes to it, or is to be held.
    ///
    /// # Errors
    /// If it can't be held; what was held of it is released. If the run ends first.
    pub(super) fn hold(&self, place: &Place) -> Result<Option<Hold>> {
        let Some(writers) = self.writers_of(place) else { return Ok(None) };
        let turn = self.turn(place)?;
        self.release_left();
        let unheld = |error| told_of(&place.volume, error);
        let Some(note) = writers.note(place).map_err(unheld)? else { return Ok(None) };
        self.notes.write(&note)?;
        let held = Arc::new(Held {
            holds: self.clone(),
            writers,
            volume: place.volume.clone(),
            note: Mutex::new(note),
            standing: Standing::default(),
            began: Instant::now(),
            turn: Mutex::new(Some(turn)),
            is_half: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            ended: Mutex::default(),
            changed: Condvar::new(),
        });
        // From here on it is released whatever happens.
        let hold = Hold(held);
        hold.watch()?;
        hold.0.begin()?;
        Ok(Some(hold))
    }

    fn turn(&self, place: &Place) -> Result<Turn> {
        let turn = self.turns.wait(&|| scope::is_ended() || lock(&ALL).ends);
        turn.ok_or_else(|| {
            let message = format!(
                "the run ended while volume \"{}\" waited for the hold of another volume to end",
                place.volume
            );
            Error::new(ErrorKind::Cancelled, message)
        })
    }

    /// Tries again to release what earlier holds left. It is called in a turn, so no note is of a hold
    /// that lasts. Other volumes' are tried too, because the same program may write to them.
    fn release_left(&self) {
        let (notes, _) = self.notes.all();
        for note in notes.iter().filter(|note| note.is_hold()) {
            match self.undo(note) {
                Ok(()) => log::warn!("{} was left; it is released now", note.told()),
                Err(error) => log::error!("{} was left: {}", note.told(), with_its_hint(&error)),
            }
        }
    }

    /// Releases what a note tells of.
    pub(super) fn undo(&self, note: &Note) -> Result<()> {
        let writers: Arc<dyn Writers> = match &note.engine {
            Some(engine) => Arc::new(ContainerHolds::at(engine)),
            None => self.commands.clone().ok_or_else(|| no_commands(note))?,
        };
        let ended = if note.is_held { Ok(()) } else { writers.end(note) };
        writers.release(note, &Standing::default()).and(ended)?;
        self.notes.remove(note)
    }

    /// Tries again to release what a note tells of, as long as the process lives.
    pub(super) fn undo_later(&self, note: Note) -> Result<()> {
        let holds = self.clone();
        let again = move || holds.keep_trying(&note, || holds.notes.has(&note));
        let started = thread::Builder::new().name("release".into()).spawn(again);
        started
            .map(drop)
            .map_err(|error| no_thread("cannot start a thread that tries a release again", &error))
    }

    /// Tries again to release what a note tells of, until that succeeds here or elsewhere.
    fn keep_trying(&self, note: &Note, is_left: impl Fn() -> bool) {
        while is_left() {
            thread::sleep(self.again);
            // It would release another hold with it.
            let Some(_turn) = self.turns.wait(&|| lock(&ALL).ends) else { return };
            if !self.notes.has(note) {
                return;
            }
            match self.undo(note) {
                Ok(()) => return log::error!("{} was released at last", note.told()),
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

impl Held {
    fn is_noted(&self) -> bool {
        self.holds.notes.has(&lock(&self.note))
    }

    fn begin(self: &Arc<Self>) -> Result<()> {
        {
            let mut all = lock(&ALL);
            if all.ends {
                return Err(ends());
            }
            all.holds.retain(|held| held.strong_count() > 0);
            all.holds.push(Arc::downgrade(self));
        }
        let ended = lock(&self.ended);
        let stopped = || self.is_over.load(Ordering::Acquire);
        // The program may have begun to end since.
        if ended.is_some() || stopped() {
            return Err(ends());
        }
        let mut note = lock(&self.note).clone();
        let (limit, standing) = (self.holds.limit, &self.standing);
        let held = self.writers.hold(&mut note, limit, &stopped, standing);
        let is_half = held.as_ref().is_err_and(|error| self.writers.may_go_on(error));
        self.is_half.store(is_half, Ordering::Release);
        if !is_half {
            note = note.held();
        }
        *lock(&self.note) = note.clone();
        let volume = &self.volume;
        held.map_err(|error| told_of(volume, error))?;
        if let Err(error) = self.holds.notes.write(&note) {
            log::warn!("volume {volume}: the note on its hold says too little: {error}");
        }
        Ok(())
    }

    /// Releases the writers, if that was not done before. The result is how long they stood still.
    fn release(&self) -> Result<Duration> {
        let mut ended = lock(&self.ended);
        if let Some(ended) = &*ended {
            return ended.clone();
        }
        let released = self.try_release();
        let took = self.began.elapsed();
        let volume = &self.volume;
        match &released {
            Ok(()) => {
                log::info!("volume {volume}: its writers stood still for {} ms", took.as_millis());
                for (container, stood) in self.standing.milliseconds() {
                    log::info!("volume {volume}: container {container} stood still for {stood} ms");
                }
                // A note that stays is a release too many at the next start.
                if let Err(error) = self.holds.notes.remove(&lock(&self.note)) {
                    log::warn!("volume {volume}: the note on its hold stays: {error}");
                }
            }
            Err(error) => {
                log::error!(
                    "volume {volume}: its writers could not be released (tried again every {:?} as long as this process lives): {}",
                    self.holds.again,
                    with_its_hint(error)
                );
            }
        }
        let how = released.map(|()| took);
        *ended = Some(how.clone());
        drop(lock(&self.turn).take());
        self.changed.notify_all();
        how
    }

    fn try_release(&self) -> Result<()> {
        let is_half = self.is_half.load(Ordering::Acquire);
        let note = lock(&self.note).clone();
        let ended = if is_half { self.writers.end(&note) } else { Ok(()) };
        let mut last = None;
        for pause in PAUSES {
            thread::sleep(pause);
            match self.writers.release(&note, &self.standing) {
                Ok(()) => return ended,
                Err(error) => last = Some(error),
            }
        }
        last.map_or(ended, Err)
    }

    /// Tries again to release what could not be released.
    fn release_later(&self) {
        let note = lock(&self.note).clone();
        let is_left = || matches!(&*lock(&self.ended), Some(Err(_))) && self.holds.notes.has(&note);
        self.holds.keep_trying(&note, is_left);
    }

    /// Waits until it has ended; releases the writers when its time is over.
    fn wait(&self) {
        let mut ended = lock(&self.ended);
        loop {
            let left = self.holds.limit.saturating_sub(self.began.elapsed());
            if ended.is_some() {
                return;
            }
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(ended, left);
            ended = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(ended);
        self.is_over.store(true, Ordering::Release);
        _ = self.release();
    }
}

impl Hold {
    /// Lets a thread release the writers when the time is over, and again if that failed.
    fn watch(&self) -> Result<()> {
        let (held, scope) = (Arc::clone(&self.0), scope::current());
        let watch = move || {
            scope::within(scope, || held.wait());
            held.release_later();
        };
        let started = thread::Builder::new().name("hold".into()).spawn(watch);
        started
            .map(drop)
            .map_err(|error| no_thread("cannot start a thread to watch over a hold", &error))
    }

    /// Whether the writers went on before this was ended, so that what is read is of no use.
    pub(super) fn is_over(&self) -> bool {
        self.0.is_over.load(Ordering::Acquire)
    }

    /// Releases the writers. The result is how long they stood still, with the time that the
    /// commands took.
    ///
    /// # Errors
    /// If they could not be released, or were released before, because the limit passed
    /// ([`ErrorKind::Timeout`]) or the program ends ([`ErrorKind::Cancelled`]), or by somebody else.
    pub(super) fn end(self) -> Result<HoldEnded> {
        let was_over = self.is_over();
        let took = self.0.release()?;
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let volume = &self.0.volume;
        if was_over && lock(&ALL).ends {
            return Err(ends());
        }
        if was_over {
            return Err(over(volume, self.0.holds.limit));
        }
        if let Some(why) = self.0.standing.broken() {
            let message = format!(
                "{why} while what writes to volume \"{volume}\" was to stand still, so the copy was thrown away"
            );
            return Err(Error::new(ErrorKind::Io, message).with_hint(
                "find out what lets it go on: a person, a deployment, or a program that starts unhealthy containers anew, as paused ones seem to be",
            ));
        }
        Ok(HoldEnded { milliseconds, containers: self.0.standing.milliseconds() })
    }
}

/// How a hold ended that went well.
pub(super) struct HoldEnded {
    /// How long writers stood still, with the time that it took to hold and to release them.
    pub(super) milliseconds: u64,
    /// How long each container did, in milliseconds.
    pub(super) containers: BTreeMap<String, u64>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Its failure was logged, and its note stays.
        _ = self.0.release();
    }
}

fn over(volume: &str, limit: Duration) -> Error {
    let message = format!(
        "what writes to volume \"{volume}\" stood still for {limit:?}, the longest that it may, so it was released and the copy thrown away"
    );
    Error::new(ErrorKind::Timeout, message).with_hint(
        "raise BKUP_HOLD_MAX, or find out what was slow: the hold, the release, or the reading of the files",
    )
}

/// An error for the log, with what to do by hand.
pub(super) fn with_its_hint(error: &Error) -> String {
    error.hint.as_ref().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
}

/// An error that names the volume.
fn told_of(volume: &str, error: Error) -> Error {
    let begin = format!("volume \"{volume}\"");
    if error.message.starts_with(&begin) {
        return error;
    }
    Error { message: format!("{begin}: {}", error.message), ..error }
}

fn ends() -> Error {
    Error::new(ErrorKind::Cancelled, "the program ends, so nothing is held still any more")
}

#[cfg(test)]
impl Hold {
    /// As [`release_all`] for this one.
    pub(super) fn release_at_the_end(&self, within: Duration) {
        release_each(vec![Arc::clone(&self.0)], within);
    }
}
