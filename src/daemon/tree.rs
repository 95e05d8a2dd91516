//! Folders with all their content: reading them for a snapshot ([`read`]), writing them for a
//! restore ([`mod@write`]), what both need to know about modes, access lists and opening a
//! folder, and the handles of the folders on the way down ([`places`]).

mod access_list;
mod folder;
mod mode;
pub(super) mod places;
pub(super) mod read;
pub(super) mod write;
