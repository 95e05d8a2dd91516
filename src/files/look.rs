//! Looks at folders that may never answer: where the server of a share is gone, each call waits for
//! it, and no signal ends the wait. So a look has a thread of its own, which may be left behind. A
//! place that let a look wait for too long is not looked at again until one of its looks has ended,
//! so that the threads left behind do not grow in number.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{
        Condvar, LazyLock, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    blocking::no_thread,
    error::{Error, ErrorKind},
    mount_table::MountPaths,
    scope,
    sync::lock,
};

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

/// Why a look has found nothing.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The place does not answer.
    Silent,
    /// There was no thread to look at it.
    NoThread(io::Error),
}

impl Unanswered {
    /// The error of `what` was to be looked at. `hint` says what to do if that does not answer.
    pub(crate) fn error(&self, what: &str, hint: &str) -> Error {
        match self {
            Self::Silent => {
                Error::new(ErrorKind::Io, format!("{what} does not answer")).with_hint(hint)
            }
            Self::NoThread(error) => {
                no_thread(format!("{what} can't be looked at: cannot start a thread"), error)
            }
        }
    }
}

/// A look that goes on.
#[must_use]
pub(crate) struct Look<T> {
    place: PathBuf,
    /// What is found comes here, unless it was not begun.
    answer: Result<Receiver<T>, Unanswered>,
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
            begun.map(|_| answer).map_err(Unanswered::NoThread)
        });
        Self { place: place.to_owned(), answer, until }
    }

    /// What was found.
    ///
    /// # Errors
    /// If the place does not answer, or could not be looked at.
    pub(crate) fn found(self) -> Result<T, Unanswered> {
        let answer = self.answer?;
        match answer.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
            Ok(found) => Ok(found),
            Err(RecvTimeoutError::Disconnected) => Err(Unanswered::Silent),
            Err(RecvTimeoutError::Timeout) => {
                let mut places = lock(&PLACES);
                // It may have ended just now.
                let found = answer.try_recv().map_err(|_| Unanswered::Silent);
                if found.is_err()
                    && let Some(place) = places.get_mut(&self.place)
                {
                    place.hangs = true;
                }
                found
            }
        }
    }
}

/// Looks at a place.
///
/// # Errors
/// As [`Look::found`].
pub(crate) fn look_at<T: Send + 'static>(
    place: &Path,
    within: Duration,
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unanswered> {
    Look::begin(place, within, look).found()
}

/// So many looks go on at one mount at most, where many places on it are looked at.
const LOOKS_A_MOUNT: usize = 4;

/// Looks at many places, each with what is to be known of it there. Those on one mount share a few
/// threads: where one of them does not answer, the others there seldom do, and are tried once more by
/// themselves.
///
/// The answers are in the order of the places.
pub(crate) fn look_at_each<I: Clone + Send + 'static, T: Send + 'static>(
    places: &[(PathBuf, I)],
    within: Duration,
    look: impl Fn(I) -> T + Clone + Send + 'static,
) -> Vec<Result<T, Unanswered>> {
    let begin_all = |(key, numbers): &(PathBuf, Vec<usize>)| {
        let all: Vec<I> = numbers.iter().map(|number| places[*number].1.clone()).collect();
        let look = look.clone();
        Look::begin(key, within, move || all.into_iter().map(look).collect::<Vec<_>>())
    };
    let paths: Vec<_> = places.iter().map(|(place, _)| place.as_path()).collect();
    let groups = by_mount(&paths);
    let begun: Vec<_> = groups.iter().map(begin_all).collect();
    let mut answers: Vec<_> = places.iter().map(|_| Err(Unanswered::Silent)).collect();
    let mut alone = Vec::new();
    for (begun, (_, numbers)) in begun.into_iter().zip(groups) {
        match begun.found() {
            Ok(found) => {
                for (number, found) in numbers.into_iter().zip(found) {
                    answers[number] = Ok(found);
                }
            }
            Err(Unanswered::Silent) if numbers.len() == 1 => {}
            Err(_) => alone.extend(numbers),
        }
    }
    let begin_one = |number: usize| {
        let ((place, of_it), look) = (places[number].clone(), look.clone());
        (number, Look::begin(&place, within, move || look(of_it)))
    };
    let begun: Vec<_> = alone.into_iter().map(begin_one).collect();
    for (number, look) in begun {
        answers[number] = look.found();
    }
    answers
}

