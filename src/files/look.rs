//! Looks at folders that may never answer: where the server of a share is gone, each call waits for
//! it, and no signal ends the wait. So a look has a thread of its own, which may be left behind. A
//! place that let a look wait for too long is not looked at again until one of its looks has ended,
//! so that the threads left behind do not grow in number.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Condvar, LazyLock, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{scope, sync::lock};

/// So many looks at one place go on at once at most. One more waits for its turn.
const MOST_AT_ONCE: usize = 8;
/// A look at a folder needs little.
const STACK: usize = 1 << 20;

/// The places at which looks go on.
static PLACES: LazyLock<Mutex<HashMap<PathBuf, Place>>> = LazyLock::new(Mutex::default);
static ENDED: Condvar = Condvar::new();

#[derive(Default)]
struct Place {
    looks: usize,
    /// Whether one of them has taken too long.
    hangs: bool,
}

/// A look that goes on.
#[must_use]
pub(crate) struct Look<T> {
    place: PathBuf,
    /// `None`: it was not begun.
    answer: Option<Receiver<T>>,
    until: Instant,
}

impl<T: Send + 'static> Look<T> {
    /// Begins to look at a place, on another thread.
    pub(crate) fn begin(
        place: &Path,
        within: Duration,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        let until = Instant::now() + within;
        let answer = going_on(place, until).and_then(|going| {
            let (found, answer) = channel();
            let scope = scope::current();
            let look = move || {
                let found_out = scope::within(scope, look);
                _ = found.send(found_out);
                drop(going);
            };
            let begun = thread::Builder::new().name("look".into()).stack_size(STACK).spawn(look);
            begun.ok().map(|_| answer)
        });
        Self { place: place.to_owned(), answer, until }
    }

    /// What was found; `None` if the place does not answer.
    pub(crate) fn found(self) -> Option<T> {
        let answer = self.answer?;
        match answer.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(found) => Some(found),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let mut places = lock(&PLACES);
                // It may have ended just now.
                let found = answer.try_recv().ok();
                if found.is_none()
                    && let Some(place) = places.get_mut(&self.place)
                {
                    place.hangs = true;
                }
                found
            }
        }
    }
}

/// Looks at a place; `None` if it does not answer.
pub(crate) fn look_at<T: Send + 'static>(
    place: &Path,
    within: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    Look::begin(place, within, look).found()
}

/// Counts a look at a place until it is dropped.
struct Going(PathBuf);

/// One more look at a place; `None` if the place hangs.
fn going_on(place: &Path, until: Instant) -> Option<Going> {
    let mut places = lock(&PLACES);
    loop {
        let known = places.entry(place.to_owned()).or_default();
        let left = until.saturating_duration_since(Instant::now());
        if known.hangs || (known.looks >= MOST_AT_ONCE && left.is_zero()) {
            return None;
        }
        if known.looks < MOST_AT_ONCE {
            known.looks += 1;
            return Some(Going(place.to_owned()));
        }
        places = ENDED.wait_timeout(places, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let mut places = lock(&PLACES);
        let Some(place) = places.get_mut(&self.0) else { return };
        place.looks -= 1;
        place.hangs = false;
        if place.looks == 0 {
            places.remove(&self.0);
        }
        drop(places);
        ENDED.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    const SOON: Duration = Duration::from_millis(30);
    const LATER: Duration = Duration::from_secs(60);

    #[test]
    fn a_place_that_hangs_is_left_alone_until_it_answers_and_others_go_on() {
        let (hung, well) = (Path::new("/test/hung"), Path::new("/test/well"));
        let (answer, asked) = sync_channel::<()>(0);
        let first = Look::begin(hung, SOON, move || asked.recv().is_ok());
        assert_eq!(look_at(hung, LATER, || 1), Some(1), "nothing hangs before the limit");
        assert_eq!(first.found(), None);
        assert_eq!(look_at(hung, LATER, || 2), None, "no other thread waits for it");
        assert_eq!(look_at(well, LATER, || 3), Some(3));
        answer.send(()).unwrap();
        let begun = Instant::now();
        while look_at(hung, LATER, || 4).is_none() {
            assert!(begun.elapsed() < LATER, "it answers again");
            thread::yield_now();
        }
    }

    #[test]
    fn a_look_that_panics_finds_nothing_and_the_place_does_not_hang() {
        let place = Path::new("/test/panics");
        let look: fn() -> u8 = || panic!("on purpose");
        assert_eq!(look_at(place, LATER, look), None);
        let begun = Instant::now();
        while look_at(place, LATER, || 1).is_none() {
            assert!(begun.elapsed() < LATER);
        }
    }
}
