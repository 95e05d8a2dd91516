//! Decides what to do at a moment: which entries are due, wait or run. Pure: times in, actions out.
//!
//! The rules:
//! - An entry never overlaps itself. A tick is missed while the entry's run before waits or goes
//!   on, and the log says so.
//! - The number of runs at a time is limited. The rest wait in the order in which they came. A run
//!   that a person starts does not wait here: it joins the queue of all runs at once.
//! - One run makes up for all ticks that were missed while the program was down or the machine
//!   slept, after a short random delay. A run that was cut off with the program is made up for as
//!   well. If that second run is cut off too, it is given up: the run may be what ends the program.
//! - A tick that ran is not repeated if the clock is put back by up to three hours, as in cron(8).
//!   A clock that is put back further was wrong before: due times are counted anew.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    crontab::{Crontab, CrontabEntry},
    due::{Action, Before, Due, EntryStatus, GivenUp, Missed},
};
use crate::{
    error::{Error, ErrorKind, Result},
    runs::{EntryRun, EntryTimes},
};

/// A tick that is handled no later than this is on time.
const ON_TIME_LIMIT: SignedDuration = SignedDuration::from_secs(60);

/// A clock that was put back by more than this was wrong before.
const CLOCK_CORRECTION_LIMIT: SignedDuration = SignedDuration::from_hours(3);

/// The longest delay before a run that is made up for.
const MAKE_UP_DELAY_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct State {
    entry: Arc<CrontabEntry>,
    next: Option<Timestamp>,
    last: Option<Timestamp>,
    /// A run that starts at this time, after a random delay.
    delayed: Option<(Timestamp, Due)>,
    queued: bool,
    missed: u64,
}

/// Returns a random duration up to the given one.
pub(crate) type Random = Box<dyn Fn(Duration) -> Duration + Send>;

pub(crate) struct Board {
    states: HashMap<String, State>,
    /// The times at which an entry needs something, with the entry's line and key. Outdated times
    /// are skipped.
    wakes: BinaryHeap<Reverse<(Timestamp, usize, String)>>,
    /// The keys of all paused entries, including those that the crontab does not have at the
    /// moment.
    paused: BTreeSet<String>,
    queue: VecDeque<(Arc<CrontabEntry>, Due)>,
    running: HashMap<String, (Arc<CrontabEntry>, Due)>,
    most: usize,
    /// The latest time seen.
    latest: Timestamp,
    ending: bool,
    random: Random,
}

impl std::fmt::Debug for Board {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Board")
            .field("states", &self.states)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// The times that the store remembers of the entry with this key.
type RememberedTimes<'a> = &'a dyn Fn(&str) -> Option<EntryTimes>;

impl Board {
    pub(crate) fn new(
        most: usize,
        now: Timestamp,
        random: Random,
        paused: BTreeSet<String>,
    ) -> Self {
        Self {
            paused,
            states: HashMap::new(),
            wakes: BinaryHeap::new(),
            queue: VecDeque::new(),
            running: HashMap::new(),
            most: most.max(1),
            latest: now,
            ending: false,
            random,
        }
    }

    /// Follows this crontab from now on. Entries that were in the crontab before keep their state.
    ///
    /// `remembered` is given only when the program starts: a line that was added later has missed
    /// nothing.
    pub(crate) fn follow(
        &mut self,
        crontab: &Crontab,
        now: Timestamp,
        remembered: Option<RememberedTimes<'_>>,
    ) -> Vec<Action> {
        let mut before = std::mem::take(&mut self.states);
        let mut actions = Vec::new();
        for entry in &crontab.entries {
            let state = match before.remove(&entry.key) {
                // This keeps a tick that is due now and was not handled yet.
                Some(state) => State { entry: entry.clone(), ..state },
                None => {
                    let past = remembered.and_then(|remembered| remembered(&entry.key));
                    self.first_seen(entry, now, past, &mut actions)
                }
            };
            self.states.insert(entry.key.clone(), state);
        }
        self.queue.retain(|(entry, _)| self.states.contains_key(&entry.key));
        self.plan_all();
        actions
    }

