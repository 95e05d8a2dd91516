//! The commands that look into backups: `ls`, `find`, `cat`, `diff` and `dump`.

mod diff;
mod find;
mod ls;
mod opened;
mod stream;
mod target;

pub(super) use diff::{command as diff_command, diff};
pub(super) use find::{command as find_command, find};
pub(super) use ls::{command as ls_command, ls};
pub(super) use stream::{cat, cat_command, dump, dump_command};
