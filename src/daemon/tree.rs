//! Folders with all that is in them: read for a snapshot ([`read`]), written by a restore
//! ([`write`]), and what both must know of modes and access lists.

mod access_list;
mod mode;
pub(super) mod read;
pub(super) mod write;
