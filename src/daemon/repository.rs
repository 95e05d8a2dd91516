//! Restic-format repositories: opening one ([`open`]), the password and names it is opened with
//! ([`access`]) and made with ([`key_file`]), its files as rustic reads them ([`backend`]), and where these files are
//! ([`storage`]).
//!
//! This room knows no volumes, snapshots or backups.

mod access;
mod backend;
mod key_file;
mod open;
mod storage;

pub(super) use access::{Access, tags};
pub(super) use backend::Backend;
pub(super) use open::{Indexed, OpenRepository, failure, guarded};
pub(super) use storage::Bucket;
