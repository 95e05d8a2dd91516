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

use jiff::Timestamp;

use super::{
    holds::{Holds, end_all, ends, with_its_hint},
    lent::AnyHeld,
    notes::Note,
    place::{Place, names},
    turns::Turn,
    writers::{Holding, Standing, Writers},
};
use crate::{
    blocking::no_thread,
    engine::wait_for_commands,
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
    text::counted,
};

/// So often is a release tried at once, with these pauses before.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2)];

/// So long may all releases take when the program ends.
const AT_THE_END: Duration = Duration::from_secs(10);
/// So much longer than a container gets to stop, where one is being stopped then.
const AFTER_A_STOP: Duration = Duration::from_secs(5);

/// The holds of this process.
static ALL: Mutex<Vec<Weak<Held>>> = Mutex::new(Vec::new());

/// Releases everything that this process holds, and lets it hold nothing any more. It is called when
/// the process ends, because threads that still work are then left behind. It ends in a few seconds,
/// or the time that a container gets to stop: what stops the program may kill it when it waits.
pub(crate) fn release_all() {
    let holds = {
        let all = lock(&ALL);
        end_all();
        // They stay in the list, so that another call at the same time waits for them as well.
        all.clone()
    };
    let holds: Vec<_> = holds.iter().filter_map(Weak::upgrade).collect();
    let within = at_the_end(&holds.iter().map(|held| lock(&held.note).clone()).collect::<Vec<_>>());
    release_each(holds, within);
    let left = wait_for_commands(AT_THE_END);
    if left > 0 {
        log::error!(
            "{} in containers did not end within {AT_THE_END:?}, so what labels ask to be run after a backup may not have been: look at what was begun before it",
            counted(left, "command", "commands")
        );
    }
}

