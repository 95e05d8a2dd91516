//! Folders with all that is in them: read for a snapshot ([`read`]), written by a restore
//! ([`write`]), and what both must know of modes, access lists and how a folder is opened.

mod access_list;
mod folder;
mod mode;
pub(super) mod read;
pub(super) mod write;