    fn first_seen(
        &mut self,
        entry: &Arc<CrontabEntry>,
        now: Timestamp,
        past: Option<EntryTimes>,
        actions: &mut Vec<Action>,
    ) -> State {
        let mut state = State {
            entry: entry.clone(),
            next: None,
            last: None,
            delayed: None,
            queued: false,
            missed: 0,
        };
        if self.paused.contains(&entry.key) {
            state.last = past.and_then(|past| entry.schedule.latest_until(past.due));
            if let Some(cut_off) = past.and_then(|past| past.begun) {
                actions.push(Action::GiveUp(entry.clone(), cut_off.due, GivenUp::Paused));
            }
            actions.push(Action::Remember(entry.clone(), now));
            return state;
        }
        // A time far in the future was written while the clock was wrong.
        let Some(EntryTimes { due: last, begun: cut_off }) =
            past.filter(|past| past.due <= now + CLOCK_CORRECTION_LIMIT)
        else {
            state.next = entry.schedule.next_after(now);
            actions.push(Action::Remember(entry.clone(), now));
            return state;
        };
        state.next = entry.schedule.next_after(now.max(last));
        state.last = entry.schedule.latest_until(last);
        let given_up = cut_off.and_then(|cut_off| match cut_off.again {
            true => Some((cut_off.due, GivenUp::Again)),
            false => (!entry.catch_up).then_some((cut_off.due, GivenUp::NoCatchUp)),
        });
        if let Some((due, why)) = given_up {
            actions.push(Action::GiveUp(entry.clone(), due, why));
        }
        if let Some(overdue) = entry.schedule.latest_until(now).filter(|due| *due > last) {
            // This run also makes up for the one that was cut off.
            self.overdue(&mut state, overdue, now, actions);
        } else if let Some(EntryRun { due, .. }) = cut_off.filter(|_| given_up.is_none()) {
            self.make_up(&mut state, Due { time: due, before: Before::CutOff }, now);
        }
        state
    }

    /// Makes up for a due time that has passed, or reports that it was missed.
    fn overdue(
        &self,
        state: &mut State,
        due: Timestamp,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        if state.entry.catch_up {
            self.make_up(state, Due { time: due, before: Before::Missed }, now);
        } else {
            state.missed += 1;
            actions.push(Action::Missed(state.entry.clone(), due, Missed::Down));
            actions.push(Action::Remember(state.entry.clone(), due));
        }
    }

    fn make_up(&self, state: &mut State, due: Due, now: Timestamp) {
        state.delayed = Some((now + self.delay(MAKE_UP_DELAY_LIMIT, now, state.next), due));
    }

    /// A random delay of at most half the time until the entry is due again.
    fn delay(&self, longest: Duration, now: Timestamp, next: Option<Timestamp>) -> Duration {
        let left = next.map_or(longest, |next| {
            Duration::try_from(next.duration_since(now)).unwrap_or_default() / 2
        });
        let bound = longest.min(left);
        if bound.is_zero() { bound } else { (self.random)(bound).min(bound) }
    }

