//! The schedule: the crontab, the due times of its entries, and the loop that starts them.
//!
//! - [`crontab`] reads and checks a whole file; [`source`] knows which file is in force.
//! - [`timetable`] computes when a line is due, clock changes included: pure.
//! - `board` decides what to do at a moment: pure, too. `due` has its types for due times.
//! - [`scheduler`] is the loop around the board, with a [`timer`] that tests step. `runner` is what
//!   the loop needs from the program, `writer` the thread that writes the loop's decisions to the
//!   store, `view` the access for the rest of the program.
//! - [`watch`] notices that the file has changed.

mod board;
pub(crate) mod crontab;
mod due;
mod followed;
mod runner;
pub(crate) mod scheduler;
pub(crate) mod source;
pub(crate) mod timer;
pub(crate) mod timetable;
mod view;
pub(crate) mod watch;
mod writer;

pub(crate) use crontab::{Checked, Crontab, CrontabEntry, Surroundings};
pub(crate) use due::{Before, Due, EntryStatus};
pub(crate) use followed::{followed, remember_followed};
pub(crate) use runner::{MissedTick, RecordBegin, RunEnd, Runner, StartReply, StartedRun};
pub(crate) use scheduler::{Options, Scheduler};
pub(crate) use source::Source;
pub(crate) use view::View;
