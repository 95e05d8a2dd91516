//! Holding what writes to a volume still, for as short a time as possible, and never for ever.
//!
//! One hold at a time is held ([`Turns`]). It is noted on disk before it begins. It ends once, with
//! [`Hold::end`], when it is dropped, when its limit passes, or when the program ends
//! ([`release_all`]); what a kill left, the next start releases by its note. A release that fails is tried again as long as the process lives, and
//! its note stays until one succeeds.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    notes::{HOLD, Note, Notes},
    place::Place,
    turns::{Turn, Turns},
    writers::Writers,
};
use crate::{
    blocking::no_thread,
    error::{Error, ErrorKind, Result},
    scope,
    sync::lock,
};

/// So often is a release tried at once, with these pauses before.
const PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2)];

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
        std::mem::take(&mut all.holds)
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
    for held in holds.iter().filter(|held| held.holds.notes.has(&held.note)) {
        log::error!(
            "volume {}: its writers may still stand still, because they could not be released within {within:?}; the next start of the program releases them",
            held.place.volume
        );
    }
}

/// How writers are held, and for how long at most.
#[derive(Debug, Clone)]
pub(super) struct Holds {
    pub(super) writers: Arc<dyn Writers>,
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
    place: Place,
    note: Note,
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
    /// Holds what writes to a place, once nothing else is held. The time counts from then.
    ///
    /// # Errors
    /// If it can't be held; what was held of it is released. If the run ends first.
    pub(super) fn hold(&self, place: &Place) -> Result<Hold> {
        let turn = self.turn(place)?;
        self.release_left();
        let note = Note::hold(place);
        self.notes.write(&note)?;
        let held = Arc::new(Held {
            holds: self.clone(),
            place: place.clone(),
            note,
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
        Ok(hold)
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
        for note in notes.iter().filter(|note| note.kind == HOLD) {
            match self.undo(note) {
                Ok(()) => log::warn!("{} was left; it is released now", note.told()),
                Err(error) => log::error!("{} was left: {error}", note.told()),
            }
        }
    }

    /// Releases what a note tells of.
    pub(super) fn undo(&self, note: &Note) -> Result<()> {
        let place = Place {
            volume: note.volume.clone(),
            folder: note.folder.clone(),
            beside: None,
            is_of_the_host: false,
        };
        let ended = if note.is_held { Ok(()) } else { self.writers.end(&note.id) };
        self.writers.release(&place).and(ended)?;
        self.notes.remove(note)
    }
}

impl Held {
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
        let held = self.holds.writers.hold(&self.place, &self.note.id, self.holds.limit, &stopped);
        self.is_half.store(held.is_err(), Ordering::Release);
        held?;
        if let Err(error) = self.holds.notes.write(&self.note.clone().held()) {
            log::warn!(
                "volume {}: the note on its hold says too little: {error}",
                self.place.volume
            );
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
        let volume = &self.place.volume;
        match &released {
            Ok(()) => {
                log::info!("volume {volume}: its writers stood still for {} ms", took.as_millis());
                // A note that stays is a release too many at the next start.
                if let Err(error) = self.holds.notes.remove(&self.note) {
                    log::warn!("volume {volume}: the note on its hold stays: {error}");
                }
            }
            Err(error) => {
                log::error!(
                    "volume {volume}: its writers could not be released (tried again every {:?} as long as this process lives): {error}",
                    self.holds.again
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
        let ended = if is_half { self.holds.writers.end(&self.note.id) } else { Ok(()) };
        let mut last = None;
        for pause in PAUSES {
            thread::sleep(pause);
            match self.holds.writers.release(&self.place) {
                Ok(()) => return ended,
                Err(error) => last = Some(error),
            }
        }
        last.map_or(ended, Err)
    }

    /// Tries again to release what could not be released, until that succeeds here or elsewhere.
    fn release_later(&self) {
        let Self { holds, place, .. } = self;
        let is_half = self.is_half.load(Ordering::Acquire);
        let note = &if is_half { self.note.clone() } else { self.note.clone().held() };
        while matches!(&*lock(&self.ended), Some(Err(_))) && holds.notes.has(note) {
            thread::sleep(holds.again);
            // It would release another hold with it.
            let Some(_turn) = holds.turns.wait(&|| lock(&ALL).ends) else { return };
            if !holds.notes.has(note) {
                return;
            }
            match holds.undo(note) {
                Ok(()) => {
                    log::error!("volume {}: its writers were released at last", place.volume);
                    return;
                }
                Err(error) => log::debug!("volume {}: {error}", place.volume),
            }
        }
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
    /// ([`ErrorKind::Timeout`]) or the program ends ([`ErrorKind::Cancelled`]).
    pub(super) fn end(self) -> Result<Duration> {
        let was_over = self.is_over();
        let took = self.0.release()?;
        if !was_over {
            return Ok(took);
        }
        if lock(&ALL).ends {
            return Err(ends());
        }
        let (volume, limit) = (&self.0.place.volume, self.0.holds.limit);
        let message = format!(
            "what writes to volume \"{volume}\" stood still for {limit:?}, the longest that it may, so it was released and the copy thrown away"
        );
        Err(Error::new(ErrorKind::Timeout, message).with_hint(
            "raise BKUP_HOLD_MAX, or find out what was slow: the commands, or the reading of the files",
        ))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Its failure was logged, and its note stays.
        _ = self.0.release();
    }
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