    /// Returns what is to be done now.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.ending {
            return actions;
        }
        if now < self.latest - CLOCK_CORRECTION_LIMIT {
            log::warn!(
                "the clock was put back from {} to {now}: due times are counted from there",
                self.latest
            );
            for state in self.states.values_mut() {
                state.next = state.next.and(state.entry.schedule.next_after(now));
                state.delayed = state.delayed.map(|(_, due)| (now, due));
                actions.push(Action::Remember(state.entry.clone(), now));
            }
            self.latest = now;
            self.plan_all();
        }
        self.latest = self.latest.max(now);
        while let Some(Reverse((time, ..))) = self.wakes.peek()
            && *time <= now
        {
            let Some(Reverse((_, _, key))) = self.wakes.pop() else { break };
            let Some(mut state) = self.states.remove(&key) else { continue };
            self.handle_tick(&mut state, now, &mut actions);
            self.states.insert(key, state);
        }
        self.start_waiting(&mut actions);
        actions
    }

    fn handle_tick(&mut self, state: &mut State, now: Timestamp, actions: &mut Vec<Action>) {
        let Some(due) = state.next.filter(|next| *next <= now) else {
            if let Some((_, due)) = state.delayed.take_if(|(time, _)| *time <= now) {
                self.enqueue(state, due);
            }
            return;
        };
        // A delay ends long before the next tick, unless the machine slept. Then the next tick
        // stands for both.
        state.delayed = None;
        // Several ticks may have passed while the machine slept. The last of them stands for all.
        let due = state.entry.schedule.latest_until(now).unwrap_or(due).max(due);
        state.next = state.entry.schedule.next_after(now.max(due));
        if state.queued || self.running.contains_key(&state.entry.key) {
            state.missed += 1;
            actions.push(Action::Missed(state.entry.clone(), due, Missed::StillRunning));
            // If the program ends before a queued run begins, the next start makes up for the run.
            // So only the tick of a running entry is remembered.
            if !state.queued {
                actions.push(Action::Remember(state.entry.clone(), due));
            }
        } else if now.duration_since(due) > ON_TIME_LIMIT {
            self.overdue(state, due, now, actions);
        } else {
            let delay = self.delay(state.entry.jitter, now, state.next);
            let due = Due { time: due, before: Before::Nothing };
            if delay.is_zero() {
                self.enqueue(state, due);
            } else {
                state.delayed = Some((now + delay, due));
            }
        }
        self.plan(state);
    }

    fn enqueue(&mut self, state: &mut State, due: Due) {
        state.queued = true;
        self.queue.push_back((state.entry.clone(), due));
    }

    fn start_waiting(&mut self, actions: &mut Vec<Action>) {
        // An entry that was removed and added again may be queued while its earlier run goes on.
        let mut index = 0;
        while self.running.len() < self.most
            && let Some((entry, _)) = self.queue.get(index)
        {
            if self.running.contains_key(&entry.key) {
                index += 1;
                continue;
            }
            let Some((entry, due)) = self.queue.remove(index) else { break };
            if let Some(state) = self.states.get_mut(&entry.key) {
                state.queued = false;
                state.last = Some(due.time);
            }
            self.running.insert(entry.key.clone(), (entry.clone(), due));
            actions.push(Action::Start(entry, due));
        }
    }

    /// Notes that an entry's run has ended. The next waiting run may start.
    pub(crate) fn finished(&mut self, key: &str) -> Vec<Action> {
        self.running.remove(key);
        let mut actions = Vec::new();
        if !self.ending {
            self.start_waiting(&mut actions);
        }
        actions
    }

    /// Marks an entry as running, because a person starts it now. The caller has to start the run.
    /// `None`: there is no such entry.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] if the entry runs or waits already, [`ErrorKind::Cancelled`] if the
    /// program is ending.
    pub(crate) fn run_now(
        &mut self,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<(Arc<CrontabEntry>, Due)>> {
        let Some(state) = self.states.get_mut(key) else { return Ok(None) };
        if self.ending {
            return Err(Error::new(
                ErrorKind::Cancelled,
                "the program is ending, and starts nothing new",
            ));
        }
        if state.queued || self.running.contains_key(key) {
            return Err(Error::new(
                ErrorKind::Busy,
                "the entry runs already, or waits for its turn",
            )
            .with_hint("\"GET /api/runs?status=running\" lists what runs"));
        }
        // This run also stands for a run that waits for its delay.
        let before = state.delayed.take().map_or(Before::NotDue, |(_, due)| due.before);
        let (entry, due) = (state.entry.clone(), Due { time: now, before });
        state.last = Some(now);
        self.running.insert(key.to_owned(), (entry.clone(), due));
        Ok(Some((entry, due)))
    }

    /// Pauses an entry: it is not started when it is due. A run that goes on is not stopped.
    /// Returns whether there is such an entry.
    pub(crate) fn pause(&mut self, key: &str) -> bool {
        let Some(state) = self.states.get_mut(key) else { return false };
        (state.next, state.delayed, state.queued) = (None, None, false);
        self.queue.retain(|(entry, _)| entry.key != key);
        self.paused.insert(key.to_owned());
        true
    }

    /// Resumes an entry. Ticks that passed while it was paused are not made up for. `None`: there
    /// is no such entry.
    pub(crate) fn resume(&mut self, key: &str, now: Timestamp) -> Option<Vec<Action>> {
        let mut state = self.states.remove(key)?;
        let mut actions = Vec::new();
        if self.paused.remove(key) {
            state.next = state.entry.schedule.next_after(now);
            actions.push(Action::Remember(state.entry.clone(), now));
            self.plan(&state);
        }
        self.states.insert(key.to_owned(), state);
        Some(actions)
    }

    /// The keys of the paused entries.
    pub(crate) fn paused(&self) -> &BTreeSet<String> {
        &self.paused
    }

    /// Starts no further run. Waiting runs are dropped and returned. Their due times are not
    /// remembered, so the next start of the program makes up for them.
    pub(crate) fn end(&mut self) -> Vec<(Arc<CrontabEntry>, Due)> {
        self.ending = true;
        self.wakes.clear();
        let delayed = self
            .states
            .values_mut()
            .filter_map(|state| Some((state.entry.clone(), state.delayed.take()?.1)));
        let dropped = self.queue.drain(..).chain(delayed).collect();
        self.states.values_mut().for_each(|state| (state.queued, state.next) = (false, None));
        dropped
    }

    /// Whether no further run is started.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending
    }

    /// The entries that run, with their due times.
    pub(crate) fn running(&self) -> impl Iterator<Item = &(Arc<CrontabEntry>, Due)> {
        self.running.values()
    }

    /// The next time at which there is something to do.
    pub(crate) fn wake(&self) -> Option<Timestamp> {
        self.wakes.peek().map(|Reverse((time, ..))| *time)
    }

    /// All entries, in the order of their lines.
    pub(crate) fn statuses(&self) -> Vec<EntryStatus> {
        let status = |state: &State| EntryStatus {
            entry: state.entry.clone(),
            next: state.next,
            last: state.last,
            running: self.running.contains_key(&state.entry.key),
            waiting: state.queued || state.delayed.is_some(),
            paused: self.paused.contains(&state.entry.key),
            missed: state.missed,
        };
        let mut all: Vec<EntryStatus> = self.states.values().map(status).collect();
        all.sort_by_key(|status| status.entry.line);
        all
    }

    fn plan(&mut self, state: &State) {
        for time in state.next.into_iter().chain(state.delayed.map(|(time, _)| time)) {
            self.wakes.push(Reverse((time, state.entry.line, state.entry.key.clone())));
        }
    }

    fn plan_all(&mut self) {
        self.wakes.clear();
        let states = std::mem::take(&mut self.states);
        states.values().for_each(|state| self.plan(state));
        self.states = states;
    }
}

#[cfg(test)]
mod tests;
