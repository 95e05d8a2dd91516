//! Folders with all their content: reading them for a snapshot ([`read`]), writing them for a
//! restore ([`mod@write`]), and what both need to know about modes, access lists and opening a folder.

mod access_list;
mod folder;
mod mode;
pub(super) mod read;
pub(super) mod write;
