//! What runs when: the crontab, the times that its lines are due, and the loop that starts them.
//!
//! - [`crontab`] reads and checks a whole file; [`source`] knows which file is in force.
//! - [`timetable`] says when a line is due, clock changes included: pure.
//! - `board` decides what to do at a moment: pure, too; [`scheduler`] is the loop around it, with a
//!   [`timer`] that tests step, and `clerk` the thread that has written down what it decides.
//! - [`watch`] notices that the file has changed.

mod board;
mod clerk;
pub mod crontab;
pub mod scheduler;
pub mod source;
pub mod timer;
pub mod timetable;
pub mod watch;

pub use board::{Before, CutOff, Due, EntryStatus, Missed, Past};
pub use clerk::{Event, MissedTick};
pub use crontab::{Checked, Crontab, Entry, Surroundings};
pub use scheduler::{Asker, Begins, Ended, Options, RunEnd, Runner, Scheduler, Started, View};
pub use source::Source;
pub use timer::{SystemTimer, Timer};
pub use timetable::Schedule;
