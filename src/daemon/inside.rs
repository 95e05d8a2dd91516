//! Looking into backups, without restoring them: what a folder has ([`list`]), in which backups a file is
//! ([`find`]), what differs between two ([`compare`]), and the content of files ([`content`]) and folders
//! ([`archive`]), which is sent piece by piece ([`mod@send`]). All of it goes by the folders' trees ([`view`]), which are read as they are needed.

mod archive;
mod compare;
mod content;
mod entry;
mod find;
mod list;
mod send;
mod view;

pub(super) use compare::compare;
pub(super) use content::ToRead;
pub(super) use find::{InBackup, find};
pub(super) use list::list;
pub(super) use send::send;
