//! The open problems, and when each was reported. They are kept on disk, so that neither a second
//! process nor a restart repeats an alert.
//!
//! If the file can't be read or written, the process goes by its own memory, and people may be
//! notified twice: rather that than never.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::message::timestamp;
use crate::{
    clock::is_in_future,
    error::{Error, Result},
    files::write_whole,
    sync::lock,
};

/// How long to wait for another process's lock. A write takes a moment, unless that process was
/// stopped.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between attempts to take the lock.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// The most different failures of one problem that are remembered.
const MOST_FINGERPRINTS: usize = 20;
/// The most problems that are remembered. Beyond it, those that were seen the longest ago are
/// dropped.
const MOST_PROBLEMS: usize = 5_000;

/// Stands for every volume in [`Problem::not_backed_up`]. No volume has this name.
pub(super) const EVERY_VOLUME: &str = "";

/// A problem that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// A few words for people: the subject of its alert.
    pub(crate) title: String,
    #[serde(with = "timestamp")]
    pub(crate) first: Timestamp,
    #[serde(with = "timestamp")]
    pub(crate) last: Timestamp,
    /// How often it was seen.
    pub(crate) times: u64,
    /// Whether the problem expires when it is not seen again, because nothing would resolve it.
    #[serde(rename = "fades", default)]
    pub(crate) expires: bool,
    /// The volumes that were not backed up, if that is the whole problem: good backups of them by
    /// any run resolve it. [`EVERY_VOLUME`] stands for a backup of everything.
    #[serde(default)]
    pub(crate) not_backed_up: BTreeSet<String>,
    /// The daemon and the destination of the failed backup; `None` if no daemon was reached.
    #[serde(rename = "place", default)]
    daemon_and_destination: Option<String>,
    /// When each of its failures, by fingerprint, was last reported.
    #[serde(rename = "told")]
    reported: BTreeMap<String, ReportedAt>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ReportedAt(#[serde(with = "timestamp")] Timestamp);

/// The content of the file: the problems by their keys.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    problems: BTreeMap<String, Problem>,
    /// When a problem was seen last.
    #[serde(default)]
    seen: Option<ReportedAt>,
}

/// The file with the open problems.
#[derive(Debug)]
pub(super) struct Problems {
    folder: PathBuf,
    remind_after: Duration,
    /// What this process last read or wrote, for when the file can't be read.
    known: Mutex<State>,
}

/// One sighting of a problem.
#[derive(Debug, Clone)]
pub(super) struct Occurrence<'a> {
    pub(crate) key: &'a str,
    pub(crate) title: &'a str,
    pub(crate) fingerprint: &'a str,
    pub(crate) now: Timestamp,
    /// See [`Problem::expires`].
    pub(crate) expires: bool,
    /// See [`Problem::not_backed_up`].
    pub(crate) not_backed_up: BTreeSet<String>,
    /// See [`Problem::daemon_and_destination`].
    pub(crate) daemon_and_destination: Option<String>,
    pub(crate) repeat: Repeat,
}

/// Whether people are reminded of a problem that stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// After `BKUP_REMIND_AFTER`.
    AfterAWhile,
    /// Never: only people can judge whether it is a problem at all.
    Never,
}

/// The volumes that a run made good backups of, with [`EVERY_VOLUME`] among them if it left no
/// volume out.
#[derive(Debug, Clone, Default)]
pub(super) struct BackedUp {
    pub(crate) volumes: BTreeSet<String>,
    pub(crate) daemon_and_destination: Option<String>,
}

/// Whether an occurrence is reported.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The problem was not open yet: it is reported.
    New,
    /// The problem is open, and is reported again: a reminder is due, or the failure is another.
    Again(Problem),
    /// The occurrence is not reported: people know of it.
    AlreadyReported,
}

impl Problems {
    pub(crate) fn new(folder: &Path, remind_after: Duration) -> Self {
        Self { folder: folder.to_owned(), remind_after, known: Mutex::default() }
    }

    /// Records an occurrence, and passes on whether it is reported. `notify` is called before the
    /// record is on disk: a process that dies in between notifies twice rather than never.
    pub(crate) fn record(&self, occurrence: &Occurrence<'_>, notify: impl FnOnce(Verdict)) {
        self.change(|state| notify(state.record(occurrence, self.remind_after)));
    }

    /// Removes a problem that is over, and passes it on if it was open.
    pub(crate) fn resolve(&self, key: &str, notify: impl FnOnce(Option<Problem>)) {
        self.change(|state| notify(state.problems.remove(key)));
    }

