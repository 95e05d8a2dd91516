//! Folders with all their content: reading them for a snapshot ([`read`]), writing them for a
//! restore ([`mod@write`]), what both need to know about modes, access lists and opening a
//! folder, and the handles of the folders on the way down ([`folder_handles`]).

mod access_list;
pub(super) mod folder_handles;
mod mode;
pub(super) mod read;
pub(super) mod write;