/// The numbers of these places, those together that one thread looks at, with what names that look.
fn by_mount(places: &[&Path]) -> Vec<(PathBuf, Vec<usize>)> {
    let mounts = MountPaths::now();
    let mut groups: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        groups.entry(mounts.holding(place).unwrap_or(place)).or_default().push(number);
    }
    let split = |(mount, numbers): (&Path, Vec<usize>)| {
        let named = |(part, all): (usize, &[usize])| match all {
            [one] => (places[*one].to_owned(), vec![*one]),
            // No path: a look at the mount's own folder is another one.
            all => (format!("{part} of {}", mount.display()).into(), all.to_vec()),
        };
        let each = numbers.len().div_ceil(LOOKS_A_MOUNT);
        numbers.chunks(each).enumerate().map(named).collect::<Vec<_>>()
    };
    groups.into_iter().flat_map(split).collect()
}

/// Counts a look at a place until it is dropped.
struct Going(PathBuf);

/// One more look at a place, unless the place hangs.
fn going_on(place: &Path, until: Instant) -> Result<Going, Unanswered> {
    let mut places = lock(&PLACES);
    loop {
        let known = places.entry(place.to_owned()).or_default();
        let left = until.saturating_duration_since(Instant::now());
        if known.hangs || (known.looks >= MOST_AT_ONCE && left.is_zero()) {
            return Err(Unanswered::Silent);
        }
        if known.looks < MOST_AT_ONCE {
            known.looks += 1;
            return Ok(Going(place.to_owned()));
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
        assert_eq!(look_at(hung, LATER, || 1).unwrap(), 1, "nothing hangs before the limit");
        assert!(matches!(first.found(), Err(Unanswered::Silent)));
        assert!(look_at(hung, LATER, || 2).is_err(), "no other thread waits for it");
        assert_eq!(look_at(well, LATER, || 3).unwrap(), 3);
        answer.send(()).unwrap();
        let begun = Instant::now();
        while look_at(hung, LATER, || 4).is_err() {
            assert!(begun.elapsed() < LATER, "it answers again");
            thread::yield_now();
        }
    }

    #[test]
    fn places_on_one_mount_share_a_few_threads_and_one_that_hangs_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let places: Vec<_> = (0..40).map(|it| (folder.path().join(it.to_string()), it)).collect();
        let seen = look_at_each(&places, LATER, |it| (it, thread::current().id()));
        let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
        assert!(seen.iter().map(|(it, _)| *it).eq(0..40));
        let threads: std::collections::HashSet<_> = seen.iter().map(|(_, id)| *id).collect();
        assert!(threads.len() <= 4, "{}", threads.len());

        let (answer, asked) = sync_channel::<()>(0);
        let asked = std::sync::Arc::new(Mutex::new(asked));
        let hang = move |it: i32| {
            if it == 7 {
                _ = lock(&asked).recv();
            }
            it
        };
        let seen = look_at_each(&places, SOON, hang);
        drop(answer);
        for (number, seen) in seen.into_iter().enumerate() {
            assert_eq!(seen.is_ok(), number != 7, "{number}");
        }
    }

    #[test]
    fn a_look_that_panics_finds_nothing_and_the_place_does_not_hang() {
        let place = Path::new("/test/panics");
        let look: fn() -> u8 = || panic!("on purpose");
        look_at(place, LATER, look).unwrap_err();
        let begun = Instant::now();
        while look_at(place, LATER, || 1).is_err() {
            assert!(begun.elapsed() < LATER);
        }
    }
}