    /// Removes the problem of a run that succeeded (`own` is its key), and the problems of other
    /// runs that its good backups make up for. The removed problems are passed on.
    pub(crate) fn resolve_by_backup(
        &self,
        own: Option<&str>,
        backed_up: &BackedUp,
        notify: impl FnOnce(Option<Problem>, Vec<(String, Problem)>),
    ) {
        self.change(|state| {
            let own = own.and_then(|key| state.problems.remove(key));
            notify(own, state.backed_up(backed_up));
        });
    }

    /// Resolves the problems of runs that backed up none but this volume of this daemon in vain: a
    /// person accepted what they backed up. `notify` gets them.
    pub(crate) fn resolve_by_acceptance(
        &self,
        daemon: &str,
        volume: &str,
        notify: impl FnOnce(Vec<(String, Problem)>),
    ) {
        // The daemon's key comes first, then a blank and the destination's.
        let is_there = |problem: &Problem| {
            let place = problem.daemon_and_destination.as_deref();
            place.and_then(|place| place.strip_prefix(daemon)).is_some_and(|at| at.starts_with(' '))
        };
        let volumes = BTreeSet::from([volume.to_owned()]);
        self.change(|state| notify(state.make_up_for(&volumes, is_there)));
    }

    /// Forgets that a problem was reported, because the message reached no one.
    pub(crate) fn forget_reports(&self, key: &str) {
        self.change(|state| {
            state.problems.get_mut(key).into_iter().for_each(|problem| problem.reported.clear());
        });
    }

    /// Lets problems that are dated in the future count from now on: a clock was wrong, and they
    /// would not expire before that time has come.
    pub(crate) fn correct_dates(&self, now: Timestamp) {
        let is_ahead = |problem: &Problem| is_in_future(problem.last, now);
        // Most calls find none: they read the file and take no lock.
        if self.read().is_ok_and(|state| state.problems.values().any(is_ahead)) {
            self.change(|state| state.problems.values_mut().for_each(|it| it.correct_date(now)));
        }
    }

    /// The open problems by their keys.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(crate) fn all(&self, now: Timestamp) -> Result<BTreeMap<String, Problem>> {
        let mut problems = self.read()?.problems;
        problems.retain(|_, problem| !problem.is_expired(now, self.remind_after));
        Ok(problems)
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        // The mutex orders the threads of this process, the file's lock the processes.
        let mut known = lock(&self.known);
        let locked = self.lock();
        // The file is read even without the lock: what it says holds all the same.
        let mut state = match self.read() {
            Ok(state) => state,
            Err(error) => {
                log::warn!("{error}; people may be told twice of the same thing");
                self.move_aside();
                known.clone()
            }
        };
        let before = state.clone();
        work(&mut state);
        state.trim();
        if state != before
            && let Err(error) = locked.and_then(|_lock| self.write(&state).map(|()| _lock))
        {
            log::warn!("{error}; people may be told twice of the same thing");
        }
        *known = state;
    }

    fn path(&self) -> PathBuf {
        self.folder.join("problems.json")
    }

    fn lock(&self) -> Result<File> {
        let path = self.folder.join("problems.lock");
        let failed = |error: &std::io::Error| {
            Error::io(format_args!("cannot lock \"{}\"", path.display()), error)
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| failed(&error))?;
        let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| failed(&error))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(error) if start.elapsed() >= LOCK_TIMEOUT => return Err(failed(&error.into())),
                Err(_) => std::thread::sleep(LOCK_POLL_INTERVAL),
            }
        }
    }

    fn read(&self) -> Result<State> {
        let path = self.path();
        let what = || format!("cannot read \"{}\"", path.display());
        match std::fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| Error::io(what(), &error.into()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(Error::io(what(), &error)),
        }
    }

    fn write(&self, state: &State) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(&State { version: 1, ..state.clone() })
            .map_err(|error| Error::internal(error.to_string()))?;
        let path = self.path();
        write_whole(&path, &bytes)
            .map_err(|error| Error::io(format_args!("cannot write \"{}\"", path.display()), &error))
    }

    /// Moves a file that can't be read aside, for a person to inspect.
    fn move_aside(&self) {
        let path = self.path();
        if path.is_file() {
            _ = std::fs::rename(&path, path.with_extension("unreadable"));
        }
    }
}

impl Problem {
    /// See [`Problems::correct_dates`].
    fn correct_date(&mut self, now: Timestamp) {
        if is_in_future(self.last, now) {
            (self.first, self.last) = (self.first.min(now), now);
        }
    }

    /// Whether nothing resolves the problem, and it was not seen for twice the time of a reminder.
    fn is_expired(&self, now: Timestamp, remind_after: Duration) -> bool {
        let silent = now.duration_since(self.last);
        self.expires
            && !silent.is_negative()
            && silent.unsigned_abs() >= remind_after.saturating_mul(2)
    }
}