/// How long the releases of these notes may take when the program ends: the engine goes on with a stop
/// that was begun, and what it stopped is started again only then.
pub(super) fn at_the_end(notes: &[Note]) -> Duration {
    let graces = notes.iter().filter(|note| !note.is_held).map(Note::grace);
    let longest = Duration::from_secs(graces.max().unwrap_or_default());
    AT_THE_END.max(longest + AFTER_A_STOP)
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

/// Writers that stand still. They go on when this is dropped, or with [`Hold::end`], which says
/// whether that went well.
#[derive(Debug)]
#[must_use]
pub(super) struct Hold {
    held: Arc<Held>,
    /// Since when it is used inside of a hold that lasts longer; `None` if this is that hold.
    lent: Option<Timestamp>,
}

#[derive(Debug)]
struct Held {
    holds: Holds,
    writers: Arc<dyn Writers>,
    places: Vec<Place>,
    /// The name of the volume, or those of all of them.
    volume: String,
    note: Mutex<Note>,
    standing: Standing,
    began: Instant,
    turn: Mutex<Option<Arc<Turn>>>,
    limit: Duration,
    /// What is held, and since when all of it is; `None` while it is not yet.
    stands: Mutex<Option<(Note, Timestamp)>>,
    /// Until when.
    went_on: Mutex<Option<Timestamp>>,
    /// Whether the writers could not be held, so that something may still be holding them.
    is_half: AtomicBool,
    /// Set before writers are released whose files are still being read.
    is_over: AtomicBool,
    /// How it ended, and how long it lasted; `None` while it lasts. Locked while a command runs.
    ended: Mutex<Option<Result<Duration>>>,
    changed: Condvar,
}

/// Why what writes to a place is not held.
#[derive(Debug)]
pub(super) struct NotHeld {
    pub(super) error: Error,
    /// Whether something of it may stand still all the same, and could not be released.
    pub(super) stands: bool,
}

impl From<Error> for NotHeld {
    fn from(error: Error) -> Self {
        Self { error, stands: false }
    }
}

impl Holds {
    /// Holds what writes to any of these places, in this turn, or once nothing else is held. The time
    /// counts from then. `None` if nothing writes to them, or is to be held.
    ///
    /// # Errors
    /// If it can't be held; what was held of it is released. If the run ends first.
    pub(super) fn hold(
        &self,
        places: &[&Place],
        turn: Option<Arc<Turn>>,
    ) -> Result<Option<Hold>, NotHeld> {
        if let Some(lent) = self.lent.to(places) {
            let held = lent.and_then(|held| held.downcast::<Held>().ok());
            if let Some(over) = held.as_ref().filter(|held| lock(&held.went_on).is_some()) {
                return Err(over.over().into());
            }
            return Ok(held.map(|held| Hold { held, lent: Some(Timestamp::now()) }));
        }
        let Some(writers) = self.writers_of_all(places) else { return Ok(None) };
        let volume = names(places);
        let turn = match turn {
            Some(turn) => turn,
            None => {
                let turn = Arc::new(self.turn(&volume)?);
                self.release_left();
                turn
            }
        };
        let unheld = |error| told_of(&volume, error);
        let Some(note) = writers.note(places).map_err(unheld)? else { return Ok(None) };
        self.notes.write(&note)?;
        let limit = writers.limit(&note, self.limit);
        let held = Arc::new(Held {
            holds: self.clone(),
            writers,
            places: places.iter().copied().cloned().collect(),
            volume,
            note: Mutex::new(note),
            standing: Standing::default(),
            began: Instant::now(),
            limit,
            stands: Mutex::default(),
            went_on: Mutex::default(),
            turn: Mutex::new(Some(turn)),
            is_half: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            ended: Mutex::default(),
            changed: Condvar::new(),
        });
        // From here on it is released whatever happens.
        let hold = Hold { held, lent: None };
        let begun = hold.watch().and_then(|()| hold.held.begin());
        if let Err(error) = begun {
            return Err(match hold.held.release() {
                Ok(_) => error.into(),
                Err(left) => NotHeld { error: not_released_either(error, left), stands: true },
            });
        }
        // What was to be held has ended meanwhile.
        let is_nothing = lock(&hold.held.note).holds_nothing();
        Ok((!is_nothing).then_some(hold))
    }

    /// Waits until nothing is held.
    ///
    /// # Errors
    /// If the run ends first, or this is inside of a hold, which it would wait for.
    pub(super) fn turn(&self, volume: &str) -> Result<Turn> {
        if let Some(held) = self.lent.around() {
            let message = format!(
                "volume \"{volume}\" can't be held inside of docker::quiesced of {}: one hold waits for the end of another",
                held.join(", ")
            );
            return Err(Error::configuration(message).with_hint(
                "name all volumes to docker::quiesced that are backed up inside of it, or back the others up outside",
            ));
        }
        let turn = self.turns.wait(&|| scope::is_ended() || ends());
        turn.ok_or_else(|| {
            let message = format!(
                "the run ended while volume \"{volume}\" waited for the hold of another volume to end"
            );
            Error::new(ErrorKind::Cancelled, message)
        })
    }
}

fn not_released_either(error: Error, left: Error) -> Error {
    let message = format!("{}; and {}", error.message, left.message);
    Error { message, hint: left.hint, ..error }
}

impl Held {
    fn is_noted(&self) -> bool {
        self.holds.notes.has(&lock(&self.note))
    }

    fn begin(self: &Arc<Self>) -> Result<()> {
        {
            let mut all = lock(&ALL);
            if ends() {
                return Err(program_ends());
            }
            all.retain(|held| held.strong_count() > 0);
            all.push(Arc::downgrade(self));
        }
        let (noted, note) = {
            let ended = lock(&self.ended);
            // The program may have begun to end since.
            if ended.is_some() || self.is_over.load(Ordering::Acquire) {
                return Err(program_ends());
            }
            let noted = lock(&self.note).clone();
            (noted, self.hold()?)
        };
        *lock(&self.stands) = Some((note.clone(), Timestamp::now()));
        // Not under the lock: the disk may be what stands still, and the release must not wait for it.
        match self.correct(&note) {
            Err(error) if noted.containers.is_empty() => {
                log::warn!("volume {}: the note on its hold says too little: {error}", self.volume);
                Ok(())
            }
            written => written,
        }
    }

    /// Holds. The result is the note on what is held; the release goes by it from then on.
    fn hold(&self) -> Result<Note> {
        let mut note = lock(&self.note).clone();
        let keep = |note: &Note| {
            lock(&self.note).clone_from(note);
            self.holds.notes.write(note)
        };
        let stopped = || self.is_over.load(Ordering::Acquire);
        let (standing, limit) = (&self.standing, self.limit);
        let holding = Holding { limit, stopped: &stopped, standing, keep: &keep };
        let held = self.writers.hold(&mut note, &holding);
        let is_half = held.as_ref().is_err_and(|error| self.writers.may_go_on(error));
        self.is_half.store(is_half, Ordering::Release);
        if held.is_ok() {
            note = note.held();
        }
        lock(&self.note).clone_from(&note);
        held.map_err(|error| told_of(&self.volume, error)).map(|()| note)
    }

    /// Writes the note as it is now, unless it is released meanwhile.
    fn correct(&self, note: &Note) -> Result<()> {
        let written = self.holds.notes.write(note);
        match &*lock(&self.ended) {
            None => written,
            Some(Ok(_)) => self.holds.notes.remove(note),
            // Less may be left of it.
            Some(Err(_)) => self.holds.notes.write(&lock(&self.note)),
        }
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
        lock(&self.went_on).get_or_insert_with(Timestamp::now);
        let noted = lock(&self.note).clone();
        let ended = if is_half { self.writers.end(&noted) } else { Ok(()) };
        let mut left = noted.clone();
        let mut last = None;
        for pause in PAUSES {
            thread::sleep(pause);
            match self.writers.release(&mut left, &self.standing) {
                Ok(()) => return ended,
                Err(error) => last = Some(error),
            }
            lock(&self.note).clone_from(&left);
        }
        self.holds.keep_left(&noted, &left);
        last.map_or(ended, Err)
    }

    /// Tries again to release what could not be released.
    fn release_later(&self) {
        if matches!(&*lock(&self.ended), Some(Err(_))) {
            let note = lock(&self.note).clone();
            self.holds.keep_trying(&note);
        }
    }

    /// The error of a reading that was not over in time.
    fn over(&self) -> Error {
        let Self { volume, limit, .. } = self;
        let setting = self.writers.limit_setting();
        let message = format!(
            "what writes to volume \"{volume}\" stood still for {limit:?}, the longest that it may, so it was released and the copy thrown away"
        );
        Error::new(ErrorKind::Timeout, message).with_hint(format!(
            "raise {setting}, or find out what was slow: the hold, the release, or the reading of the files"
        ))
    }

    /// Waits until it has ended; releases the writers when its time is over.
    fn wait(&self) {
        let mut ended = lock(&self.ended);
        loop {
            let left = self.limit.saturating_sub(self.began.elapsed());
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
        let (held, scope) = (Arc::clone(&self.held), scope::current());
        let watch = move || {
            scope::within(scope, || held.wait());
            held.release_later();
        };
        let started = thread::Builder::new().name("hold".into()).spawn(watch);
        started
            .map(drop)
            .map_err(|error| no_thread("cannot start a thread to watch over a hold", &error))
    }

    /// The same, for readings inside of it ([`super::lent`]): they do not release anything.
    pub(super) fn lend(&self) -> AnyHeld {
        Arc::clone(&self.held) as _
    }

    /// What stands still.
    pub(super) fn containers(&self) -> Vec<String> {
        self.held.standing.held()
    }

    /// Whether the writers went on before this was ended, so that what is read is of no use.
    pub(super) fn is_over(&self) -> bool {
        self.held.is_over.load(Ordering::Acquire)
    }

    /// Whether nothing else writes to the place, so far as can be told.
    pub(super) fn is_of_all(&self) -> bool {
        lock(&self.held.stands).as_ref().is_some_and(|(note, _)| note.is_all)
    }

    /// Releases the writers. The result is how long they stood still, with the time that the
    /// commands took.
    ///
    /// # Errors
    /// If they could not be released, or were released before, because the limit passed
    /// ([`ErrorKind::Timeout`]) or the program ends ([`ErrorKind::Cancelled`]), or by somebody else.
    pub(super) fn end(self) -> Result<HoldEnded> {
        let was_over = self.is_over();
        let (milliseconds, containers) = match self.lent {
            None => {
                let took = self.held.release()?;
                let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                (milliseconds, self.held.standing.milliseconds())
            }
            Some(since) => {
                let took = Timestamp::now().duration_since(since).as_millis();
                let milliseconds = u64::try_from(took).unwrap_or_default();
                let held = self.held.standing.held();
                (milliseconds, held.into_iter().map(|name| (name, milliseconds)).collect())
            }
        };
        let volume = &self.held.volume;
        if was_over && ends() {
            return Err(program_ends());
        }
        if was_over {
            return Err(self.held.over());
        }
        if self.lent.is_some() && lock(&self.held.went_on).is_some() {
            let message = format!(
                "what writes to volume \"{volume}\" was held for a script, and went on while the volume was read, so the copy was thrown away"
            );
            return Err(Error::new(ErrorKind::Io, message).with_hint("try again"));
        }
        let (stands, went_on) = (lock(&self.held.stands).clone(), *lock(&self.held.went_on));
        if let Some((note, since)) = stands {
            let time = (self.lent.unwrap_or(since), went_on.unwrap_or_else(Timestamp::now));
            let places: Vec<_> = self.held.places.iter().collect();
            self.held.writers.check(&note, &places, time, &self.held.standing);
        }
        if let Some(why) = self.held.standing.broken() {
            let message = format!(
                "{why} while what writes to volume \"{volume}\" was to stand still, so the copy was thrown away"
            );
            return Err(Error::new(ErrorKind::Io, message).with_hint(
                "find out what lets it go on: a person, a deployment, or a program that starts unhealthy containers anew, as paused ones seem to be",
            ));
        }
        Ok(HoldEnded { milliseconds, containers })
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
        if self.lent.is_none() {
            _ = self.held.release();
        }
    }
}

/// An error that names the volume.
pub(super) fn told_of(volume: &str, error: Error) -> Error {
    let begin = format!("volume \"{volume}\"");
    if error.message.starts_with(&begin) {
        return error;
    }
    Error { message: format!("{begin}: {}", error.message), ..error }
}

fn program_ends() -> Error {
    Error::new(ErrorKind::Cancelled, "the program ends, so nothing is held still any more")
}

#[cfg(test)]
impl Hold {
    /// As [`release_all`] for this one.
    pub(super) fn release_at_the_end(&self, within: Duration) {
        release_each(vec![Arc::clone(&self.held)], within);
    }
}
