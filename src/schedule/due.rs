//! A due time of an entry, and what happens to it.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::crontab::CrontabEntry;
use crate::runs::EntryRun;

/// The due time that a run of an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The due time. For an entry that a person started: the time of the start.
    pub(crate) time: Timestamp,
    pub(crate) before: Before,
}

impl Due {
    /// The entry's run for this due time, as the store remembers it.
    pub(super) fn run(self) -> EntryRun {
        EntryRun { due: self.time, again: self.before == Before::CutOff }
    }
}

/// What happened to a due time before the run that is for it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: the entry is due now.
    Nothing,
    /// The due time was missed, and the run makes up for it.
    Missed,
    /// The run of this due time was cut off, and this run makes up for it.
    CutOff,
    /// The entry was not due: a person started it.
    NotDue,
}

/// Why a tick was missed and is not made up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The entry's run before still went on, or waited for its turn.
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

/// Something that the loop has to do.
#[derive(Debug)]
pub(crate) enum Action {
    Start(Arc<CrontabEntry>, Due),
    Missed(Arc<CrontabEntry>, Timestamp, Missed),
    /// A run for this time was cut off, and is not made up for.
    GiveUp(Arc<CrontabEntry>, Timestamp, GivenUp),
    /// All due times of this entry up to this one are dealt with.
    Remember(Arc<CrontabEntry>, Timestamp),
}

/// The state of an entry.
#[derive(Debug, Clone)]
pub(crate) struct EntryStatus {
    pub(crate) entry: Arc<CrontabEntry>,
    /// The next due time. `None`: the entry is paused, or never due again.
    pub(crate) next: Option<Timestamp>,
    /// The due time of the last run, which may still go on.
    pub(crate) last: Option<Timestamp>,
    pub(crate) running: bool,
    /// The entry is due, and waits for its turn or for its random delay.
    pub(crate) waiting: bool,
    pub(crate) paused: bool,
    /// How many ticks were missed since the program started.
    pub(crate) missed: u64,
}