impl State {
    fn record(&mut self, occurrence: &Occurrence<'_>, remind_after: Duration) -> Verdict {
        self.expire(occurrence, remind_after);
        let known = self.problems.contains_key(occurrence.key);
        let problem = self.problems.entry(occurrence.key.to_owned()).or_insert_with(|| Problem {
            title: occurrence.title.to_owned(),
            first: occurrence.now,
            last: occurrence.now,
            times: 0,
            expires: occurrence.expires,
            not_backed_up: BTreeSet::new(),
            daemon_and_destination: None,
            reported: BTreeMap::new(),
        });
        problem.expires &= occurrence.expires;
        (problem.not_backed_up, problem.daemon_and_destination) =
            (occurrence.not_backed_up.clone(), occurrence.daemon_and_destination.clone());
        problem.title = occurrence.title.to_owned();
        problem.last = occurrence.now;
        problem.times = problem.times.saturating_add(1);
        // A daily run starts some seconds early or late, which must not delay a reminder by a day.
        let tolerance = (remind_after / 20).min(Duration::from_secs(3_600));
        let is_fresh = |reported: &ReportedAt| {
            if occurrence.repeat == Repeat::Never {
                return true;
            }
            let age = occurrence.now.duration_since(reported.0);
            // A report in the future means that the clock was set back.
            !age.is_negative() && age.unsigned_abs() < remind_after - tolerance
        };
        if problem.reported.get(occurrence.fingerprint).is_some_and(is_fresh) {
            return Verdict::AlreadyReported;
        }
        problem.reported.insert(occurrence.fingerprint.to_owned(), ReportedAt(occurrence.now));
        while problem.reported.len() > MOST_FINGERPRINTS {
            let oldest = problem
                .reported
                .iter()
                .min_by_key(|(_, reported)| reported.0)
                .map(|(print, _)| print.clone());
            if let Some(print) = oldest {
                problem.reported.remove(&print);
            }
        }
        if known { Verdict::Again(problem.clone()) } else { Verdict::New }
    }

    /// Removes problems that have expired, before this occurrence is recorded. Two occurrences in
    /// turn must find a problem expired: a clock that is wrong for a moment ends none.
    fn expire(&mut self, occurrence: &Occurrence<'_>, remind_after: Duration) {
        let now = occurrence.now;
        let before = self.seen.replace(ReportedAt(now));
        self.problems.retain(|key, problem| {
            problem.correct_date(now);
            let is_expired = |at: Timestamp| problem.is_expired(at, remind_after);
            let twice =
                || key == occurrence.key || before.as_ref().is_some_and(|at| is_expired(at.0));
            !(is_expired(now) && twice())
        });
    }

    /// Removes and returns the problems that these backups make up for.
    fn backed_up(&mut self, backed_up: &BackedUp) -> Vec<(String, Problem)> {
        if backed_up.volumes.is_empty() {
            return Vec::new();
        }
        self.make_up_for(&backed_up.volumes, |problem| {
            problem.daemon_and_destination == backed_up.daemon_and_destination
        })
    }

    /// Removes and returns the problems of runs that backed up none but these volumes in vain.
    fn make_up_for(
        &mut self,
        volumes: &BTreeSet<String>,
        is_there: impl Fn(&Problem) -> bool,
    ) -> Vec<(String, Problem)> {
        let ends = |problem: &mut Problem| {
            let is_there = problem.daemon_and_destination.is_none() || is_there(problem);
            if !is_there || problem.not_backed_up.is_empty() {
                return false;
            }
            problem.not_backed_up.retain(|volume| !volumes.contains(volume));
            problem.not_backed_up.is_empty()
        };
        let mut ended = Vec::new();
        let keys: Vec<String> = self.problems.keys().cloned().collect();
        for key in keys {
            if self.problems.get_mut(&key).is_some_and(ends) {
                ended.extend(self.problems.remove_entry(&key));
            }
        }
        ended
    }

