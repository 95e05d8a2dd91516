//! The built-in daemon: volumes as folders, with Convoy's API, where there is no Convoy.
//!
//! [`BuiltinDaemon`] implements [`crate::convoy::Daemon`] over one folder, the root:
//!
//! ```text
//! lock              held (flock) by the one process that owns the root; its id is in it
//! volumes/<name>/   the files of a volume; mounting a volume is to be given this path
//! state/<name>.json what is known of a volume and its snapshots; replaced as a whole
//! repository/       the restic-format repository with the snapshots
//! repository.key    its key, for the owner only: what it guards lies beside it in plain
//! pruned            when unused space of the repository was last given back
//! volumes/.staging/ restores before they are whole, volumes while they are removed
//! ```
//!
//! A volume that is only forgotten (as by `docker volume rm`) leaves its folder, its state and its
//! snapshots; the next volume of that name has them again. To remove all of it, make the volume
//! again, and remove it with its data.
//!
//! A backup is a copy of a snapshot into `<destination>/repository/`, in a folder or a bucket, a
//! restic-format repository that several hosts can share (`backups` says how). Both kinds of
//! repository can be read with `restic` and the password; restic opens repositories with an empty
//! password from 0.17 on (`--insecure-no-password`).
//!
//! The rule throughout: nothing becomes visible before it is whole, checked and on disk; what a
//! crash leaves is recognised by the next start, cleaned up, and told of
//! ([`BuiltinDaemon::recovered`]). [`crate::convoy::server`] gives this daemon, or any other, a
//! Convoy socket and Docker's volume plugin protocol.

mod backups;
mod builtin;
mod repository;
mod root;
mod snapshots;
mod start;
mod state;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use builtin::{BuiltinDaemon, BuiltinOptions};
pub(crate) use repository::S3Options;
