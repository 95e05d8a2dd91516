//! Folders with all their content: reading them for a snapshot ([`read`]), writing them for a
//! restore ([`mod@write`]), what both need to know about modes, access lists and opening a
//! folder, the handles of the folders on the way down ([`folder_handles`]), and what is left out of a
//! folder ([`left_out`]).

mod access_list;
pub(super) mod folder_handles;
pub(super) mod left_out;
mod mode;
pub(super) mod open;
pub(super) mod read;
pub(super) mod settled;
pub(super) mod write;

pub(super) use mode::permissions;