    fn trim(&mut self) {
        while self.problems.len() > MOST_PROBLEMS {
            let oldest = self
                .problems
                .iter()
                .min_by_key(|(_, problem)| problem.last)
                .map(|(key, _)| key.clone());
            if let Some(key) = oldest {
                self.problems.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn problems(folder: &Path) -> Problems {
        Problems::new(&folder.join("notify"), Duration::from_secs(86_400))
    }

    fn see(problems: &Problems, fingerprint: &str, now: &str) -> Verdict {
        let mut verdict = None;
        let occurrence = Occurrence {
            key: "run backup",
            title: "backup fails",
            fingerprint,
            now: at(now),
            expires: false,
            not_backed_up: BTreeSet::new(),
            daemon_and_destination: None,
            repeat: Repeat::AfterAWhile,
        };
        problems.record(&occurrence, |passed| verdict = Some(passed));
        verdict.unwrap()
    }

    fn is_reported(problems: &Problems, fingerprint: &str, now: &str) -> bool {
        see(problems, fingerprint, now) != Verdict::AlreadyReported
    }

    #[test]
    fn the_same_failure_is_reported_once_until_a_reminder_is_due_also_by_another_process() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(see(&problems(folder.path()), "a", "2026-11-23T07:00:00Z"), Verdict::New);
        let again = problems(folder.path());
        assert!(!is_reported(&again, "a", "2026-11-23T08:00:00Z"));
        // Another failure of the problem is news. The first one is not when it comes back.
        assert!(is_reported(&again, "b", "2026-11-23T09:00:00Z"));
        assert!(!is_reported(&again, "a", "2026-11-23T10:00:00Z"));
        // The next day's run, which began some seconds early.
        let Verdict::Again(problem) = see(&again, "a", "2026-11-24T06:59:50Z") else {
            panic!("no reminder")
        };
        assert_eq!((problem.times, problem.first), (5, at("2026-11-23T07:00:00Z")));
        assert!(!is_reported(&again, "a", "2026-11-24T08:00:00Z"));
    }

    #[test]
    fn a_resolved_problem_is_passed_on_once_and_reported_anew_when_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let problems = problems(folder.path());
        assert!(is_reported(&problems, "a", "2026-11-23T07:00:00Z"));
        let mut over = Vec::new();
        for _ in 0..2 {
            problems.resolve("run backup", |problem| over.push(problem.is_some()));
        }
        assert_eq!(over, [true, false]);
        assert!(is_reported(&problems, "a", "2026-11-23T07:01:00Z"));
    }

    #[test]
    fn a_problem_is_reported_again_after_the_clock_was_set_back_or_its_message_was_lost() {
        let folder = tempfile::tempdir().unwrap();
        let problems = problems(folder.path());
        assert!(is_reported(&problems, "a", "2026-11-23T07:00:00Z"));
        assert!(is_reported(&problems, "a", "2026-11-22T07:00:00Z"));
        problems.forget_reports("run backup");
        assert!(is_reported(&problems, "a", "2026-11-22T07:00:01Z"));
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_moment_ends_no_problem_and_lets_none_stay_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let problems = problems(folder.path());
        let see = |key: &str, now: &str| {
            let occurrence = Occurrence {
                key,
                title: "a command failed",
                fingerprint: "a",
                now: at(now),
                expires: true,
                not_backed_up: BTreeSet::new(),
                daemon_and_destination: None,
                repeat: Repeat::AfterAWhile,
            };
            problems.record(&occurrence, |_| {});
        };
        let open = |now: &str| problems.all(at(now)).unwrap().into_keys().collect::<Vec<_>>();
        see("one", "2026-11-23T07:00:00Z");
        see("two", "2036-01-01T00:00:00Z");
        assert_eq!(open("2026-11-23T08:00:00Z"), ["one", "two"]);
        see("three", "2026-11-23T08:00:00Z");
        // The second one counts from then on, and expires after two days like the others.
        assert_eq!(open("2026-11-25T07:30:00Z"), ["three", "two"]);
        assert!(open("2026-11-25T08:00:00Z").is_empty());
        see("four", "2026-11-25T08:00:00Z");
        see("five", "2026-11-25T08:00:01Z");
        assert_eq!(problems.read().unwrap().problems.len(), 2);
        see("six", "2036-01-01T00:00:00Z");
        problems.correct_dates(at("2026-11-26T00:00:00Z"));
        assert!(open("2026-11-28T00:00:00Z").is_empty());
    }

    #[test]
    fn a_state_that_can_not_be_read_or_written_never_silences_and_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notify/problems.json");
        assert!(is_reported(&problems(folder.path()), "a", "2026-11-23T07:00:00Z"));
        std::fs::write(&file, "{ junk").unwrap();
        assert!(is_reported(&problems(folder.path()), "a", "2026-11-23T07:01:00Z"));
        assert_eq!(std::fs::read_to_string(file.with_extension("unreadable")).unwrap(), "{ junk");
        assert!(!is_reported(&problems(folder.path()), "a", "2026-11-23T07:02:00Z"));

        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let nowhere = problems(&file);
        assert!(is_reported(&nowhere, "a", "2026-11-23T07:00:00Z"));
        assert!(!is_reported(&nowhere, "a", "2026-11-23T07:01:00Z"), "one process still remembers");
        assert!(is_reported(&problems(&file), "a", "2026-11-23T07:02:00Z"));
    }
}
