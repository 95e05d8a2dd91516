//! Restic-format repositories: how one is opened ([`open`]), with what ([`access`]), how the
//! library reaches its files ([`backend`]), and where these are ([`storage`]).
//!
//! Nothing here knows volumes, snapshots or backups.

mod access;
mod backend;
mod open;
mod storage;

pub(super) use access::{Access, tags};
pub(super) use backend::Backend;
pub(super) use open::{Indexed, OpenRepository, failure, guarded};
pub(super) use storage::Bucket;
pub(crate) use storage::S3Options;
