//! A due time of an entry, and what becomes of it.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::crontab::CrontabEntry;
use crate::runs::EntryRun;

/// Why an entry is run now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The time for which it was due.
    pub(crate) time: Timestamp,
    /// What became of that time before this run.
    pub(crate) before: Before,
}

impl Due {
    /// The entry's run for this due time, as the store remembers it.
    pub(super) fn run(self) -> EntryRun {
        EntryRun { due: self.time, again: self.before == Before::CutOff }
    }
}

/// What became of a due time before the run that is for it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: it is due now.
    Nothing,
    /// It was missed, and is made up for.
    Missed,
    /// Its run was cut off, and is made up for.
    CutOff,
    /// Nothing: the entry was not due; a person started it.
    NotDue,
}

/// Why a tick was missed and is not made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The entry's run before still went on, or still waited for its turn.
    StillRunning,
    /// The program was down, or the machine slept, and the entry does not catch up.
    Down,
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StillRunning => "the run before has not ended",
            Self::Down => "the program was down or the machine slept, and catching up is off",
        })
    }
}

/// Why a run that was cut off is not made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// The run that made up for it was cut off as well.
    Again,
    /// The entry does not catch up.
    NoCatchUp,
    /// The entry is paused.
    Paused,
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Again => "the run that made up for it was cut off as well",
            Self::NoCatchUp => "catching up is off",
            Self::Paused => "the entry is paused",
        })
    }
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Action {
    Start(Arc<CrontabEntry>, Due),
    Missed(Arc<CrontabEntry>, Timestamp, Missed),
    /// A run for this time was cut off, and is not made up for.
    GiveUp(Arc<CrontabEntry>, Timestamp, GivenUp),
    /// All due times of this entry up to this one are dealt with.
    Remember(Arc<CrontabEntry>, Timestamp),
}

/// An entry as a status page shows it.
#[derive(Debug, Clone)]
pub(crate) struct EntryStatus {
    pub(crate) entry: Arc<CrontabEntry>,
    /// The next due time; `None` where the entry is paused or never due again.
    pub(crate) next: Option<Timestamp>,
    /// The due time of the last run, also where that run goes on.
    pub(crate) last: Option<Timestamp>,
    pub(crate) running: bool,
    /// The entry is due, and waits for its turn or for its random delay.
    pub(crate) waiting: bool,
    pub(crate) paused: bool,
    /// How many ticks were missed since the program was started.
    pub(crate) missed: u64,
}
